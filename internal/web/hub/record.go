package hub

import (
	"encoding/json"
	"time"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/hass"
)

// record is one change, encoded once for all feeds.
type record struct {
	entityID string
	kind     byte            // 'a', 'c' or 'r', as in the protocol
	body     []byte          // "entity":{…}; for 'r' the quoted entity id
	event    json.RawMessage // the state_changed event; nil when nobody wants it
	at       time.Time
	trace    string // traceparent of the message that brought it
}

func encode(c concord.Change, at time.Time) record {
	r := record{entityID: c.EntityID, at: at, trace: c.Trace}
	switch {
	case c.New == nil:
		id, _ := json.Marshal(c.EntityID) // a text can always be encoded
		r.kind, r.body = 'r', id
	case c.Old == nil:
		st := toHass(c.New)
		r.kind, r.body = 'a', hass.AppendCompressed(nil, &st)
	default:
		from, to := toHass(c.Old), toHass(c.New)
		r.kind, r.body = 'c', hass.AppendDiffRecord(make([]byte, 0, 160), &from, &to)
	}
	return r
}

func toHass(s *concord.State) hass.State {
	return hass.State{
		EntityID: s.EntityID, State: s.State, Attributes: s.Attributes, LastChanged: s.LastChanged, LastUpdated: s.LastUpdated,
		Context: hass.Context{ID: s.Context.ID, ParentID: s.Context.ParentID, UserID: s.Context.UserID},
	}
}

// AppendState appends the full form of a state, as get_states has it.
func AppendState(b []byte, s *concord.State) []byte {
	st := toHass(s)
	return hass.AppendState(b, &st)
}

// encodeEvent is Home Assistant's state_changed event.
func encodeEvent(c concord.Change) json.RawMessage {
	id, _ := json.Marshal(c.EntityID) // a text can always be encoded
	b := append([]byte(`{"event_type":"state_changed","data":{"entity_id":`), id...)
	b = appendOrNull(append(b, `,"old_state":`...), c.Old)
	b = appendOrNull(append(b, `,"new_state":`...), c.New)
	cause := c.New
	if cause == nil {
		cause = c.Old
	}
	b = append(b, `},"origin":"LOCAL","time_fired":"`...)
	b = cause.LastUpdated.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000+00:00")
	context, _ := json.Marshal(struct {
		ID       string  `json:"id"`
		ParentID *string `json:"parent_id"`
		UserID   *string `json:"user_id"`
	}{cause.Context.ID, orNil(cause.Context.ParentID), orNil(cause.Context.UserID)})
	return append(append(append(b, `","context":`...), context...), '}')
}

func orNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func appendOrNull(b []byte, s *concord.State) []byte {
	if s == nil {
		return append(b, "null"...)
	}
	return AppendState(b, s)
}
