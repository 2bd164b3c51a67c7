package concord

import (
	"context"
	"time"
)

// LedgerMinute is what became of one endpoint's write transactions that ended
// in one minute. A conflict is SQLSTATE 40001 or 40P01.
type LedgerMinute struct {
	Minute       time.Time // its beginning, UTC
	Endpoint     string    // from the fixed list that metrics use
	Transactions int64     // that ended
	Conflicted   int64     // of them, those that met a conflict
	Retried      int64     // of Conflicted, those that another attempt committed
	Lost         int64     // of Conflicted, those that no attempt saved
	Retries      int64     // attempts after the first, of Conflicted
	Failures     int64     // attempts that a conflict ended
	Deadlocks    int64     // of Failures, those with 40P01
	Seconds      float64   // time of all transactions together, waits included
	Slowest      float64   // seconds that the slowest took
	LastFailure  time.Time // the latest of Failures; zero when there is none
}

// Add counts what other counted too.
func (m *LedgerMinute) Add(other LedgerMinute) {
	m.Transactions += other.Transactions
	m.Conflicted += other.Conflicted
	m.Retried += other.Retried
	m.Lost += other.Lost
	m.Retries += other.Retries
	m.Failures += other.Failures
	m.Deadlocks += other.Deadlocks
	m.Seconds += other.Seconds
	m.Slowest = max(m.Slowest, other.Slowest)
	if other.LastFailure.After(m.LastFailure) {
		m.LastFailure = other.LastFailure
	}
}

// LedgerStore keeps the ledger in the database, so that it survives restarts
// and instances see each other's counts.
type LedgerStore interface {
	// AddLedger adds to what the instance counted in these minutes before.
	AddLedger(ctx context.Context, instance string, minutes []LedgerMinute) error
	// FindLedger returns the minutes from since on that other instances counted,
	// those before a restart included.
	FindLedger(ctx context.Context, since time.Time, exceptInstance string) ([]LedgerMinute, error)
	// PruneLedger folds minutes before the given time into totals.
	PruneLedger(ctx context.Context, before time.Time) error
}

// ConflictStatus says how much conflicts disturb.
type ConflictStatus string

// The statuses of conflicts.
const (
	ConflictsHealthy   ConflictStatus = "healthy"
	ConflictsDegraded  ConflictStatus = "degraded"
	ConflictsUnhealthy ConflictStatus = "unhealthy"
)

// ConflictHealth sums up the ledger over a window that ends now.
type ConflictHealth struct {
	Status ConflictStatus
	Window time.Duration
	LedgerMinute
	FailureRate    float64 // Conflicted of Transactions, 0 to 1
	AverageRetries float64 // Retries of Conflicted
	WorstEndpoint  string  // with the most Conflicted; "" when there are none
}

// Ledger answers, from memory, how write transactions fared.
type Ledger interface {
	// Health sums up the window that thresholds look at.
	Health() ConflictHealth
	// Minutes returns the minutes from since on, in no order. It reaches a day back.
	Minutes(since time.Time) []LedgerMinute
}

// IncidentStore remembers what people were told of, so that a restart or a
// second instance does not tell them again.
type IncidentStore interface {
	// OpenIncident reports whether this call, and no other, opened it.
	OpenIncident(ctx context.Context, kind string) (opened bool, err error)
	// CloseIncident reports whether this call, and no other, closed it, and when it
	// was opened.
	CloseIncident(ctx context.Context, kind string) (closed bool, since time.Time, err error)
}

// ServerStats is what the database's server tells about itself and its
// sessions.
type ServerStats struct {
	Version           string // of the server's software, such as 15.4
	ActiveConnections int64  // sessions on this database that run a statement
	Connections       int64  // sessions on this database
	MaxConnections    int64
	IdleInTransaction int64
	Blocked           int64         // sessions that wait for another's lock
	LongestTx         time.Duration // age of the oldest open transaction
	Prepared          int64         // prepared transactions
	OldestPrepared    time.Duration
	Deadlocks         int64 // since the server's statistics were reset, as the next four
	RecoveryConflicts int64
	Commits           int64
	Rollbacks         int64
	TempFiles         int64
	TempBytes         int64
	DatabaseBytes     int64
	Quarantined       int64 // records in quarantine
	Gaps              int64 // times in the history of which nobody knows
	Asking            int64 // times that homes are being asked for
	Filled            int64 // changes of the last 24 hours' answers of homes
}
