package pgretry

import (
	"context"
	"errors"
	"time"
)

// Observer learns what happens to transactions. Its methods must be quick, for the transaction waits for them, and safe
// for concurrent use, for calls run side by side. Those of one call follow each other on the goroutine that made it, which
// for the items of a [Group] is one of the Group's.
type Observer interface {
	// AttemptFailed reports an attempt that failed, whether another follows or not.
	AttemptFailed(ctx context.Context, a Attempt)
	// Finished reports the end of a call, once per call; not of one that a panic of the closure ends.
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
	// Queued is how much of Elapsed passed in the queue of a conflict key, the wait for the lock across processes included.
	Queued time.Duration
	// Err is what the call returns; nil when the transaction is committed.
	Err error
}

// Notice tells of a change in how transactions run.
type Notice struct {
	Kind NoticeKind
	// Name is [Policy.Name].
	Name string
	// Key is the conflict key that it is about, if it is about one.
	Key string
	// Blockers is what an attempt waits for.
	Blockers []Blocker
}

// NoticeKind is what a [Notice] tells.
type NoticeKind string

// The kinds of notices.
const (
	// NoticeQueued: transactions on Key met repeatedly and now pass a queue.
	NoticeQueued NoticeKind = "queued"
	// NoticeLocked: they met others outside this process, and now take a session advisory lock before BEGIN.
	NoticeLocked NoticeKind = "locked across processes"
	// NoticeBlocked: an attempt waits for Blockers.
	NoticeBlocked NoticeKind = "blocked"
	// NoticePooled: a pooler in transaction mode stands between, so that queues work within this process alone.
	NoticePooled NoticeKind = "queues work within this process alone: session locks do not hold behind a pooler"
)

// Noticer is an [Observer] that wants notices too. Most come from the goroutine of the call. [NoticeBlocked] and, where the
// look at what blocks an attempt meets the pooler, [NoticePooled] come from one beside it while the closure runs: a panic
// there ends the program. The attempt does not end before Noticed has returned.
type Noticer interface {
	Noticed(ctx context.Context, n Notice)
}

func (p *Policy) tell(ctx context.Context, n Notice) {
	n.Name = p.Name
	for _, o := range p.Observers {
		if o, ok := o.(Noticer); ok {
			o.Noticed(ctx, n)
		}
	}
}

// OutcomeKind sorts outcomes, for a metric's label.
type OutcomeKind string

// The kinds of outcomes.
const (
	Committed  OutcomeKind = "committed" // at the first attempt
	Retried    OutcomeKind = "retried"   // committed after a retry
	Exhausted  OutcomeKind = "exhausted" // every attempt met something worth retrying
	Unknown    OutcomeKind = "unknown"   // the answer to COMMIT is lost
	RolledBack OutcomeKind = "failed"    // anything else, errors of the closure included
)

// Kind sorts the outcome.
func (o Outcome) Kind() OutcomeKind {
	switch {
	case o.Err == nil && o.Attempts > 1:
		return Retried
	case o.Err == nil:
		return Committed
	case errors.Is(o.Err, ErrExhausted):
		return Exhausted
	case errors.Is(o.Err, ErrCommitUnknown):
		return Unknown
	}
	return RolledBack
}
