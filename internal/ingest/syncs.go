package ingest

import (
	"context"
	"sync"

	"github.com/concord-home/concord"
)

// kept is how many finished reconciliations are remembered for those who ask
// late.
const kept = 64

// Syncs tells those who asked for a reconciliation when it is written.
type Syncs struct {
	mu       sync.Mutex
	finished []finishedSync
	changed  chan struct{} // closed and replaced with each addition
}

type finishedSync struct {
	home   int64
	seq    uint64
	counts []concord.StageCounts
	err    error
}

// NewSyncs returns an empty Syncs.
func NewSyncs() *Syncs { return &Syncs{changed: make(chan struct{})} }

func (s *Syncs) finish(home int64, seq uint64, counts []concord.StageCounts, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finished = append(s.finished, finishedSync{home, seq, counts, err})
	if len(s.finished) > kept {
		s.finished = s.finished[len(s.finished)-kept:]
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// Wait returns when the snapshot with that sequence in the spool, or a later
// one, is written or failed. The error is the failure's, or that of ctx.
func (s *Syncs) Wait(ctx context.Context, home int64, seq uint64) ([]concord.StageCounts, error) {
	for {
		found, changed := s.find(home, seq)
		if found != nil {
			return found.counts, found.err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *Syncs) find(home int64, seq uint64) (*finishedSync, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.finished) - 1; i >= 0; i-- { // a failure may have become a success
		if f := s.finished[i]; f.home == home && f.seq >= seq {
			return &f, nil
		}
	}
	return nil, s.changed
}
