package pgretry

import (
	"context"
	"errors"
	"reflect"
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
	patrol patrol

	mu     sync.Mutex
	storms map[flightLane]*storm
}

// flightShard is a list of flights.
type flightShard struct {
	mu    sync.Mutex
	first *flight
}

// flightLane is what attempts have in common that may tangle: the database and the name of the transaction, or its
// closure if it has none.
type flightLane struct {
	db   databaseID
	name string
	fn   uintptr
}

// storm counts the deadlocks of a lane.
type storm struct {
	deadlocks int
	since     time.Time
}

// flight is a running attempt.
type flight struct {
	call  *call
	begun time.Time
	end   context.CancelCauseFunc // of the very first ones too: those tangle before any deadlock is known
	watch atomic.Pointer[watch]   // that the patrol has yet to start

	shard      *flightShard
	prev, next *flight

	// What the closure gets.
	within   within
	recorder recorder
	tx       recordingTx
}

func (f *flight) lane() flightLane {
	if name := f.call.policy.Name; name != "" {
		return flightLane{db: f.call.id.databaseID, name: name}
	}
	return flightLane{db: f.call.id.databaseID, fn: reflect.ValueOf(closureOf(f.call.fn, f.call.db)).Pointer()}
}

// start registers an attempt. Its context ends with the cause errStorm when the attempt must give way.
func (fs *flights) start(ctx context.Context, c *call) (context.Context, *flight) {
	f := &flight{call: c, begun: time.Now(), shard: &fs.shards[fs.next.Add(1)%uint32(len(fs.shards))]}
	ctx, f.end = context.WithCancelCause(ctx)
	f.shard.mu.Lock()
	defer f.shard.mu.Unlock()
	if f.next = f.shard.first; f.next != nil {
		f.next.prev = f
	}
	f.shard.first = f
	return ctx, f
}

// finish forgets an attempt; deadlock tells how it ended.
func (fs *flights) finish(f *flight, deadlock bool) {
	f.end(nil)
	f.shard.remove(f)
	if !deadlock {
		return
	}
	if lane := f.lane(); fs.rages(lane) {
		fs.breakUp(lane)
	}
}

func (s *flightShard) remove(f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.prev == nil {
		s.first = f.next
	} else {
		f.prev.next = f.next
	}
	if f.next != nil {
		f.next.prev = f.prev
	}
	f.prev, f.next = nil, nil
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
	fs.each(func(f *flight) {
		if time.Since(f.begun) > tangledAfter && f.lane() == lane {
			f.end(errStorm)
		}
	})
}

// each calls do for every running attempt.
func (fs *flights) each(do func(*flight)) {
	for i := range fs.shards {
		shard := &fs.shards[i]
		shard.mu.Lock()
		for f := shard.first; f != nil; f = f.next {
			do(f)
		}
		shard.mu.Unlock()
	}
}
