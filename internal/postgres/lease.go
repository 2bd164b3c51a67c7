package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/concord-home/concord"
)

const (
	// leaseClass is the first half of the keys of these advisory locks; the home's
	// number is the second.
	leaseClass = 0x436f6e63
	// leaseLook is how often a lease's connection is asked when nothing ends it,
	// and leaseAnswer how long the answer may take.
	leaseLook   = 2 * time.Second
	leaseAnswer = 10 * time.Second
)

// errDeposed refuses the writes of a process whose home another has taken over.
var errDeposed = concord.Errorf(concord.CodeUnavailable, "Another Concord writes this home now")

// Lease is the right to write one home's rows. It is an advisory lock of a
// session on a connection of its own, so it ends with the process, however that
// ends. Release it.
type Lease struct {
	// Resumed tells that nobody wrote the home since this process last did.
	Resumed bool

	conn    *pgx.Conn // nil behind a pooler, where no lock holds
	cancel  context.CancelFunc
	watcher sync.WaitGroup
	lost    chan struct{}
}

// Lost is closed when the lease has ended by itself: the connection broke, or
// the server takes no writes any more.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

// Backend is the number of the server's process that holds the lock, 0 when
// none does.
func (l *Lease) Backend() int32 {
	if l.conn == nil {
		return 0
	}
	return int32(l.conn.PgConn().PID()) //nolint:gosec // a process number
}

// Release gives the lease up. It may be called twice.
func (l *Lease) Release() {
	l.cancel()
	l.watcher.Wait()
}

// Holder is who has the lease of a home, as PostgreSQL tells it.
type Holder struct {
	PID         int32  // of the server's process
	Application string // names the host and the process
	Client      string // address, or "local"
	Since       time.Time
}

// Lead takes the lease of a home, and from then on refuses the writes of those
// who had it before. While another has it, the holder is returned and no lease.
func (db *DB) Lead(ctx context.Context, home int64) (*Lease, *Holder, error) {
	ctx, cancel := context.WithTimeout(ctx, leaseAnswer)
	defer cancel()
	conn, err := db.leaseConn(ctx)
	if err != nil {
		return nil, nil, classify(err)
	}
	lease, holder, err := db.lead(ctx, conn, home)
	if lease == nil || lease.conn == nil {
		_ = conn.Close(ctx) // nothing waits on it
	}
	if err != nil {
		return nil, nil, classify(fmt.Errorf("take the lease of home %d: %w", home, err))
	}
	return lease, holder, nil
}

func (db *DB) leaseConn(ctx context.Context) (*pgx.Conn, error) {
	config := db.pool.Config().ConnConfig.Copy()
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	name := fmt.Sprintf("%s writer host=%s pid=%d", config.RuntimeParams["application_name"], host, os.Getpid())
	config.RuntimeParams["application_name"] = name[:min(len(name), maxName)]
	return pgx.ConnectConfig(ctx, config)
}

func (db *DB) lead(ctx context.Context, conn *pgx.Conn, home int64) (*Lease, *Holder, error) {
	direct, got, err := tryLease(ctx, conn, home)
	switch {
	case err != nil:
		return nil, nil, err
	case !direct:
		db.log.Warn("a pooler in transaction mode stands before the database: a second Concord on it would not be noticed", "home", home)
		return &Lease{cancel: func() {}, lost: make(chan struct{})}, nil, nil
	case !got:
		holder, err := db.holder(ctx, conn, home)
		return nil, holder, err
	}
	resumed, err := db.beginTerm(ctx, home)
	if err != nil {
		return nil, nil, err
	}
	watch, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l := &Lease{Resumed: resumed, conn: conn, cancel: cancel, lost: make(chan struct{})}
	l.watcher.Go(func() { l.watch(watch) })
	return l, nil, nil
}

// tryLease takes the lock if it is free. direct tells that no pooler stands
// between. The server is to notice within some ten seconds when this machine
// vanishes without a farewell.
func tryLease(ctx context.Context, conn *pgx.Conn, home int64) (direct, got bool, err error) {
	sql := fmt.Sprintf(`
		select pg_backend_pid() = %[1]d, case when pg_backend_pid() = %[1]d then pg_try_advisory_lock(%[2]d, %[3]d) end is true,
		       set_config('tcp_keepalives_idle', '3', false), set_config('tcp_keepalives_interval', '2', false),
		       set_config('tcp_keepalives_count', '3', false), set_config('idle_session_timeout', '0', false)`,
		conn.PgConn().PID(), leaseClass, home)
	var ignored string
	err = conn.QueryRow(ctx, sql, pgx.QueryExecModeSimpleProtocol).Scan(&direct, &got, &ignored, &ignored, &ignored, &ignored)
	return direct, got, err
}

// holder is nil when the lock has become free meanwhile.
func (db *DB) holder(ctx context.Context, conn *pgx.Conn, home int64) (*Holder, error) {
	var h Holder
	err := conn.QueryRow(ctx, `
		select a.pid, coalesce(a.application_name, ''), coalesce(host(a.client_addr), 'local'), coalesce(a.backend_start, now())
		from pg_locks l
		join pg_stat_activity a using (pid)
		where l.locktype = 'advisory' and l.granted and l.objsubid = 2 and l.classid = $1::bigint::oid and l.objid = $2::bigint::oid
		  and l.database = (select oid from pg_database where datname = current_database())`,
		int64(leaseClass), home).Scan(&h.PID, &h.Application, &h.Client, &h.Since)
	if errors.Is(err, pgx.ErrNoRows) {
		return &Holder{Application: "unknown", Client: "unknown"}, nil
	}
	return &h, err
}

// beginTerm makes this process the one whose writes count.
func (db *DB) beginTerm(ctx context.Context, home int64) (resumed bool, err error) {
	var term int64
	err = db.write(ctx, "homes", func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, `
			insert into spool_position as p (home_id, seq, term)
			values ($1, 0, 1)
			on conflict (home_id) do update set term = p.term + 1
			returning term`, home).Scan(&term)
	})
	if err != nil {
		return false, err
	}
	db.pastMu.Lock()
	defer db.pastMu.Unlock()
	last, before := db.terms[home]
	if resumed = before && last == term-1; !resumed {
		delete(db.pasts, home) // what others wrote is not in it
	}
	db.terms[home] = term
	return resumed, nil
}

// deposed refuses a transaction of an earlier term. Who never took a lease, a
// tool or a test, is not asked for one.
func (db *DB) deposed(home, term int64) error {
	db.pastMu.Lock()
	defer db.pastMu.Unlock()
	if mine, leads := db.terms[home]; leads && mine != term {
		return errDeposed
	}
	return nil
}

// leads looks the term up, for transactions that do not read it anyway.
func (db *DB) leads(ctx context.Context, tx pgx.Tx, home int64) error {
	db.pastMu.Lock()
	_, leads := db.terms[home]
	db.pastMu.Unlock()
	if !leads {
		return nil
	}
	at, err := positionOf(ctx, tx, home)
	if err != nil {
		return err
	}
	return db.deposed(home, at.term)
}

// watch ends the lease when its connection ends.
func (l *Lease) watch(ctx context.Context) {
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = l.conn.Close(closing) // broken, or not needed any more
	}()
	for {
		if err := l.look(ctx); ctx.Err() != nil {
			return
		} else if err != nil {
			close(l.lost)
			return
		}
	}
}

// look waits for the connection's end, which shows at once when the server says
// farewell, and then asks whether the server is still there and takes writes.
func (l *Lease) look(ctx context.Context) error {
	quiet, cancel := context.WithTimeout(ctx, leaseLook)
	_, err := l.conn.WaitForNotification(quiet)
	cancel()
	if err != nil && !pgconn.Timeout(err) {
		return err
	}
	ask, cancel := context.WithTimeout(ctx, leaseAnswer)
	defer cancel()
	var standby bool
	if err := l.conn.QueryRow(ask, standbySQL).Scan(&standby); err != nil {
		return err
	}
	if standby {
		return errReadOnly
	}
	return nil
}
