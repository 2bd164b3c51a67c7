package pgretry_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/internal/pgtest"
)

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
