package hass

import (
	"encoding/json"
	"fmt"
	"iter"
	"slices"

	"github.com/concord-home/concord/hass/internal/scan"
)

// Table folds the events of a subscribe_entities subscription to full states.
// The states it hands out are never changed afterwards: a change makes a new
// one. A Table belongs to one goroutine. The zero value is empty and ready.
type Table struct {
	states map[string]*State
}

// UnknownEntitiesError says that an event spoke of entities that the table
// does not know. Something was missed: take a new snapshot.
type UnknownEntitiesError struct{ EntityIDs []string }

func (e *UnknownEntitiesError) Error() string {
	return fmt.Sprintf("change of %d unknown entities, the first is %q", len(e.EntityIDs), e.EntityIDs[0])
}

// Len returns the number of entities.
func (t *Table) Len() int { return len(t.states) }

// Get returns the state of an entity, or nil.
func (t *Table) Get(entityID string) *State { return t.states[entityID] }

// All goes over all states in no particular order.
func (t *Table) All() iter.Seq[*State] {
	return func(yield func(*State) bool) {
		for _, s := range t.states {
			if !yield(s) {
				return
			}
		}
	}
}

// Put sets one state, which must not be changed afterwards, and returns the
// one it replaces, or nil.
func (t *Table) Put(s *State) (old *State) {
	if t.states == nil {
		t.states = make(map[string]*State)
	}
	old = t.states[s.EntityID]
	t.states[s.EntityID] = s
	return old
}

// Apply folds one event and calls changed, which may be nil, for every entity
// in it: old is nil for a new one, new is nil for one that is gone. What can be
// applied is applied; the error, an *UnknownEntitiesError, names the rest.
func (t *Table) Apply(e *EntitiesEvent, changed func(old, new *State)) error {
	if changed == nil {
		changed = func(_, _ *State) {}
	}
	for _, id := range e.Removed {
		if old := t.states[id]; old != nil {
			delete(t.states, id)
			changed(old, nil)
		}
	}
	for i := range e.Added {
		s := e.Added[i]
		s.Attributes = slices.Clone(s.Attributes)
		changed(t.Put(&s), &s)
	}
	var unknown []string
	for i := range e.Changed {
		d := &e.Changed[i]
		old := t.states[d.EntityID]
		if old == nil {
			unknown = append(unknown, d.EntityID)
			continue
		}
		s := d.Apply(old)
		t.states[s.EntityID] = s
		changed(old, s)
	}
	if unknown != nil {
		return &UnknownEntitiesError{unknown}
	}
	return nil
}

// Snapshot is Apply for the first event of a subscription: what the event does
// not name is gone.
func (t *Table) Snapshot(e *EntitiesEvent, changed func(old, new *State)) error {
	named := make(map[string]bool, len(e.Added))
	for i := range e.Added {
		named[e.Added[i].EntityID] = true
	}
	for i := range e.Invalid {
		named[e.Invalid[i].EntityID] = true // unreadable is not gone
	}
	for id, old := range t.states {
		if !named[id] {
			delete(t.states, id)
			if changed != nil {
				changed(old, nil)
			}
		}
	}
	return t.Apply(e, changed)
}

// Apply returns the state that the diff turns old into.
func (d *Diff) Apply(old *State) *State {
	s := *old
	if d.Has&HasState != 0 {
		s.State = d.State
	}
	if d.Has&HasLastChanged != 0 {
		s.LastChanged, s.LastUpdated = d.LastChanged, d.LastChanged
	}
	if d.Has&HasLastUpdated != 0 {
		s.LastUpdated = d.LastUpdated
	}
	if d.Has&HasContextID != 0 {
		s.Context.ID = d.Context.ID
	}
	if d.Has&HasParentID != 0 {
		s.Context.ParentID = d.Context.ParentID
	}
	if d.Has&HasUserID != 0 {
		s.Context.UserID = d.Context.UserID
	}
	if d.Attributes != nil || d.Gone != nil {
		s.Attributes = MergeAttributes(old.Attributes, d.Attributes, d.Gone)
	}
	return &s
}

// MergeAttributes returns a new object: base with the members of set replaced
// or appended and those named in gone left out. Members keep their order. nil
// stands for an empty object.
func MergeAttributes(base, set json.RawMessage, gone []string) json.RawMessage {
	out := make([]byte, 0, len(base)+len(set)+1)
	out = append(out, '{')
	for it := scan.Object(base); it.Next(); {
		if slices.Contains(gone, string(it.Key)) {
			continue
		}
		value := it.Value
		if set != nil {
			if v, ok := member(set, it.Key); ok {
				value = v
			}
		}
		out = appendMember(out, it.Key, value)
	}
	for it := scan.Object(set); it.Next(); {
		if _, ok := member(base, it.Key); !ok || slices.Contains(gone, string(it.Key)) {
			out = appendMember(out, it.Key, it.Value)
		}
	}
	return append(out, '}')
}

func appendMember(out, key, value []byte) []byte {
	if len(out) > 1 {
		out = append(out, ',')
	}
	out = appendString(out, string(key))
	out = append(out, ':')
	return append(out, value...)
}
