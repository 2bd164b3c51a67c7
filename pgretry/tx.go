package pgretry

import (
	"context"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// recorder keeps the error that decides about a transaction, whatever the closure does with it: the one that aborted
// it, unless a rollback to a savepoint has healed that. Nothing heals 40001: the snapshot stays, and what the failed
// statement should have written is missing.
type recorder struct {
	tx       pgx.Tx
	conn     *pgx.Conn
	first    error
	sql      string      // the statement that failed first, else the latest
	over     atomic.Bool // the closure has returned: its tx must not touch the connection any more
	finished bool        // the closure tried to end the transaction by SQL
	notifies bool        // a statement may have sent a notification
}

// sends notes the statement about to run, and refuses one that would end the transaction.
func (r *recorder) sends(sql string) error {
	switch {
	case r.over.Load():
		return pgx.ErrTxClosed
	case endsTransaction(sql):
		r.finished = true
		return ErrFinishedByClosure
	}
	if r.first == nil {
		r.sql = sql
	}
	r.notifies = r.notifies || mentionsNotify(sql)
	return nil
}

func (r *recorder) note(err error) {
	switch {
	case r.over.Load():
	case err == nil:
		if r.first != nil && sqlstateOf(r.first) != serializationFailure && !r.aborted() {
			r.first = nil
		}
	case r.first == nil && (r.aborted() || r.conn.IsClosed()):
		r.first = err
	}
}

func (r *recorder) aborted() bool { return r.conn.PgConn().TxStatus() == transactionStatusFail }

// recordingTx is what a closure gets: a transaction, or a savepoint in it, whose errors are kept.
type recordingTx struct {
	pgx.Tx
	rec       *recorder
	savepoint bool
}

func (t *recordingTx) Begin(ctx context.Context) (pgx.Tx, error) {
	if t.rec.over.Load() {
		return nil, pgx.ErrTxClosed
	}
	inner, err := t.Tx.Begin(ctx)
	t.rec.note(err)
	if err != nil {
		return nil, err
	}
	return &recordingTx{Tx: inner, rec: t.rec, savepoint: true}, nil
}

func (t *recordingTx) Commit(ctx context.Context) error {
	switch {
	case t.rec.over.Load():
		return pgx.ErrTxClosed
	case !t.savepoint:
		return ErrFinishedByClosure
	}
	err := t.Tx.Commit(ctx)
	t.rec.note(err)
	return err
}

func (t *recordingTx) Rollback(ctx context.Context) error {
	switch {
	case t.rec.over.Load():
		return pgx.ErrTxClosed
	case !t.savepoint:
		return ErrFinishedByClosure
	}
	err := t.Tx.Rollback(ctx)
	t.rec.note(err)
	return err
}

func (t *recordingTx) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if err := t.rec.sends(sql); err != nil {
		return pgconn.CommandTag{}, err
	}
	tag, err := t.Tx.Exec(ctx, sql, args...)
	t.rec.note(err)
	return tag, err
}

func (t *recordingTx) Prepare(ctx context.Context, name, sql string) (*pgconn.StatementDescription, error) {
	if err := t.rec.sends(sql); err != nil {
		return nil, err
	}
	sd, err := t.Tx.Prepare(ctx, name, sql)
	t.rec.note(err)
	return sd, err
}

func (t *recordingTx) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, src pgx.CopyFromSource) (int64, error) {
	if t.rec.over.Load() {
		return 0, pgx.ErrTxClosed
	}
	n, err := t.Tx.CopyFrom(ctx, table, columns, src)
	t.rec.note(err)
	return n, err
}

func (t *recordingTx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if err := t.rec.sends(sql); err != nil {
		return refusedRows{err: err}, err
	}
	rows, err := t.Tx.Query(ctx, sql, args...)
	if err != nil {
		t.rec.note(err)
		return rows, err
	}
	return &recordingRows{Rows: rows, rec: t.rec}, nil
}

func (t *recordingTx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if err := t.rec.sends(sql); err != nil {
		return refusedRow{err}
	}
	return recordingRow{row: t.Tx.QueryRow(ctx, sql, args...), rec: t.rec}
}

func (t *recordingTx) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	if t.rec.over.Load() {
		return refusedResults{pgx.ErrTxClosed}
	}
	for i := len(b.QueuedQueries) - 1; i >= 0; i-- { // the first is the one noted
		if err := t.rec.sends(b.QueuedQueries[i].SQL); err != nil {
			return refusedResults{err}
		}
	}
	return recordingResults{BatchResults: t.Tx.SendBatch(ctx, b), rec: t.rec}
}

// refusedRow is a row of a statement that was not sent.
type refusedRow struct{ err error }

func (r refusedRow) Scan(...any) error { return r.err }

// refusedRows are those of a query that was not sent. pgx lets a caller look at their error alone.
type refusedRows struct {
	pgx.Rows
	err error
}

func (r refusedRows) Next() bool                    { return false }
func (r refusedRows) Scan(...any) error             { return r.err }
func (r refusedRows) Values() ([]any, error)        { return nil, r.err }
func (r refusedRows) Err() error                    { return r.err }
func (r refusedRows) Close()                        {}
func (r refusedRows) CommandTag() pgconn.CommandTag { return pgconn.CommandTag{} }

// refusedResults are those of a batch that was not sent.
type refusedResults struct{ err error }

func (r refusedResults) Exec() (pgconn.CommandTag, error) { return pgconn.CommandTag{}, r.err }
func (r refusedResults) Query() (pgx.Rows, error)         { return refusedRows{err: r.err}, r.err }
func (r refusedResults) QueryRow() pgx.Row                { return refusedRow(r) }
func (r refusedResults) Close() error                     { return r.err }
func (r refusedResults) Tx() pgx.Tx                       { return nil }

type recordingRow struct {
	row pgx.Row
	rec *recorder
}

func (r recordingRow) Scan(dest ...any) error {
	err := r.row.Scan(dest...)
	r.rec.note(err)
	return err
}

type recordingRows struct {
	pgx.Rows
	rec *recorder
}

func (r *recordingRows) Next() bool {
	more := r.Rows.Next()
	if !more {
		r.rec.note(r.Rows.Err())
	}
	return more
}

func (r *recordingRows) Close() {
	r.Rows.Close()
	r.rec.note(r.Rows.Err())
}

type recordingResults struct {
	pgx.BatchResults
	rec *recorder
}

func (r recordingResults) Exec() (pgconn.CommandTag, error) {
	tag, err := r.BatchResults.Exec()
	r.rec.note(err)
	return tag, err
}

func (r recordingResults) Query() (pgx.Rows, error) {
	rows, err := r.BatchResults.Query()
	if err != nil {
		r.rec.note(err)
		return rows, err
	}
	return &recordingRows{Rows: rows, rec: r.rec}, nil
}

func (r recordingResults) QueryRow() pgx.Row {
	return recordingRow{row: r.BatchResults.QueryRow(), rec: r.rec}
}

func (r recordingResults) Close() error {
	err := r.BatchResults.Close()
	r.rec.note(err)
	return err
}
