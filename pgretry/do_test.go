package pgretry_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/internal/pgtest"
)

func TestDo(t *testing.T) {
	t.Parallel()
	t.Run("RetriesAfterAConflictWithANewSnapshot", func(t *testing.T) {
		t.Parallel()
		pool, runs := counters(t, 1), 0
		err := pgretry.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
			runs++
			var n int
			if err := tx.QueryRow(ctx, `select n from counter where id = 1`).Scan(&n); err != nil {
				return err
			}
			if runs == 1 {
				rival(t, pool)
			}
			_, err := tx.Exec(ctx, `update counter set n = $1 where id = 1`, n+1)
			return err
		})
		require.NoError(t, err)
		require.Equal(t, 2, runs)
		require.Equal(t, 2, value(t, pool, 1))
	})
	t.Run("JudgesASwallowedErrorByTheFirstOne", func(t *testing.T) {
		t.Parallel()
		for name, end := range map[string]func(error) error{
			"AndTheClosureReturnsNil":   func(error) error { return nil },
			"AndTheClosureReturns25P02": func(err error) error { return err },
			"AndTheClosureMakesItsOwn":  func(error) error { return errors.New("sorry") },
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				pool, runs := counters(t, 1), 0
				err := pgretry.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
					runs++
					_, _ = tx.Exec(ctx, `select 1`)
					if runs == 1 {
						rival(t, pool)
					}
					_, _ = tx.Exec(ctx, `update counter set n = n + 1 where id = 1`)
					if _, err := tx.Exec(ctx, `select 1`); err != nil {
						require.Equal(t, "25P02", pgretry.SQLSTATE(err))
						return end(err)
					}
					return nil
				})
				require.NoError(t, err)
				require.Equal(t, 2, runs)
				require.Equal(t, 2, value(t, pool, 1))
			})
		}
	})
	t.Run("RetriesAFailedCommit", func(t *testing.T) {
		t.Parallel()
		pool, runs := counters(t, 2), 0
		crossing := func(ctx context.Context, tx pgx.Tx, from, to int) error {
			var n int
			if err := tx.QueryRow(ctx, `select n from counter where id = $1`, from).Scan(&n); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `update counter set n = n + 1 where id = $1`, to)
			return err
		}
		err := pgretry.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
			runs++
			if err := crossing(ctx, tx, 1, 2); err != nil || runs > 1 {
				return err
			}
			return pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.Serializable}, func(other pgx.Tx) error {
				return crossing(ctx, other, 2, 1)
			})
		}, pgretry.WithIsolation(pgx.Serializable))
		require.NoError(t, err)
		require.Equal(t, 2, runs)
	})
	t.Run("ReturnsAnErrorOfTheClosureUnchanged", func(t *testing.T) {
		t.Parallel()
		pool, mine := counters(t, 1), errors.New("mine")
		err := pgretry.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
			require.NoError(t, increment(ctx, tx, 1))
			return mine
		})
		require.Equal(t, mine, err)
		require.Zero(t, value(t, pool, 1))
	})
	t.Run("DoesNotRetryWhatWillFailAgain", func(t *testing.T) {
		t.Parallel()
		pool, runs, translated := counters(t, 1), 0, errors.New("name taken")
		err := pgretry.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
			runs++
			if _, err := tx.Exec(ctx, `insert into counter values (1, 0)`); err != nil {
				return translated
			}
			return nil
		}, pgretry.WithName("add counter"))
		require.ErrorIs(t, err, translated)
		require.ErrorContains(t, err, "add counter")
		require.Equal(t, "23505", pgretry.SQLSTATE(err))
		require.Equal(t, 1, runs)
	})
	t.Run("GivesUpAfterMaxAttempts", func(t *testing.T) {
		t.Parallel()
		pool, runs := counters(t, 1), 0
		err := pgretry.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
			runs++
			_, err := tx.Exec(ctx, raise("40001"))
			return err
		}, pgretry.WithMaxAttempts(3))
		var e *pgretry.Error
		require.ErrorAs(t, err, &e)
		require.ErrorIs(t, err, pgretry.ErrExhausted)
		require.Equal(t, "40001", e.SQLSTATE)
		require.Equal(t, 3, e.Attempts)
		require.Equal(t, 3, runs)
		require.Len(t, e.History, 3)
	})
	t.Run("KeepsBothEndsOfALongHistory", func(t *testing.T) {
		t.Parallel()
		err := pgretry.New().Do(t.Context(), pgtest.Pool(t, 2), failing(50, "40001", succeed), pgretry.WithBackoff(1, 1), pgretry.WithMaxAttempts(50))
		var e *pgretry.Error
		require.ErrorAs(t, err, &e)
		require.Len(t, e.History, 40)
		for i, a := range e.History {
			require.Equal(t, 1+i+i/20*10, a.Number)
		}
	})
	t.Run("RefusesANestedCall", func(t *testing.T) {
		t.Parallel()
		pool := counters(t, 1)
		conn, err := pgx.ConnectConfig(t.Context(), pool.Config().ConnConfig)
		require.NoError(t, err)
		defer func() { require.NoError(t, conn.Close(context.Background())) }()
		config := pool.Config()
		require.Equal(t, "127.0.0.1", config.ConnConfig.Host)
		config.ConnConfig.Host = "localhost"
		alias := pgtest.Connect(t, config)
		embedding := struct{ *pgxpool.Pool }{pool}
		for name, inner := range map[string]pgretry.DB{"pool": pool, "conn": conn, "alias": alias, "embedding": embedding} {
			err := pgretry.Do(t.Context(), pool, func(ctx context.Context, _ pgx.Tx) error {
				return pgretry.Do(ctx, inner, add)
			})
			require.ErrorIs(t, err, pgretry.ErrNested, name)
		}
		require.Zero(t, value(t, pool, 1))
	})
	t.Run("IgnoresCommitAndRollbackByTheClosure", func(t *testing.T) {
		t.Parallel()
		pool := counters(t, 1)
		require.NoError(t, pgretry.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
			defer func() { _ = tx.Rollback(ctx) }()
			require.ErrorIs(t, tx.Commit(ctx), pgretry.ErrFinishedByClosure)
			return increment(ctx, tx, 1)
		}))
		require.Equal(t, 1, value(t, pool, 1))
	})
	t.Run("LetsASavepointHeal", func(t *testing.T) {
		t.Parallel()
		pool := counters(t, 1)
		require.NoError(t, pgretry.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
			err := pgx.BeginFunc(ctx, tx, func(sp pgx.Tx) error {
				_, err := sp.Exec(ctx, `insert into counter values (1, 0)`)
				return err
			})
			require.Equal(t, "23505", pgretry.SQLSTATE(err))
			return increment(ctx, tx, 1)
		}))
		require.Equal(t, 1, value(t, pool, 1))
	})
	t.Run("EndsWithTheContextAndKeepsTheConnection", func(t *testing.T) {
		t.Parallel()
		pool := counters(t, 1)
		ctx, cancel := context.WithCancel(t.Context())
		err := pgretry.Do(ctx, pool, func(ctx context.Context, tx pgx.Tx) error {
			err := increment(ctx, tx, 1)
			cancel()
			return err
		})
		require.ErrorIs(t, err, context.Canceled)
		require.EqualValues(t, 1, pool.Stat().TotalConns())
		require.Zero(t, pool.Stat().AcquiredConns())
		require.Zero(t, value(t, pool, 1))
	})
	t.Run("RollsBackWhenTheClosurePanics", func(t *testing.T) {
		t.Parallel()
		pool := counters(t, 1)
		require.PanicsWithValue(t, "oh", func() {
			_ = pgretry.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
				_ = increment(ctx, tx, 1)
				panic("oh")
			})
		})
		require.Zero(t, pool.Stat().AcquiredConns())
		require.Zero(t, value(t, pool, 1))
	})
}

// TestContextOfAClosureThatHasReturned is kept by its caller, for work after the transaction.
func TestContextOfAClosureThatHasReturned(t *testing.T) {
	t.Parallel()
	pool, kept := pgtest.Pool(t, 1), context.Context(nil)
	require.NoError(t, pgretry.Do(t.Context(), pool, func(ctx context.Context, _ pgx.Tx) error { kept = ctx; return nil }))
	require.NoError(t, pgretry.Do(kept, pool, nothing))
}
