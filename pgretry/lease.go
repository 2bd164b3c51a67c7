package pgretry

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// A session advisory lock keeps the transactions of several processes on one key apart. It is taken before BEGIN: a
// lock taken inside a REPEATABLE READ transaction comes after the snapshot, which then is already old.
const (
	// leaseSlice is how long a process passes the lock on among its own transactions while others may wait for it.
	leaseSlice = 100 * time.Millisecond
	// rivalsNeeded conflicts, with nobody else inside this process, within lockFor switch the lock on for lockFor.
	rivalsNeeded = 2
	lockFor      = 5 * time.Second
	// When more than half of lockTrial attempts under the lock met a conflict, the rivals do not take it: off for a while
	// that doubles from firstIgnore to mostIgnore, for a rival that keeps winning learns of the conflict late.
	lockTrial    = 32
	firstIgnore  = time.Second
	mostIgnore   = 30 * time.Second
	unlockWithin = 5 * time.Second
)

// rivals counts conflicts that came from outside this process.
type rivals struct {
	seen                 int // without the lock, since the given time
	since                time.Time
	tried, beaten        int // under the lock
	lockUntil, idleUntil time.Time
	ignore               time.Duration // how long the lock was off last
	told                 bool
}

// note counts an attempt that was alone at its gate; met tells that it met a conflict, locked that it held the lock.
func (r *rivals) note(met, locked bool) {
	if locked {
		r.underLock(met)
	} else if met {
		r.without()
	}
}

func (r *rivals) without() {
	now := time.Now()
	if now.Sub(r.since) > lockFor {
		r.seen, r.since = 0, now
	}
	if r.seen++; r.seen >= rivalsNeeded && now.After(r.idleUntil) {
		r.told = r.told && r.locking()
		r.lockUntil = now.Add(lockFor)
	}
}

func (r *rivals) underLock(met bool) {
	r.tried++
	if met {
		r.beaten++
		r.lockUntil = time.Now().Add(lockFor)
	}
	if r.tried < lockTrial {
		return
	}
	if 2*r.beaten > r.tried {
		r.ignore = min(mostIgnore, max(firstIgnore, 2*r.ignore))
		r.lockUntil, r.idleUntil = time.Time{}, time.Now().Add(r.ignore)
	} else {
		r.ignore = 0
	}
	r.tried, r.beaten = 0, 0
}

// waited notes that another process held the lock: it is needed still.
func (r *rivals) waited() { r.lockUntil = time.Now().Add(lockFor) }

func (r *rivals) locking() bool { return !r.lockUntil.IsZero() && time.Now().Before(r.lockUntil) }

// lease is a connection that holds the session advisory lock of a key.
type lease struct {
	conn  *pgxpool.Conn
	pool  *pgxpool.Pool
	id    int64
	since time.Time
	stand func() // gives back its seat on the pool
}

// errPooled says that a pooler in transaction mode, such as PgBouncer, stands between.
var errPooled = errors.New("session locks do not hold behind a pooler in transaction mode")

// waitForLock is ended by a context alone: limits that a role has are meant for its statements, not for this queue.
const waitForLock = `set local lock_timeout = 0; set local statement_timeout = 0; select pg_advisory_lock(%d)`

// newLease takes a connection and waits on it for the lock of key. waited tells that another session had it.
// errPooled comes when a pooler stands between, where a session's lock does not hold.
func newLease(ctx context.Context, pool *pgxpool.Pool, key string) (l *lease, waited bool, err error) {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil, false, err
	}
	l = &lease{conn: conn, pool: pool, id: lockID(key), since: time.Now()}
	var direct, got bool
	// One statement without arguments, so that it works behind a pooler too.
	sql := fmt.Sprintf(`select pg_backend_pid() = %d, case when pg_backend_pid() = %[1]d then pg_try_advisory_lock(%d) end is true`,
		conn.Conn().PgConn().PID(), l.id)
	if err := conn.QueryRow(ctx, sql).Scan(&direct, &got); err != nil {
		discard(conn)
		return nil, false, err
	}
	if !direct {
		conn.Release()
		return nil, false, errPooled
	}
	if !got {
		if _, err := conn.Exec(ctx, fmt.Sprintf(waitForLock, l.id)); err != nil {
			discard(conn)
			return nil, true, err
		}
		l.since = time.Now()
	}
	return l, !got, nil
}

// discard closes a connection whose session may hold the lock: an error need not mean that it was not granted.
func discard(conn *pgxpool.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), unlockWithin)
	defer cancel()
	_ = conn.Conn().Close(ctx)
	conn.Release()
}

// good tells that the lock is held and may be passed on.
func (l *lease) good() bool {
	return !l.conn.Conn().IsClosed() && time.Since(l.since) < leaseSlice
}

// release unlocks and gives the connection back; one that cannot unlock is closed, which unlocks.
func (l *lease) release() {
	ctx, cancel := context.WithTimeout(context.Background(), unlockWithin)
	defer cancel()
	if _, err := l.conn.Exec(ctx, fmt.Sprintf(`select pg_advisory_unlock(%d)`, l.id)); err != nil {
		_ = l.conn.Conn().Close(ctx)
	}
	l.conn.Release()
	l.stand()
}

// lockID maps a key to the number of its advisory lock.
func lockID(key string) int64 {
	h := fnv.New64a()
	h.Write([]byte("pgretry\x00" + key))
	return int64(h.Sum64())
}
