package pgretry

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// Many transactions that lock the same rows in different orders tangle. The server undoes one knot per
// deadlock_timeout (1 s) and victim, while those that try again tie new ones: throughput falls to about one a second.
// So when a second deadlock comes soon after a first, the attempts of that name which have been running for longer than a
// knot needs to form and wait for a lock are ended, and start again one by one through the gate.
const (
	stormDeadlocks = 2
	stormWindow    = 5 * time.Second // more than the server takes to undo two knots
	tangledAfter   = 500 * time.Millisecond
)

// errStorm ends an attempt that is part of a deadlock storm. It runs again, so no caller sees it but in a history.
var errStorm = errors.New("gave way to end a deadlock storm")

// flights are the attempts whose closures are running. They lie in shards, so that calls do not wait for each other's
// lock.
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
	watch atomic.Pointer[watch] // that the patrol has yet to start

	shard      *flightShard // while it is listed
	prev, next *flight
	conn       *pgx.Conn
	ended      atomic.Bool // to break up a storm

	patrolled watch // what watch points to
	late      late

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

// flight begins the flight of an attempt. That of the first one is part of the call.
func (c *call) flight() *flight {
	f := &c.first
	if c.attempts > 1 {
		f = &flight{}
	}
	f.call, f.begun = c, time.Now()
	return f
}

// list lets others end the attempt, or look after it, until [flight.unlist].
func (fs *flights) list(f *flight) {
	f.shard = &fs.shards[fs.next.Add(1)%uint32(len(fs.shards))]
	f.shard.mu.Lock()
	defer f.shard.mu.Unlock()
	if f.next = f.shard.first; f.next != nil {
		f.next.prev = f
	}
	f.shard.first = f
}

// giveWay ends the attempt by cutting the connection short, as pgx does when a context ends. A context for each attempt,
// which could do the same, costs more than all else here. The caller holds the shard's lock.
func (f *flight) giveWay() {
	f.ended.Store(true)
	_ = f.conn.PgConn().Conn().SetDeadline(time.Now()) // fails only when the connection is gone
}

// deadlocked notes that an attempt ended in a deadlock.
func (fs *flights) deadlocked(f *flight) {
	if lane := f.lane(); fs.rages(lane) {
		fs.breakUp(lane)
	}
}

// unlist may be called again.
func (f *flight) unlist() {
	s := f.shard
	if s == nil {
		return
	}
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
	f.prev, f.next, f.shard = nil, nil, nil
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
		maps.DeleteFunc(fs.storms, func(_ flightLane, s *storm) bool { return time.Since(s.since) > stormWindow })
		s = &storm{}
		fs.storms[lane] = s
	}
	if now := time.Now(); now.Sub(s.since) > stormWindow {
		s.deadlocks, s.since = 0, now
	}
	s.deadlocks++
	return s.deadlocks >= stormDeadlocks
}

// breakUp ends the attempts of a lane that are tangled: those that have run for a while and wait for a lock. Others of the
// name, such as a long report that locks nothing, go on. So does one on a single connection, which nothing could replace.
func (fs *flights) breakUp(lane flightLane) {
	pids := map[*flight]int32{}
	var config *pgx.ConnConfig
	fs.each(func(f *flight) {
		if f.conn != nil && single(f.call.db) == nil && time.Since(f.begun) > tangledAfter && f.lane() == lane {
			pids[f] = int32(f.conn.PgConn().PID())
			if config == nil {
				config = f.conn.Config()
			}
		}
	})
	if len(pids) == 0 {
		return
	}
	tangled := waiting(config, slices.Collect(maps.Values(pids)))
	fs.each(func(f *flight) {
		if pid, ok := pids[f]; ok && slices.Contains(tangled, pid) {
			f.giveWay()
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
