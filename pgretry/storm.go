package pgretry

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Many transactions that lock the same rows in different orders tangle. The server undoes one knot per
// deadlock_timeout (1 s) and victim, while those that try again tie new ones: throughput falls to about one a second.
// So when several deadlocks come at once, the attempts of that name which have been running for longer than a
// knot needs to form are ended, and start again one by one through the gate.
const (
	stormDeadlocks = 3
	stormWindow    = 2 * time.Second
	tangledAfter   = 500 * time.Millisecond
)

// errStorm ends an attempt that is part of a deadlock storm. It runs again, so no caller sees it but in a history.
var errStorm = errors.New("gave way to end a deadlock storm")

// flights are the attempts that are running, by lane.
type flights struct {
	mu    sync.Mutex
	lanes map[flightLane]*laneFlights
}

type flightLane struct {
	db   databaseID
	name string
}

type laneFlights struct {
	running   map[*flight]struct{}
	deadlocks int
	since     time.Time
}

// flight is a running attempt.
type flight struct {
	lane  flightLane
	begun time.Time
	end   context.CancelCauseFunc
}

// start registers an attempt. Its context ends with the cause errStorm when the attempt must give way.
func (fs *flights) start(ctx context.Context, lane flightLane) (context.Context, *flight) {
	ctx, end := context.WithCancelCause(ctx)
	f := &flight{lane: lane, begun: time.Now(), end: end}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	l := fs.lanes[lane]
	if l == nil {
		if fs.lanes == nil {
			fs.lanes = map[flightLane]*laneFlights{}
		}
		l = &laneFlights{running: map[*flight]struct{}{}}
		fs.lanes[lane] = l
	}
	l.running[f] = struct{}{}
	return ctx, f
}

// finish forgets an attempt; deadlock tells how it ended.
func (fs *flights) finish(f *flight, deadlock bool) {
	f.end(nil)
	fs.mu.Lock()
	defer fs.mu.Unlock()
	l := fs.lanes[f.lane]
	delete(l.running, f)
	if deadlock && l.storms() {
		l.breakUp()
	}
	if len(l.running) == 0 && l.deadlocks == 0 {
		delete(fs.lanes, f.lane)
	}
}

func (l *laneFlights) storms() bool {
	now := time.Now()
	if now.Sub(l.since) > stormWindow {
		l.deadlocks, l.since = 0, now
	}
	l.deadlocks++
	return l.deadlocks >= stormDeadlocks
}

func (l *laneFlights) breakUp() {
	for f := range l.running {
		if time.Since(f.begun) > tangledAfter {
			f.end(errStorm)
		}
	}
}
