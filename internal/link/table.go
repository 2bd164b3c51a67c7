package link

import (
	"encoding/json"
	"maps"
	"slices"
	"sync"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/hass"
)

// table folds what the home says into full states. Each entity remembers the
// place of its last change, so a snapshot and the events around it may be
// applied in any order.
type table struct {
	mu         sync.Mutex
	event      hass.EntitiesEvent // reused
	entities   map[string]*entry
	connection int64
	seq        int64            // place of the last event that was applied
	opening    bool             // no snapshot of the connection is on its way yet
	gone       map[string]int64 // where entities were removed since the last repair
}

type entry struct {
	home hass.State
	now  *concord.State
}

func newTable() *table {
	return &table{entities: make(map[string]*entry), gone: make(map[string]int64)}
}

// update is what one event did.
type update struct {
	changes   []concord.Change
	records   []concord.Record
	all       []*concord.State // with the first event of a connection: everything
	late      []*concord.State // what a home that is starting has later
	invalid   []hass.ItemError
	backwards int // changes whose time is before that of the state they replace
}

// apply folds one event in. The first event of a connection replaces everything.
func (t *table) apply(e hass.Event) (update, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.event.Decode(e.Raw); err != nil {
		return update{}, err
	}
	if e.First {
		t.entities = make(map[string]*entry, len(t.event.Added))
		t.connection, t.opening = e.Position.Connection, true
		clear(t.gone)
	}
	t.seq = e.Position.Seq
	var u update
	n := len(t.event.Added) + len(t.event.Changed) + len(t.event.Removed)
	u.changes, u.records = make([]concord.Change, 0, n), make([]concord.Record, 0, n)
	for i := range t.event.Added {
		t.set(&u, t.event.Added[i], e.Position)
	}
	for i := range t.event.Changed {
		t.change(&u, &t.event.Changed[i], e.Position)
	}
	for _, id := range t.event.Removed {
		t.remove(&u, id, e.Position)
	}
	switch {
	case e.First:
		u.all = t.allLocked()
	case t.opening:
		u.sortOutLate()
	}
	u.invalid = slices.Clone(t.event.Invalid)
	return u, nil
}

// sortOutLate takes out of the records what the connection had no state of before.
// The rows may have: what it did while nobody listened is still to be asked.
func (u *update) sortOutLate() {
	n := 0 // every change has its record
	for i, c := range u.changes {
		if c.Old == nil {
			u.late = append(u.late, c.New)
			continue
		}
		u.records[n] = u.records[i]
		n++
	}
	u.records = u.records[:n]
}

// opened notes that a snapshot of a connection is on its way.
func (t *table) opened(connection int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.connection == connection {
		t.opening = false
	}
}

func (t *table) change(u *update, d *hass.Diff, p hass.Position) {
	old := t.entities[d.EntityID]
	if old == nil { // a change of something never added: the next snapshot has it
		u.backwards++
		return
	}
	if old.now.Position.Seq >= p.Seq {
		return
	}
	if next := d.Apply(&old.home); next != nil {
		t.set(u, *next, p)
	}
}

func (t *table) set(u *update, s hass.State, p hass.Position) {
	next := &entry{home: s, now: convert(&s, p)}
	var before *concord.State
	if old := t.entities[s.EntityID]; old != nil {
		before = old.now
		if before.Position.Seq >= p.Seq {
			return
		}
		if s.LastUpdated.Before(old.home.LastUpdated) {
			u.backwards++
		}
	}
	t.entities[s.EntityID] = next
	u.changes = append(u.changes, concord.Change{EntityID: s.EntityID, Old: before, New: next.now})
	u.records = append(u.records, concord.Record{State: next.now})
}

func (t *table) remove(u *update, id string, p hass.Position) {
	old := t.entities[id]
	if old == nil || old.now.Position.Seq >= p.Seq {
		return
	}
	delete(t.entities, id)
	t.gone[id] = p.Seq
	u.changes = append(u.changes, concord.Change{EntityID: id, Old: old.now})
	gone := &concord.State{EntityID: id, Position: position(p)}
	u.records = append(u.records, concord.Record{State: gone, Removed: true})
}

// repair makes the table equal to what get_states answered at p, except for
// what events changed later, and returns the differences. All events before p
// must be applied; then there are none unless an event was missed.
func (t *table) repair(states []hass.State, p hass.Position) update {
	t.mu.Lock()
	defer t.mu.Unlock()
	var u update
	if p.Connection != t.connection {
		return u
	}
	present := make(map[string]bool, len(states))
	for i := range states {
		s := &states[i]
		present[s.EntityID] = true
		if old := t.entities[s.EntityID]; old == nil && t.gone[s.EntityID] < p.Seq || old != nil && !equal(&old.home, s) {
			t.set(&u, *s, p)
		}
	}
	for id := range t.entities {
		if !present[id] {
			t.remove(&u, id, p)
		}
	}
	u.backwards = 0
	maps.DeleteFunc(t.gone, func(_ string, at int64) bool { return at <= p.Seq })
	return u
}

// there leaves out what was removed since its state was read.
func (t *table) there(records []concord.Record) []concord.Record {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.DeleteFunc(records, func(r concord.Record) bool { return t.entities[r.State.EntityID] == nil })
}

func equal(a, b *hass.State) bool {
	return a.State == b.State && a.LastUpdated.Equal(b.LastUpdated)
}

// all returns every state and the place of the last event in it.
func (t *table) all() ([]*concord.State, hass.Position) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.allLocked(), hass.Position{Connection: t.connection, Seq: t.seq}
}

func (t *table) allLocked() []*concord.State {
	all := make([]*concord.State, 0, len(t.entities))
	for _, e := range t.entities {
		all = append(all, e.now)
	}
	return all
}

func position(p hass.Position) concord.Position {
	return concord.Position{Epoch: p.Connection, Seq: p.Seq}
}

func convert(s *hass.State, p hass.Position) *concord.State {
	attributes := s.Attributes
	if len(attributes) == 0 {
		attributes = json.RawMessage("{}")
	}
	return &concord.State{
		EntityID: s.EntityID, State: s.State, Attributes: attributes, LastChanged: s.LastChanged, LastUpdated: s.LastUpdated,
		Context:  concord.EventContext{ID: s.Context.ID, ParentID: s.Context.ParentID, UserID: s.Context.UserID},
		Position: position(p),
	}
}
