package pgretry

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// commit sends COMMIT, and waits for the answer a little longer than the context: an answer that nobody waits for
// leaves an unknown outcome. A connection that stays with the call is watched at less cost than by a context.
func (c *call) commit(ctx context.Context, tx pgx.Tx, flight *flight, stays bool) error {
	switch {
	case ctx.Done() == nil:
		return tx.Commit(ctx)
	case stays:
		return flight.late.commit(ctx, tx, c.policy.Grace)
	}
	ctx, cancel := c.patient(ctx)
	defer cancel()
	return tx.Commit(ctx)
}

// late bounds the wait for a COMMIT's answer after the context has ended, by a deadline of the connection.
type late struct {
	mu        sync.Mutex
	over, set bool
}

func (l *late) commit(ctx context.Context, tx pgx.Tx, grace time.Duration) error {
	socket := tx.Conn().PgConn().Conn()
	stop := context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if !l.over {
			l.set = true
			_ = socket.SetDeadline(time.Now().Add(grace)) // fails only when the connection is gone
		}
	})
	err := tx.Commit(context.WithoutCancel(ctx))
	if stop() {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over = true; l.set && !tx.Conn().IsClosed() { // while pgx closes one, the deadline is its own
		_ = socket.SetDeadline(time.Time{})
	}
	return err
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
