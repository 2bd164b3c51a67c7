package pgretrysql_test

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/internal/pgtest"
	"github.com/concord-home/concord/pgretry/pgretrysql"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// notices counts what the server warns of.
type notices struct {
	mu  sync.Mutex
	all []string
}

func (n *notices) keep(_ *pgconn.PgConn, notice *pgconn.Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, notice.Message)
}

func add(ctx context.Context, tx *sql.Tx) error {
	var n int
	if err := tx.QueryRowContext(ctx, `select n from counter`).Scan(&n); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `update counter set n = $1`, n+1)
	return err
}

// mute is a connection that loses what is sent while silent.
type mute struct {
	net.Conn
	silent *atomic.Bool
}

func (m mute) Write(b []byte) (int, error) {
	if m.silent.Load() {
		return len(b), nil
	}
	return m.Conn.Write(b)
}

func TestDo(t *testing.T) {
	t.Parallel()
	type bundle struct {
		pool   *pgxpool.Pool
		db     *sql.DB
		warned *notices
	}
	setup := func(t *testing.T, statements ...string) bundle {
		t.Helper()
		config, warned := pgtest.Config(t, pgtest.URL(t)), &notices{}
		config.ConnConfig.OnNotice = warned.keep
		config.MaxConns = 4
		pool := pgtest.Connect(t, config)
		pgtest.Exec(t, pool, append(statements, `create table counter (n int not null)`, `insert into counter values (0)`)...)
		db := stdlib.OpenDBFromPool(pool)
		t.Cleanup(func() { _ = db.Close() })
		return bundle{pool, db, warned}
	}
	value := func(t *testing.T, b bundle) (n int) {
		t.Helper()
		require.NoError(t, b.db.QueryRow(`select n from counter`).Scan(&n))
		require.Zero(t, b.db.Stats().InUse)
		require.Empty(t, b.warned.all)
		return n
	}
	for name, setupSQL := range map[string]string{"Plain": `select 1`, "WithMarker": pgretry.MarkerMigration} {
		t.Run("RetriesAConflict"+name, func(t *testing.T) {
			t.Parallel()
			b, runs := setup(t, setupSQL), 0
			require.NoError(t, pgretrysql.Do(t.Context(), b.db, func(ctx context.Context, tx *sql.Tx) error {
				if _, err := tx.ExecContext(ctx, `select from counter`); err != nil {
					return err
				}
				if runs++; runs == 1 {
					pgtest.Exec(t, b.pool, `update counter set n = n + 10`)
				}
				return add(ctx, tx)
			}))
			require.Equal(t, 2, runs)
			require.Equal(t, 11, value(t, b))
		})
	}
	t.Run("FindsOutALostCommit", func(t *testing.T) {
		t.Parallel()
		b := setup(t, pgretry.MarkerMigration)
		proxy := pgtest.NewProxy(t, pgtest.Addr(t))
		config := b.pool.Config()
		config.ConnConfig.Host, config.ConnConfig.Port = "127.0.0.1", uint16(proxy.Addr().Port)
		through := stdlib.OpenDBFromPool(pgtest.Connect(t, config))
		defer through.Close()
		runner := pgretry.New(pgretry.WithBackoff(1, 1))
		cuts := 0
		for ; ; cuts++ { // at every byte of the answers to the marker and to COMMIT
			armed := false
			require.NoError(t, pgretrysql.Using(t.Context(), runner, through, func(ctx context.Context, tx *sql.Tx) error {
				if err := add(ctx, tx); err != nil || armed {
					return err
				}
				armed = true
				proxy.Arm(pgtest.Cut{Answer: true, After: cuts})
				return nil
			}))
			if proxy.Disarm() {
				break
			}
		}
		require.Greater(t, cuts, 20)
		require.Equal(t, cuts+1, value(t, b))
	})
	t.Run("AClosureThatEndsItsTransaction", func(t *testing.T) {
		t.Parallel()
		b := setup(t, pgretry.MarkerMigration)
		err := pgretrysql.Do(t.Context(), b.db, func(ctx context.Context, tx *sql.Tx) error {
			return errors.Join(add(ctx, tx), tx.Commit())
		})
		require.ErrorIs(t, err, pgretry.ErrFinishedByClosure)
		require.Equal(t, 1, value(t, b))
		runs := 0 // one that rolls back after an error, as many do, is run again
		require.NoError(t, pgretrysql.Do(t.Context(), b.db, func(ctx context.Context, tx *sql.Tx) error {
			if runs++; runs > 1 {
				return add(ctx, tx)
			}
			_, err := tx.ExecContext(ctx, `do $$ begin raise exception using errcode = '40001'; end $$`)
			return errors.Join(err, tx.Rollback())
		}))
		require.Equal(t, 2, runs)
		require.Equal(t, 2, value(t, b))
	})
	t.Run("AClosureThatCommitsAndLosesTheAnswer", func(t *testing.T) {
		t.Parallel()
		b := setup(t, pgretry.MarkerMigration)
		proxy := pgtest.NewProxy(t, pgtest.Addr(t))
		config := b.pool.Config()
		config.ConnConfig.Host, config.ConnConfig.Port = "127.0.0.1", uint16(proxy.Addr().Port)
		through, runs := stdlib.OpenDBFromPool(pgtest.Connect(t, config)), 0
		defer through.Close()
		err := pgretrysql.Do(t.Context(), through, func(ctx context.Context, tx *sql.Tx) error {
			runs++
			if err := add(ctx, tx); err != nil {
				return err
			}
			proxy.Arm(pgtest.Cut{Answer: true})
			return tx.Commit()
		})
		require.ErrorIs(t, err, pgretry.ErrCommitUnknown)
		require.Equal(t, 1, runs)
		require.Equal(t, 1, value(t, b))
	})
	t.Run("RollsBackWhatFails", func(t *testing.T) {
		t.Parallel()
		b, mine := setup(t), errors.New("mine")
		require.Equal(t, mine, pgretrysql.Do(t.Context(), b.db, func(ctx context.Context, tx *sql.Tx) error {
			require.NoError(t, add(ctx, tx))
			return mine
		}))
		require.Panics(t, func() {
			_ = pgretrysql.Do(t.Context(), b.db, func(ctx context.Context, tx *sql.Tx) error {
				_ = add(ctx, tx)
				panic("oh")
			})
		})
		err := pgretrysql.Do(t.Context(), b.db, func(ctx context.Context, tx *sql.Tx) error {
			_, _ = tx.ExecContext(ctx, `select 1 / 0`) // swallowed
			return nil
		})
		require.Equal(t, "25P02", pgretry.SQLSTATE(err))
		require.Zero(t, value(t, b))
	})
	t.Run("EndsWithTheContext", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.db.SetMaxOpenConns(1)
		held, err := b.db.Conn(t.Context())
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, pgretrysql.Do(ctx, b.db, add), context.DeadlineExceeded)
		require.NoError(t, held.Close())
		require.NoError(t, pgretrysql.Do(t.Context(), b.db, add))
		require.Equal(t, 1, value(t, b))
	})
	t.Run("EndsWithTheContextWhereTheServerIsSilent", func(t *testing.T) {
		t.Parallel()
		b, silent := setup(t), &atomic.Bool{}
		config := b.pool.Config().ConnConfig
		dial := config.DialFunc
		config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			return mute{conn, silent}, err
		}
		db := stdlib.OpenDB(*config)
		defer db.Close()
		require.NoError(t, pgretrysql.Do(t.Context(), db, add))
		silent.Store(true) // from BEGIN on
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- pgretrysql.Do(ctx, db, add) }()
		select {
		case err := <-done:
			require.ErrorIs(t, err, context.DeadlineExceeded)
		case <-time.After(15 * time.Second):
			t.Fatal("waits on after its context")
		}
	})
	t.Run("HasTheModesOfATransaction", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		var got string
		show := func(ctx context.Context, tx *sql.Tx) error {
			return tx.QueryRowContext(ctx, `select concat_ws(',', current_setting('transaction_isolation'),
				current_setting('transaction_read_only'), current_setting('transaction_deferrable'))`).Scan(&got)
		}
		require.NoError(t, pgretrysql.Do(t.Context(), b.db, show))
		require.Equal(t, "repeatable read,off,off", got)
		require.NoError(t, pgretrysql.Do(t.Context(), b.db, show,
			pgretry.WithIsolation(pgx.Serializable), pgretry.WithReadOnly(), pgretry.WithDeferrable()))
		require.Equal(t, "serializable,on,on", got)
		require.ErrorContains(t, pgretrysql.Do(t.Context(), b.db, show, pgretry.WithIsolation("none")), `"none"`)
	})
	t.Run("WritesWhereSessionsAreReadOnlyByDefault", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		config := b.pool.Config().ConnConfig
		config.RuntimeParams["default_transaction_read_only"] = "on"
		db := stdlib.OpenDB(*config)
		defer db.Close()
		require.NoError(t, pgretrysql.Do(t.Context(), db, add, pgretry.WithMaxAttempts(1)))
		require.Equal(t, 1, value(t, b))
		err := pgretrysql.Do(t.Context(), db, add, pgretry.WithMaxAttempts(1), pgretry.WithReadOnly())
		require.Equal(t, "25006", pgretry.SQLSTATE(err))
	})
	t.Run("ConnectsAnewWhereTheServerIsReadOnly", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		own := stdlib.OpenDB(*b.pool.Config().ConnConfig)
		defer own.Close()
		for name, db := range map[string]*sql.DB{"own connections": own, "a pool's": b.db} {
			db.SetMaxOpenConns(1)
			pids := map[int]bool{}
			require.NoError(t, pgretrysql.Do(t.Context(), db, func(ctx context.Context, tx *sql.Tx) error {
				var pid int
				if err := tx.QueryRowContext(ctx, `select pg_backend_pid()`).Scan(&pid); err != nil {
					return err
				}
				if pids[pid] = true; len(pids) > 1 {
					return nil
				}
				_, err := tx.ExecContext(ctx, `do $$ begin raise exception using errcode = '25006'; end $$`)
				return err
			}, func(p *pgretry.Policy) { p.SlowWait, p.MaxSlowWait = 1, 1 }), name)
			require.Len(t, pids, 2, name)
		}
	})
	t.Run("RefusesANestedCall", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		err := pgretrysql.Do(t.Context(), b.db, func(ctx context.Context, _ *sql.Tx) error {
			return pgretrysql.Do(ctx, b.db, func(context.Context, *sql.Tx) error { return nil })
		})
		require.ErrorIs(t, err, pgretry.ErrNested)
	})
}
