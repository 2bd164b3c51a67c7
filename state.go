package concord

import (
	"encoding/json"
	"strings"
	"time"
)

// State is the state of one entity at one moment. It is immutable: a change
// makes a new one, so pointers to it may be shared.
type State struct {
	EntityID    string
	State       string
	Attributes  json.RawMessage // a JSON object
	LastChanged time.Time       // when State last changed; the home's clock, µs, UTC
	LastUpdated time.Time       // when State or Attributes last changed; the home's clock, µs, UTC
	Context     EventContext
	Position    Position
}

// EventContext tells what caused a change. History answers carry none.
type EventContext struct {
	ID, ParentID, UserID string
}

// Position orders everything that a home said: by connection, then by place in
// that connection's stream. The home's own times are data, never order: clocks
// step back.
type Position struct {
	Epoch int64 // of the connection; a later connection has a larger one, across restarts and instances
	Seq   int64 // place of the message in the connection's stream, from 1
}

// Before reports whether p comes before q.
func (p Position) Before(q Position) bool {
	return p.Epoch < q.Epoch || p.Epoch == q.Epoch && p.Seq < q.Seq
}

// Domain returns the part of the entity id before the dot: what kind of entity it is.
func (s *State) Domain() string { return Domain(s.EntityID) }

// Domain returns the part of an entity id before the dot.
func Domain(entityID string) string {
	domain, _, _ := strings.Cut(entityID, ".")
	return domain
}

// Available reports whether the state says anything: it is neither
// "unavailable" nor "unknown".
func (s *State) Available() bool { return s.State != "unavailable" && s.State != "unknown" }

// Change is one entity's step from one state to the next.
type Change struct {
	EntityID string
	Old      *State // nil when the entity is new
	New      *State // nil when the entity is gone
	Trace    string // W3C traceparent of the message that brought it; "" when it is not followed
}
