package pgretry_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/internal/pgtest"
)

// TestClosureEndsOddly is about closures that do not return as they should, or leave something behind.
func TestClosureEndsOddly(t *testing.T) {
	t.Parallel()
	t.Run("EndsItsGoroutine", func(t *testing.T) {
		t.Parallel()
		pool, before := counters(t, 1), pgretry.New(pgretry.WithKey("row"))
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = before.Do(context.Background(), pool, func(ctx context.Context, tx pgx.Tx) error {
				_ = increment(ctx, tx, 1)
				runtime.Goexit() // as a test's FailNow does
				return nil
			})
		}()
		<-done
		require.Zero(t, pool.Stat().AcquiredConns())
		require.Zero(t, value(t, pool, 1))
		// The key is free again.
		require.NoError(t, before.Do(t.Context(), pool, add))
	})
	t.Run("LeavesNothingThatLooksForBlockersAfterAPanic", func(t *testing.T) {
		t.Parallel()
		pool := counters(t, 1)
		holder := lock(t, pool, `update counter set n = 7`)
		defer func() { require.NoError(t, holder.Rollback(context.Background())) }()
		ctx, cancel := context.WithCancel(t.Context())
		blocked := &onNotice{f: func(pgretry.Notice) { cancel() }}
		require.Panics(t, func() {
			_ = pgretry.Do(ctx, pool, func(ctx context.Context, tx pgx.Tx) error {
				_ = increment(ctx, tx, 1) // until the watch has seen what blocks it
				panic("oh")
			}, pgretry.WithObserver(blocked), func(p *pgretry.Policy) { p.WatchAfter = time.Millisecond })
		})
		eventually(t, func() bool { return pool.Stat().AcquiredConns() == 1 }) // holder's
	})
	t.Run("KeepsItsTx", func(t *testing.T) {
		t.Parallel()
		pool := counters(t, 1)
		var kept, savepoint pgx.Tx
		require.NoError(t, pgretry.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) (err error) {
			kept = tx
			savepoint, err = tx.Begin(ctx)
			return errors.Join(err, increment(ctx, tx, 1))
		}))
		for _, tx := range []pgx.Tx{kept, savepoint} {
			_, err := tx.Exec(t.Context(), `update counter set n = 100`)
			require.ErrorIs(t, err, pgx.ErrTxClosed)
			_, err = tx.Query(t.Context(), `select 1`)
			require.ErrorIs(t, err, pgx.ErrTxClosed)
			require.ErrorIs(t, tx.QueryRow(t.Context(), `select 1`).Scan(), pgx.ErrTxClosed)
			require.ErrorIs(t, tx.Commit(t.Context()), pgx.ErrTxClosed)
			require.ErrorIs(t, tx.Rollback(t.Context()), pgx.ErrTxClosed)
			_, err = tx.Begin(t.Context())
			require.ErrorIs(t, err, pgx.ErrTxClosed)
			_, err = tx.Prepare(t.Context(), "", `select 1`)
			require.ErrorIs(t, err, pgx.ErrTxClosed)
			_, err = tx.CopyFrom(t.Context(), pgx.Identifier{"counter"}, []string{"id"}, pgx.CopyFromRows(nil))
			require.ErrorIs(t, err, pgx.ErrTxClosed)
			batch := &pgx.Batch{}
			batch.Queue(`select 1`)
			require.ErrorIs(t, tx.SendBatch(t.Context(), batch).Close(), pgx.ErrTxClosed)
		}
		require.Equal(t, 1, value(t, pool, 1))
	})
	t.Run("LeavesRowsOpen", func(t *testing.T) {
		t.Parallel()
		pool, runs := counters(t, 3), 0
		err := pgretry.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
			runs++
			_, err := tx.Query(ctx, `select id from counter`)
			return err
		})
		require.ErrorContains(t, err, "close its rows")
		require.NotErrorIs(t, err, pgretry.ErrCommitUnknown)
		require.Equal(t, 1, runs)
		eventually(t, func() bool { return pool.Stat().AcquiredConns() == 0 })
	})
}

// TestClosureAndItsErrors is about closures that hide what happened.
func TestClosureAndItsErrors(t *testing.T) {
	t.Parallel()
	t.Run("SwallowsAConflictBehindASavepoint", func(t *testing.T) {
		t.Parallel()
		pool, runs := counters(t, 2), 0
		err := pgretry.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
			runs++
			_, _ = tx.Exec(ctx, `update counter set n = n + 1 where id = 2`)
			if runs == 1 {
				rival(t, pool)
			}
			_ = pgx.BeginFunc(ctx, tx, func(sp pgx.Tx) error {
				_, err := sp.Exec(ctx, `update counter set n = n + 1 where id = 1`)
				return err
			})
			return nil // without a retry, row 2 would be written and row 1 not
		})
		require.NoError(t, err)
		require.Equal(t, 2, runs)
		require.Equal(t, 2, value(t, pool, 1))
		require.Equal(t, 1, value(t, pool, 2))
	})
	t.Run("UsesAnotherDatabaseInside", func(t *testing.T) {
		t.Parallel()
		pool := counters(t, 1)
		other := anotherDatabase(t, pool)
		require.NoError(t, pgretry.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
			return pgretry.Do(ctx, other, func(ctx context.Context, _ pgx.Tx) error {
				// And back into the first, which is refused.
				err := pgretry.Do(ctx, pool, nothing)
				require.ErrorIs(t, err, pgretry.ErrNested)
				return nil
			})
		}))
	})
	t.Run("KeepsWhatItsErrorSaid", func(t *testing.T) {
		t.Parallel()
		pool := counters(t, 1)
		err := pgretry.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `insert into counter values (1, 0)`)
			return err
		})
		e, ok := errors.AsType[*pgconn.PgError](err)
		require.True(t, ok)
		require.Equal(t, "counter_pkey", e.ConstraintName)
	})
}

// anotherDatabase returns a pool on a new database of the pool's server.
func anotherDatabase(t *testing.T, pool *pgxpool.Pool) *pgxpool.Pool {
	t.Helper()
	var name string
	require.NoError(t, pool.QueryRow(t.Context(), `select 'other_' || replace(gen_random_uuid()::text, '-', '')`).Scan(&name))
	pgtest.Exec(t, pool, `create database `+name)
	t.Cleanup(func() { pgtest.Exec(t, pool, `drop database `+name) })
	config := pool.Config()
	config.ConnConfig.Database = name
	return pgtest.Connect(t, config)
}
