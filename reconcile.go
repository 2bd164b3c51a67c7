package concord

import (
	"context"
	"time"
)

// Stage is one step of a reconciliation. Each runs in transactions of its own.
type Stage string

// The stages, in their order.
const (
	StageAreas     Stage = "areas"     // floors, areas, labels
	StageEntities  Stage = "entities"  // states and registry entries
	StageRelations Stage = "relations" // devices, and who belongs to what
)

// StageCounts says what a stage did with its records.
type StageCounts struct {
	Stage     Stage
	Created   int
	Updated   int
	Unchanged int
	Deleted   int
	Failed    int // records in quarantine; a conflict is never one
	Attempts  int // transactions begun, retries included
	Took      time.Duration
}

// Total returns the number of records the stage looked at.
func (c StageCounts) Total() int {
	return c.Created + c.Updated + c.Unchanged + c.Deleted + c.Failed
}

// Reconciler makes the rows of a home equal to the home.
type Reconciler interface {
	// Reconcile asks the home for everything and writes what differs, stage by
	// stage. It returns the counts of the stages that were committed, also when a
	// later one failed. Errors: CodeNotFound, CodeUnavailable, CodeConflict when a
	// conflict outlived every retry.
	Reconcile(ctx context.Context, home int64) ([]StageCounts, error)
}
