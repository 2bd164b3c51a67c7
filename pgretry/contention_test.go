package pgretry_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
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

// together runs n workers, each of which increments row 1 rounds times, and returns the errors.
func together(t *testing.T, n, rounds int, runner func(worker int) *pgretry.Runner, pool *pgxpool.Pool, opts ...pgretry.Option) []error {
	t.Helper()
	errs := make([]error, n*rounds)
	var wg sync.WaitGroup
	for w := range n {
		wg.Go(func() {
			for i := range rounds {
				errs[w*rounds+i] = runner(w).Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
					return increment(ctx, tx, 1)
				}, opts...)
			}
		})
	}
	wg.Wait()
	return errs
}

func TestContention(t *testing.T) {
	t.Parallel()
	one := func(r *pgretry.Runner) func(int) *pgretry.Runner { return func(int) *pgretry.Runner { return r } }
	for name, longest := range map[string]time.Duration{"AKeyKeepsTransactionsApart": 0, "AKeyKeepsThemApartForEver": -1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool, seen := counters(t, 1), &recorded{}
			noErrors(t, together(t, 20, 5, one(pgretry.New(pgretry.WithKey("row 1"), pgretry.WithMaxElapsed(longest))), pool, pgretry.WithObserver(seen)))
			require.Equal(t, 100, value(t, pool, 1))
			require.Zero(t, seen.failedWith("40001"))
		})
	}
	t.Run("AQueueIsLearnedFromConflicts", func(t *testing.T) {
		t.Parallel()
		pool, seen := counters(t, 1), &recorded{}
		noErrors(t, together(t, 20, 20, one(pgretry.New()), pool, pgretry.WithObserver(seen), pgretry.WithName("learn")))
		require.Equal(t, 400, value(t, pool, 1))
		require.True(t, seen.noticed(pgretry.NoticeQueued))
	})
	t.Run("ProcessesTakeALockBeforeBegin", func(t *testing.T) {
		t.Parallel()
		pool, seen := counters(t, 1), &recorded{}
		// Runners know nothing of each other, as processes do not.
		runners := []*pgretry.Runner{pgretry.New(), pgretry.New(), pgretry.New()}
		noErrors(t, together(t, 9, 40, func(w int) *pgretry.Runner { return runners[w%3] }, pool,
			pgretry.WithKey("row 1"), pgretry.WithObserver(seen)))
		require.Equal(t, 360, value(t, pool, 1))
		require.True(t, seen.noticed(pgretry.NoticeLocked))
		require.Less(t, seen.failedWith("40001"), 180)
		var locks int
		require.NoError(t, pool.QueryRow(t.Context(), `select count(*) from pg_locks l join pg_stat_activity a using (pid)
			where locktype = 'advisory' and a.application_name = current_setting('application_name')
			and classid <> 0`).Scan(&locks))
		require.Zero(t, locks)
	})
	t.Run("WaitersHoldNoConnection", func(t *testing.T) {
		t.Parallel()
		pool, runner := counters(t, 1), pgretry.New(pgretry.WithKey("row 1"))
		inside, done := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			_ = runner.Do(t.Context(), pool, func(context.Context, pgx.Tx) error { close(inside); <-done; return nil })
		})
		<-inside
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		err := runner.Do(ctx, pool, nothing)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.EqualValues(t, 1, pool.Stat().TotalConns())
		close(done)
		wg.Wait()
		require.NoError(t, runner.Do(t.Context(), pool, nothing))
	})
	t.Run("DeadlocksEnd", func(t *testing.T) {
		t.Parallel()
		pool, runner := counters(t, 6), pgretry.New(pgretry.WithName("deadlock"))
		var wg sync.WaitGroup
		errs := make([]error, 10)
		for w := range 10 {
			wg.Go(func() {
				errs[w] = runner.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
					for i := range 4 {
						id := 1 + (w+i*(1+w%2*4))%6
						if _, err := tx.Exec(ctx, `update counter set n = n + 1 where id = $1`, id); err != nil {
							return err
						}
					}
					return nil
				})
			})
		}
		wg.Wait()
		noErrors(t, errs)
		var sum int
		require.NoError(t, pool.QueryRow(t.Context(), `select sum(n) from counter`).Scan(&sum))
		require.Equal(t, 40, sum)
	})
	t.Run("ALaneIsNotStarved", func(t *testing.T) {
		t.Parallel()
		pool, runner := counters(t, 1), pgretry.New(pgretry.WithKey("shared"))
		var ran atomic.Int64
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for ctx.Err() == nil {
					_ = runner.Do(ctx, pool, func(ctx context.Context, tx pgx.Tx) error {
						ran.Add(1)
						return increment(ctx, tx, 1)
					}, pgretry.WithName("reader"))
				}
			})
		}
		before := 0 // readers that ran while the writer waited, over all rounds
		for range 20 {
			asked, writes := ran.Load(), int64(0)
			require.NoError(t, runner.Do(ctx, pool, func(ctx context.Context, tx pgx.Tx) error {
				writes = ran.Load()
				return increment(ctx, tx, 1)
			}, pgretry.WithName("writer")))
			before += int(writes - asked)
		}
		// With lanes of equal weight about one reader runs before each writer; in one queue all 20 would, 400 together.
		require.Less(t, before, 300)
		cancel()
		wg.Wait()
	})
}

func TestCoalesce(t *testing.T) {
	t.Parallel()
	setup := func(t *testing.T) (*pgxpool.Pool, *pgretry.Group[int, int]) {
		t.Helper()
		pool := counters(t, 1)
		return pool, pgretry.Coalesce(pool, func(ctx context.Context, tx pgx.Tx, items []int) ([]int, error) {
			sum := 0
			for _, n := range items {
				sum += n
			}
			var after int
			err := tx.QueryRow(ctx, `update counter set n = n + $1 where id = 1 and $1 > 0 returning n`, sum).Scan(&after)
			results := make([]int, len(items))
			for i := len(items) - 1; i >= 0; i-- {
				results[i] = after
				after -= items[i]
			}
			return results, err
		})
	}
	t.Run("EachItemGetsItsResult", func(t *testing.T) {
		t.Parallel()
		pool, group := setup(t)
		var mu sync.Mutex
		results := map[int]bool{}
		var wg sync.WaitGroup
		for range 500 {
			wg.Go(func() {
				n, err := group.Do(context.Background(), 1)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					results[n] = true
				}
			})
		}
		wg.Wait()
		require.Len(t, results, 500)
		require.Equal(t, 500, value(t, pool, 1))
	})
	t.Run("ABadItemFailsAlone", func(t *testing.T) {
		t.Parallel()
		pool, group := setup(t)
		var wg sync.WaitGroup
		errs := make([]error, 20)
		for i := range errs {
			wg.Go(func() {
				n := 1
				if i == 7 {
					n = -1000
				}
				_, errs[i] = group.Do(context.Background(), n)
			})
		}
		wg.Wait()
		require.ErrorIs(t, errs[7], pgx.ErrNoRows)
		errs[7] = nil
		noErrors(t, errs)
		require.Equal(t, 19, value(t, pool, 1))
	})
}

// TestCoalesceMisused is about closures and callers that do what they should not: the others must not suffer.
func TestCoalesceMisused(t *testing.T) {
	t.Parallel()
	// setup returns a group whose closure does what the items say; an item of 1 is written.
	setup := func(t *testing.T, bad func()) (*pgxpool.Pool, *pgretry.Group[int, int]) {
		t.Helper()
		pool := counters(t, 1)
		return pool, pgretry.Coalesce(pool, func(ctx context.Context, tx pgx.Tx, items []int) ([]int, error) {
			if slices.Contains(items, -1) {
				bad()
			}
			_, err := tx.Exec(ctx, `update counter set n = n + $1 where id = 1`, len(items))
			return make([]int, len(items)), err
		})
	}
	for name, bad := range map[string]func(){"Panics": func() { panic("oh") }, "EndsItsGoroutine": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool, group := setup(t, bad)
			_, err := group.Do(t.Context(), -1)
			require.Error(t, err)
			_, err = group.Do(t.Context(), 1)
			require.NoError(t, err)
			require.Equal(t, 1, value(t, pool, 1))
			require.Zero(t, pool.Stat().AcquiredConns())
		})
	}
	t.Run("ACallInsideAClosureFailsAlone", func(t *testing.T) {
		t.Parallel()
		pool, group := setup(t, nil)
		var wg sync.WaitGroup
		errs := make([]error, 20)
		require.NoError(t, pgretry.Do(t.Context(), pool, func(ctx context.Context, _ pgx.Tx) error {
			for i := range errs {
				wg.Go(func() { _, errs[i] = group.Do(t.Context(), 1) })
			}
			_, err := group.Do(ctx, 1)
			require.ErrorIs(t, err, pgretry.ErrNested)
			return nil
		}))
		wg.Wait()
		noErrors(t, errs)
		require.Equal(t, 20, value(t, pool, 1))
	})
	t.Run("TooFewResults", func(t *testing.T) {
		t.Parallel()
		pool := counters(t, 1)
		group := pgretry.Coalesce(pool, func(context.Context, pgx.Tx, []int) ([]int, error) { return nil, nil })
		_, err := group.Do(t.Context(), 1)
		require.ErrorContains(t, err, "0 results for 1 items")
	})
}

// TestKeyLooksLikeALearnedOne has transactions with a key that is named as a learned queue is inside: one at a time.
func TestKeyLooksLikeALearnedOne(t *testing.T) {
	t.Parallel()
	pool, runner, seen := counters(t, 1), pgretry.New(), &recorded{}
	require.NoError(t, runner.Do(t.Context(), pool, failTwice(), pgretry.WithName("learns"), pgretry.WithObserver(seen)))
	require.True(t, seen.noticed(pgretry.NoticeQueued))
	inside, errs := make(chan struct{}, 1), make([]error, 20)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			errs[i] = runner.Do(t.Context(), pool, func(ctx context.Context, tx pgx.Tx) error {
				select {
				case inside <- struct{}{}:
					defer func() { <-inside }()
				default:
					return errors.New("not alone")
				}
				return increment(ctx, tx, 1)
			}, pgretry.WithKey("learned:learns"), pgretry.WithName("named"))
		})
	}
	wg.Wait()
	noErrors(t, errs)
}

func TestPreparedTransactionIsNamed(t *testing.T) {
	t.Parallel()
	pool := counters(t, 1)
	gid := "left over " + t.Name()
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	for _, sql := range []string{`begin`, `update counter set n = n + 1 where id = 1`, `prepare transaction '` + gid + `'`} {
		_, err := conn.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	conn.Release()
	defer func() {
		_, err := pool.Exec(context.Background(), `rollback prepared '`+gid+`'`)
		require.NoError(t, err)
	}()
	update := func(first string) pgretry.Func {
		return func(ctx context.Context, tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, first); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `update counter set n = n + 1 where id = 1`)
			return err
		}
	}
	t.Run("WhileWaiting", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		seen := &onNotice{f: func(n pgretry.Notice) {
			if n.Kind == pgretry.NoticeBlocked {
				cancel()
			}
		}}
		err := pgretry.Do(ctx, pool, update(`select 1`), pgretry.WithObserver(seen),
			func(p *pgretry.Policy) { p.WatchAfter = 20 * time.Millisecond })
		var e *pgretry.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, gid, e.History[0].Blockers[0].GID)
		require.Equal(t, "postgres", e.History[0].Blockers[0].Owner)
		require.WithinDuration(t, time.Now(), e.History[0].Blockers[0].Since, time.Minute)
		require.ErrorContains(t, err, gid)
	})
	t.Run("AfterLockTimeout", func(t *testing.T) {
		err := pgretry.Do(t.Context(), pool, update(`set local lock_timeout = '10ms'`), pgretry.WithBackoff(1, 1))
		require.ErrorIs(t, err, pgretry.ErrExhausted)
		require.Equal(t, "55P03", pgretry.SQLSTATE(err))
		require.ErrorContains(t, err, gid)
	})
}

// onNotice calls f for each notice.
type onNotice struct {
	recorded
	f func(pgretry.Notice)
}

func (o *onNotice) Noticed(_ context.Context, n pgretry.Notice) { o.f(n) }

func TestBehindPgBouncer(t *testing.T) {
	t.Parallel()
	pool := counters(t, 1)
	config := pool.Config()
	config.ConnConfig.Port = pgtest.PgBouncer(t, pgtest.URL(t))
	config.ConnConfig.RuntimeParams = nil
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	sent := &statements{}
	config.ConnConfig.Tracer = sent
	bounced, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(bounced.Close)
	var schema string
	require.NoError(t, pool.QueryRow(t.Context(), `select current_schema`).Scan(&schema))
	seen := &recorded{}
	runners := []*pgretry.Runner{pgretry.New(), pgretry.New()}
	var wg sync.WaitGroup
	var errs [6][]error
	for w := range 6 {
		wg.Go(func() { // until the runners have met, and learned that no lock holds here
			for len(errs[w]) < 20 || len(errs[w]) < 2000 && !seen.noticed(pgretry.NoticePooled) {
				errs[w] = append(errs[w], runners[w%2].Do(t.Context(), bounced, func(ctx context.Context, tx pgx.Tx) error {
					if _, err := tx.Exec(ctx, `set local search_path to `+schema); err != nil {
						return err
					}
					return increment(ctx, tx, 1)
				}, pgretry.WithKey("row 1"), pgretry.WithObserver(seen)))
			}
		})
	}
	wg.Wait()
	all := slices.Concat(errs[:]...)
	noErrors(t, all)
	require.Equal(t, len(all), value(t, pool, 1))
	require.True(t, seen.noticed(pgretry.NoticePooled))
	require.False(t, seen.noticed(pgretry.NoticeLocked))
	asked := 0 // for the lock, by each runner once
	for _, sql := range sent.take() {
		if strings.Contains(sql, "pg_try_advisory_lock") {
			asked++
		}
	}
	require.LessOrEqual(t, asked, len(runners))
}

// TestWatchBehindPgBouncer has a transaction wait: its session's pid, as the client knows it, is the pooler's invention.
func TestWatchBehindPgBouncer(t *testing.T) {
	t.Parallel()
	pool := counters(t, 1)
	config := pool.Config()
	config.ConnConfig.Port = pgtest.PgBouncer(t, pgtest.URL(t))
	config.ConnConfig.RuntimeParams = nil
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	bounced := pgtest.Connect(t, config)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	seen := &onNotice{f: func(n pgretry.Notice) {
		if n.Kind == pgretry.NoticePooled {
			cancel()
		}
	}}
	err := pgretry.New(pgretry.WithObserver(seen)).Do(ctx, bounced, func(ctx context.Context, _ pgx.Tx) error {
		<-ctx.Done() // ended by the notice
		return ctx.Err()
	}, func(p *pgretry.Policy) { p.WatchAfter = time.Millisecond })
	require.ErrorIs(t, err, context.Canceled)
}
