// Package pgretrysql is pgretry for database/sql on pgx's stdlib driver.
package pgretrysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"weak"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/concord-home/concord/pgretry"
)

// Do is [pgretry.Do] for database/sql: it runs fn in a transaction of db, and again when that is right. The db must use
// pgx's stdlib driver.
//
// A *sql.Tx cannot be wrapped, so an error that fn swallows is known by 25P02 alone, which is not retried: return the
// first error. fn must neither commit nor roll back, by SQL either: Do cannot refuse that. When fn has called tx.Commit
// or tx.Rollback and the connection is lost, the error is [pgretry.ErrCommitUnknown].
//
// A transaction that only sends a notification leaves no commit marker: after a lost COMMIT it is sent again.
func Do(ctx context.Context, db *sql.DB, fn func(ctx context.Context, tx *sql.Tx) error, opts ...pgretry.Option) error {
	a := &adapter{ctx: ctx, db: db, fn: fn}
	return pgretry.Do(ctx, a, a.run, opts...)
}

// Using is [Do] on a Runner.
func Using(ctx context.Context, r *pgretry.Runner, db *sql.DB, fn func(ctx context.Context, tx *sql.Tx) error, opts ...pgretry.Option) error {
	a := &adapter{ctx: ctx, db: db, fn: fn}
	return r.Do(ctx, a, a.run, opts...)
}

// adapter is the DB of one call. Its transactions follow each other.
type adapter struct {
	ctx context.Context // of the call
	db  *sql.DB
	fn  func(ctx context.Context, tx *sql.Tx) error

	mu  sync.Mutex
	txs map[*pgx.Conn]*tx // by their connections: a look at what blocks one may run beside it
}

// run runs the closure. Where that has ended the transaction and lost the connection, it may have committed.
func (a *adapter) run(ctx context.Context, given pgx.Tx) error {
	a.mu.Lock()
	t := a.txs[given.Conn()]
	a.mu.Unlock()
	err := a.fn(ctx, t.sql)
	switch {
	case !t.driver.IsClosed() || !t.over():
		return err
	case err == nil:
		return pgretry.ErrCommitUnknown
	}
	return fmt.Errorf("%w: the closure ended the transaction: %w", pgretry.ErrCommitUnknown, err)
}

// Closure is what pgretry tells transactions without a name apart by.
func (a *adapter) Closure() any { return a.fn }

// configs spares asking a connection on each call where its database is.
var configs sync.Map // of weak.Pointer[sql.DB] to *pgx.ConnConfig

// Config tells where db leads; it is empty while no connection can be had.
func (a *adapter) Config() *pgx.ConnConfig {
	key := weak.Make(a.db)
	if config, ok := configs.Load(key); ok {
		return config.(*pgx.ConnConfig)
	}
	config := &pgx.ConnConfig{}
	conn, err := a.db.Conn(a.ctx)
	if err != nil {
		return config
	}
	defer conn.Close()
	if c, err := driverOf(conn); err == nil {
		config = c.Config()
		configs.Store(key, config)
		runtime.AddCleanup(a.db, func(k weak.Pointer[sql.DB]) { configs.Delete(k) }, key)
	}
	return config
}

// Reset closes the idle connections, so that new ones may lead to another server. database/sql has no such thing. Of those
// that a pgxpool.Pool below keeps it closes the one used last.
func (a *adapter) Reset() {
	for range max(1, a.db.Stats().Idle) {
		conn, err := a.db.Conn(a.ctx)
		if err != nil {
			return
		}
		if c, err := driverOf(conn); err == nil {
			_ = c.Close(a.ctx)
		}
		_ = conn.Close()
	}
}

func driverOf(conn *sql.Conn) (c *pgx.Conn, err error) {
	err = conn.Raw(func(driver any) error {
		d, ok := driver.(*stdlib.Conn)
		if !ok {
			return errors.New("pgretrysql: the database does not use pgx's stdlib driver")
		}
		c = d.Conn()
		return nil
	})
	return c, err
}

var isolation = map[pgx.TxIsoLevel]sql.IsolationLevel{
	pgx.Serializable: sql.LevelSerializable, pgx.RepeatableRead: sql.LevelRepeatableRead,
	pgx.ReadCommitted: sql.LevelReadCommitted, pgx.ReadUncommitted: sql.LevelReadUncommitted,
}

// BeginTx begins a transaction on a connection of its own.
func (a *adapter) BeginTx(ctx context.Context, opts pgx.TxOptions) (pgx.Tx, error) {
	conn, err := a.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	t := &tx{conn: conn, commitQuery: opts.CommitQuery}
	if err := t.begin(ctx, opts); err != nil {
		_ = conn.Close()
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.txs == nil {
		a.txs = map[*pgx.Conn]*tx{}
	}
	a.txs[t.driver] = t
	return t, nil
}

// tx is a *sql.Tx that pgretry commits and rolls back. pgretry's own statements go to the driver's connection; the
// methods of pgx.Tx that it does not need are absent.
type tx struct {
	pgx.Tx
	conn        *sql.Conn
	driver      *pgx.Conn
	sql         *sql.Tx
	end         context.CancelFunc // ends what the *sql.Tx sends
	commitQuery string
}

func (t *tx) begin(ctx context.Context, opts pgx.TxOptions) (err error) {
	level, ok := isolation[opts.IsoLevel]
	if !ok && opts.IsoLevel != "" {
		return fmt.Errorf("pgretrysql: database/sql has no isolation level %q", opts.IsoLevel)
	}
	if t.driver, err = driverOf(t.conn); err != nil {
		return err
	}
	// The transaction belongs to pgretry, which rolls back after ctx has ended; ctx ends BEGIN alone.
	own, end := context.WithCancel(context.WithoutCancel(ctx))
	t.end = end
	began := context.AfterFunc(ctx, end)
	t.sql, err = t.conn.BeginTx(own, &sql.TxOptions{Isolation: level, ReadOnly: opts.AccessMode == pgx.ReadOnly})
	if !began() && err == nil {
		_ = t.sql.Rollback()
		err = ctx.Err()
	}
	if err != nil {
		end()
		return err
	}
	if mode := t.missing(opts); mode != "" {
		if _, err = t.driver.Exec(ctx, `set transaction `+mode); err != nil {
			_ = t.Rollback(ctx)
		}
	}
	return err
}

// missing is what database/sql cannot say of a transaction, as far as the session's default differs.
func (t *tx) missing(opts pgx.TxOptions) string {
	var modes []string
	if opts.AccessMode == pgx.ReadWrite && t.driver.PgConn().ParameterStatus("default_transaction_read_only") == "on" {
		modes = append(modes, "read write")
	}
	if opts.DeferrableMode == pgx.Deferrable {
		modes = append(modes, "deferrable")
	}
	return strings.Join(modes, ", ")
}

// over tells that the closure has called Commit or Rollback. It rolls back if not.
func (t *tx) over() bool { return errors.Is(t.sql.Rollback(), sql.ErrTxDone) }

// RolledBackFor tells pgretry that a transaction which its closure has ended did not commit: an error of the server aborted
// it before, and COMMIT or ROLLBACK came to the same.
func (t *tx) RolledBackFor(err error) bool { return err != nil && t.over() }

func (t *tx) Conn() *pgx.Conn { return t.driver }

func (t *tx) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	return t.driver.Exec(ctx, sql, args...)
}

func (t *tx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return t.driver.Query(ctx, sql, args...)
}

func (t *tx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return t.driver.QueryRow(ctx, sql, args...)
}

// Commit writes the marker, if there is one, and commits until ctx ends.
func (t *tx) Commit(ctx context.Context) error {
	if marker, ok := strings.CutSuffix(t.commitQuery, "; commit"); ok {
		if _, err := t.driver.Exec(ctx, marker); err != nil {
			_ = t.Rollback(ctx)
			return err
		}
	}
	return t.finish(ctx, t.sql.Commit)
}

// Rollback rolls back until ctx ends.
func (t *tx) Rollback(ctx context.Context) error { return t.finish(ctx, t.sql.Rollback) }

func (t *tx) finish(ctx context.Context, how func() error) error {
	defer t.conn.Close()
	defer t.end()
	defer context.AfterFunc(ctx, t.end)()
	if err := how(); !errors.Is(err, sql.ErrTxDone) {
		return err
	}
	return pgx.ErrTxClosed // as pgx says it
}
