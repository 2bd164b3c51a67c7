package pgretry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// DefaultMostItems is the most items that a [Group] puts into one transaction.
const DefaultMostItems = 1000

// Group gathers items that arrive while a transaction is running and writes them with the next one: group commit. On
// one hot row it turns thousands of increments into a few updates. Make one with [Coalesce].
//
// At most one transaction of a Group runs at a time, in arrival order. A Group that is idle holds no goroutine.
type Group[T, R any] struct {
	db     DB
	fn     func(ctx context.Context, tx pgx.Tx, items []T) ([]R, error)
	runner *Runner
	most   int

	mu      sync.Mutex
	waiting []*item[T, R]
	running bool
}

type item[T, R any] struct {
	ctx    context.Context
	value  T
	result R
	err    error
	done   chan struct{}
}

// Coalesce returns a Group that writes items with fn. fn may run again, as any closure; it returns one result per
// item, in their order. Its ctx has the values of the first item's, and ends when those of all items have. When fn
// fails for several items with an error that is not worth a retry, it runs for each by itself, so that a bad item fails
// alone.
func Coalesce[T, R any](db DB, fn func(ctx context.Context, tx pgx.Tx, items []T) ([]R, error), opts ...Option) *Group[T, R] {
	return &Group[T, R]{db: db, fn: fn, runner: New(opts...), most: DefaultMostItems}
}

// Do writes one item and waits until it is committed. When ctx ends while its transaction runs, the error is
// [ErrCommitUnknown] beside the context's: the item may still be written.
func (g *Group[T, R]) Do(ctx context.Context, value T) (R, error) {
	var none R
	switch {
	case isNested(ctx, g.db):
		return none, (&call{policy: g.runner.policy, started: time.Now()}).failed(failure{}, ErrNested)
	case ctx.Err() != nil:
		return none, ctx.Err()
	}
	it := &item[T, R]{ctx: ctx, value: value, done: make(chan struct{})}
	g.mu.Lock()
	g.waiting = append(g.waiting, it)
	if !g.running {
		g.running = true
		go g.run()
	}
	g.mu.Unlock()
	select {
	case <-it.done:
		return it.result, it.err
	case <-ctx.Done():
		return g.leave(ctx, it)
	}
}

// leave takes the item back if its transaction has not begun.
func (g *Group[T, R]) leave(ctx context.Context, it *item[T, R]) (result R, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, other := range g.waiting {
		if other == it {
			g.waiting = append(g.waiting[:i], g.waiting[i+1:]...)
			return result, ctx.Err()
		}
	}
	select {
	case <-it.done:
		return it.result, it.err
	default:
		return result, fmt.Errorf("%w: %w", ErrCommitUnknown, ctx.Err())
	}
}

// run writes what waits, transaction after transaction, until nothing does.
func (g *Group[T, R]) run() {
	for {
		items := g.take()
		if len(items) == 0 {
			return
		}
		g.serve(items)
	}
}

// take returns the items of the next transaction, and stops running when there are none.
func (g *Group[T, R]) take() []*item[T, R] {
	g.mu.Lock()
	defer g.mu.Unlock()
	items := g.waiting[:min(g.most, len(g.waiting))]
	g.waiting = append([]*item[T, R](nil), g.waiting[len(items):]...)
	g.running = len(items) > 0
	return items
}

// serve writes items and tells those who wait. A closure that ends its goroutine, as a test's FailNow does, ends this
// one; another then goes on.
func (g *Group[T, R]) serve(items []*item[T, R]) {
	left, alone := items, false // those without an outcome
	defer func() {
		if len(left) > 0 {
			g.giveUp(left, alone)
		}
	}()
	if g.write(items) && len(items) > 1 {
		alone = true
		for len(left) > 0 {
			g.write(left[:1])
			close(left[0].done)
			left = left[1:]
		}
	}
	for _, it := range left {
		close(it.done)
	}
	left = nil
}

// giveUp tells those whose closure ended its goroutine, and lets the others have their turn.
func (g *Group[T, R]) giveUp(items []*item[T, R], alone bool) {
	lost := items
	if alone {
		lost = items[:1]
	}
	for _, it := range lost {
		it.err = errGoexit
		close(it.done)
	}
	g.mu.Lock()
	g.waiting = append(slices.Clone(items[len(lost):]), g.waiting...)
	g.mu.Unlock()
	go g.run()
}

var errGoexit = errors.New("coalesce: the closure ended its goroutine")

// write runs one transaction for items, and tells whether each should be tried by itself.
func (g *Group[T, R]) write(items []*item[T, R]) (again bool) {
	ctx, cancel := untilAllEnd(items)
	defer cancel()
	values := make([]T, len(items))
	for i, it := range items {
		values[i] = it.value
	}
	var results []R
	err := g.attempt(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		results, err = g.fn(ctx, tx, slices.Clone(values)) // which it may sort
		if err == nil && len(results) != len(values) {
			return fmt.Errorf("coalesce: the closure returned %d results for %d items", len(results), len(values))
		}
		return err
	})
	for i, it := range items {
		it.err = err
		if err == nil {
			it.result = results[i]
		}
	}
	return err != nil && !Stopped(err) && !errors.Is(err, ErrCommitUnknown)
}

// attempt turns a panic into an error: it must not end a goroutine that others wait for. After a closure that returned nil
// it is another's, such as an observer's, and may come after COMMIT: nothing may be written again.
func (g *Group[T, R]) attempt(ctx context.Context, fn Func) (err error) {
	done := false
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("coalesce: panic: %v", p)
			if done {
				err = &Error{Name: g.runner.policy.Name, Err: err, Stopped: ErrCommitUnknown}
			}
		}
	}()
	return g.runner.Do(ctx, g.db, func(ctx context.Context, tx pgx.Tx) error {
		done = false
		err := fn(ctx, tx)
		done = err == nil
		return err
	})
}

// untilAllEnd returns a context with the values of the first item's, which ends when those of all items have ended.
func untilAllEnd[T, R any](items []*item[T, R]) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(items[0].ctx))
	var mu sync.Mutex
	left := len(items)
	stops := make([]func() bool, len(items))
	for i, it := range items {
		stops[i] = context.AfterFunc(it.ctx, func() {
			mu.Lock()
			defer mu.Unlock()
			if left--; left == 0 {
				cancel()
			}
		})
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}
