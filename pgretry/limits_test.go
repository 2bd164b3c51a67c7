package pgretry_test

import (
	"context"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/internal/pgtest"
	"github.com/concord-home/concord/pgretry/pgretrytest"
)

func TestPolicyExtremes(t *testing.T) {
	t.Parallel()
	pool := counters(t, 1)
	const huge = time.Duration(math.MaxInt64)
	works := map[string]pgretry.Policy{
		"Zero":          {},
		"NegativeWaits": {FirstWait: -1, MaxWait: -1, SlowWait: -1, MaxSlowWait: -1},
		"NegativeCounts": {
			MaxAttempts: -1, MaxOptional: -1, Reserve: -1, AttemptTimeout: -1, MaxElapsed: -1, WatchAfter: -1, Weight: -1,
		},
		"HugeLimits": {
			MaxAttempts: math.MaxInt, MaxOptional: math.MaxInt, Reserve: math.MaxInt, AttemptTimeout: huge, MaxElapsed: huge,
			WatchAfter: huge, Grace: huge, Weight: math.Inf(1), FirstWait: time.Millisecond, MaxWait: huge, Key: strings.Repeat("k", 1e6),
		},
		"NotANumber":     {Weight: math.NaN(), Key: "nan", Budget: pgretry.NewBudget(math.Inf(1), math.Inf(1))},
		"TinyWatch":      {WatchAfter: 1},
		"NegativeGrace":  {Grace: -1},
		"EmptyStatesToo": {RetryOn: []string{"", "2", "23505"}},
	}
	for name, policy := range works {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := counters(t, 1)
			require.NoError(t, pgretry.New().Do(t.Context(), own, failTwice(), pgretry.WithPolicy(policy)))
			require.Equal(t, 1, value(t, own, 1))
		})
	}
	t.Run("OneAttempt", func(t *testing.T) {
		t.Parallel()
		require.ErrorIs(t, pgretry.Do(t.Context(), pool, failTwice(), pgretry.WithMaxAttempts(1)), pgretry.ErrExhausted)
	})
	t.Run("NoTime", func(t *testing.T) {
		t.Parallel()
		for _, key := range []string{"", "key"} {
			err := pgretry.New().Do(t.Context(), pool, failTwice(), pgretry.WithMaxElapsed(1), pgretry.WithKey(key))
			require.ErrorIs(t, err, pgretry.ErrExhausted)
		}
	})
	t.Run("AHookThatTakesAllTheTime", func(t *testing.T) {
		t.Parallel()
		runs := 0
		err := pgretry.New().Do(t.Context(), pool, failing(1, "40001", func() error { runs++; return nil }),
			pgretry.WithMaxElapsed(time.Second), pgretry.WithBeforeRetry(func(_ context.Context, failed pgretry.Attempt) error {
				timer := time.NewTimer(time.Second)
				defer timer.Stop()
				<-timer.C
				return nil
			}))
		require.ErrorIs(t, err, pgretry.ErrExhausted)
		require.Zero(t, runs)
	})
	t.Run("AJitterThatWaitsForEver", func(t *testing.T) {
		t.Parallel()
		err := pgretry.New().Do(t.Context(), pool, failTwice(), func(p *pgretry.Policy) {
			p.Jitter = func(time.Duration) time.Duration { return huge }
		})
		require.ErrorIs(t, err, pgretry.ErrExhausted)
	})
	t.Run("NoWaitAtFirst", func(t *testing.T) {
		t.Parallel()
		seen := &recorded{}
		require.NoError(t, pgretry.New().Do(t.Context(), pool, failing(3, "55P03", succeed), pgretry.WithObserver(seen), func(p *pgretry.Policy) {
			p.FirstWait, p.Jitter = -1, func(bound time.Duration) time.Duration { return bound }
		}))
		for _, a := range seen.attempts {
			require.Zero(t, a.Wait)
		}
	})
	t.Run("UnknownIsolation", func(t *testing.T) {
		t.Parallel()
		pool := pgtest.Pool(t, 1)
		require.Equal(t, "42601", pgretry.SQLSTATE(pgretry.Do(t.Context(), pool, failTwice(), pgretry.WithIsolation("none"))))
		require.Zero(t, pool.Stat().AcquiredConns())
	})
}

// TestTransactionModes looks at the modes where sessions are read-only by default.
func TestTransactionModes(t *testing.T) {
	t.Parallel()
	config := pgtest.Config(t, pgtest.URL(t))
	config.ConnConfig.RuntimeParams["default_transaction_read_only"] = "on"
	readers := pgtest.Connect(t, config)
	for name, c := range map[string]struct {
		want string
		opts []pgretry.Option
	}{
		"Default":    {"repeatable read,off,off", nil},
		"Committed":  {"read committed,off,off", []pgretry.Option{pgretry.WithIsolation(pgx.ReadCommitted)}},
		"ReadOnly":   {"repeatable read,on,off", []pgretry.Option{pgretry.WithReadOnly()}},
		"Deferrable": {"serializable,on,on", []pgretry.Option{pgretry.WithIsolation(pgx.Serializable), pgretry.WithReadOnly(), pgretry.WithDeferrable()}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got string
			require.NoError(t, pgretry.Do(t.Context(), readers, func(ctx context.Context, tx pgx.Tx) error {
				return tx.QueryRow(ctx, `select concat_ws(',', current_setting('transaction_isolation'),
					current_setting('transaction_read_only'), current_setting('transaction_deferrable'))`).Scan(&got)
			}, c.opts...))
			require.Equal(t, c.want, got)
		})
	}
}

// TestStatementsSent shows that a transaction costs no round trip beyond its own statements, BEGIN and COMMIT.
func TestStatementsSent(t *testing.T) {
	t.Parallel()
	for name, setup := range map[string]string{"Plain": `select 1`, "WithMarker": pgretry.MarkerMigration} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sent := &statements{}
			config := pgtest.Config(t, pgtest.URL(t))
			config.ConnConfig.Tracer = sent
			pool := pgtest.Connect(t, config)
			pgtest.Exec(t, pool, setup, `create table counter (id int primary key, n int not null)`, `insert into counter values (1, 0)`)
			runner := pgretry.New()
			require.NoError(t, runner.Do(t.Context(), pool, add)) // looks for the marker's table once
			sent.take()
			require.NoError(t, runner.Do(t.Context(), pool, add))
			got := sent.take()
			require.Len(t, got, 4)
			require.Equal(t, "begin isolation level repeatable read read write", got[0])
			if name == "Plain" {
				require.Equal(t, "commit", got[3])
			} else {
				require.True(t, strings.HasPrefix(got[3], "insert into ") && strings.HasSuffix(got[3], "; commit"), got[3])
			}
		})
	}
}

// statements is a tracer that keeps what was sent.
type statements struct {
	mu   sync.Mutex
	sent []string
}

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, data.SQL)
	return ctx
}

func (s *statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (s *statements) take() (sent []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent, s.sent = s.sent, nil
	return sent
}

func TestContext(t *testing.T) {
	t.Parallel()
	t.Run("StatementTimeoutIsNotTheContexts", func(t *testing.T) {
		t.Parallel()
		pool := counters(t, 1)
		err := pgretry.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `set local statement_timeout = '10ms'`); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `select pg_sleep(60)`)
			return err
		})
		var e *pgretry.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, "57014", e.SQLSTATE)
		require.Equal(t, 1, e.Attempts)
		require.NotErrorIs(t, err, context.DeadlineExceeded)
	})
	for name, key := range map[string]string{"DuringAStatement": "", "DuringAStatementInTheQueue": "key"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := counters(t, 1)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			err := pgretry.New(pgretry.WithKey(key)).Do(ctx, pool, func(ctx context.Context, tx pgx.Tx) error {
				_, err := tx.Exec(ctx, `select pg_sleep(60)`)
				return err
			})
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.True(t, pgretry.Stopped(err))
			eventually(t, func() bool { return pool.Stat().AcquiredConns() == 0 })
		})
	}
	t.Run("AttemptTimeoutIsNotRetried", func(t *testing.T) {
		t.Parallel()
		pool, runs := counters(t, 1), 0
		err := pgretry.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
			runs++
			_, err := tx.Exec(ctx, `select pg_sleep(60)`)
			return err
		}, pgretry.WithAttemptTimeout(time.Second)) // ample for BEGIN
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 1, runs)
	})
	t.Run("AttemptTimeoutBeforeBeginIsNotRetried", func(t *testing.T) {
		t.Parallel()
		pool := pgtest.Pool(t, 1)
		conn, err := pool.Acquire(t.Context())
		require.NoError(t, err)
		defer conn.Release()
		err = pgretry.Do(t.Context(), pool, failTwice(), pgretry.WithAttemptTimeout(20*time.Millisecond), pgretry.WithMaxAttempts(5))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, pgretry.ErrExhausted)
	})
	t.Run("AClosuresOwnThatEndsIsNotRetried", func(t *testing.T) {
		t.Parallel()
		pool, runs := counters(t, 1), 0
		err := pgretry.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
			runs++
			short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			_, err := tx.Exec(short, `select pg_sleep(60)`)
			return err
		}, pgretry.WithBackoff(1, 1))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, pgretry.ErrExhausted)
		require.Equal(t, 1, runs)
	})
	for name, wrap := range map[string]func(pgretry.DB) pgretry.DB{
		"OfAPool": func(db pgretry.DB) pgretry.DB { return db }, "OfAWrapper": func(db pgretry.DB) pgretry.DB { return pgretrytest.NewForce(db) },
	} {
		t.Run("EndsDuringCommitWhoseAnswerComesInTime"+name, func(t *testing.T) {
			t.Parallel()
			pool := slowCommit(t)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			holder := holdCommits(t, pool)
			defer holder.release()
			go func() {
				done <- pgretry.Do(ctx, wrap(pool), add)
			}()
			holder.await(t)
			cancel()
			holder.release() // COMMIT goes on
			require.NoError(t, <-done)
			require.Equal(t, 1, value(t, pool, 1))
		})
	}
	t.Run("EndsDuringCommitWhoseAnswerDoesNot", func(t *testing.T) {
		t.Parallel()
		pool := slowCommit(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		holder := holdCommits(t, pool)
		defer holder.release()
		go func() {
			done <- pgretry.Do(ctx, pool, add,
				func(p *pgretry.Policy) { p.Grace = 10 * time.Millisecond })
		}()
		holder.await(t)
		cancel()
		require.ErrorIs(t, <-done, pgretry.ErrCommitUnknown)
	})
	t.Run("HooksEndTheCall", func(t *testing.T) {
		t.Parallel()
		pool := counters(t, 1)
		err := pgretry.Do(t.Context(), pool, failTwice(), pgretry.WithBeforeRetry(func(context.Context, pgretry.Attempt) error { return context.Canceled }))
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorContains(t, err, "before retry")
	})
}

// slowCommit returns a pool on a counter whose COMMIT waits for the advisory lock 77 of its schema.
func slowCommit(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool := counters(t, 1)
	pgtest.Exec(t, pool,
		`create function wait() returns trigger language plpgsql as $$ begin
			perform pg_advisory_xact_lock_shared(77, hashtext(current_schema)); return null; end $$`,
		`create constraint trigger wait after update on counter deferrable initially deferred for each row execute function wait()`)
	return pool
}

// slowHolder holds the lock.
type slowHolder struct {
	pool *pgxpool.Pool
	tx   pgx.Tx
}

// holdCommits takes the lock that commits wait for.
func holdCommits(t *testing.T, pool *pgxpool.Pool) slowHolder {
	t.Helper()
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `select pg_advisory_xact_lock(77, hashtext(current_schema))`)
	require.NoError(t, err)
	return slowHolder{pool, tx}
}

func (h slowHolder) release() { _ = h.tx.Rollback(context.Background()) }

// await waits until a COMMIT waits for the lock.
func (h slowHolder) await(t *testing.T) {
	t.Helper()
	eventually(t, func() (waits bool) {
		err := h.pool.QueryRow(t.Context(), `select exists (select from pg_locks where locktype = 'advisory' and not granted
			and classid = 77 and objid = hashtext(current_schema)::oid)`).Scan(&waits)
		return err == nil && waits
	})
}
