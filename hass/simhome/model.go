package simhome

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/concord-home/concord/hass"
)

// entity is one entity of the home: its state, its registry entry if it has
// one, and what moves it.
type entity struct {
	state  *hass.State // replaced, never changed; nil when removed or disabled
	entry  *hass.EntityEntry
	mover  *mover
	past   []*hass.State // in order; the recorder's view
	detail map[string]any
}

// clock is the home's clock: it can be stepped, and it never gives the same
// microsecond twice unless it was stepped back.
type clock struct {
	offset time.Duration
	last   time.Time
}

func (c *clock) now() time.Time {
	t := time.Now().UTC().Add(c.offset).Truncate(time.Microsecond)
	if !t.After(c.last) {
		t = c.last.Add(time.Microsecond)
	}
	c.last = t
	return t
}

const ulidDigits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// ulid makes an id as Home Assistant does for contexts: 48 bits of time, 80 of chance.
func ulid(t time.Time, rng *rand.Rand) string {
	var b [26]byte
	ms := uint64(t.UnixMilli())
	for i := 9; i >= 0; i-- {
		b[i] = ulidDigits[ms&31]
		ms >>= 5
	}
	for i := 10; i < 26; i += 8 {
		r := rng.Uint64()
		for j := range 8 {
			b[i+j] = ulidDigits[r&31]
			r >>= 5
		}
	}
	return string(b[:])
}

// set gives an entity a new state. attributes nil keeps the old ones. Nothing
// happens, and false is returned, when nothing differs.
func (h *Home) set(e *entity, state string, attributes json.RawMessage, context hass.Context) bool {
	old := e.state
	if attributes == nil {
		attributes = old.Attributes
	}
	if old.State == state && string(old.Attributes) == string(attributes) {
		return false
	}
	now := h.clock.now()
	s := &hass.State{EntityID: old.EntityID, State: state, Attributes: attributes, LastChanged: old.LastChanged, LastUpdated: now, Context: context}
	if old.State != state {
		s.LastChanged = now
	}
	if s.Context.ID == "" {
		s.Context.ID = ulid(now, h.rng)
	}
	h.replace(e, s)
	return true
}

// replace makes s the state of e, remembers and announces it. nil removes.
func (h *Home) replace(e *entity, s *hass.State) {
	old := e.state
	e.state = s
	h.emitted++
	if h.opts.Sent != nil {
		h.opts.Sent(Change{old, s})
	}
	if s != nil {
		h.remember(e, s)
	}
	h.announce(old, s)
}

func (h *Home) remember(e *entity, s *hass.State) {
	if len(e.past) >= h.opts.HistoryPerEntity {
		keep := e.past[len(e.past)-h.opts.HistoryPerEntity*3/4:]
		e.past = append(make([]*hass.State, 0, h.opts.HistoryPerEntity), keep...)
	}
	e.past = append(e.past, s)
}

// States returns the states of all entities.
func (h *Home) States() []*hass.State {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]*hass.State, 0, len(h.entities))
	for _, e := range h.entities {
		if e.state != nil {
			all = append(all, e.state)
		}
	}
	return all
}

// Past returns what the home's history keeps of an entity since the home was
// started, in the order in which it happened.
func (h *Home) Past(entityID string) []*hass.State {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.byID[entityID]
	if e == nil {
		return nil
	}
	return slices.Clone(e.past)
}

// State returns the state of an entity, or nil.
func (h *Home) State(entityID string) *hass.State {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.byID[entityID]; e != nil {
		return e.state
	}
	return nil
}

// Set gives an entity a state, and makes it when it does not exist, as Home
// Assistant's POST /api/states does. attributes is a JSON object or nil, which
// keeps the old ones.
func (h *Home) Set(entityID, state string, attributes json.RawMessage) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.byID[entityID]
	if e != nil && e.state != nil {
		h.set(e, state, attributes, hass.Context{})
		return
	}
	if e == nil {
		e = &entity{}
		h.entities = append(h.entities, e)
		h.byID[entityID] = e
	}
	if attributes == nil {
		attributes = json.RawMessage("{}")
	}
	now := h.clock.now()
	h.replace(e, &hass.State{EntityID: entityID, State: state, Attributes: attributes, LastChanged: now, LastUpdated: now, Context: hass.Context{ID: ulid(now, h.rng)}})
}

// update changes the state and some attributes of an entity.
func (h *Home) update(e *entity, state string, attributes map[string]any, context hass.Context) {
	if e.state == nil || e.state.State == "unavailable" {
		return
	}
	var raw json.RawMessage
	if len(attributes) > 0 {
		set, err := json.Marshal(attributes)
		if err != nil {
			return // services only set plain values
		}
		raw = hass.MergeAttributes(e.state.Attributes, set, nil)
	}
	h.set(e, state, raw, context)
}

// attributes returns the attributes of an entity, decoded.
func (e *entity) attributes() map[string]any {
	var m map[string]any
	if e.state == nil || json.Unmarshal(e.state.Attributes, &m) != nil {
		return map[string]any{}
	}
	return m
}
