package concord

import "context"

// BatchKind says what a [Batch] holds.
type BatchKind uint8

// The kinds of a batch.
const (
	// BatchOpened marks a new connection to the home. Its sequence in the spool
	// is the epoch of that connection: larger than that of every earlier one,
	// across restarts and instances.
	BatchOpened BatchKind = iota + 1
	// BatchEvents holds changes in the order of the stream.
	BatchEvents
	// BatchSnapshot holds everything the home has at one point of the stream. A
	// large one comes in parts, one after the other; the last has Last set.
	BatchSnapshot
	// BatchStates holds the states that the home has when a connection opens,
	// before anything that happens on it; of a home that is starting, some come later.
	BatchStates
	// BatchNames says which entry of the registry has which name when a connection
	// opens, before its states. It comes in parts as a BatchSnapshot does.
	BatchNames
)

// Batch is what one connection to a home said, as it waits to be written.
type Batch struct {
	Kind     BatchKind
	HomeID   int64
	Epoch    int64 // of the connection; 0 for BatchOpened
	Records  []Record
	Snapshot *SnapshotInfo // BatchSnapshot and BatchNames only
	Trace    string        // W3C traceparent of who hands it in; "" when it is not followed
	// ID names it among all batches. A spool that is given it again soon, because
	// its answer was lost, keeps it once. "" is none.
	ID string
}

// Record is one state, or the news that an entity is gone or has another name.
type Record struct {
	State   *State // Position.Epoch is the batch's
	Removed bool   // the entity is gone; of State only EntityID and Position count
	// RenamedFrom is the name that the entity had before; of State only EntityID and
	// Position count. It comes before or after the entity's former name is removed.
	RenamedFrom string
}

// HasState reports whether the record is a state.
func (r *Record) HasState() bool { return !r.Removed && r.RenamedFrom == "" }

// SnapshotInfo is what a [BatchSnapshot] holds beside states, and what a
// [BatchNames] holds.
type SnapshotInfo struct {
	Seq int64 // the snapshot's place in the stream
	// RegistrySeq is the place of the home's answer: the registry knows all that was
	// heard until then, and the names that were given until the batch.
	RegistrySeq int64
	Part        int    // from 0
	Last        bool   // this part completes it
	Cause       string // who asked: "connect", "registry", "periodic", "request"
	Endpoint    string // for metrics: the handler that asked, else "background_sync"
	Registry    *RegistryParts
	// CorrelationID is that of the request that asked; "" when none did.
	CorrelationID string `json:",omitempty"`
}

// RegistryParts is a registry as it travels: see [NewRegistry].
type RegistryParts struct {
	Floors    []Floor
	Areas     []Area
	Devices   []Device
	Entities  []Entity
	Labels    []Label
	KeepOrder bool
}

// Spooled is a batch with its place in the spool.
type Spooled struct {
	Batch
	Seq uint64
	Err error  // the message cannot be decoded, and Batch is empty
	Raw []byte // the message, when Err is set
}

// Spool keeps batches on disk between the connection that heard them and the
// writer that commits them.
type Spool interface {
	// Publish appends a batch and returns its sequence once it is safe on disk.
	// Batches of one home keep their order. The error is CodeUnavailable when the
	// spool cannot be reached or is full, and CodeInvalid when it can never take
	// this batch.
	Publish(ctx context.Context, b *Batch) (seq uint64, err error)
	// Consume returns a reader of one home's batches after the given sequence.
	Consume(ctx context.Context, home int64, after uint64) (SpoolReader, error)
	// Discard forgets one home's batches up to and including seq.
	Discard(ctx context.Context, home int64, seq uint64) error
}

// SpoolReader reads batches in order. It is not safe for concurrent use.
type SpoolReader interface {
	// Next waits for at least one batch and returns what is there, at most max
	// records unless a single batch has more. The error is that of ctx.
	Next(ctx context.Context, max int) ([]Spooled, error)
	// Close ends the reader.
	Close()
}
