package pgretry_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
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
		holder, err := pool.Begin(t.Context())
		require.NoError(t, err)
		defer func() { require.NoError(t, holder.Rollback(context.Background())) }()
		_, err = holder.Exec(t.Context(), `update counter set n = 7`)
		require.NoError(t, err)
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

func TestSmallPool(t *testing.T) {
	t.Parallel()
	one := func(t *testing.T, statements ...string) *pgxpool.Pool {
		t.Helper()
		pool := pgtest.Pool(t, 1)
		pgtest.Exec(t, pool, append(statements, `create table counter (id int primary key, n int not null)`, `insert into counter values (1, 0)`)...)
		return pool
	}
	t.Run("ManyCallsShareOneConnection", func(t *testing.T) {
		t.Parallel()
		pool := one(t, pgretry.MarkerMigration)
		noErrors(t, together(t, 10, 5, func(int) *pgretry.Runner { return pgretry.New() }, pool))
		require.Equal(t, 50, value(t, pool, 1))
	})
	t.Run("TheLockAcrossProcessesNeedsNoSecondOne", func(t *testing.T) {
		t.Parallel()
		pool := one(t, pgretry.MarkerMigration)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		seen, runs := &recorded{}, 0
		runner := pgretry.New(pgretry.WithKey("row 1"), pgretry.WithObserver(seen), pgretry.WithBackoff(1, 1))
		// Conflicts from outside switch the lock on.
		require.NoError(t, runner.Do(ctx, pool, func(ctx context.Context, tx pgx.Tx) error {
			if runs++; runs <= 4 {
				_, err := tx.Exec(ctx, raise("40001"))
				return err
			}
			return add(ctx, tx)
		}))
		require.True(t, seen.noticed(pgretry.NoticeLocked))
		require.Equal(t, 1, value(t, pool, 1))
	})
	t.Run("ItsOnlyConnectionTellsWhoHoldsALock", func(t *testing.T) {
		t.Parallel()
		pool := one(t)
		holder, err := pgx.ConnectConfig(t.Context(), pool.Config().ConnConfig)
		require.NoError(t, err)
		defer func() { _ = holder.Close(context.Background()) }()
		_, err = holder.Exec(t.Context(), `begin; update counter set n = 1`)
		require.NoError(t, err)
		runs, seen := 0, &recorded{}
		err = pgretry.New(pgretry.WithKey("row 1"), pgretry.WithBackoff(1, 1), pgretry.WithObserver(seen)).
			Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
				if runs++; runs <= 3 { // the lock across processes is taken, on the only connection
					_, err := tx.Exec(ctx, raise("40001"))
					return err
				}
				_, err := tx.Exec(ctx, `select from counter for update nowait`)
				return err
			})
		require.True(t, seen.noticed(pgretry.NoticeLocked))
		require.Equal(t, "55P03", pgretry.SQLSTATE(err))
		require.Len(t, seen.attempts, 8)
		for _, a := range seen.attempts[3:] {
			require.EqualValues(t, holder.PgConn().PID(), a.Blockers[0].PID)
		}
	})
	t.Run("ALostConnectionThatHeldTheLockIsGivenBackFirst", func(t *testing.T) {
		t.Parallel()
		direct, proxied, proxy := throughProxy(t)
		pgtest.Exec(t, direct, pgretry.MarkerMigration)
		config := proxied.Config()
		config.MaxConns = 1
		pool, err := pgxpool.NewWithConfig(t.Context(), config)
		require.NoError(t, err)
		t.Cleanup(pool.Close)
		seen, runs := &recorded{}, 0
		runner := pgretry.New(pgretry.WithKey("row 1"), pgretry.WithObserver(seen), pgretry.WithBackoff(1, 1), pgretry.WithMaxElapsed(20*time.Second))
		require.NoError(t, runner.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
			if runs++; runs <= 4 {
				_, err := tx.Exec(ctx, raise("40001"))
				return err
			}
			if err := add(ctx, tx); err != nil || runs > 5 {
				return err
			}
			proxy.Arm(pgtest.Cut{Answer: true}) // the answer to COMMIT
			return nil
		}))
		require.True(t, seen.noticed(pgretry.NoticeLocked))
		require.Equal(t, 1, value(t, direct, 1))
	})
	t.Run("ALostCommitIsFoundOutOverTheOneConnection", func(t *testing.T) {
		t.Parallel()
		direct, proxied, proxy := throughProxy(t)
		pgtest.Exec(t, direct, pgretry.MarkerMigration)
		config := proxied.Config()
		config.MaxConns = 1
		armed := false
		require.NoError(t, pgretry.New(pgretry.WithMaxElapsed(20*time.Second)).Do(t.Context(), pgtest.Connect(t, config),
			func(ctx context.Context, tx pgx.Tx) error {
				err := add(ctx, tx)
				if err == nil && !armed {
					armed = true
					proxy.Arm(pgtest.Cut{Answer: true}) // the answer to COMMIT
				}
				return err
			}))
		require.Equal(t, 1, value(t, direct, 1))
	})
	t.Run("APoolThatIsClosedMeanwhileEndsTheCall", func(t *testing.T) {
		t.Parallel()
		config := pgtest.Config(t, pgtest.URL(t))
		config.MaxConns = 1
		pool, err := pgxpool.NewWithConfig(t.Context(), config)
		require.NoError(t, err)
		inside, leave := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			_ = pgretry.Do(t.Context(), pool, func(context.Context, pgx.Tx) error { close(inside); <-leave; return nil })
		})
		<-inside
		waits := make(chan error, 1)
		go func() {
			waits <- pgretry.Do(t.Context(), pool, nothing)
		}()
		wg.Go(pool.Close)
		close(leave)
		<-waits // with the connection that came free, or the pool's error; but it ends
		wg.Wait()
		err = pgretry.Do(t.Context(), pool, nothing)
		var e *pgretry.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, 1, e.Attempts)
	})
	t.Run("ASingleConnectionThatIsLostEndsTheCall", func(t *testing.T) {
		t.Parallel()
		pool := counters(t, 1)
		conn, err := pgx.ConnectConfig(t.Context(), pool.Config().ConnConfig)
		require.NoError(t, err)
		acquired, err := pool.Acquire(t.Context())
		require.NoError(t, err)
		defer acquired.Release()
		for name, db := range map[string]pgretry.DB{"pgx.Conn": conn, "pgxpool.Conn": acquired} {
			err = pgretry.Do(t.Context(), db, func(ctx context.Context, tx pgx.Tx) error {
				_, err := tx.Exec(ctx, `select pg_terminate_backend(pg_backend_pid())`)
				return err
			})
			var e *pgretry.Error
			require.ErrorAs(t, err, &e, name)
			require.Equal(t, 1, e.Attempts, name)
			require.Equal(t, "57P01", e.SQLSTATE, name)
		}
	})
}

// TestTermination ends the backend at each stage of an attempt; the next attempt is on another connection.
func TestTermination(t *testing.T) {
	t.Parallel()
	setup := func(t *testing.T) (*pgxpool.Pool, *recorded) {
		t.Helper()
		pool := counters(t, 1)
		pgtest.Exec(t, pool, pgretry.MarkerMigration)
		return pool, &recorded{}
	}
	terminate := func(t *testing.T, pool *pgxpool.Pool, pid uint32) {
		t.Helper()
		admin, err := pgx.ConnectConfig(t.Context(), pool.Config().ConnConfig)
		require.NoError(t, err)
		defer func() { _ = admin.Close(context.Background()) }()
		_, err = admin.Exec(t.Context(), `select pg_terminate_backend($1, 10000)`, pid)
		require.NoError(t, err)
	}
	t.Run("Begin", func(t *testing.T) {
		t.Parallel()
		pool, seen := setup(t)
		require.NoError(t, pgretry.Do(t.Context(), pool, nothing)) // knows the marker's table
		for _, conn := range pool.AcquireAllIdle(t.Context()) {
			terminate(t, pool, conn.Conn().PgConn().PID())
			conn.Release()
		}
		require.NoError(t, pgretry.Do(t.Context(), pool, add, pgretry.WithObserver(seen)))
		require.Equal(t, 1, value(t, pool, 1))
	})
	for name, before := range map[string]bool{"ClosureBeforeItsStatement": true, "Commit": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool, seen := setup(t)
			runs := 0
			require.NoError(t, pgretry.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
				runs++
				pid := tx.Conn().PgConn().PID()
				if runs == 1 && before {
					terminate(t, pool, pid)
				}
				if err := increment(ctx, tx, 1); err != nil {
					return err
				}
				if runs == 1 {
					terminate(t, pool, pid)
				}
				return nil
			}, pgretry.WithObserver(seen)))
			require.Equal(t, 2, runs)
			require.Equal(t, 1, value(t, pool, 1))
			stage := pgretry.StageCommit
			if before {
				stage = pgretry.StageClosure
			}
			require.Equal(t, stage, seen.attempts[0].Stage)
		})
	}
	t.Run("WhileWaitingForTheLockAcrossProcesses", func(t *testing.T) {
		t.Parallel()
		pool, seen := setup(t)
		runner := pgretry.New(pgretry.WithKey("row 1"), pgretry.WithBackoff(1, 1), pgretry.WithObserver(seen))
		locked, release := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { // another process that holds the lock
			runs := 0
			_ = pgretry.New(pgretry.WithKey("row 1"), pgretry.WithBackoff(1, 1)).Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
				if runs++; runs <= 2 {
					_, err := tx.Exec(ctx, raise("40001"))
					return err
				}
				close(locked)
				<-release
				return nil
			})
		})
		<-locked
		done, runs := make(chan error, 1), 0
		go func() {
			done <- runner.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
				if runs++; runs <= 2 {
					_, err := tx.Exec(ctx, raise("40001"))
					return err
				}
				return increment(ctx, tx, 1)
			})
		}()
		var pid uint32
		waiting := `select pid from pg_locks l join pg_stat_activity a using (pid)
			where locktype = 'advisory' and not granted and query like '%select pg_advisory_lock(%'`
		eventually(t, func() bool { return pool.QueryRow(t.Context(), waiting).Scan(&pid) == nil })
		terminate(t, pool, pid)
		eventually(t, func() bool {
			var again uint32
			return pool.QueryRow(t.Context(), waiting).Scan(&again) == nil && again != pid
		})
		close(release)
		require.NoError(t, <-done)
		wg.Wait()
		require.Equal(t, 1, seen.failedWith("57P01"))
		require.Equal(t, 1, value(t, pool, 1))
	})
}
