package pgretrytest

import (
	"context"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/concord-home/concord/pgretry"
)

// Func is the body of a transaction.
type Func = func(ctx context.Context, tx pgx.Tx) error

// Side is one of two transactions that meet: it reads, then writes. Both readings are done, and so both snapshots
// taken, before either side writes.
type Side struct{ Read, Write Func }

// Met tells how two sides fared.
type Met struct {
	// Errs are what the calls returned.
	Errs [2]error
	// Attempts is how often each side ran.
	Attempts [2]int
}

// Collide runs two real transactions at once through pgretry, with a barrier between their reading and their writing
// in the first attempt, so that they conflict if they can. A retry meets no barrier. It takes two connections: on a pool of
// one, or where one side's reading waits for a lock of the other's, both wait until ctx ends.
//
//	met := pgretrytest.Collide(ctx, pool, withdraw, withdraw)
//	require.Equal(t, 3, met.Attempts[0]+met.Attempts[1])
func Collide(ctx context.Context, db pgretry.DB, first, second Side, opts ...pgretry.Option) Met {
	var met Met
	var wg sync.WaitGroup
	b := newBarrier(2)
	for i, side := range []Side{first, second} {
		wg.Go(func() {
			defer b.leave()
			met.Errs[i] = pgretry.New(opts...).Do(ctx, db, func(ctx context.Context, tx pgx.Tx) error {
				met.Attempts[i]++
				if err := side.Read(ctx, tx); err != nil {
					return err
				}
				if met.Attempts[i] == 1 {
					b.wait(ctx)
				}
				return side.Write(ctx, tx)
			})
		})
	}
	wg.Wait()
	return met
}

// barrier opens when all who are expected wait at it or have left.
type barrier struct {
	mu     sync.Mutex
	absent int
	open   chan struct{}
}

func newBarrier(n int) *barrier { return &barrier{absent: n, open: make(chan struct{})} }

func (b *barrier) wait(ctx context.Context) {
	b.leave()
	select {
	case <-b.open:
	case <-ctx.Done():
	}
}

func (b *barrier) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.absent--; b.absent == 0 {
		close(b.open)
	}
}
