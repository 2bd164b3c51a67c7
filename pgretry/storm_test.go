package pgretry_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/internal/pgtest"
)

func TestDeadlockStorm(t *testing.T) {
	t.Parallel()
	// begin starts a transaction of the name that runs a statement, and returns once it has run for long.
	begin := func(t *testing.T, runner *pgretry.Runner, db pgretry.DB, pool *pgxpool.Pool, sql string, seen *recorded, opts ...pgretry.Option) (done chan error) {
		t.Helper()
		done = make(chan error, 1)
		go func() {
			done <- runner.Do(context.Background(), db, func(ctx context.Context, tx pgx.Tx) error {
				_, err := tx.Exec(ctx, sql)
				return err
			}, append(opts, pgretry.WithObserver(seen), pgretry.WithIsolation(pgx.ReadCommitted))...)
		}()
		eventually(t, func() (long bool) {
			err := pool.QueryRow(t.Context(), `select exists (select from pg_stat_activity
				where query = $1 and clock_timestamp() - xact_start > '600ms')`, sql).Scan(&long)
			return err == nil && long
		})
		return done
	}
	// rage lets deadlocks come in numbers.
	rage := func(t *testing.T, runner *pgretry.Runner, pool *pgxpool.Pool) {
		t.Helper()
		for range 2 {
			require.ErrorIs(t, runner.Do(t.Context(), pool, failing(1, "40P01", succeed), pgretry.WithMaxAttempts(1)), pgretry.ErrExhausted)
		}
	}
	gaveWay := func(seen *recorded) bool {
		seen.mu.Lock()
		defer seen.mu.Unlock()
		return len(seen.attempts) > 0 && strings.Contains(seen.attempts[0].Err.Error(), "gave way")
	}
	t.Run("EndsThoseThatWaitForALock", func(t *testing.T) {
		t.Parallel()
		pool, runner, seen := counters(t, 1), pgretry.New(pgretry.WithName("storm")), &recorded{}
		holder := lock(t, pool, `update counter set n = 7`)
		done := begin(t, runner, pool, pool, `update counter set n = n + 1 -- `+t.Name(), seen)
		rage(t, runner, pool)
		eventually(t, func() bool { return gaveWay(seen) })
		require.NoError(t, holder.Rollback(t.Context()))
		require.NoError(t, <-done)
		require.Equal(t, 1, value(t, pool, 1))
	})
	t.Run("LeavesThoseOfAnotherNameAlone", func(t *testing.T) {
		t.Parallel()
		pool, runner, seen := counters(t, 1), pgretry.New(pgretry.WithName("storm")), &recorded{}
		holder := lock(t, pool, `update counter set n = 7`)
		done := begin(t, runner, pool, pool, `update counter set n = n + 1 -- `+t.Name(), seen, pgretry.WithName("another"))
		rage(t, runner, pool)
		require.NoError(t, holder.Rollback(t.Context()))
		require.NoError(t, <-done)
		require.Empty(t, seen.attempts)
	})
	t.Run("LeavesASingleConnectionAlone", func(t *testing.T) { // which nothing could replace
		t.Parallel()
		pool, runner, seen := counters(t, 1), pgretry.New(pgretry.WithName("storm")), &recorded{}
		holder := lock(t, pool, `update counter set n = 7`)
		conn, err := pool.Acquire(t.Context())
		require.NoError(t, err)
		defer conn.Release()
		done := begin(t, runner, conn, pool, `update counter set n = n + 1 -- `+t.Name(), seen)
		rage(t, runner, pool)
		require.NoError(t, holder.Rollback(t.Context()))
		require.NoError(t, <-done)
		require.Empty(t, seen.attempts)
	})
	t.Run("LeavesBystandersAlone", func(t *testing.T) {
		t.Parallel()
		pool, runner, seen := counters(t, 1), pgretry.New(pgretry.WithName("storm")), &recorded{}
		long := `do $$ begin loop exit when exists (select from counter where n > 0); perform pg_sleep(0.01); end loop; end $$`
		done := begin(t, runner, pool, pool, long, seen) // works until row 1 changes, and waits for nobody
		rage(t, runner, pool)
		pgtest.Exec(t, pool, `update counter set n = 1`)
		require.NoError(t, <-done)
		require.Empty(t, seen.attempts)
	})
}
