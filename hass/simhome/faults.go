package simhome

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/concord-home/concord/hass"
)

// faults counts what the next changes will suffer.
type faults struct {
	duplicate int
	reorder   int
}

// gate holds the home's reading and writing up while it stalls.
type gate struct {
	mu    sync.Mutex
	until chan struct{} // nil when open
}

func (g *gate) wait(ctx context.Context) {
	g.mu.Lock()
	until := g.until
	g.mu.Unlock()
	if until == nil {
		return
	}
	select {
	case <-until:
	case <-ctx.Done():
	}
}

func (g *gate) shut(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.until != nil {
		return
	}
	until := make(chan struct{})
	g.until = until
	time.AfterFunc(d, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.until = nil
		close(until)
	})
}

// Disconnect cuts all clients without a farewell, as a pulled plug does.
func (h *Home) Disconnect() { h.server.DisconnectAll() }

// Stall keeps the connections open and says nothing on them for that long:
// neither events nor answers. Changes go on and are sent afterwards.
func (h *Home) Stall(d time.Duration) { h.gate.shut(d) }

// StepClock moves the home's clock; d may be negative.
func (h *Home) StepClock(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock.offset += d
	h.clock.last = time.Time{}
}

// Duplicate makes the home send each of the next n changes twice.
func (h *Home) Duplicate(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault.duplicate = n
}

// Reorder makes the home hold back the next n changes and then send them in
// reverse order.
func (h *Home) Reorder(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault.reorder = n
}

// Restart cuts all clients and refuses new ones for that long. Afterwards
// every entity has its state of before, as new: with another context and time.
func (h *Home) Restart(down time.Duration) {
	h.mu.Lock()
	h.downTill = time.Now().Add(down)
	h.mu.Unlock()
	h.Disconnect()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.entities {
		if e.state == nil {
			continue
		}
		s := *e.state
		s.LastChanged = h.clock.now()
		s.LastUpdated = s.LastChanged
		s.Context = hass.Context{ID: ulid(s.LastChanged, h.rng)}
		h.replace(e, &s)
	}
}

func (h *Home) isDown() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.down()
}

func (h *Home) down() bool { return !h.downTill.IsZero() && time.Now().Before(h.downTill) }

// Remove takes an entity away, with its registry entry. It reports whether it
// was there.
func (h *Home) Remove(entityID string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.byID[entityID]
	if e == nil {
		return false
	}
	delete(h.byID, entityID)
	h.entities = slices.DeleteFunc(h.entities, func(o *entity) bool { return o == e })
	h.movers = slices.DeleteFunc(h.movers, func(o *entity) bool { return o == e })
	h.removed[entityID] = removed{entity: e, state: e.state}
	if e.state != nil {
		h.replace(e, nil)
	}
	if e.entry != nil {
		h.fire(hass.EventEntityRegistryUpdated, map[string]any{"action": "remove", "entity_id": entityID})
	}
	return true
}

// removed is an entity that is gone, with its last state. The home's history
// keeps what it did, as Home Assistant's recorder does.
type removed struct {
	*entity
	state *hass.State
}

// Restore adds an entity that Remove took away, in the state that it had then.
// With anew it comes as one that was never known: its registry entry has
// another id. It reports whether that was possible.
func (h *Home) Restore(entityID string, anew bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	gone, ok := h.removed[entityID]
	if !ok || h.byID[entityID] != nil {
		return false
	}
	delete(h.removed, entityID)
	e := gone.entity
	h.byID[entityID] = e
	h.entities = append(h.entities, e)
	if e.mover != nil {
		h.movers = append(h.movers, e)
	}
	if anew && e.entry != nil {
		entry := *e.entry
		entry.ID = ulid(h.clock.now(), h.rng)
		e.entry = &entry
	}
	if gone.state != nil {
		s := *gone.state
		s.LastChanged = h.clock.now()
		s.LastUpdated, s.Context = s.LastChanged, hass.Context{ID: ulid(s.LastChanged, h.rng)}
		h.replace(e, &s)
	}
	if e.entry != nil {
		h.fire(hass.EventEntityRegistryUpdated, map[string]any{"action": "create", "entity_id": entityID})
	}
	return true
}

// Rename changes an entity's id. It reports whether that was possible.
func (h *Home) Rename(entityID, newID string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rename(entityID, newID)
}

func (h *Home) rename(entityID, newID string) bool {
	e := h.byID[entityID]
	if e == nil || h.byID[newID] != nil || newID == "" {
		return false
	}
	delete(h.byID, entityID)
	h.byID[newID] = e
	old := e.state
	if old != nil {
		h.replace(e, nil)
	}
	if e.entry != nil {
		entry := *e.entry
		entry.EntityID = newID
		e.entry = &entry
	}
	if old != nil {
		s := *old
		s.EntityID, s.LastChanged = newID, h.clock.now()
		s.LastUpdated, s.Context = s.LastChanged, hass.Context{ID: ulid(s.LastChanged, h.rng)}
		h.replace(e, &s)
	}
	h.fire(hass.EventEntityRegistryUpdated, map[string]any{
		"action": "update", "entity_id": newID, "old_entity_id": entityID, "changes": map[string]any{"entity_id": entityID},
	})
	return true
}
