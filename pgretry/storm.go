package pgretry

import (
	"errors"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
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
	watch atomic.Pointer[watch] // that the patrol has yet to start

	shard      *flightShard
	prev, next *flight
	conn       *pgx.Conn   // while the closure runs; changed under the shard's lock
	ended      atomic.Bool // to break up a storm

	patrolled watch // what watch points to

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

// start registers an attempt.
func (fs *flights) start(c *call) *flight {
	f := &flight{call: c, begun: time.Now(), shard: &fs.shards[fs.next.Add(1)%uint32(len(fs.shards))]}
	f.shard.mu.Lock()
	defer f.shard.mu.Unlock()
	if f.next = f.shard.first; f.next != nil {
		f.next.prev = f
	}
	f.shard.first = f
	return f
}

// uses tells on which connection the closure runs, nil when it no longer does: only then may the attempt be ended.
func (f *flight) uses(conn *pgx.Conn) {
	f.shard.mu.Lock()
	defer f.shard.mu.Unlock()
	f.conn = conn
}

// giveWay ends the attempt by cutting the connection short, as pgx does when a context ends. A context for each attempt,
// which could do the same, costs more than all else here. The caller holds the shard's lock.
func (f *flight) giveWay() {
	if f.conn != nil {
		f.ended.Store(true)
		_ = f.conn.PgConn().Conn().SetDeadline(time.Now()) // fails only when the connection is gone
	}
}

// finish forgets an attempt; deadlock tells how it ended.
func (fs *flights) finish(f *flight, deadlock bool) {
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
