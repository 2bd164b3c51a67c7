package pgretry

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// begin begins a transaction. A pool's connection is held, to be released by the caller: a pgxpool.Tx would release it
// inside Commit.
func begin(ctx context.Context, db DB, opts pgx.TxOptions) (tx pgx.Tx, held *pgxpool.Conn, err error) {
	pool, ok := db.(*pgxpool.Pool)
	if !ok {
		tx, err = db.BeginTx(ctx, opts)
		return tx, nil, err
	}
	if held, err = pool.Acquire(ctx); err != nil {
		return nil, nil, err
	}
	if tx, err = held.BeginTx(ctx, opts); err != nil {
		held.Release()
		return nil, nil, err
	}
	return tx, held, nil
}
