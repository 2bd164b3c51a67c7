package pgretry

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// attempt runs the closure once, in a transaction of its own. The zero failure means that it committed.
func (c *call) attempt(ctx context.Context, db DB) failure {
	c.attempts++
	flight := c.flight()
	f := c.seated(ctx, flight, db)
	f.gaveWay(flight)
	if f.Err != nil {
		f.Name, f.Number, f.Took = c.policy.Name, c.attempts, time.Since(flight.begun)
		f.SQLSTATE = sqlstateOf(f.Err)
	}
	if f.SQLSTATE == deadlockDetected {
		c.runner.flights.deadlocked(flight)
	}
	if f.SQLSTATE == lockNotAvailable && len(f.Blockers) == 0 && c.policy.WatchAfter >= 0 {
		f.Blockers = lookupOn(context.WithoutCancel(ctx), base(db), blockers(writersOfTable, c.table(f.Err)))
	}
	return f
}

// seated runs the transaction on a connection that the policy's reserve allows.
func (c *call) seated(ctx context.Context, flight *flight, db DB) failure {
	stand, err := c.seat(ctx)
	if err != nil {
		return failure{Attempt: Attempt{Stage: StageQueue, Err: err}, ended: true}
	}
	defer stand()
	return c.transaction(ctx, flight, db)
}

// gaveWay replaces the error of an attempt that was ended to break up a deadlock storm, unless it says that running again
// could apply something twice.
func (f *failure) gaveWay(flight *flight) {
	if errors.Is(f.returned, ErrCommitUnknown) || errors.Is(f.Err, ErrFinishedByClosure) {
		return
	}
	failed := f.Err != nil || f.returned != nil
	if failed && f.Stage != StageCommit && flight.ended.Load() {
		f.Err, f.returned, f.ended = errStorm, nil, false
	}
}

func (c *call) transaction(ctx context.Context, flight *flight, db DB) failure {
	outer := ctx
	if c.policy.AttemptTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.policy.AttemptTimeout)
		defer cancel()
	}
	m, err := c.newMarker(ctx, db)
	if err != nil && c.policy.classify(StageBegin, err) != fatal { // else a server that cannot be asked has no table
		return failure{Attempt: Attempt{Stage: StageBegin, Err: err}, ended: ctx.Err() != nil}
	}
	f := c.onConnection(ctx, outer, flight, db, m)
	if f.Stage == StageCommit {
		return c.settle(outer, m, f)
	}
	return f
}

// onConnection runs the transaction until outer ends, its statements until ctx does, and gives the connection back: what
// became of a lost COMMIT is found out on another one, which a pool may not have to spare.
func (c *call) onConnection(ctx, outer context.Context, flight *flight, db DB, m *marker) failure {
	tx, held, err := begin(ctx, db, c.policy.txOptions(m))
	if err != nil {
		return failure{Attempt: Attempt{Stage: StageBegin, Err: err}, ended: ctx.Err() != nil}
	}
	if held != nil {
		defer held.Release()
	}
	f := c.closure(ctx, tx, flight)
	if f.Err != nil || f.returned != nil {
		f.ended = ctx.Err() != nil
		return f
	}
	if err := c.want(outer, tx, m); err != nil {
		return failure{Attempt: Attempt{Stage: StageCommit, Err: err}}
	}
	stays := held != nil || isConn(db)
	if stays {
		tx = m.on(tx)
	}
	if err := c.commit(outer, tx, flight, stays); err != nil {
		return failure{Attempt: Attempt{Stage: StageCommit, Err: err}}
	}
	return failure{}
}

// closure runs fn where others can end it to break up a deadlock storm, and the patrol can look after it. It rolls back
// unless the transaction may be committed, also when fn panics or ends its goroutine.
func (c *call) closure(ctx context.Context, tx pgx.Tx, flight *flight) (f failure) {
	keep, conn := false, tx.Conn()
	rec := &flight.recorder
	rec.tx, rec.conn, c.rec, flight.conn = tx, conn, rec, conn
	c.runner.flights.list(flight)
	w := c.watch(ctx, flight, conn)
	defer func() {
		flight.unlist()
		f.Blockers = w.stop()
		if !keep {
			c.rollback(ctx, tx)
		}
	}()
	flight.within = within{Context: ctx, db: c.db, conn: conn, over: &rec.over, outer: c.outer}
	flight.tx = recordingTx{Tx: tx, rec: rec}
	returned := c.fn(&flight.within, &flight.tx)
	rec.over.Store(true)
	flight.unlist()
	cause := rec.cause(returned)
	if cause == nil && returned == nil {
		cause = ctx.Err()
	}
	if cause == nil && flight.ended.Load() {
		cause = errStorm
	}
	keep = cause == nil && returned == nil
	return failure{Attempt: Attempt{Stage: StageClosure, Err: cause}, returned: returned}
}

// cause is the error by which a transaction is judged after its closure returned the given error: the one that
// aborted the transaction or asked for another, else the returned one if this database made it, else nil.
func (r *recorder) cause(returned error) error {
	switch {
	case r.finished:
		return ErrFinishedByClosure
	case errors.Is(returned, ErrCommitUnknown):
		return nil // whatever happened here, running again could apply twice what is unknown
	case r.aborted() || r.conn.IsClosed():
		return r.broke(returned)
	case r.first != nil:
		return r.first
	case (sqlstateOf(returned) != "" || errors.Is(returned, errCareful)) && !ofAnotherCall(returned):
		return r.unlessFinished(returned)
	case returned != nil:
		return nil
	case r.conn.PgConn().IsBusy():
		return errUnread
	}
	return r.unlessFinished(nil)
}

// broke is the cause where the transaction is aborted or the connection closed.
func (r *recorder) broke(returned error) error {
	switch {
	case r.first != nil:
		return r.first
	case returned != nil && !ofAnotherCall(returned):
		return returned
	}
	return errAborted
}

// unlessFinished is err, unless the closure has ended the transaction: then nothing may follow, for it may have
// committed. An adapter may know better.
func (r *recorder) unlessFinished(err error) error {
	if r.conn.PgConn().TxStatus() != transactionStatusIdle {
		return err
	}
	if tx, ok := r.tx.(interface{ RolledBackFor(err error) bool }); ok && tx.RolledBackFor(err) {
		return err
	}
	return ErrFinishedByClosure
}

// ofAnotherCall tells that err comes from a Do inside the closure, on another database, which judged it already.
func ofAnotherCall(err error) bool {
	_, ok := errors.AsType[*Error](err)
	return ok
}

// errUnread is the fault of a closure that returns before it has read or closed what it asked for.
var errUnread = errors.New("the closure left a query open: close its rows")

// errAborted stands in when the closure used the connection past its tx, so that the error was not seen.
var errAborted = &pgconn.PgError{
	Severity: "ERROR", Code: inFailedTransaction,
	Message: "the closure left the transaction aborted by an error that its tx did not see",
}

// rollback has a context of its own: with one that has ended pgx would close the connection.
func (c *call) rollback(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.policy.Grace)
	defer cancel()
	_ = tx.Rollback(ctx) // pgx closes a connection that cannot roll back, which rolls back
}
