package pgretry

import (
	"maps"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// gates are a Runner's gates: those that callers named and those learned from conflicts.
type gates struct {
	arrivals atomic.Uint64

	mu      sync.Mutex
	byKey   map[gateKey]*gate
	kept    int                             // of byKey after the latest sweep
	learned map[string]map[databaseID]*gate // by the name of the transaction
	pooled  map[databaseID]bool             // behind a pooler, where session locks do not hold
	any     atomic.Bool                     // something was learned
}

type gateKey struct {
	db      databaseID
	key     string
	learned bool // from conflicts on a table; else named by the caller
}

const learnedPrefix = "learned:"

// named returns the gate of a key that the caller gave. Give it back with done.
func (gs *gates) named(db databaseID, key string) *gate {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	g := gs.get(gateKey{db: db, key: key}, width{fixed: 1})
	g.holders++
	return g
}

func (gs *gates) get(k gateKey, w width) *gate {
	g := gs.byKey[k]
	if g == nil {
		if gs.byKey == nil {
			gs.byKey = map[gateKey]*gate{}
		}
		g = &gate{key: k.key, width: w}
		gs.byKey[k] = g
	}
	return g
}

// done gives a named gate back. Now and then it forgets those that nobody uses: to make one for each call costs more.
func (gs *gates) done(g *gate) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	g.holders--
	gs.sweepIfMany()
}

func (gs *gates) sweepIfMany() {
	if len(gs.byKey) > 2*gs.kept+sweepFrom {
		gs.sweep()
	}
}

// sweepFrom keys are remembered without a sweep.
const sweepFrom = 100

// sweep forgets named gates that nobody uses and that have nothing worth remembering, and learned ones at which nobody
// has met for long.
func (gs *gates) sweep() {
	for k, g := range gs.byKey {
		if k.learned && g.unused() || !k.learned && g.holders == 0 && !g.contested() {
			delete(gs.byKey, k)
		}
	}
	for name, dbs := range gs.learned {
		maps.DeleteFunc(dbs, func(db databaseID, g *gate) bool { return gs.byKey[gateKey{db, g.key, true}] != g })
		if len(dbs) == 0 {
			delete(gs.learned, name)
		}
	}
	gs.kept = len(gs.byKey)
}

// unused tells that a learned gate may be forgotten although it is narrow: whoever needs it learns it again.
func (g *gate) unused() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.running == 0 && g.waiting() == 0 && time.Since(g.width.lastMet) > forgetUnused
}

// learnedFor returns the gate that transactions of this name should pass, nil if they have not met conflicts lately.
func (gs *gates) learnedFor(name string, id databaseID) *gate {
	if !gs.any.Load() {
		return nil
	}
	gs.mu.Lock()
	defer gs.mu.Unlock()
	dbs := gs.learned[name]
	if len(dbs) == 0 {
		return nil
	}
	g := dbs[id]
	if g != nil && g.forgettable() {
		delete(dbs, id)
		return nil
	}
	return g
}

func (g *gate) forgettable() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.running == 0 && g.waiting() == 0 && g.width.idle(time.Now())
}

// learn notes that a transaction of this name met a conflict on table outside a gate, and returns its gate from now on.
// Names that meet on one table share a gate, each with a lane of its own.
func (gs *gates) learn(name string, db databaseID, table string) (g *gate, first bool) {
	if table == "" {
		table = name
	}
	gs.mu.Lock()
	defer gs.mu.Unlock()
	g = gs.get(gateKey{db, learnedPrefix + table, true}, width{now: firstWidth, lastMet: time.Now()})
	if gs.learned == nil {
		gs.learned = map[string]map[databaseID]*gate{}
	}
	if gs.learned[name] == nil {
		gs.learned[name] = map[databaseID]*gate{}
	}
	first = gs.learned[name][db] == nil
	gs.learned[name][db] = g
	gs.any.Store(true)
	gs.sweepIfMany()
	return g, first
}

func (gs *gates) isPooled(db databaseID) bool {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	return gs.pooled[db]
}

// setPooled notes that db is behind a pooler; it returns true the first time.
func (gs *gates) setPooled(db databaseID) bool {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	if gs.pooled[db] {
		return false
	}
	if gs.pooled == nil {
		gs.pooled = map[databaseID]bool{}
	}
	gs.pooled[db] = true
	return true
}

// closureName names a closure that the caller did not name: by its place in the program.
func closureName(fn any) string {
	if f := runtime.FuncForPC(reflect.ValueOf(fn).Pointer()); f != nil {
		return f.Name()
	}
	return "func"
}

// closureOf is the caller's closure: that below fn where the DB is an adapter which wraps closures.
func closureOf(fn Func, db DB) any {
	if adapter, ok := db.(interface{ Closure() any }); ok {
		return adapter.Closure()
	}
	return fn
}
