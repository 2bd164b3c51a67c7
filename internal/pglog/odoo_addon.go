package pglog

import (
	"bytes"
	"regexp"
	"time"
)

// Addon is what the log lines of the Home Assistant add-on for Odoo tell about its load.
type Addon struct {
	StateChanges int64     // lines "State changed"
	First, Last  time.Time // of these lines
	Batches      int64     // lines "Batch update summary"
	Created      int64
	Updated      int64
	Errors       int64
	LargestBatch int64 // created, updated and errors of one batch
	Retries      int64 // lines "Serialization conflict … (attempt n/m)"
	GaveUp       int64 // lines "Failed after n attempts due to serialization conflicts"
}

var (
	stateChanged   = []byte("State changed")
	batchSummary   = []byte("Batch update summary:")
	serialConflict = []byte("Serialization conflict")
	failedAfter    = []byte("Failed after ")
	failedDueTo    = []byte("due to serialization conflicts")
	attemptOf      = regexp.MustCompile(`\(attempt (\d+)/\d+\)`)
	batchNumbers   = regexp.MustCompile(`(\d+) created, (\d+) updated, (\d+) errors`)
)

// addonEvent reads the add-on's lines; nil for any other.
func addonEvent(message []byte, at int64) *odooEvent {
	switch {
	case bytes.Contains(message, stateChanged):
		return &odooEvent{outcome: addonChanged, time: at}
	case bytes.Contains(message, serialConflict) && attemptOf.Match(message):
		return &odooEvent{outcome: addonRetry, state: "40001", time: at}
	case bytes.HasPrefix(message, failedAfter) && bytes.Contains(message, failedDueTo):
		return &odooEvent{outcome: addonGaveUp, state: "40001", time: at}
	}
	i := bytes.Index(message, batchSummary)
	if i < 0 {
		return nil
	}
	numbers := batchNumbers.FindSubmatch(message[i:])
	if numbers == nil {
		return nil
	}
	e := &odooEvent{outcome: addonBatch, time: at}
	for n := range e.batch {
		value, _, _ := parseUint(numbers[n+1], 0)
		e.batch[n] = int64(min(value, 1<<40))
	}
	return e
}

// count adds a line of the add-on's. It says nothing about the health of a transaction: whoever writes it may have
// rolled back, or not.
func (a *Addon) count(e *odooEvent) {
	switch e.outcome {
	case addonChanged:
		a.StateChanges++
		at := TimeOf(e.time)
		if a.First.IsZero() || at.Before(a.First) {
			a.First = at
		}
		if at.After(a.Last) {
			a.Last = at
		}
	case addonBatch:
		a.Batches++
		a.Created += e.batch[0]
		a.Updated += e.batch[1]
		a.Errors += e.batch[2]
		a.LargestBatch = max(a.LargestBatch, e.batch[0]+e.batch[1]+e.batch[2])
	case addonRetry:
		a.Retries++
	case addonGaveUp:
		a.GaveUp++
	}
}
