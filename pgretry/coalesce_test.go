package pgretry_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/internal/pgtest"
)

// gathered has five items wait while the transaction of one runs, so that write gets them together.
func gathered(t *testing.T, pool *pgxpool.Pool, write func(context.Context, pgx.Tx, []int) ([]int, error), opts ...pgretry.Option) (errs [5]error) {
	t.Helper()
	begun, goOn := make(chan struct{}), make(chan struct{})
	group := pgretry.Coalesce(pool, func(ctx context.Context, tx pgx.Tx, items []int) ([]int, error) {
		if items[0] == 0 {
			close(begun)
			<-goOn
			return items, nil
		}
		return write(ctx, tx, items)
	}, opts...)
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = group.Do(t.Context(), 0) })
	<-begun
	for i := range errs {
		ctx := whenQueued(t.Context())
		wg.Go(func() { _, errs[i] = group.Do(ctx, i+1) })
		<-ctx.waits
	}
	close(goOn)
	wg.Wait()
	return errs
}

// panicsAt is an observer that panics when a call has finished, once.
type panicsAt struct{ call, finished int }

func (*panicsAt) AttemptFailed(context.Context, pgretry.Attempt) {}

func (p *panicsAt) Finished(context.Context, pgretry.Outcome) {
	if p.finished++; p.finished == p.call {
		panic("oh")
	}
}

// TestCoalesceWritesNothingTwice has an observer panic after the COMMIT of several items.
func TestCoalesceWritesNothingTwice(t *testing.T) {
	t.Parallel()
	pool := counters(t, 1)
	errs := gathered(t, pool, func(ctx context.Context, tx pgx.Tx, items []int) ([]int, error) {
		_, err := tx.Exec(ctx, `update counter set n = n + $1`, len(items))
		return items, err
	}, pgretry.WithObserver(&panicsAt{call: 2}))
	require.Equal(t, 5, value(t, pool, 1))
	for _, err := range errs {
		require.ErrorIs(t, err, pgretry.ErrCommitUnknown)
		require.ErrorContains(t, err, "oh")
	}
}

// TestCoalesceWhoseClosureSorts has one sort its items in place, and run twice: each run gets them as they came.
func TestCoalesceWhoseClosureSorts(t *testing.T) {
	t.Parallel()
	var runs [][]int
	errs := gathered(t, pgtest.Pool(t, 1), func(ctx context.Context, tx pgx.Tx, items []int) ([]int, error) {
		runs = append(runs, slices.Clone(items))
		slices.SortFunc(items, func(a, b int) int { return b - a })
		if len(runs) == 1 {
			_, err := tx.Exec(ctx, raise("40001"))
			return nil, err
		}
		return items, nil
	})
	noErrors(t, errs[:])
	require.Equal(t, [][]int{{1, 2, 3, 4, 5}, {1, 2, 3, 4, 5}}, runs)
}

// TestCoalesceWhoseHookPanics has nothing written by then.
func TestCoalesceWhoseHookPanics(t *testing.T) {
	t.Parallel()
	group := pgretry.Coalesce(pgtest.Pool(t, 1), func(ctx context.Context, tx pgx.Tx, items []int) ([]int, error) {
		_, err := tx.Exec(ctx, raise("40001"))
		return items, err
	}, pgretry.WithBeforeRetry(func(context.Context, pgretry.Attempt) error { panic("oh") }))
	_, err := group.Do(t.Context(), 1)
	require.ErrorContains(t, err, "panic: oh")
	require.NotErrorIs(t, err, pgretry.ErrCommitUnknown)
}

// TestCoalesceWithWhatIsUnknown has a closure learn, of another database say, that it cannot know what it did.
func TestCoalesceWithWhatIsUnknown(t *testing.T) {
	t.Parallel()
	runs := 0
	errs := gathered(t, pgtest.Pool(t, 1), func(context.Context, pgx.Tx, []int) ([]int, error) {
		runs++
		return nil, fmt.Errorf("elsewhere: %w", pgretry.ErrCommitUnknown)
	})
	require.Equal(t, 1, runs)
	for _, err := range errs {
		require.ErrorIs(t, err, pgretry.ErrCommitUnknown)
	}
}

// TestCoalesceAfterItsContext has calls whose context has ended already: nothing about them is unknown.
func TestCoalesceAfterItsContext(t *testing.T) {
	t.Parallel()
	pool := counters(t, 1)
	group := pgretry.Coalesce(pool, func(_ context.Context, _ pgx.Tx, items []int) ([]int, error) { return items, nil })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 3000 {
		_, err := group.Do(ctx, 1)
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, pgretry.ErrCommitUnknown)
	}
}
