package concord

import (
	"context"
	"time"
)

// Backfill is a piece of an entity's past that Concord did not hear and has to
// ask of the home's own history.
type Backfill struct {
	ID       int64
	EntityID string
	From     time.Time // by the home's clock, as To; what was written before From is known
	To       time.Time
	Known    bool // the entity was known before From
	// Heard is the last change that Concord heard before the piece, and Last the
	// first that it heard after it; nil when there is none. By the home's clock
	// Last is the earlier one when the clock was set back in between. An answer
	// without Last is not complete.
	Heard, Last *time.Time
	Attempts    int
}

// BackfillResult is what became of a [Backfill].
type BackfillResult struct {
	Backfill
	States []*State      // what the home's history has
	Gaps   []Gap         // what nobody knows
	Again  time.Duration // ask again after that long; 0 when this is final
}

// Gap is a time of which nobody knows what happened.
type Gap struct {
	EntityID string
	From, To time.Time
	Reason   string
	Kind     GapKind
}

// GapKind says what a [Gap] of a chart is.
type GapKind uint8

// The kinds of a gap.
const (
	GapLost   GapKind = iota // nobody knows what happened
	GapAsked                 // the home is being asked
	GapSilent                // the entity had no number
)

// BackfillStore keeps what has to be asked of homes. Errors as those of [Store].
type BackfillStore interface {
	// FindBackfills returns at most max pieces that are due, the oldest first.
	FindBackfills(ctx context.Context, home int64, max int) ([]Backfill, error)
	// FinishBackfills stores the answers, each change once, and the gaps, in one
	// transaction with what remains to be asked. A deadband holds back what lies
	// between the changes of an answer, never its last. The counts are of Stored
	// and Held.
	FinishBackfills(ctx context.Context, home int64, results []BackfillResult) (EventCounts, error)
}

// ChartPoint is all numbers of a moment of a chart.
type ChartPoint struct {
	At             time.Time // of the first
	Min, Max, Last float64
}

// ChartStep is a state that an entity had, from At on.
type ChartStep struct {
	At    time.Time
	State string
}

// Span is a time, its ends included.
type Span struct{ From, To time.Time }

// Chart is an entity's past, thinned out to what a screen can show.
type Chart struct {
	Numeric bool
	Points  []ChartPoint // when Numeric
	Steps   []ChartStep  // when not
	Gaps    []Gap
	Filled  []Span // what came from the home's own history
	Rows    int    // how many rows it was made of
}

// HistoryService reads history.
type HistoryService interface {
	// Chart returns what held at from, where that is known, and what happened in
	// [from, to), at most about points points, so that peaks stay. An entity that was
	// never heard gives an empty chart. Errors: CodeUnavailable when the database
	// cannot be reached.
	Chart(ctx context.Context, home int64, entityID string, from, to time.Time, points int) (Chart, error)
}
