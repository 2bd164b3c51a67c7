package pgretry

import (
	"context"
	"time"
)

// Observer learns what happens to transactions. Its methods run on the caller's goroutine, so they must be quick, and
// concurrently.
type Observer interface {
	// AttemptFailed reports an attempt that failed, whether another follows or not.
	AttemptFailed(ctx context.Context, a Attempt)
	// Finished reports the end of a call, once per call.
	Finished(ctx context.Context, o Outcome)
}

// Outcome is the end of a call.
type Outcome struct {
	// Name is [Policy.Name].
	Name string
	// Attempts is how many attempts began.
	Attempts int
	// Failed is the last failed attempt; its Number is 0 when none failed.
	Failed Attempt
	// Elapsed is the time from call to return.
	Elapsed time.Duration
	// Err is what the call returns; nil when the transaction is committed.
	Err error
}
