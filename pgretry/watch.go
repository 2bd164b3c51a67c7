package pgretry

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// watch looks what blocks an attempt that takes longer than the policy's WatchAfter.
type watch struct {
	call *call
	ctx  context.Context
	pid  uint32
	due  time.Time

	mu      sync.Mutex
	stopped bool
	cancel  context.CancelFunc // of the look under way
	done    chan struct{}      // closed at its end
	found   []Blocker
}

// patrol starts the looks that are due. One timer serves all attempts of a Runner: a timer per attempt would wake the
// scheduler in each of them, which costs more than all else that pgretry adds to a transaction.
type patrol struct {
	// next is when the timer fires, in nanoseconds since 1970; 0 while nothing is expected.
	next atomic.Int64
}

// watch makes the patrol look after f while its transaction runs on conn.
func (c *call) watch(ctx context.Context, f *flight, conn *pgx.Conn) *watch {
	if c.policy.WatchAfter < 0 {
		return nil
	}
	w := &f.patrolled
	w.call, w.ctx, w.pid, w.due = c, ctx, conn.PgConn().PID(), time.Now().Add(c.policy.WatchAfter)
	f.watch.Store(w)
	c.runner.flights.expect(w.due)
	return w
}

// expect sees to it that the patrol goes at the given time, or earlier and then again.
func (fs *flights) expect(due time.Time) {
	at := due.UnixNano()
	for {
		next := fs.patrol.next.Load()
		if next != 0 && next <= at {
			return
		}
		if fs.patrol.next.CompareAndSwap(next, at) {
			time.AfterFunc(time.Until(due), fs.goRound)
			return
		}
	}
}

// goRound starts the looks that are due, and comes again for the others.
func (fs *flights) goRound() {
	fs.patrol.next.Store(0)
	now := time.Now()
	var next time.Time
	fs.each(func(f *flight) {
		switch w := f.watch.Load(); {
		case w == nil:
		case !w.due.After(now):
			f.watch.Store(nil)
			go w.look()
		case next.IsZero() || w.due.Before(next):
			next = w.due
		}
	})
	if !next.IsZero() {
		fs.expect(next)
	}
}

// look runs on a goroutine of its own, until it has found what blocks the attempt or the attempt ends.
func (w *watch) look() {
	w.mu.Lock()
	if w.stopped {
		w.mu.Unlock()
		return
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.ctx))
	w.cancel, w.done = cancel, make(chan struct{})
	w.mu.Unlock()
	defer close(w.done)
	defer cancel()
	found := w.call.untilFound(ctx, w.pid)
	if len(found) == 0 {
		return
	}
	w.mu.Lock()
	w.found = found
	w.mu.Unlock()
	w.call.policy.tell(ctx, Notice{Kind: NoticeBlocked, Blockers: found})
}

// untilFound looks again and again, less and less often, what blocks the backend with the given pid.
func (c *call) untilFound(ctx context.Context, pid uint32) (found []Blocker) {
	for pause := c.policy.WatchAfter; !c.runner.gates.isPooled(c.id.databaseID); pause = min(2*pause, mostPause) {
		found = lookup(ctx, c.db, c.blockersOf(pid))
		if len(found) > 0 || sleep(ctx, pause) != nil {
			return found
		}
	}
	return nil
}

// blockersOf asks what blocks a session, unless a pooler stands between: the pid is then none of the server's.
func (c *call) blockersOf(pid uint32) asking {
	return func(ctx context.Context, tx pgx.Tx) ([]Blocker, error) {
		var own uint32
		if err := tx.QueryRow(ctx, `select pg_backend_pid()`).Scan(&own); err != nil {
			return nil, err
		}
		if own != tx.Conn().PgConn().PID() {
			c.notePooled(ctx, "")
			return nil, errPooled
		}
		return blockers(blockersOfSession, pid)(ctx, tx)
	}
}

// stop ends the watch, a look under way too, and returns what it saw.
func (w *watch) stop() []Blocker {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	w.stopped = true
	cancel, done := w.cancel, w.done
	w.mu.Unlock()
	if cancel != nil {
		cancel()
		<-done
	}
	return w.found
}
