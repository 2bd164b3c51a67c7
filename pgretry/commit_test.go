package pgretry_test

import (
	"context"
	"errors"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/internal/pgtest"
)

// throughProxy returns a direct pool on a counter table, and one on the same table through a proxy.
func throughProxy(t *testing.T) (direct, proxied *pgxpool.Pool, proxy *pgtest.Proxy) {
	t.Helper()
	direct = counters(t, 1)
	config := direct.Config()
	proxy = pgtest.NewProxy(t, pgtest.Addr(t))
	config.ConnConfig.Host, config.ConnConfig.Port = "127.0.0.1", uint16(proxy.Addr().Port)
	proxied, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(proxied.Close)
	return direct, proxied, proxy
}

func TestCommitCutAtEveryByte(t *testing.T) {
	t.Parallel()
	// each runs one increment per byte of the exchange, cut there, and returns what the calls returned.
	each := func(t *testing.T, pool *pgxpool.Pool, proxy *pgtest.Proxy, answer bool) (errs []error) {
		t.Helper()
		runner := pgretry.New(pgretry.WithBackoff(time.Millisecond, time.Millisecond))
		for n := 0; ; n++ {
			armed := false
			err := runner.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
				if err := increment(ctx, tx, 1); err != nil {
					return err
				}
				if !armed {
					proxy.Arm(pgtest.Cut{Answer: answer, After: n})
					armed = true
				}
				return nil
			})
			errs = append(errs, err)
			if proxy.Disarm() {
				return errs // the exchange is shorter than n
			}
		}
	}
	for name, answer := range map[string]bool{"Question": false, "Answer": true} {
		t.Run(name+"WithMarker", func(t *testing.T) {
			t.Parallel()
			direct, proxied, proxy := throughProxy(t)
			pgtest.Exec(t, direct, pgretry.MarkerMigration)
			errs := each(t, proxied, proxy, answer)
			require.Greater(t, len(errs), 20)
			for n, err := range errs {
				require.NoError(t, err, "cut after %d bytes", n)
			}
			require.Equal(t, len(errs), value(t, direct, 1))
		})
		t.Run(name+"WithoutMarker", func(t *testing.T) {
			t.Parallel()
			direct, proxied, proxy := throughProxy(t)
			reported := 0
			errs := each(t, proxied, proxy, answer)
			for n, err := range errs {
				if err != nil {
					require.ErrorIs(t, err, pgretry.ErrCommitUnknown, "cut after %d bytes", n)
				} else {
					reported++
				}
			}
			applied := value(t, direct, 1)
			require.GreaterOrEqual(t, applied, reported)
			require.LessOrEqual(t, applied, len(errs))
			require.Less(t, reported, len(errs))
		})
	}
}

// TestBackendDiesInCommit ends the backend while COMMIT waits: in a deferred trigger, which is before the commit
// record, or for a standby that never answers, which is after it.
func TestBackendDiesInCommit(t *testing.T) {
	t.Parallel()
	pgtest.URL(t)
	cluster, err := pgtest.Start()
	require.NoError(t, err)
	t.Cleanup(cluster.Stop)
	pool := pgtest.PoolOf(t, cluster.URL(), 4)
	pgtest.Exec(t, pool, pgretry.MarkerMigration,
		`create table counter (id int primary key, n int not null)`,
		`insert into counter values (1, 0)`,
		`create function wait() returns trigger language plpgsql as $$ begin
			perform pg_advisory_xact_lock_shared(1); return null; end $$`,
		`create constraint trigger wait after update on counter deferrable initially deferred
			for each row execute function wait()`)
	admin, err := pgx.Connect(t.Context(), cluster.URL())
	require.NoError(t, err)
	cluster.Reconnect(t, &admin)

	total, parent := 0, t
	for _, death := range []string{"terminate", "kill"} {
		for _, stage := range []string{"before", "after"} {
			t.Run(death+" "+stage+" the commit record", func(t *testing.T) {
				runs, done := 0, make(chan error, 1)
				pool.Reset() // the server may have cut its connections
				hold(t, admin, stage)
				if stage == "after" {
					awaitStandby(t, admin, cluster.URL())
				}
				go func() {
					done <- pgretry.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
						runs++
						return increment(ctx, tx, 1)
					})
				}()
				victim := awaitCommit(t, admin)
				if death == "kill" {
					let(t, admin, stage, false)
					require.NoError(t, syscall.Kill(int(victim), syscall.SIGKILL))
					eventually(t, func() bool { return admin.Ping(t.Context()) != nil })
					cluster.Reconnect(parent, &admin)
					reload(t, admin, "")
				} else {
					_, err := admin.Exec(t.Context(), `select pg_terminate_backend($1)`, victim)
					require.NoError(t, err)
					eventually(t, func() (gone bool) {
						err := admin.QueryRow(t.Context(), `select not exists (select from pg_stat_activity where pid = $1)`, victim).Scan(&gone)
						return err == nil && gone
					})
					let(t, admin, stage, true)
				}
				require.NoError(t, <-done)
				total++
				require.Equal(t, total, value(t, pool, 1))
				require.Equal(t, map[string]int{"before": 2, "after": 1}[stage], runs)
			})
		}
	}
}

// hold makes the next COMMIT wait before or after its commit record.
func hold(t *testing.T, admin *pgx.Conn, stage string) {
	t.Helper()
	if stage == "before" {
		_, err := admin.Exec(t.Context(), `select pg_advisory_lock(1)`)
		require.NoError(t, err)
		return
	}
	_, err := admin.Exec(t.Context(), `alter system set synchronous_standby_names = 'nobody'`)
	require.NoError(t, err)
	reload(t, admin, "nobody")
}

// awaitStandby waits until commits do wait for the standby: the checkpointer, which may be busy, tells them to.
func awaitStandby(t *testing.T, admin *pgx.Conn, url string) {
	t.Helper()
	probe, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer probe.Close(context.WithoutCancel(t.Context()))
	eventually(t, func() bool {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = probe.Exec(t.Context(), `select pg_logical_emit_message(true, 'probe', '')`) // it commits, or waits to be cancelled
		}()
		for {
			var waits bool
			err := admin.QueryRow(t.Context(), `select coalesce(bool_or(wait_event = 'SyncRep' and pg_cancel_backend(pid)), false)
				from pg_stat_activity where pid = $1`, probe.PgConn().PID()).Scan(&waits)
			if err == nil && waits {
				<-ended
				return true
			}
			select {
			case <-ended:
				return false
			case <-t.Context().Done():
				return false
			default:
			}
		}
	})
}

// let ends what hold began; for a server about to crash it leaves the settings for the restart.
func let(t *testing.T, admin *pgx.Conn, stage string, now bool) {
	t.Helper()
	switch {
	case stage == "after":
		_, err := admin.Exec(t.Context(), `alter system reset synchronous_standby_names`)
		require.NoError(t, err)
		if now {
			reload(t, admin, "")
		}
	case now:
		_, err := admin.Exec(t.Context(), `select pg_advisory_unlock(1)`)
		require.NoError(t, err)
	}
}

func reload(t *testing.T, admin *pgx.Conn, want string) {
	t.Helper()
	_, err := admin.Exec(t.Context(), `select pg_reload_conf()`)
	require.NoError(t, err)
	eventually(t, func() (ok bool) {
		err := admin.QueryRow(t.Context(), `select current_setting('synchronous_standby_names') = $1`, want).Scan(&ok)
		return err == nil && ok
	})
}

// awaitCommit waits until a COMMIT waits, and returns the pid of its backend.
func awaitCommit(t *testing.T, admin *pgx.Conn) (pid uint32) {
	t.Helper()
	eventually(t, func() bool {
		return admin.QueryRow(t.Context(), `select pid from pg_stat_activity
			where query like '%; commit' and state = 'active' and wait_event in ('advisory', 'SyncRep')`).Scan(&pid) == nil
	})
	return pid
}

func TestMarkers(t *testing.T) {
	t.Parallel()
	setup := func(t *testing.T) (*pgxpool.Pool, *pgretry.Runner) {
		t.Helper()
		pool := counters(t, 1)
		pgtest.Exec(t, pool, pgretry.MarkerMigration)
		return pool, pgretry.New()
	}
	count := func(t *testing.T, pool *pgxpool.Pool) (n int) {
		t.Helper()
		require.NoError(t, pool.QueryRow(t.Context(), `select count(*) from pgretry_commit`).Scan(&n))
		return n
	}
	t.Run("OnlyTransactionsThatWroteLeaveOne", func(t *testing.T) {
		t.Parallel()
		pool, runner := setup(t)
		look := func(ctx context.Context, tx pgx.Tx) error { _, err := tx.Exec(ctx, `select 1`); return err }
		require.NoError(t, runner.Do(t.Context(), pool, add))
		require.NoError(t, runner.Do(t.Context(), pool, look))
		require.NoError(t, runner.Do(t.Context(), pool, look, pgretry.WithReadOnly()))
		require.NoError(t, runner.Do(t.Context(), pool, add, pgretry.WithoutMarker()))
		require.Equal(t, 1, count(t, pool))
	})
	t.Run("PurgeRemovesOldOnes", func(t *testing.T) {
		t.Parallel()
		pool, runner := setup(t)
		require.NoError(t, runner.Do(t.Context(), pool, add))
		n, err := pgretry.PurgeMarkers(t.Context(), pool, time.Hour)
		require.NoError(t, err)
		require.Zero(t, n)
		n, err = pgretry.PurgeMarkers(t.Context(), pool, 0)
		require.NoError(t, err)
		require.EqualValues(t, 1, n)
	})
	t.Run("PurgeInsideAClosureIsRefused", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		pool := pgtest.Pool(t, 1)
		require.NoError(t, pgretry.Do(ctx, pool, func(ctx context.Context, _ pgx.Tx) error {
			_, err := pgretry.PurgeMarkers(ctx, pool, time.Hour)
			require.ErrorIs(t, err, pgretry.ErrNested)
			return nil
		}))
	})
	t.Run("TheAgeOfOneCountsFromItsCommit", func(t *testing.T) {
		t.Parallel()
		pool, runner := setup(t)
		var late time.Time // in the transaction, which began before
		require.NoError(t, runner.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
			return errors.Join(increment(ctx, tx, 1), tx.QueryRow(ctx, `select clock_timestamp()`).Scan(&late))
		}))
		var after bool
		require.NoError(t, pool.QueryRow(t.Context(), `select at > $1 from pgretry_commit`, late).Scan(&after))
		require.True(t, after, "a purge could delete the marker of a long transaction while it is in doubt")
	})
	t.Run("ADatabaseThatIsReadOnlyByDefault", func(t *testing.T) {
		t.Parallel()
		direct, proxied, proxy := throughProxy(t)
		pgtest.Exec(t, direct, pgretry.MarkerMigration)
		config := proxied.Config()
		config.ConnConfig.RuntimeParams["default_transaction_read_only"] = "on"
		pool, armed := pgtest.Connect(t, config), false
		require.NoError(t, pgretry.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
			if err := increment(ctx, tx, 1); err != nil || armed {
				return err
			}
			armed = true
			proxy.Arm(pgtest.Cut{Answer: true}) // the answer to COMMIT
			return nil
		}))
		require.Equal(t, 1, value(t, direct, 1))
	})
	t.Run("AClosureThatGivesUpItsRightsWorksWithoutOne", func(t *testing.T) {
		t.Parallel()
		pool, runner := setup(t)
		var role, schema string
		require.NoError(t, pool.QueryRow(t.Context(), `select 'tenant_' || replace(gen_random_uuid()::text, '-', ''), current_schema`).Scan(&role, &schema))
		pgtest.Exec(t, pool, `create role `+role, `grant usage on schema `+schema+` to `+role, `grant all on counter to `+role)
		t.Cleanup(func() { pgtest.Exec(t, pool, `drop owned by `+role, `drop role `+role) })
		for name, first := range map[string]string{"role": `set local role ` + role, "read only": `set transaction read only`} {
			runs := 0
			for range 3 {
				require.NoError(t, runner.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
					runs++
					if _, err := tx.Exec(ctx, first); err != nil || name == "read only" {
						return err
					}
					return increment(ctx, tx, 1)
				}, pgretry.WithName(name)))
			}
			require.Equal(t, 4, runs, name) // learned once
		}
		require.Equal(t, 3, value(t, pool, 1))
		require.NoError(t, runner.Do(t.Context(), pool, add))
		require.Equal(t, 1, count(t, pool))
	})
	t.Run("AConflictAtItsInsertKeepsTheConnection", func(t *testing.T) {
		t.Parallel()
		pool, runner := setup(t)
		pgtest.Exec(t, pool, `insert into counter values (2, 0)`)
		cross := func(ctx context.Context, tx pgx.Tx, from, to int) error {
			_, err := tx.Exec(ctx, `update counter set n = n + (select count(*) from counter where id = $1) where id = $2`, from, to)
			return err
		}
		runs, conn := 0, (*pgx.Conn)(nil)
		require.NoError(t, runner.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
			if err := cross(ctx, tx, 1, 2); err != nil {
				return err
			}
			if runs++; runs > 1 {
				return nil
			}
			conn = tx.Conn()
			return pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.Serializable}, func(other pgx.Tx) error { return cross(ctx, other, 2, 1) })
		}, pgretry.WithIsolation(pgx.Serializable)))
		require.Equal(t, 2, runs)
		require.False(t, conn.IsClosed())
		require.Equal(t, 1, count(t, pool))
	})
	t.Run("ANotificationIsSentOnce", func(t *testing.T) {
		t.Parallel()
		direct, proxied, proxy := throughProxy(t)
		pgtest.Exec(t, direct, pgretry.MarkerMigration)
		listener, err := pgx.ConnectConfig(t.Context(), direct.Config().ConnConfig)
		require.NoError(t, err)
		defer func() { _ = listener.Close(context.Background()) }()
		var channel string
		require.NoError(t, listener.QueryRow(t.Context(), `select current_schema`).Scan(&channel))
		_, err = listener.Exec(t.Context(), `listen `+channel)
		require.NoError(t, err)
		runner, sent := pgretry.New(pgretry.WithBackoff(1, 1)), []string(nil)
		for unspent := false; !unspent; unspent = proxy.Disarm() { // cut at every byte of what the server answers at the end
			armed, text := false, strconv.Itoa(len(sent))
			require.NoError(t, runner.Do(t.Context(), proxied, func(ctx context.Context, tx pgx.Tx) error {
				_, err := tx.Exec(ctx, `select pg_`+[]string{"notify", "NOTIFY", "Notify"}[len(sent)%3]+`($1, $2)`, channel, text)
				if !armed {
					armed = true
					proxy.Arm(pgtest.Cut{Answer: true, After: len(sent)})
				}
				return err
			}))
			sent = append(sent, text)
		}
		require.Greater(t, len(sent), 20)
		pgtest.Exec(t, direct, `select pg_notify('`+channel+`', 'end')`)
		var got []string
		for len(got) == 0 || got[len(got)-1] != "end" {
			n, err := listener.WaitForNotification(t.Context())
			require.NoError(t, err)
			got = append(got, n.Payload)
		}
		require.Equal(t, append(sent, "end"), got)
	})
	t.Run("ADroppedTableIsNoticed", func(t *testing.T) {
		t.Parallel()
		pool, runner := setup(t)
		require.NoError(t, runner.Do(t.Context(), pool, add))
		pgtest.Exec(t, pool, pgretry.MarkerMigrationDown)
		require.NoError(t, runner.Do(t.Context(), pool, add))
		require.Equal(t, 2, value(t, pool, 1))
	})
	t.Run("AnErrorOfCommitIsTheTransactionsOwn", func(t *testing.T) {
		t.Parallel()
		pool, runner := setup(t)
		pgtest.Exec(t, pool, `create table once (id int unique deferrable initially deferred)`)
		err := runner.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `insert into once values (1), (1)`)
			return err
		})
		var e *pgretry.Error
		require.True(t, errors.As(err, &e))
		require.Equal(t, "23505", e.SQLSTATE)
		require.Equal(t, pgretry.StageCommit, e.History[0].Stage)
		require.Equal(t, 1, e.Attempts)
	})
}
