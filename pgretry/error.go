package pgretry

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

var (
	// ErrExhausted says that every attempt met a failure that is worth retrying, until attempts or time ran out.
	ErrExhausted = errors.New("retries exhausted")
	// ErrCommitUnknown says that the connection broke during COMMIT and nothing tells whether it took effect.
	// Running the transaction again could apply it twice.
	ErrCommitUnknown = errors.New("commit outcome unknown")
	// ErrNested says that Do was called inside the closure of another Do on the same database. The inner transaction
	// could wait for the outer one forever, and would survive its rollback.
	ErrNested = errors.New("Do inside the closure of another Do on the same database: pass its tx on")
	// ErrFinishedByClosure is what tx.Commit and tx.Rollback return inside a closure, where they do nothing: Do
	// commits when the closure returns nil and rolls back when it returns an error. SQL that would end the transaction is
	// refused with it too, and the call then ends with it; so does a call whose closure ended the transaction all the same.
	ErrFinishedByClosure = errors.New("a closure must not commit or roll back")
)

// Stage is the part of an attempt that failed.
type Stage string

// The stages of an attempt.
const (
	StageBegin   Stage = "begin"
	StageClosure Stage = "closure"
	StageCommit  Stage = "commit"
	StageQueue   Stage = "queue"
)

// Attempt is one failed attempt.
type Attempt struct {
	// Name is [Policy.Name].
	Name string
	// Number counts from 1. One that failed in the queue has the number that it would have had.
	Number int
	// Stage is where it failed.
	Stage Stage
	// SQLSTATE is the code of the error that aborted the transaction; empty when the server sent none.
	SQLSTATE string
	// Err is that error, which may differ from the one that the closure returned.
	Err error
	// Took is how long the attempt ran, waiting before it excluded.
	Took time.Duration
	// Blockers is what it was seen waiting for, or, after 55P03, who holds locks on the table.
	Blockers []Blocker
	// Retry tells that another attempt follows, after Wait.
	Retry bool
	Wait  time.Duration
}

// Error is the failure of a whole call.
type Error struct {
	// Name is [Policy.Name].
	Name string
	// SQLSTATE is the code of the error that aborted the last attempt; empty when the server sent none.
	SQLSTATE string
	// Attempts is how many attempts began.
	Attempts int
	// Elapsed is the time from call to return.
	Elapsed time.Duration
	// History has the failed attempts, oldest first; of many the first and the last 20.
	History []Attempt
	// Err is the error that aborted the last attempt.
	Err error
	// Returned is what the closure returned in the last attempt, which need not mention Err.
	Returned error
	// Stopped is why no further attempt was made: [ErrExhausted], [ErrCommitUnknown], [ErrNested], the context's error
	// or that of [Policy.BeforeRetry]; nil when Err is simply not worth a retry.
	Stopped error
}

// Error names the transaction, the reason, the attempts and the SQLSTATE.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("transaction")
	if e.Name != "" {
		fmt.Fprintf(&b, " %s", e.Name)
	}
	if e.Stopped != nil {
		fmt.Fprintf(&b, ": %v", e.Stopped)
	}
	if e.Attempts > 1 {
		fmt.Fprintf(&b, " after %d attempts in %v", e.Attempts, e.Elapsed.Round(time.Millisecond))
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	if e.Returned != nil && !errors.Is(e.Returned, e.Err) && sqlstateOf(e.Returned) != inFailedTransaction {
		fmt.Fprintf(&b, " (the closure returned: %v)", e.Returned)
	}
	if n := len(e.History); n > 0 {
		for _, blocker := range e.History[n-1].Blockers {
			fmt.Fprintf(&b, "; blocked by %v", blocker)
		}
	}
	return b.String()
}

// Unwrap gives the error that aborted the last attempt, what the closure returned, and the reason to stop.
func (e *Error) Unwrap() []error {
	errs := make([]error, 0, 3)
	for _, err := range []error{e.Err, e.Returned, e.Stopped} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// Stopped tells that err is an [*Error] whose Stopped is set: the call ended for want of attempts, time or knowledge, or was
// refused, and not because of what the transaction did.
func Stopped(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Stopped != nil
}

// SQLSTATE returns the code that decided about err: that of an [*Error], else of a *pgconn.PgError, else "".
func SQLSTATE(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.SQLSTATE
	}
	return sqlstateOf(err)
}

func sqlstateOf(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}
