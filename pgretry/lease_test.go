package pgretry_test

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/internal/pgtest"
)

// counting is a pool whose BeginTx does more than the pool's. It cannot be compared.
type counting struct {
	*pgxpool.Pool
	begun *atomic.Int64
	_     []func()
}

func (c counting) BeginTx(ctx context.Context, opts pgx.TxOptions) (pgx.Tx, error) {
	c.begun.Add(1)
	return c.Pool.BeginTx(ctx, opts)
}

// TestLockAcrossProcessesSkipsNoBeginTx has conflicts from outside on a wrapper of a pool.
func TestLockAcrossProcessesSkipsNoBeginTx(t *testing.T) {
	t.Parallel()
	pool := counting{Pool: pgtest.Pool(t, 4), begun: &atomic.Int64{}}
	runner := pgretry.New(pgretry.WithKey(t.Name()), pgretry.WithBackoff(1, 1), pgretry.WithoutMarker())
	const runs = 6
	for range 2 {
		require.NoError(t, runner.Do(t.Context(), pool, failing(runs-1, "40001", succeed)))
	}
	require.EqualValues(t, 2*runs, pool.begun.Load())
}

// TestLockOfAnotherPool has pools of one role that prepare their sessions differently take turns at one key.
func TestLockOfAnotherPool(t *testing.T) {
	t.Parallel()
	var pools [2]*pgxpool.Pool
	for i := range pools {
		config := pgtest.Config(t, pgtest.URL(t))
		config.ConnConfig.RuntimeParams["search_path"] = "public"
		config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, `set my.pool = `+strconv.Itoa(i))
			return err
		}
		pools[i] = pgtest.Connect(t, config)
	}
	runner, seen := pgretry.New(pgretry.WithKey(t.Name()), pgretry.WithBackoff(1, 1)), &recorded{}
	var wg sync.WaitGroup
	errs, got := make([]error, 40), make([]int, 40)
	for i := range errs {
		wg.Go(func() {
			runs := 0
			errs[i] = runner.Do(t.Context(), pools[i%2], func(ctx context.Context, tx pgx.Tx) error {
				if runs++; runs == 1 {
					_, err := tx.Exec(ctx, raise("40001"))
					return err
				}
				return tx.QueryRow(ctx, `select current_setting('my.pool')::int`).Scan(&got[i])
			}, pgretry.WithObserver(seen))
		})
	}
	wg.Wait()
	noErrors(t, errs)
	require.True(t, seen.noticed(pgretry.NoticeLocked))
	for i, pool := range got {
		require.Equal(t, i%2, pool, "call %d ran in the session of another pool", i)
	}
}

// TestReserveIsKeptFromTheLockToo has a call that needs the lock across processes while no seat is free.
func TestReserveIsKeptFromTheLockToo(t *testing.T) {
	t.Parallel()
	pool, seen := pgtest.Pool(t, 2), &recorded{}
	runner := pgretry.New(pgretry.WithReserve(1), pgretry.WithBackoff(1, 1), pgretry.WithObserver(seen))
	require.NoError(t, runner.Do(t.Context(), pool, failing(3, "40001", succeed), pgretry.WithKey(t.Name())))
	require.True(t, seen.noticed(pgretry.NoticeLocked))
	leave := stay(t, runner, pool)
	defer leave()
	require.True(t, keptOut(t, runner, pool, pgretry.WithKey(t.Name())))
	leave()
	require.False(t, keptOut(t, runner, pool, pgretry.WithKey(t.Name())))
}

// TestLockThatRivalsIgnoreIsLeft has conflicts go on under the lock: whoever makes them does not take it.
func TestLockThatRivalsIgnoreIsLeft(t *testing.T) {
	t.Parallel()
	pool, held := pgtest.Pool(t, 2), []bool(nil)
	require.NoError(t, pgretry.New(pgretry.WithKey(t.Name())).Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
		var locked bool
		err := tx.QueryRow(ctx, `select exists (select from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())`).Scan(&locked)
		if held = append(held, locked); err != nil || len(held) == 60 {
			return err
		}
		_, err = tx.Exec(ctx, raise("40001"))
		return err
	}, pgretry.WithBackoff(1, 1), pgretry.WithMaxAttempts(-1)))
	count := func(held []bool) (n int) {
		for _, locked := range held {
			if locked {
				n++
			}
		}
		return n
	}
	require.Equal(t, 32, count(held[:34])) // after two conflicts, for a trial
	require.Less(t, count(held[34:]), 13)  // of 26: none, unless the machine sleeps
}

// TestLockNotGotInTime has a call wait in vain for the lock that another process holds, whatever limit its statements have:
// it gives its seat back.
func TestLockNotGotInTime(t *testing.T) {
	t.Parallel()
	for _, limit := range []string{"lock_timeout", "statement_timeout"} {
		t.Run(limit, func(t *testing.T) {
			t.Parallel()
			config, key := pgtest.Config(t, pgtest.URL(t)), pgretry.WithKey(t.Name())
			config.ConnConfig.RuntimeParams[limit] = "100" // milliseconds
			pool := pgtest.Connect(t, config)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			locked, done := make(chan struct{}), make(chan error, 1)
			free, leave := context.WithCancel(ctx)
			defer leave()
			go func() {
				done <- pgretry.New(key, pgretry.WithBackoff(1, 1)).Do(ctx, pool, failing(2, "40001", func() error { close(locked); <-free.Done(); return nil }))
			}()
			<-locked
			runner := pgretry.New(pgretry.WithReserve(int(config.MaxConns)-1), pgretry.WithBackoff(1, 1))
			seen := &recorded{}
			err := runner.Do(ctx, pool, failing(2, "40001", succeed), key, pgretry.WithMaxElapsed(time.Second), pgretry.WithObserver(seen))
			require.ErrorIs(t, err, pgretry.ErrExhausted)
			require.Greater(t, seen.outcomes[0].Queued, seen.outcomes[0].Elapsed/10)
			require.ErrorContains(t, err, "waited too long for its turn")
			require.NoError(t, runner.Do(ctx, pool, failing(0, "", succeed)))
			leave()
			require.NoError(t, <-done)
		})
	}
}
