// Package pgretrysql is pgretry for database/sql on pgx's stdlib driver.
package pgretrysql

import (
	"context"
	"database/sql"
	"errors"
	"runtime"
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
// first error. fn must neither commit nor roll back.
func Do(ctx context.Context, db *sql.DB, fn func(ctx context.Context, tx *sql.Tx) error, opts ...pgretry.Option) error {
	a := &adapter{db: db, fn: fn}
	return pgretry.Do(ctx, a, func(ctx context.Context, _ pgx.Tx) error { return fn(ctx, a.tx.sql) }, opts...)
}

// Using is [Do] on a Runner.
func Using(ctx context.Context, r *pgretry.Runner, db *sql.DB, fn func(ctx context.Context, tx *sql.Tx) error, opts ...pgretry.Option) error {
	a := &adapter{db: db, fn: fn}
	return r.Do(ctx, a, func(ctx context.Context, _ pgx.Tx) error { return fn(ctx, a.tx.sql) }, opts...)
}

// adapter is the DB of one call. Its transactions follow each other.
type adapter struct {
	db *sql.DB
	fn func(ctx context.Context, tx *sql.Tx) error
	tx *tx
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
	conn, err := a.db.Conn(context.Background())
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
	if t.driver, err = driverOf(conn); err == nil {
		// The transaction belongs to pgretry, which rolls back after ctx has ended.
		t.sql, err = conn.BeginTx(context.WithoutCancel(ctx), &sql.TxOptions{
			Isolation: isolation[opts.IsoLevel], ReadOnly: opts.AccessMode == pgx.ReadOnly,
		})
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	a.tx = t
	return t, nil
}

// tx is a *sql.Tx that pgretry commits and rolls back. pgretry's own statements go to the driver's connection; the
// methods of pgx.Tx that it does not need are absent.
type tx struct {
	pgx.Tx
	conn        *sql.Conn
	driver      *pgx.Conn
	sql         *sql.Tx
	commitQuery string
}

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

// Commit commits, with the marker if there is one; the *sql.Tx then only needs to be told that it is over.
func (t *tx) Commit(ctx context.Context) error {
	defer t.conn.Close()
	query := t.commitQuery
	if query == "" {
		query = "commit"
	}
	tag, err := t.driver.Exec(ctx, query)
	_ = t.sql.Rollback()
	if err == nil && tag.String() == "ROLLBACK" {
		return pgx.ErrTxCommitRollback
	}
	return err
}

// Rollback rolls back.
func (t *tx) Rollback(context.Context) error {
	defer t.conn.Close()
	return t.sql.Rollback()
}
