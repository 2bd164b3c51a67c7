package simhome

import (
	"slices"

	"github.com/concord-home/concord/hass"
	"github.com/concord-home/concord/hass/server"
)

// subscription is one subscribe_entities or subscribe_events of a client.
type subscription struct {
	session  *server.Session
	id       int64
	entities bool                       // the compressed form
	wants    func(entityID string) bool // nil is all
	event    string                     // event type; "" is all
}

// held is a message that a fault keeps back.
type held struct{ old, new *hass.State }

// announce tells all subscribers of one change, as far as faults let it.
func (h *Home) announce(old, new *hass.State) {
	if h.down() || len(h.subs) == 0 {
		return
	}
	if h.fault.reorder > 0 {
		h.waiting = append(h.waiting, held{old, new})
		if h.fault.reorder--; h.fault.reorder == 0 {
			h.release()
		}
		return
	}
	h.send(old, new)
	if h.fault.duplicate > 0 {
		h.fault.duplicate--
		h.send(old, new)
	}
}

// release sends what Reorder kept back, the last first.
func (h *Home) release() {
	slices.Reverse(h.waiting)
	for _, w := range h.waiting {
		h.send(w.old, w.new)
	}
	h.waiting = nil
}

func (h *Home) send(old, new *hass.State) {
	id := ""
	if new != nil {
		id = new.EntityID
	} else {
		id = old.EntityID
	}
	var compressed, full []byte
	buf := h.scratch[:0]
	for _, s := range h.subs {
		if s.entities {
			if s.wants != nil && !s.wants(id) {
				continue
			}
			if compressed == nil {
				buf = appendCompressed(buf, old, new)
				compressed = buf
			}
			s.session.SendEvent(s.id, compressed)
			continue
		}
		if s.event != "" && s.event != hass.EventStateChanged {
			continue
		}
		if full == nil {
			full = appendStateChanged(nil, old, new)
		}
		s.session.SendEvent(s.id, full)
	}
	h.scratch = buf
}

func appendCompressed(b []byte, old, new *hass.State) []byte {
	switch {
	case new == nil:
		return hass.AppendRemoved(b, old.EntityID)
	case old == nil:
		return hass.AppendAdded(b, new)
	}
	return hass.AppendDiff(b, old, new)
}

func appendStateChanged(b []byte, old, new *hass.State) []byte {
	cause := new
	if new == nil {
		cause = old
	}
	b = append(b, `{"event_type":"state_changed","data":{"entity_id":"`...)
	b = append(b, cause.EntityID...)
	b = append(b, `","old_state":`...)
	b = appendStateOrNull(b, old)
	b = append(b, `,"new_state":`...)
	b = appendStateOrNull(b, new)
	return appendEventEnd(append(b, '}'), cause.LastUpdated, cause.Context)
}

func appendStateOrNull(b []byte, s *hass.State) []byte {
	if s == nil {
		return append(b, "null"...)
	}
	return hass.AppendState(b, s)
}

func (h *Home) unsubscribe(s *subscription) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.subs = slices.DeleteFunc(h.subs, func(o *subscription) bool { return o == s })
}
