package pgretry

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// recorder keeps the error that aborted a transaction, whatever the closure does with it. An error that a rollback to
// a savepoint has healed is forgotten.
type recorder struct {
	conn  *pgx.Conn
	first error
	sql   string // the statement that failed first, else the latest
}

// sends notes the statement about to run.
func (r *recorder) sends(sql string) {
	if r.first == nil {
		r.sql = sql
	}
}

func (r *recorder) note(err error) {
	switch {
	case err == nil:
		if r.first != nil && !r.aborted() {
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
	inner, err := t.Tx.Begin(ctx)
	t.rec.note(err)
	if err != nil {
		return nil, err
	}
	return &recordingTx{Tx: inner, rec: t.rec, savepoint: true}, nil
}

func (t *recordingTx) Commit(ctx context.Context) error {
	if !t.savepoint {
		return ErrFinishedByClosure
	}
	err := t.Tx.Commit(ctx)
	t.rec.note(err)
	return err
}

func (t *recordingTx) Rollback(ctx context.Context) error {
	if !t.savepoint {
		return ErrFinishedByClosure
	}
	err := t.Tx.Rollback(ctx)
	t.rec.note(err)
	return err
}

func (t *recordingTx) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	t.rec.sends(sql)
	tag, err := t.Tx.Exec(ctx, sql, args...)
	t.rec.note(err)
	return tag, err
}

func (t *recordingTx) Prepare(ctx context.Context, name, sql string) (*pgconn.StatementDescription, error) {
	sd, err := t.Tx.Prepare(ctx, name, sql)
	t.rec.note(err)
	return sd, err
}

func (t *recordingTx) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, src pgx.CopyFromSource) (int64, error) {
	n, err := t.Tx.CopyFrom(ctx, table, columns, src)
	t.rec.note(err)
	return n, err
}

func (t *recordingTx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	t.rec.sends(sql)
	rows, err := t.Tx.Query(ctx, sql, args...)
	if err != nil {
		t.rec.note(err)
		return rows, err
	}
	return &recordingRows{Rows: rows, rec: t.rec}, nil
}

func (t *recordingTx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	t.rec.sends(sql)
	return recordingRow{row: t.Tx.QueryRow(ctx, sql, args...), rec: t.rec}
}

func (t *recordingTx) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	return recordingResults{BatchResults: t.Tx.SendBatch(ctx, b), rec: t.rec}
}

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
