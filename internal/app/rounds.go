package app

import (
	"context"
	"sync"
	"time"

	"github.com/concord-home/concord"
)

// roundTimeout bounds a round whose outcome never comes, so that the next can
// begin.
const roundTimeout = time.Minute

// rounds lets callers that come together share one reconciliation, so that a
// hundred pages that ask for one cost the home and the database two. Who comes
// while a round is under way shares the next: the home's answer may be older
// than the caller's wish.
type rounds struct {
	run func(ctx context.Context) ([]concord.StageCounts, error)

	mu      sync.Mutex
	running bool
	next    *round // whom the next round is for; nil when nobody waits
}

type round struct {
	ctx    context.Context // of its first caller, whose correlation id it carries
	done   chan struct{}
	counts []concord.StageCounts
	err    error
}

// join waits for the end of the caller's round. A caller that gives up does not
// end the round for others.
func (r *rounds) join(ctx context.Context) ([]concord.StageCounts, error) {
	mine := r.enter(ctx)
	select {
	case <-mine.done:
		return mine.counts, mine.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (r *rounds) enter(ctx context.Context) *round {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		r.next = &round{ctx: context.WithoutCancel(ctx), done: make(chan struct{})}
	}
	mine := r.next
	if !r.running {
		r.running = true
		go r.serve()
	}
	return mine
}

// serve runs rounds until nobody waits for one.
func (r *rounds) serve() {
	for {
		r.mu.Lock()
		current := r.next
		r.next, r.running = nil, current != nil
		r.mu.Unlock()
		if current == nil {
			return
		}
		ctx, cancel := context.WithTimeout(current.ctx, roundTimeout)
		current.counts, current.err = r.run(ctx)
		cancel()
		close(current.done)
	}
}
