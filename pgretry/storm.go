package pgretry

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
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

// flights are the attempts that are running. They lie in shards, so that calls do not wait for each other's lock.
type flights struct {
	next   atomic.Uint32
	shards [16]flightShard

	mu     sync.Mutex
	storms map[flightLane]*storm
}

type flightShard struct {
	mu      sync.Mutex
	running map[*flight]struct{}
}

type flightLane struct {
	db   databaseID
	name string
}

// storm counts the deadlocks of a lane.
type storm struct {
	deadlocks int
	since     time.Time
}

// flight is a running attempt.
type flight struct {
	lane  flightLane
	shard *flightShard
	begun time.Time
	end   context.CancelCauseFunc
}

// start registers an attempt. Its context ends with the cause errStorm when the attempt must give way.
func (fs *flights) start(ctx context.Context, lane flightLane) (context.Context, *flight) {
	ctx, end := context.WithCancelCause(ctx)
	f := &flight{lane: lane, begun: time.Now(), end: end, shard: &fs.shards[fs.next.Add(1)%uint32(len(fs.shards))]}
	f.shard.mu.Lock()
	defer f.shard.mu.Unlock()
	if f.shard.running == nil {
		f.shard.running = map[*flight]struct{}{}
	}
	f.shard.running[f] = struct{}{}
	return ctx, f
}

// finish forgets an attempt; deadlock tells how it ended.
func (fs *flights) finish(f *flight, deadlock bool) {
	f.end(nil)
	f.shard.mu.Lock()
	delete(f.shard.running, f)
	f.shard.mu.Unlock()
	if deadlock && fs.rages(f.lane) {
		fs.breakUp(f.lane)
	}
}

// rages counts a deadlock and tells whether they come in numbers.
func (fs *flights) rages(lane flightLane) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.storms == nil {
		fs.storms = map[flightLane]*storm{}
	}
	s := fs.storms[lane]
	if s == nil {
		s = &storm{}
		fs.storms[lane] = s
	}
	if now := time.Now(); now.Sub(s.since) > stormWindow {
		s.deadlocks, s.since = 0, now
	}
	s.deadlocks++
	return s.deadlocks >= stormDeadlocks
}

// breakUp ends the attempts of a lane that may be tangled.
func (fs *flights) breakUp(lane flightLane) {
	for i := range fs.shards {
		shard := &fs.shards[i]
		shard.mu.Lock()
		for f := range shard.running {
			if f.lane == lane && time.Since(f.begun) > tangledAfter {
				f.end(errStorm)
			}
		}
		shard.mu.Unlock()
	}
}
