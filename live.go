package concord

import (
	"context"
	"encoding/json"
)

// Live is the current state of every home, in memory. It answers every read of
// "now", and goes on doing so while the database is down. All methods are safe
// for concurrent use and never block on I/O.
type Live interface {
	// Homes returns the homes in display order.
	Homes() []HomeStatus
	// Home returns one home. The error is CodeNotFound.
	Home(id int64) (HomeStatus, error)
	// Registry returns the home's registry; empty, never nil, before the first
	// snapshot. The error is CodeNotFound.
	Registry(home int64) (*Registry, error)
	// State returns the state of one entity, or nil.
	State(home int64, entityID string) *State
	// States returns all states, ordered by entity id. The error is CodeNotFound.
	States(home int64) ([]*State, error)
	// Watch calls w for everything that changes from now on, and returns the
	// states as they stand at exactly that point. Stop returns when no call to w
	// is under way any more. The error is CodeNotFound.
	Watch(home int64, w Watcher) (now []*State, stop func(), err error)
}

// Watcher is told of changes in the order in which the home made them. The
// calls come from the goroutine that reads the home's connection: a Watcher
// that needs time puts the work in a queue of its own, and must not call Live.
type Watcher interface {
	// StatesChanged has the changes of one frame. The slice and all it points
	// to may be kept, and must not be changed.
	StatesChanged(changes []Change)
	// RegistryChanged has the new registry.
	RegistryChanged(r *Registry)
	// StatusChanged has the new status of the link. Times alone do not call it.
	StatusChanged(s HomeStatus)
}

// ServiceCall asks a home to do something.
type ServiceCall struct {
	Domain         string
	Service        string
	Data           json.RawMessage // a JSON object, or nil
	Target         json.RawMessage // a JSON object, or nil
	ReturnResponse bool
}

// Link sends commands to homes.
type Link interface {
	// CallService has the home carry out the call and returns the home's answer
	// as it came. Errors: CodeNotFound, CodeUnavailable, CodeTimeout, or
	// CodeInvalid with the home's own message.
	CallService(ctx context.Context, home int64, call ServiceCall) (json.RawMessage, error)
	// Command sends any other command; command is a JSON object with "type" and
	// without "id". Errors as CallService.
	Command(ctx context.Context, home int64, command json.RawMessage) (json.RawMessage, error)
}

// Reconnector makes a home's connection anew.
type Reconnector interface {
	// Reconnect drops the connection to the home, if there is one, and dials
	// again at once. It does not wait for the outcome, which Watchers are told.
	// Errors: CodeNotFound.
	Reconnect(ctx context.Context, home int64) error
}
