package pgretry_test

import (
	"context"
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

// queued is a context that tells when a wait for it begins.
type queued struct {
	context.Context
	waits chan struct{}
	once  *sync.Once
}

func whenQueued(ctx context.Context) queued { return queued{ctx, make(chan struct{}), &sync.Once{}} }

func (q queued) Done() <-chan struct{} {
	q.once.Do(func() { close(q.waits) })
	return q.Context.Done()
}

// stay runs a transaction that stays inside until the returned function is called, which waits for its end.
func stay(t *testing.T, runner *pgretry.Runner, pool *pgxpool.Pool, opts ...pgretry.Option) (leave func()) {
	t.Helper()
	inside, free, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- runner.Do(context.Background(), pool, func(context.Context, pgx.Tx) error { close(inside); <-free; return nil }, opts...)
	}()
	<-inside
	return sync.OnceFunc(func() { close(free); require.NoError(t, <-done) })
}

// keptOut tells that a transaction does not get in for a while.
func keptOut(t *testing.T, runner *pgretry.Runner, pool *pgxpool.Pool, opts ...pgretry.Option) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	seen := &recorded{}
	err := runner.Do(ctx, pool, nothing,
		append(opts, pgretry.WithMaxElapsed(50*time.Millisecond), pgretry.WithObserver(seen))...)
	if err == nil {
		return false
	}
	require.ErrorIs(t, err, pgretry.ErrExhausted)
	require.Equal(t, pgretry.StageQueue, seen.attempts[0].Stage)
	require.Equal(t, 1, seen.attempts[0].Number)
	return true
}

func TestQueueWhoseHolderEndsOddly(t *testing.T) {
	t.Parallel()
	t.Run("APanicLetsTheNextIn", func(t *testing.T) {
		t.Parallel()
		pool, runner := pgtest.Pool(t, 4), pgretry.New(pgretry.WithKey("row"), pgretry.WithMaxElapsed(patience))
		inside, free, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		go func() {
			defer func() { _ = recover() }()
			_ = runner.Do(context.Background(), pool, func(context.Context, pgx.Tx) error { close(inside); <-free; panic("oh") })
		}()
		<-inside
		ctx := whenQueued(t.Context())
		go func() { done <- runner.Do(ctx, pool, nothing) }()
		<-ctx.waits
		close(free)
		require.NoError(t, <-done)
	})
	t.Run("APlaceHandedToOneWhoseContextEndsGoesOn", func(t *testing.T) {
		t.Parallel()
		pool, runner := pgtest.Pool(t, 4), pgretry.New(pgretry.WithKey("row"), pgretry.WithMaxElapsed(patience))
		other := whenQueued(t.Context())
		leave := stay(t, runner, pool)
		ended := &endsLate{queued: whenQueued(context.Background()), done: make(chan struct{}), meanwhile: leave}
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { first <- runner.Do(ended, pool, nothing) }()
		<-ended.waits
		go func() { second <- runner.Do(other, pool, nothing) }()
		<-other.waits
		close(ended.done)
		require.ErrorIs(t, <-first, context.Canceled)
		require.NoError(t, <-second)
	})
}

// endsLate is a context that does something between its end and the moment that somebody asks why.
type endsLate struct {
	queued
	done      chan struct{}
	meanwhile func()
}

func (c *endsLate) Done() <-chan struct{} { c.queued.Done(); return c.done }

func (c *endsLate) Err() error {
	select {
	case <-c.done:
		c.meanwhile()
		return context.Canceled
	default:
		return nil
	}
}

func TestLearnedQueue(t *testing.T) {
	t.Parallel()
	setup := func(t *testing.T) (*pgxpool.Pool, *pgretry.Runner) {
		t.Helper()
		return pgtest.Pool(t, 8), pgretry.New(pgretry.WithName("helper"), pgretry.WithBackoff(1, 1))
	}
	// narrow makes a queue whose width is one, by deadlocks.
	narrow := func(t *testing.T) (*pgxpool.Pool, *pgretry.Runner) {
		t.Helper()
		pool, runner := setup(t)
		require.NoError(t, runner.Do(t.Context(), pool, failing(2, "40P01", succeed)))
		return pool, runner
	}
	t.Run("KeepsOthersOfItsNameOut", func(t *testing.T) {
		t.Parallel()
		pool, runner := narrow(t)
		defer stay(t, runner, pool)()
		require.True(t, keptOut(t, runner, pool))
		require.True(t, keptOut(t, runner, pool, pgretry.WithReadOnly(), pgretry.WithIsolation(pgx.Serializable)))
		require.False(t, keptOut(t, runner, pool, pgretry.WithName("another")))
	})
	t.Run("IsNotForTransactionsThatOnlyRead", func(t *testing.T) {
		t.Parallel()
		pool, runner := narrow(t)
		defer stay(t, runner, pool)()
		require.False(t, keptOut(t, runner, pool, pgretry.WithReadOnly()))
	})
	t.Run("IsNotLearnedFromThoseThatOnlyRead", func(t *testing.T) { // such as on a standby, in conflict with its recovery
		t.Parallel()
		pool, runner := setup(t)
		require.NoError(t, runner.Do(t.Context(), pool, failing(2, "40P01", succeed), pgretry.WithReadOnly()))
		defer stay(t, runner, pool)()
		require.False(t, keptOut(t, runner, pool))
	})
	for name, before := range map[string][]string{"NarrowsAtADeadlockOutside": {"40P01"}, "NarrowsAtADeadlockInside": {"40001", "40P01"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool, runner := setup(t)
			for _, sqlstate := range before {
				require.NoError(t, runner.Do(t.Context(), pool, failing(1, sqlstate, succeed)))
			}
			defer stay(t, runner, pool)()
			require.True(t, keptOut(t, runner, pool))
		})
	}
	t.Run("NarrowsWhenManyMeet", func(t *testing.T) {
		t.Parallel()
		pool, runner := setup(t)
		require.NoError(t, runner.Do(t.Context(), pool, failing(1, "40001", succeed)))
		leave := stay(t, runner, pool)
		defer leave()
		require.False(t, keptOut(t, runner, pool))
		leave()
		for range 20 { // of 40 attempts half meet
			require.NoError(t, runner.Do(t.Context(), pool, failing(1, "40001", succeed)))
		}
		defer stay(t, runner, pool)()
		require.True(t, keptOut(t, runner, pool))
	})
	t.Run("LeavesTheBeatenAlone", func(t *testing.T) {
		t.Parallel()
		pool, runner := setup(t)
		require.NoError(t, runner.Do(t.Context(), pool, failing(1, "40001", succeed)))
		leave := stay(t, runner, pool)
		defer leave()
		alone, done := make(chan struct{}), make(chan error, 1)
		free, end := context.WithCancel(t.Context())
		defer end()
		const fails = 3 // beside the one who stays
		go func() {
			done <- runner.Do(t.Context(), pool, failing(fails, "40001", func() error { close(alone); <-free.Done(); return nil }))
		}()
		eventually(t, func() bool { return keptOut(t, runner, pool) }) // who must be alone goes first
		leave()
		<-alone
		require.True(t, keptOut(t, runner, pool))
		end()
		require.NoError(t, <-done)
		require.False(t, keptOut(t, runner, pool))
	})
}

// TestPromptAttempts has a call in a queue meet conflicts: the first attempts follow each other at once.
func TestPromptAttempts(t *testing.T) {
	t.Parallel()
	pool, seen := pgtest.Pool(t, 2), &recorded{}
	require.NoError(t, pgretry.New(pgretry.WithKey(t.Name())).Do(t.Context(), pool, failing(5, "40001", succeed), pgretry.WithObserver(seen),
		func(p *pgretry.Policy) { p.Jitter = func(bound time.Duration) time.Duration { return bound } }))
	var waits []time.Duration
	for _, a := range seen.attempts {
		waits = append(waits, a.Wait)
	}
	require.Equal(t, []time.Duration{0, 0, 0, 5 * time.Millisecond, 10 * time.Millisecond}, waits)
}

func TestQueueGivesUpInTime(t *testing.T) {
	t.Parallel()
	pool, runner := pgtest.Pool(t, 4), pgretry.New(pgretry.WithKey("row"))
	defer stay(t, runner, pool)()
	require.True(t, keptOut(t, runner, pool))
}

// TestLockAcrossProcessesIsSharedOut has a process whose transactions never stop coming, and one more in another.
func TestLockAcrossProcessesIsSharedOut(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t, 8)
	busy, seen := pgretry.New(pgretry.WithKey("row"), pgretry.WithBackoff(1, 1)), &recorded{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	var n atomic.Int64
	var next func() (waits chan struct{})
	next = func() chan struct{} {
		runs, queued := 0, whenQueued(ctx)
		wg.Go(func() {
			_ = busy.Do(queued, pool, func(ctx context.Context, tx pgx.Tx) error {
				if runs++; runs == 1 && ctx.Err() == nil {
					<-next() // so that one waits whenever one leaves
				}
				if n.Add(1)%4 != 0 {
					return nil
				}
				_, err := tx.Exec(ctx, raise("40001"))
				return err
			}, pgretry.WithObserver(seen))
		})
		return queued.waits
	}
	next()
	eventually(t, func() bool { return seen.noticed(pgretry.NoticeLocked) })
	require.NoError(t, pgretry.New(pgretry.WithKey("row"), pgretry.WithBackoff(1, 1)).
		Do(t.Context(), pool, failing(3, "40001", succeed), pgretry.WithMaxElapsed(patience)))
	cancel()
	wg.Wait()
}

// TestReserveAndKeys has more calls than seats, of which some need a connection for the lock across processes.
func TestReserveAndKeys(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t, 2)
	runner := pgretry.New(pgretry.WithReserve(1), pgretry.WithBackoff(1, 1))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	errs := make([]error, 8*50)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 50 {
				fn, opts := failing(0, "", succeed), []pgretry.Option(nil)
				if key := w % 4; key > 0 {
					fn, opts = failing(2, "40001", succeed), []pgretry.Option{pgretry.WithKey(string(rune('a' + key)))}
				}
				errs[w*50+i] = runner.Do(ctx, pool, fn, opts...)
			}
		})
	}
	wg.Wait()
	noErrors(t, errs)
	require.Zero(t, pool.Stat().AcquiredConns())
}

func TestCoalesceGathers(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t, 2)
	begun, free := make(chan struct{}), make(chan struct{})
	var sizes []int // of the transactions; one runs at a time
	group := pgretry.Coalesce(pool, func(_ context.Context, _ pgx.Tx, items []int) ([]int, error) {
		if sizes = append(sizes, len(items)); len(sizes) == 1 {
			close(begun)
			<-free
		}
		return items, nil
	})
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = group.Do(context.Background(), 0) })
	<-begun
	for i := range 20 {
		ctx := whenQueued(context.Background())
		wg.Go(func() { _, _ = group.Do(ctx, i) })
		<-ctx.waits
	}
	close(free)
	wg.Wait()
	require.Equal(t, []int{1, 20}, sizes)
}

// TestLaneOfTinyWeight has a transaction of almost no weight leave others behind it: its lane has had its share.
func TestLaneOfTinyWeight(t *testing.T) {
	t.Parallel()
	pool, runner := pgtest.Pool(t, 1), pgretry.New(pgretry.WithKey(t.Name()))
	tiny := []pgretry.Option{pgretry.WithName("tiny"), pgretry.WithWeight(1e-300)}
	leave := stay(t, runner, pool, tiny...)
	var wg sync.WaitGroup
	var order []string
	errs := make([]error, 2)
	for i, opts := range [][]pgretry.Option{tiny, {pgretry.WithName("ordinary")}} {
		ctx := whenQueued(t.Context())
		wg.Go(func() {
			errs[i] = runner.Do(ctx, pool, func(context.Context, pgx.Tx) error {
				order = append(order, []string{"tiny", "ordinary"}[i])
				return nil
			}, opts...)
		})
		<-ctx.waits
	}
	leave()
	wg.Wait()
	noErrors(t, errs)
	require.Equal(t, []string{"ordinary", "tiny"}, order)
}
