package pgretry

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// promptAttempts at a gate follow each other at once; after them the backoff begins.
	promptAttempts = 3
	// aloneAfter conflicts inside a gate, with others beside it, a transaction gets the gate to itself.
	aloneAfter = 3
)

// turn is a call's dealing with the gate of its conflict key, if it has one.
type turn struct {
	name   string  // of the lane
	ticket *ticket // own, once it is in use
	own    ticket
	gated  bool // the latest attempt passed a gate
	beaten int  // conflicts with others inside
	queued time.Duration
}

// inTurn makes one attempt, after waiting for its turn where the key has a gate. A failure at the gate has StageQueue.
func (c *call) inTurn(ctx context.Context) failure {
	if g := c.gate(); g != nil {
		return c.pass(ctx, g)
	}
	c.turn.gated = false
	f := c.attempt(ctx, c.db)
	if f.conflict() && !c.meetsNobody() {
		c.learn(ctx, &f)
	}
	return f
}

func (f *failure) conflict() bool {
	return f.SQLSTATE == serializationFailure || f.SQLSTATE == deadlockDetected || f.Err == errStorm
}

// gate is the one that the call must pass now; nil for none. A named gate is held until the call ends.
func (c *call) gate() *gate {
	switch {
	case c.turn.ticket != nil && c.policy.Key != "":
		return c.turn.ticket.gate
	case c.policy.Key != "":
		return c.runner.gates.named(c.id.databaseID, c.policy.Key)
	case c.runner.gates.any.Load() && !c.meetsNobody():
		return c.runner.gates.learnedFor(c.laneName(), c.id.databaseID)
	}
	return nil
}

// meetsNobody tells that no other transaction can make this one fail: READ ONLY below SERIALIZABLE. A queue that those
// of its name have learned is not for it, such as when they all go through one helper, whose closure gives the name.
func (c *call) meetsNobody() bool {
	return c.policy.AccessMode == pgx.ReadOnly && c.policy.IsoLevel != pgx.Serializable
}

func (c *call) laneName() string {
	if c.turn.name == "" {
		c.turn.name = c.policy.Name
	}
	if c.turn.name == "" {
		c.turn.name = closureName(closureOf(c.fn, c.db))
	}
	return c.turn.name
}

// pass makes an attempt inside the gate.
func (c *call) pass(ctx context.Context, g *gate) failure {
	t := c.ticketFor(g)
	waited, err := g.enter(ctx, t, c.deadline())
	c.turn.queued += waited
	if err != nil {
		return c.queueFailure(err, c.attempts+1)
	}
	c.turn.gated = true
	met := false
	defer func() { g.leave(t, met) }()
	db, err := c.exclusively(ctx, t)
	if err != nil {
		c.attempts++
		return c.queueFailure(err, c.attempts)
	}
	f := c.attempt(ctx, db)
	met = f.conflict()
	c.reportTo(g, &f)
	return f
}

// ticketFor keeps the call's ticket, and so its age, from attempt to attempt.
func (c *call) ticketFor(g *gate) *ticket {
	t := c.turn.ticket
	if t == nil {
		t = &c.turn.own
		t.age, t.index = c.runner.gates.arrivals.Add(1), -1
		c.turn.ticket = t
	}
	if t.gate != g {
		t.gate, t.lane = g, g.laneOf(c.laneName(), c.policy.Weight)
	}
	t.alone = c.turn.beaten >= aloneAfter
	return t
}

// deadline is until when the call may wait for its turn; zero if it may for ever.
func (c *call) deadline() time.Time {
	if c.policy.MaxElapsed < 0 {
		return time.Time{}
	}
	return c.started.Add(c.policy.MaxElapsed)
}

// queueFailure is the failure of an attempt that did not get so far as to begin its transaction.
func (c *call) queueFailure(err error, number int) failure {
	return failure{Attempt: Attempt{
		Name: c.policy.Name, Number: number, Stage: StageQueue, Err: err, SQLSTATE: sqlstateOf(err),
	}}
}

// exclusively returns the DB for an attempt: the connection that holds the lock across processes where one is needed. Only
// a pool itself takes the lock: a connection would be used past the BeginTx of a wrapper, or past that of a pool which
// prepares its sessions in another way.
func (c *call) exclusively(ctx context.Context, t *ticket) (DB, error) {
	g := t.gate
	contested := g.takeLease(t)
	pool, ok := c.db.(*pgxpool.Pool)
	if t.lease != nil && t.lease.pool == pool {
		return t.lease.conn, nil
	}
	if t.lease != nil {
		t.lease.release()
		t.lease = nil
	}
	if !ok || !contested || c.runner.gates.isPooled(c.id.databaseID) {
		return c.db, nil
	}
	l, waited, err := c.lease(ctx, pool, g.key)
	switch {
	case errors.Is(err, errPooled):
		c.notePooled(ctx, g.key)
		return c.db, nil
	case err != nil:
		return nil, err
	case waited:
		g.lockWaited()
	}
	t.lease = l // before an observer is told, which may panic
	if g.locked() {
		c.policy.tell(ctx, Notice{Kind: NoticeLocked, Key: g.key})
	}
	return l.conn, nil
}

// notePooled remembers that a pooler stands between, and tells it once.
func (c *call) notePooled(ctx context.Context, key string) {
	if c.runner.gates.setPooled(c.id.databaseID) {
		c.policy.tell(ctx, Notice{Kind: NoticePooled, Key: key})
	}
}

// lease is [newLease] for as long as the call may still wait. The lease's seat comes first, as for every connection: those
// who have a seat already wait for a connection, which a lease without one would keep from them.
func (c *call) lease(ctx context.Context, pool *pgxpool.Pool, key string) (l *lease, waited bool, err error) {
	begun := time.Now()
	defer func() { c.turn.queued += time.Since(begun) }()
	patient, cancel := c.patiently(ctx)
	defer cancel()
	stand, err := c.seat(patient)
	if err == nil {
		l, waited, err = newLease(patient, pool, key)
	}
	switch {
	case err == nil:
		l.stand = stand
		return l, waited, nil
	case stand != nil:
		stand()
	}
	if patient.Err() != nil && ctx.Err() == nil {
		err = errTurn
	}
	return nil, waited, err
}

// patiently returns a context that ends when the call may wait no longer.
func (c *call) patiently(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.policy.MaxElapsed < 0 {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, c.deadline())
}

// dropLease gives a lost connection back to its pool, which may have no other.
func (c *call) dropLease() {
	if t := c.turn.ticket; t != nil && t.lease != nil && t.lease.conn.Conn().IsClosed() {
		t.lease.release()
		t.lease = nil
	}
}

// reportTo tells the gate what the attempt met.
func (c *call) reportTo(g *gate, f *failure) {
	if !f.conflict() {
		return
	}
	if c.turn.ticket.company {
		c.turn.beaten++
	}
	if f.SQLSTATE == deadlockDetected {
		g.deadlocked()
	}
}

// learn remembers a conflict that came without a gate, so that the next attempt passes one.
func (c *call) learn(ctx context.Context, f *failure) {
	g, first := c.runner.gates.learn(c.laneName(), c.id.databaseID, c.table(f.Err))
	g.metOutside(f.SQLSTATE == deadlockDetected)
	if first {
		c.policy.tell(ctx, Notice{Kind: NoticeQueued, Key: g.key})
	}
}

// endTurn gives a named gate back.
func (c *call) endTurn() {
	if t := c.turn.ticket; t != nil && c.policy.Key != "" {
		c.runner.gates.done(t.gate)
	}
}
