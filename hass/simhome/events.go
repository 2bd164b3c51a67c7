package simhome

import (
	"encoding/json"
	"time"

	"github.com/concord-home/concord/hass"
)

// appendEventEnd appends what follows the data of an event.
func appendEventEnd(b []byte, at time.Time, c hass.Context) []byte {
	b = append(b, `,"origin":"LOCAL","time_fired":"`...)
	b = at.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000")
	b = append(b, `+00:00","context":`...)
	null := func(s string) any {
		if s == "" {
			return nil
		}
		return s
	}
	text, err := json.Marshal(map[string]any{"id": c.ID, "parent_id": null(c.ParentID), "user_id": null(c.UserID)})
	if err != nil {
		text = []byte("null") // three strings always encode
	}
	return append(append(b, text...), '}')
}

// fire sends an event of any other type to those who subscribed to it.
func (h *Home) fire(kind string, data map[string]any) {
	text, err := json.Marshal(data)
	if err != nil {
		return
	}
	now := h.clock.now()
	b := append([]byte(`{"event_type":"`), kind...)
	b = append(append(b, `","data":`...), text...)
	b = appendEventEnd(b, now, hass.Context{ID: ulid(now, h.rng)})
	for _, s := range h.subs {
		if !s.entities && (s.event == "" || s.event == kind) {
			s.session.SendEvent(s.id, b)
		}
	}
}
