// Package postgres keeps homes, states, users and sessions in PostgreSQL.
//
// Every write runs at REPEATABLE READ through pgretry: when PostgreSQL answers
// a serialization failure or a deadlock, the whole transaction runs again, with
// the logic that decided what to write. The SQL stands beside the function that
// runs it.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/spans"
	"github.com/concord-home/concord/pgretry"
)

const (
	defaultMaxConns = 10
	pingInterval    = time.Second
	pingTimeout     = 3 * time.Second
	// Chunk and Commit are the records per statement and per transaction of a
	// reconciliation unless told otherwise.
	defaultChunk  = 100
	defaultCommit = 500
)

// Options say how to reach the database. URL is required.
type Options struct {
	URL             string
	ApplicationName string // "" means concord
	MaxConns        int    // 0 means 10
	Chunk           int    // records per statement of a reconciliation; 0 means 100
	Commit          int    // records per transaction of a reconciliation; 0 means 500
	Wait            time.Duration
	Deadband        []concord.DeadbandRule // what is kept out of history; the first that matches an entity counts
	HistoryDays     int                    // days that raw history and 5-minute statistics are kept; 0 means 10
	Retry           []pgretry.Option       // added to every transaction
	Logger          *slog.Logger
	Tracer          *spans.Tracer   // follows transactions and their attempts
	Statements      pgx.QueryTracer // is told of every statement; nil tells nobody
}

// DB is Concord's database. Close it. It implements [concord.Store] and the
// services of users, sessions and homes.
type DB struct {
	pool   *pgxpool.Pool
	retry  *pgretry.Runner
	log    *slog.Logger
	tracer *spans.Tracer
	chunk  int
	commit int

	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	status concord.PartStatus

	pastMu sync.Mutex
	pasts  map[int64]*pastHome
	terms  map[int64]int64 // of the homes that this process leads or led: see [DB.Lead]
	days   partitionDays

	deadband []concord.DeadbandRule
}

// Open connects, brings the schema up to date and watches the connection. It
// tries for o.Wait before it gives up. The error never holds the password.
func Open(ctx context.Context, o Options) (*DB, error) {
	config, err := poolConfig(o)
	if err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	db := &DB{
		pool: pool, log: o.Logger, tracer: o.Tracer, retry: pgretry.New(o.Retry...),
		chunk: orDefault(o.Chunk, defaultChunk), commit: orDefault(o.Commit, defaultCommit),
		status: concord.PartStatus{Up: true, Since: time.Now()}, pasts: make(map[int64]*pastHome), terms: make(map[int64]int64),
		days: newPartitionDays(o.HistoryDays), deadband: o.Deadband,
	}
	if err := db.awaitAndMigrate(ctx, o.Wait); err != nil {
		pool.Close()
		return nil, fmt.Errorf("open database %s: %w", redact(o.URL), err)
	}
	watch, cancel := context.WithCancel(context.WithoutCancel(ctx))
	db.cancel = cancel
	db.wg.Go(func() { db.watch(watch) })
	return db, nil
}

func orDefault(n, otherwise int) int {
	if n <= 0 {
		return otherwise
	}
	return n
}

func poolConfig(o Options) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(o.URL)
	if err != nil { // pgx's own message repeats the connection string
		return nil, errors.New("open database: DATABASE_URL is not a PostgreSQL connection string")
	}
	config.MaxConns = int32(orDefault(o.MaxConns, defaultMaxConns)) //nolint:gosec // small
	config.MaxConnIdleTime = 5 * time.Minute
	params := config.ConnConfig.RuntimeParams
	if o.ApplicationName == "" {
		o.ApplicationName = "concord"
	}
	params["application_name"] = o.ApplicationName
	params["timezone"] = "UTC"
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	config.AfterConnect = outlastDeadlocks
	if o.Statements != nil {
		config.ConnConfig.Tracer = o.Statements
	}
	if config.ConnConfig.ValidateConnect == nil && severalServers(config.ConnConfig) {
		config.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	return config, nil
}

// severalServers tells a connection string that names more than one server: the
// one that takes writes is wanted, whichever that is after a fail-over.
func severalServers(c *pgx.ConnConfig) bool {
	for _, f := range c.Fallbacks {
		if f.Host != c.Host || f.Port != c.Port {
			return true
		}
	}
	return false
}

// outlastDeadlocks makes PostgreSQL look for a deadlock 200 ms later on behalf
// of this connection than of others. Who looks first is the victim, so somebody
// else's transaction ends and Concord's goes on. Only a superuser may set this,
// as Concord is in a server of its own; elsewhere the two have equal chances.
func outlastDeadlocks(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `
		select set_config('deadlock_timeout', reset_val::bigint + 200 || 'ms', false)
		from pg_settings, pg_roles
		where name = 'deadlock_timeout' and rolname = current_user and rolsuper`)
	return err
}

// redact leaves of a connection string what may be printed.
func redact(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return "(DATABASE_URL)"
	}
	return u.Host + u.Path
}

func (db *DB) awaitAndMigrate(ctx context.Context, wait time.Duration) error {
	deadline := time.Now().Add(wait)
	for {
		err := db.pool.Ping(ctx)
		if err == nil {
			return db.migrate(ctx)
		}
		if fatalAtStart(err) || time.Now().After(deadline) {
			return explain(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// fatalAtStart tells errors that waiting does not cure: a wrong password or a
// database that does not exist.
func fatalAtStart(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pgErr.Code[:2] == "28" || pgErr.Code == "3D000")
}

// explain cuts pgx's connection errors, which name every address tried, down to
// the server's own answer where there is one.
func explain(err error) error {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return fmt.Errorf("%s (SQLSTATE %s)", pgErr.Message, pgErr.Code)
	}
	if network, ok := errors.AsType[*net.OpError](err); ok {
		return fmt.Errorf("cannot be reached: %w", network)
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return fmt.Errorf("cannot be reached: %s", first)
}

// watch asks the server every second whether it is there and takes writes, so
// that pages can say so although nothing is being written.
func (db *DB) watch(ctx context.Context) {
	tick := time.NewTicker(pingInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		ping, cancel := context.WithTimeout(ctx, pingTimeout)
		err := db.ping(ping)
		cancel()
		if ctx.Err() == nil {
			db.setStatus(err)
		}
	}
}

func (db *DB) ping(ctx context.Context) error {
	var standby bool
	if err := db.pool.QueryRow(ctx, standbySQL).Scan(&standby); err != nil {
		return err
	}
	if standby {
		db.pool.Reset() // the primary is elsewhere now; new connections may find it
		return errReadOnly
	}
	return nil
}

// standbySQL is not about default_transaction_read_only: Concord's transactions
// say themselves that they write.
const standbySQL = `select pg_is_in_recovery()`

var errReadOnly = errors.New("the server takes no writes, as a standby")

func (db *DB) setStatus(err error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	next := concord.PartStatus{Up: err == nil, Since: time.Now()}
	if err != nil {
		next.Error = reason(err)
	}
	if next.Up == db.status.Up {
		next.Since = db.status.Since
	} else if next.Up {
		db.log.Info("database is back", "down_for", time.Since(db.status.Since))
	} else {
		db.log.Warn("database is down", "error", err)
	}
	db.status = next
}

// reason says for people why the database does not answer.
func reason(err error) string {
	if errors.Is(err, errReadOnly) {
		return "the database is read-only, as a standby is"
	}
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return fmt.Sprintf("the database answers: %s (SQLSTATE %s)", pgErr.Message, pgErr.Code)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "the database does not answer"
	}
	return "the database cannot be reached"
}

// Status is how the database is, as of at most a second ago.
func (db *DB) Status() concord.PartStatus {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.status
}

// Pool gives the pool's statistics to metrics.
func (db *DB) Pool() *pgxpool.Stat { return db.pool.Stat() }

// Close ends all connections.
func (db *DB) Close() {
	db.cancel()
	db.wg.Wait()
	db.pool.Close()
}

// write runs fn in a retried transaction. name is the label of its metrics: an
// endpoint of the fixed list.
func (db *DB) write(ctx context.Context, name string, fn func(ctx context.Context, tx pgx.Tx) error, opts ...pgretry.Option) error {
	ctx, span := db.tracer.Child(ctx, "transaction")
	span.SetText("concord.endpoint", name)
	err := db.retry.Do(ctx, db.pool, db.attempted(ctx, named(ctx, fn)), append(opts, pgretry.WithName(name))...)
	span.End(err, "not committed")
	if err == nil {
		return nil
	}
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && takesNoWrites(pgErr.Code) {
		db.pool.Reset()
		db.setStatus(errReadOnly)
	}
	return classify(err)
}

// takesNoWrites tells what a read-only server answers to a write, and a standby
// to a transaction that says it will write.
func takesNoWrites(sqlstate string) bool { return sqlstate == "25006" || sqlstate == "0A000" }

// classify gives an error of the database the code that callers decide on.
func classify(err error) error {
	if _, ok := errors.AsType[*concord.Error](err); ok {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	if retry, ok := errors.AsType[*pgretry.Error](err); ok && isConflict(retry.SQLSTATE) {
		return &concord.Error{Code: concord.CodeConflict, Message: "Database conflict, please try again", Err: err}
	}
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && !unavailable(pgErr.Code) {
		return err
	}
	return &concord.Error{Code: concord.CodeUnavailable, Message: "The database is not available", Err: err}
}

func isConflict(sqlstate string) bool { return sqlstate == "40001" || sqlstate == "40P01" }

// unavailable tells the states of a server that another try later may find
// cured: connection trouble, no resources, shutdown, read-only after a fail-over.
func unavailable(sqlstate string) bool {
	switch sqlstate[:2] {
	case "08", "53", "57", "58":
		return true
	}
	return takesNoWrites(sqlstate)
}
