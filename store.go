package concord

import "context"

// Store writes what a home said into the database. Every method runs in
// transactions of its own, each retried whole when PostgreSQL asks for it.
//
// The position in the spool is written in the transaction of the rows, so a
// batch that was committed but not discarded is not applied twice, and two
// instances that write the same home at once do not undo each other's work.
//
// Errors: CodeConflict when a conflict outlived every retry, CodeUnavailable
// when the database cannot be reached, is full, or takes no writes; both are
// worth another try later.
type Store interface {
	// SpoolPosition returns the sequence up to which the home's batches are
	// written, 0 when none is.
	SpoolPosition(ctx context.Context, home int64) (uint64, error)
	// WriteEvents applies changes in order and moves the position to seq. A row
	// that is already at or behind a change's position is left alone. Records that
	// can never be written go to quarantine.
	WriteEvents(ctx context.Context, home int64, records []Record, seq uint64) (EventCounts, error)
	// OpenConnection notes that a new connection to the home begins at seq: what
	// the home did since its last change that is written may have been missed.
	OpenConnection(ctx context.Context, home int64, seq uint64) error
	// WriteStates applies the states that the home has when a connection opens. Each
	// that differs from its row becomes history, and what the entity did between is
	// to be asked of the home.
	WriteStates(ctx context.Context, home int64, records []Record, seq uint64) (EventCounts, error)
	// WriteNames has history follow the registry as it is at a place of the stream,
	// before the states of that connection are written.
	WriteNames(ctx context.Context, home int64, entities []Entity, at Position, seq uint64) error
	// SetSpoolPosition moves the position without writing rows.
	SetSpoolPosition(ctx context.Context, home int64, seq uint64) error
	// SyncStage makes the rows of one stage equal to the snapshot.
	SyncStage(ctx context.Context, stage Stage, s *Snapshot) (StageCounts, error)
	// FinishSync moves the position to seq and remembers the time of the sync.
	FinishSync(ctx context.Context, home int64, seq uint64) error
	// LoseMessage keeps a spooled message that cannot be read in quarantine, moves
	// the position past it, and has what it may have held asked of the home when the
	// next connection begins.
	LoseMessage(ctx context.Context, home int64, message BadRecord, seq uint64) error
	// Quarantine keeps a record that cannot be written, with the reason. The same
	// record again is counted.
	Quarantine(ctx context.Context, home int64, bad BadRecord) error
}

// EventCounts says what became of the records of a batch.
type EventCounts struct {
	Applied int // rows written or removed
	Stale   int // the row was as new or newer
	Failed  int // in quarantine
	Stored  int // history rows
	Held    int // kept out of history by a deadband
	Skipped bool
}

// Add adds the counts of another batch.
func (c *EventCounts) Add(o EventCounts) {
	c.Applied += o.Applied
	c.Stale += o.Stale
	c.Failed += o.Failed
	c.Stored += o.Stored
	c.Held += o.Held
}

// BadRecord is a record in quarantine.
type BadRecord struct {
	EntityID string
	Reason   string
	SQLState string // when PostgreSQL refused it
	Record   []byte // as it came
	// Identity is what of the record tells it from others, so that the same one is
	// counted and not kept again; nil means Record.
	Identity []byte
}

// Snapshot is everything a home has at one point of its stream.
type Snapshot struct {
	HomeID   int64
	Position Position
	// RegistryAt is the place in the stream at which the registry was read.
	RegistryAt Position
	Endpoint   string
	Registry   *RegistryParts
	States     []Record
}
