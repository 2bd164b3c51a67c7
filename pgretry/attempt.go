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
	flight := c.runner.flights.start(c)
	f := c.inFlight(ctx, flight, db)
	if f.Err != nil {
		f.Name, f.Number, f.Took = c.policy.Name, c.attempts, time.Since(flight.begun)
		f.SQLSTATE = sqlstateOf(f.Err)
	}
	if f.SQLSTATE == lockNotAvailable && len(f.Blockers) == 0 && c.policy.WatchAfter >= 0 {
		f.Blockers = lookup(context.WithoutCancel(ctx), c.db, writersOfTable, c.table(f.Err))
	}
	return f
}

// inFlight runs the transaction where others can end it to break up a deadlock storm, and the patrol can look after it.
func (c *call) inFlight(ctx context.Context, flight *flight, db DB) (f failure) {
	defer func() { c.runner.flights.finish(flight, sqlstateOf(f.Err) == deadlockDetected) }()
	f = c.seated(ctx, flight, db)
	f.gaveWay(flight)
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

// gaveWay replaces the error of an attempt that was ended to break up a deadlock storm.
func (f *failure) gaveWay(flight *flight) {
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
	m := c.newMarker(ctx, db)
	tx, err := db.BeginTx(ctx, c.policy.txOptions(m))
	if err != nil {
		return failure{Attempt: Attempt{Stage: StageBegin, Err: err}, ended: ctx.Err() != nil}
	}
	f := c.closure(ctx, tx, flight)
	if f.Err != nil || f.returned != nil {
		f.ended = ctx.Err() != nil
		return f
	}
	if err := c.commit(outer, tx); err != nil {
		return c.settle(outer, m, failure{Attempt: Attempt{Stage: StageCommit, Err: err}})
	}
	return failure{}
}

// closure runs fn, and rolls back unless the transaction may be committed, also when fn panics or ends its goroutine.
func (c *call) closure(ctx context.Context, tx pgx.Tx, flight *flight) (f failure) {
	keep, conn := false, tx.Conn()
	rec := &flight.recorder
	rec.conn, c.rec = conn, rec
	flight.uses(conn)
	w := c.watch(ctx, flight, conn)
	defer func() {
		flight.uses(nil)
		f.Blockers = w.stop()
		if !keep {
			c.rollback(ctx, tx)
		}
	}()
	flight.within = within{Context: ctx, db: c.db, conn: conn, outer: c.outer}
	flight.tx = recordingTx{Tx: tx, rec: rec}
	returned := c.fn(&flight.within, &flight.tx)
	rec.over.Store(true)
	flight.uses(nil)
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
// aborted the transaction or asked for another, else the returned one if it comes from the database, else nil.
func (r *recorder) cause(returned error) error {
	switch {
	case r.aborted() || r.conn.IsClosed():
		if r.first != nil {
			return r.first
		}
		if returned != nil {
			return returned
		}
		return errAborted
	case r.first != nil:
		return r.first
	case sqlstateOf(returned) != "":
		return returned
	case returned != nil:
		return nil
	case r.conn.PgConn().IsBusy():
		return errUnread
	case r.conn.PgConn().TxStatus() == transactionStatusIdle:
		return ErrFinishedByClosure
	}
	return nil
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

// commit sends COMMIT, and waits for the answer a little longer than the context: an answer that nobody waits for
// leaves an unknown outcome.
func (c *call) commit(ctx context.Context, tx pgx.Tx) error {
	ctx, cancel := c.patient(ctx)
	defer cancel()
	return tx.Commit(ctx)
}

// patient returns a context that ends the policy's grace after ctx.
func (c *call) patient(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx.Done() == nil {
		return ctx, func() {}
	}
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(c.policy.Grace, cancel)
		context.AfterFunc(longer, func() { timer.Stop() })
	})
	return longer, func() { stop(); cancel() }
}
