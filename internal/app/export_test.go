package app

import (
	"context"

	"github.com/concord-home/concord"
)

// Rounds is rounds, for tests.
type Rounds struct{ rounds }

// NewRounds returns rounds of run.
func NewRounds(run func(ctx context.Context) ([]concord.StageCounts, error)) *Rounds {
	return &Rounds{rounds{run: run}}
}

// Join is rounds.join.
func (r *Rounds) Join(ctx context.Context) ([]concord.StageCounts, error) { return r.join(ctx) }

// Enter joins, and returns what waits for the end.
func (r *Rounds) Enter(ctx context.Context) func() ([]concord.StageCounts, error) {
	mine := r.enter(ctx)
	return func() ([]concord.StageCounts, error) {
		<-mine.done
		return mine.counts, mine.err
	}
}
