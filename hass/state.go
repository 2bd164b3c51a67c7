package hass

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/concord-home/concord/hass/internal/scan"
)

// State is the state of one entity at one moment.
type State struct {
	EntityID    string
	State       string
	Attributes  json.RawMessage // a JSON object
	LastChanged time.Time       // when State last changed; the home's clock, µs, UTC
	LastUpdated time.Time       // when State or Attributes last changed; the home's clock, µs, UTC
	Context     Context
}

// Context tells what caused a change. Empty means null.
type Context struct {
	ID       string `json:"id"`
	ParentID string `json:"parent_id"`
	UserID   string `json:"user_id"`
}

// stateJSON is the full form, as get_states and state_changed have it.
type stateJSON struct {
	EntityID    string          `json:"entity_id"`
	State       string          `json:"state"`
	Attributes  json.RawMessage `json:"attributes"`
	LastChanged time.Time       `json:"last_changed"`
	LastUpdated time.Time       `json:"last_updated"`
	Context     Context         `json:"context"`
}

// UnmarshalJSON reads Home Assistant's full form of a state.
func (s *State) UnmarshalJSON(b []byte) error {
	var j stateJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	if j.EntityID == "" {
		return errors.New("state without entity_id")
	}
	*s = State{j.EntityID, j.State, j.Attributes, micro(j.LastChanged), micro(j.LastUpdated), j.Context}
	return nil
}

// MarshalJSON writes Home Assistant's full form of a state.
func (s State) MarshalJSON() ([]byte, error) { return AppendState(nil, &s), nil }

func micro(t time.Time) time.Time { return t.UTC().Round(time.Microsecond) }

// AppendState appends Home Assistant's full form of a state, as get_states
// sends it.
func AppendState(b []byte, s *State) []byte {
	b = append(b, `{"entity_id":`...)
	b = appendString(b, s.EntityID)
	b = append(b, `,"state":`...)
	b = appendString(b, s.State)
	b = append(b, `,"attributes":`...)
	b = appendAttributes(b, s.Attributes)
	b = append(b, `,"last_changed":`...)
	b = appendISO(b, s.LastChanged)
	b = append(b, `,"last_reported":`...)
	b = appendISO(b, s.LastUpdated)
	b = append(b, `,"last_updated":`...)
	b = appendISO(b, s.LastUpdated)
	b = append(b, `,"context":`...)
	b = appendContextObject(b, s.Context)
	return append(b, '}')
}

// DecodeStates reads the answer to get_states. A state that cannot be read
// costs that state: it is in invalid, the others in states. The error is about
// the answer as a whole.
func DecodeStates(raw []byte) (states []State, invalid []ItemError, err error) {
	it := scan.Array(raw)
	for it.Next() {
		var s State
		if !scan.Valid(it.Value) {
			invalid = append(invalid, itemError("", it.Value, scan.ErrSyntax))
			continue
		}
		if err := json.Unmarshal(it.Value, &s); err != nil {
			invalid = append(invalid, itemError(entityIDOf(it.Value), it.Value, err))
			continue
		}
		states = append(states, s)
	}
	if it.Err() != nil {
		return states, invalid, fmt.Errorf("read states: %w", it.Err())
	}
	return states, invalid, nil
}

func entityIDOf(v []byte) string {
	it := scan.Object(v)
	for it.Next() {
		if string(it.Key) == "entity_id" {
			s, _ := scan.String(it.Value)
			return s
		}
	}
	return ""
}

// ItemError is one record of a message that could not be read. The other
// records of the message are not affected.
type ItemError struct {
	EntityID string // as far as known
	Raw      []byte // the record as it came, at most 4 KiB of it; may be invalid UTF-8
	Err      error
}

func (e *ItemError) Error() string { return fmt.Sprintf("entity %q: %v", e.EntityID, e.Err) }

// Unwrap returns the reason.
func (e *ItemError) Unwrap() error { return e.Err }

func itemError(id string, raw []byte, err error) ItemError {
	return ItemError{id, append([]byte(nil), raw[:min(len(raw), 4096)]...), err}
}
