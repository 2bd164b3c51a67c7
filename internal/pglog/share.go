package pglog

import (
	"context"
	"sync"
)

// sharedChunker lets the workers read for themselves, in turns: a chunk is then still in the cache of the processor that
// parses it.
type sharedChunker struct {
	*chunker
	mu   sync.Mutex
	done bool
	err  *error // what ended the reading, nil at its end
}

// next gives the next chunk; nil at the end of the input or of the context, or after an error.
func (s *sharedChunker) next(ctx context.Context) *chunk {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return nil
	}
	c, err := (*chunk)(nil), ctx.Err()
	if err == nil {
		c, err = s.chunker.next()
	}
	if *s.err = err; c == nil || err != nil {
		s.done = true
		return nil
	}
	return c
}

// aheadChunks is how many chunks of a packed input are unpacked before a worker asks for them. Unpacking is one long chain
// of small steps; with fewer it waits for the workers, and then they for it.
const aheadChunks = 8

// readAhead calls next in a goroutine of its own, which ends with the input or the context.
func readAhead(ctx context.Context, next func(context.Context) *chunk) func(context.Context) *chunk {
	ready := make(chan *chunk, aheadChunks)
	go func() {
		defer close(ready)
		for c := next(ctx); c != nil; c = next(ctx) {
			select {
			case ready <- c:
			case <-ctx.Done():
				return
			}
		}
	}()
	return func(context.Context) *chunk { return <-ready }
}
