// Package pgretrytest helps to test code that uses pgretry: it forces errors at chosen attempts, and lets two real
// transactions meet.
package pgretrytest

import (
	"context"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/concord-home/concord/pgretry"
)

// Where is the part of an attempt that fails.
type Where int

// The parts of an attempt.
const (
	// AtStatement fails the first statement of the closure; the server aborts the transaction.
	AtStatement Where = iota
	// AtBegin fails before a transaction begins.
	AtBegin
	// AtCommit fails the COMMIT; the transaction rolls back.
	AtCommit
)

// Force is a DB that fails chosen attempts. Attempts count from 1, over all calls on it.
type Force struct {
	db pgretry.DB

	mu    sync.Mutex
	count int
	plan  map[int]failure
}

type failure struct {
	sqlstate string
	where    Where
}

// NewForce returns a DB that works as db until told to fail.
func NewForce(db pgretry.DB) *Force { return &Force{db: db, plan: map[int]failure{}} }

// Fail makes the given attempt fail with an SQLSTATE. The server itself raises the error, so that the transaction and
// the connection are in the state that a real one leaves. Fail returns f, for chaining.
func (f *Force) Fail(attempt int, sqlstate string, where Where) *Force {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plan[attempt] = failure{sqlstate, where}
	return f
}

// Attempts returns how many attempts began.
func (f *Force) Attempts() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

// Unwrap returns the DB below.
func (f *Force) Unwrap() pgretry.DB { return f.db }

// BeginTx begins the next attempt.
func (f *Force) BeginTx(ctx context.Context, opts pgx.TxOptions) (pgx.Tx, error) {
	f.mu.Lock()
	f.count++
	planned, fails := f.plan[f.count]
	f.mu.Unlock()
	tx, err := f.db.BeginTx(ctx, opts)
	if err != nil || !fails {
		return tx, err
	}
	forced := &forcedTx{Tx: tx, failure: planned}
	if planned.where == AtBegin {
		err := forced.raise(ctx)
		_ = tx.Rollback(ctx)
		return nil, err
	}
	return forced, nil
}

// forcedTx fails once, at its first statement or at its COMMIT.
type forcedTx struct {
	pgx.Tx
	failure
	done bool
}

// raise makes the server raise the planned error.
func (t *forcedTx) raise(ctx context.Context) error {
	t.done = true
	_, err := t.Tx.Exec(ctx, fmt.Sprintf(`do $$ begin raise exception 'forced by a test' using errcode = '%s'; end $$`, t.sqlstate))
	return err
}

func (t *forcedTx) fails() bool { return t.where == AtStatement && !t.done }

// Exec fails if it is the first statement.
func (t *forcedTx) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if t.fails() {
		return pgconn.CommandTag{}, t.raise(ctx)
	}
	return t.Tx.Exec(ctx, sql, args...)
}

// Query fails if it is the first statement.
func (t *forcedTx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if t.fails() {
		rows := failedRows{err: t.raise(ctx)}
		return rows, rows.err
	}
	return t.Tx.Query(ctx, sql, args...)
}

// QueryRow fails if it is the first statement.
func (t *forcedTx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if t.fails() {
		return failedRow{t.raise(ctx)}
	}
	return t.Tx.QueryRow(ctx, sql, args...)
}

// SendBatch fails if it is the first statement.
func (t *forcedTx) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	if t.fails() {
		return failedResults{t.raise(ctx)}
	}
	return t.Tx.SendBatch(ctx, b)
}

// CopyFrom fails if it is the first statement.
func (t *forcedTx) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, src pgx.CopyFromSource) (int64, error) {
	if t.fails() {
		return 0, t.raise(ctx)
	}
	return t.Tx.CopyFrom(ctx, table, columns, src)
}

// Begin begins a savepoint, whose first statement fails if none came before.
func (t *forcedTx) Begin(ctx context.Context) (pgx.Tx, error) {
	savepoint, err := t.Tx.Begin(ctx)
	if err != nil || !t.fails() {
		return savepoint, err
	}
	t.done = true
	return &forcedTx{Tx: savepoint, failure: t.failure}, nil
}

// Commit fails if that was planned.
func (t *forcedTx) Commit(ctx context.Context) error {
	if t.where != AtCommit {
		return t.Tx.Commit(ctx)
	}
	err := t.raise(ctx)
	_ = t.Tx.Rollback(ctx)
	return err
}

type failedRow struct{ err error }

func (r failedRow) Scan(...any) error { return r.err }

// failedRows are what a failed query returns. pgx lets a caller look at their error alone.
type failedRows struct {
	pgx.Rows
	err error
}

func (r failedRows) Next() bool                    { return false }
func (r failedRows) Scan(...any) error             { return r.err }
func (r failedRows) Values() ([]any, error)        { return nil, r.err }
func (r failedRows) Err() error                    { return r.err }
func (r failedRows) Close()                        {}
func (r failedRows) CommandTag() pgconn.CommandTag { return pgconn.CommandTag{} }

type failedResults struct{ err error }

func (r failedResults) Exec() (pgconn.CommandTag, error) { return pgconn.CommandTag{}, r.err }
func (r failedResults) Query() (pgx.Rows, error)         { return failedRows{err: r.err}, r.err }
func (r failedResults) QueryRow() pgx.Row                { return failedRow(r) }
func (r failedResults) Close() error                     { return r.err }
func (r failedResults) Tx() pgx.Tx                       { return nil }
