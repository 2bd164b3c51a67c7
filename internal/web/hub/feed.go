package hub

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/hass"
)

type kind uint8

const (
	kindEntities kind = iota
	kindEvents
	kindOverview
	kindArea
	kindRegistry
	kindStatus
)

// pendingPerEntity and pendingAtLeast bound the changes that wait in a feed; a
// feed with more falls behind.
const (
	pendingPerEntity = 4
	pendingAtLeast   = 256
	pendingAtMost    = 20_000
)

// ErrBehind says that a feed lost events that cannot be made up for. The
// subscriber must begin anew.
var ErrBehind = errors.New("subscriber does not read fast enough")

// Feed is what one subscription is sent. Next belongs to one goroutine; Close
// may be called from any.
type Feed struct {
	hub  *Hub
	kind kind
	wake func()

	// The hub's lock guards the rest.
	ids     []string // of kindEntities; nil is all
	areaID  string   // of kindArea
	pending []*record
	limit   int
	behind  bool                // pending was dropped: send the states in full
	gone    map[string]struct{} // entities removed since
	awake   bool                // wake was called, Next was not since
	full    bool                // special feeds: send everything
	areas   map[string]struct{} // of kindOverview: areas with another summary
	extra   func() json.RawMessage
	status  func(concord.HomeStatus) json.RawMessage
	closed  bool

	oldest  time.Time // Next: arrival of the oldest change in the last event
	trace   string    // Next: its traceparent
	resyncs int
}

// Entities returns a feed of the entities named, or of all when ids is nil.
// Its events are Home Assistant's compressed ones; the first has every state.
// wake is called when Next has something, and must not block.
func (h *Hub) Entities(ids []string, wake func()) *Feed {
	f := &Feed{hub: h, kind: kindEntities, wake: wake, behind: true, awake: true, gone: map[string]struct{}{}}
	f.limit = pendingAtMost
	h.mu.Lock()
	if ids == nil {
		h.all[f] = struct{}{}
	} else {
		f.ids = slices.Compact(slices.Sorted(slices.Values(ids)))
		f.limit = min(max(pendingPerEntity*len(f.ids), pendingAtLeast), pendingAtMost)
		for _, id := range f.ids {
			h.byEntity[id] = append(h.byEntity[id], f)
		}
	}
	h.mu.Unlock()
	wake()
	return f
}

// Events returns a feed of Home Assistant's state_changed events.
func (h *Hub) Events(wake func()) *Feed {
	f := &Feed{hub: h, kind: kindEvents, wake: wake, limit: pendingAtMost}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all[f] = struct{}{}
	h.events++
	return f
}

func (h *Hub) addSpecial(f *Feed) *Feed {
	h.mu.Lock()
	h.special[f] = struct{}{}
	h.mu.Unlock()
	f.wake()
	return f
}

// Close ends the feed: wake is not called for changes from now on.
func (f *Feed) Close() {
	h := f.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.closed {
		return
	}
	f.closed, f.pending = true, nil
	delete(h.special, f)
	delete(h.all, f)
	if f.kind == kindEvents {
		h.events--
	}
	for _, id := range f.ids {
		list := slices.DeleteFunc(slices.Clone(h.byEntity[id]), func(g *Feed) bool { return g == f })
		if len(list) == 0 {
			delete(h.byEntity, id)
		} else {
			h.byEntity[id] = list
		}
	}
}

// push hands a change to the feed. The hub's lock is held.
func (f *Feed) push(r *record, wake *wakeList) {
	if f.kind == kindEvents && r.event == nil {
		return // from before the subscription
	}
	if f.behind {
		if r.kind == 'r' {
			f.gone[r.entityID] = struct{}{}
		}
		return
	}
	if len(f.pending) >= f.limit {
		f.fallBehind(wake)
		if r.kind == 'r' {
			f.gone[r.entityID] = struct{}{}
		}
		return
	}
	f.pending = append(f.pending, r)
	wake.add(f)
}

// fallBehind drops what is pending. The hub's lock is held.
func (f *Feed) fallBehind(wake *wakeList) {
	if f.behind {
		return
	}
	f.behind, f.gone = true, map[string]struct{}{}
	for _, r := range f.pending {
		if r.kind == 'r' {
			f.gone[r.entityID] = struct{}{}
		}
	}
	f.pending = nil
	f.resyncs++
	wake.add(f)
}

// Next appends the next event to b and returns it; more is false when there is
// none. It never waits. The error is ErrBehind.
func (f *Feed) Next(b []byte) (event []byte, more bool, err error) {
	h := f.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	f.oldest, f.trace = time.Time{}, ""
	switch f.kind {
	case kindEntities, kindEvents:
		event, more, err = f.nextChanges(b)
	default:
		event, more, err = f.nextSpecial(b)
	}
	if !more {
		f.awake = false
	}
	return event, more && !f.closed, err
}

func (f *Feed) nextChanges(b []byte) ([]byte, bool, error) {
	switch {
	case f.behind && f.kind == kindEvents:
		return b, false, ErrBehind
	case f.behind:
		return f.snapshot(b), true, nil
	case len(f.pending) == 0:
		return b, false, nil
	}
	f.oldest, f.trace = f.pending[0].at, f.pending[0].trace
	if f.kind == kindEvents {
		b = append(b, f.pending[0].event...)
		f.shift(1)
		return b, true, nil
	}
	n := distinct(f.pending)
	b = join(b, f.pending[:n])
	f.shift(n)
	return b, true, nil
}

// shift takes the first n records off, and lets the memory go when none is left.
func (f *Feed) shift(n int) {
	clear(f.pending[:n])
	f.pending = f.pending[n:]
	if len(f.pending) == 0 {
		f.pending = nil
	}
}

// Oldest returns since when the oldest change of the last event had been waiting;
// zero when the event was no change.
func (f *Feed) Oldest() time.Time { return f.oldest }

// Trace returns the traceparent of the message that brought the oldest change of
// the last event; "" when it is not followed.
func (f *Feed) Trace() string { return f.trace }

// Resyncs returns how often the feed fell behind.
func (f *Feed) Resyncs() int {
	f.hub.mu.Lock()
	defer f.hub.mu.Unlock()
	return f.resyncs
}

// distinct returns how many of the first records are of different entities: an
// event can tell only one thing of each.
func distinct(records []*record) int {
	if len(records) <= 8 {
		for i, r := range records {
			for _, earlier := range records[:i] {
				if earlier.entityID == r.entityID {
					return i
				}
			}
		}
		return len(records)
	}
	seen := make(map[string]struct{}, len(records))
	for i, r := range records {
		if _, again := seen[r.entityID]; again {
			return i
		}
		seen[r.entityID] = struct{}{}
	}
	return len(records)
}

// join makes one event of records of different entities.
func join(b []byte, records []*record) []byte {
	b = append(b, '{')
	for _, part := range [...]struct {
		kind        byte
		open, close string
	}{{'a', `"a":{`, "}"}, {'c', `"c":{`, "}"}, {'r', `"r":[`, "]"}} {
		first := true
		for _, r := range records {
			if r.kind != part.kind {
				continue
			}
			if first {
				if b[len(b)-1] != '{' {
					b = append(b, ',')
				}
				b = append(b, part.open...)
			} else {
				b = append(b, ',')
			}
			first = false
			b = append(b, r.body...)
		}
		if !first {
			b = append(b, part.close...)
		}
	}
	return append(b, '}')
}

// snapshot sends what the feed shows in full. The hub's lock is held.
func (f *Feed) snapshot(b []byte) []byte {
	h := f.hub
	b = append(b, `{"a":{`...)
	first := true
	add := func(st *concord.State) {
		if !first {
			b = append(b, ',')
		}
		first = false
		one := toHass(st)
		b = hass.AppendCompressed(b, &one)
		delete(f.gone, st.EntityID)
	}
	if f.ids == nil {
		for _, st := range h.states {
			add(st)
		}
	}
	for _, id := range f.ids {
		if st := h.states[id]; st != nil {
			add(st)
		}
	}
	b = append(b, '}')
	if len(f.gone) > 0 {
		gone := make([]string, 0, len(f.gone))
		for id := range f.gone {
			gone = append(gone, id)
		}
		removed := hass.AppendRemoved(nil, gone...) // {"r":[…]}
		b = append(append(b, ','), removed[1:len(removed)-1]...)
	}
	f.behind, f.gone, f.pending = false, nil, nil
	return append(b, '}')
}
