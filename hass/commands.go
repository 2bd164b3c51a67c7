package hass

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/concord-home/concord/hass/internal/scan"
)

// Caller is what the typed commands need: a *Client or, in OnConnect, a *Conn.
type Caller interface {
	Call(ctx context.Context, cmd any, into any) (Position, error)
}

// Command is a command with members: {"type": …, …}.
type Command map[string]any

func ask[T any](ctx context.Context, c Caller, cmd any) (T, Position, error) {
	var v T
	at, err := c.Call(ctx, cmd, &v)
	return v, at, err
}

// GetConfig returns the home's configuration.
func GetConfig(ctx context.Context, c Caller) (Config, Position, error) {
	return ask[Config](ctx, c, "get_config")
}

// GetStates returns all states as they stand at the position, and the records
// that could not be read.
func GetStates(ctx context.Context, c Caller) ([]State, []ItemError, Position, error) {
	raw, at, err := ask[json.RawMessage](ctx, c, "get_states")
	if err != nil {
		return nil, nil, at, err
	}
	states, invalid, err := DecodeStates(raw)
	return states, invalid, at, err
}

// Areas returns the area registry, in the home's order.
func Areas(ctx context.Context, c Caller) ([]Area, Position, error) {
	return ask[[]Area](ctx, c, "config/area_registry/list")
}

// Floors returns the floor registry, in the home's order. A home that is too
// old to have floors has none.
func Floors(ctx context.Context, c Caller) ([]Floor, Position, error) {
	return optional[Floor](ctx, c, "config/floor_registry/list")
}

// Devices returns the device registry.
func Devices(ctx context.Context, c Caller) ([]Device, Position, error) {
	return ask[[]Device](ctx, c, "config/device_registry/list")
}

// Entities returns the entity registry.
func Entities(ctx context.Context, c Caller) ([]EntityEntry, Position, error) {
	return ask[[]EntityEntry](ctx, c, "config/entity_registry/list")
}

// GetEntity returns one registry entry with all its members.
func GetEntity(ctx context.Context, c Caller, entityID string) (EntityEntry, Position, error) {
	return ask[EntityEntry](ctx, c, Command{"type": "config/entity_registry/get", "entity_id": entityID})
}

// EntitiesForDisplay returns the short form of the entity registry.
func EntitiesForDisplay(ctx context.Context, c Caller) (DisplayEntities, Position, error) {
	return ask[DisplayEntities](ctx, c, "config/entity_registry/list_for_display")
}

// Labels returns the label registry; none from a home that is too old for it.
func Labels(ctx context.Context, c Caller) ([]Label, Position, error) {
	return optional[Label](ctx, c, "config/label_registry/list")
}

func optional[T any](ctx context.Context, c Caller, cmd string) ([]T, Position, error) {
	v, at, err := ask[[]T](ctx, c, cmd)
	var refused *CommandError
	if errors.As(err, &refused) && refused.Code == CodeUnknownCommand {
		return nil, at, nil
	}
	return v, at, err
}

// GetServices returns the services by domain, as Home Assistant describes them.
func GetServices(ctx context.Context, c Caller) (json.RawMessage, Position, error) {
	return ask[json.RawMessage](ctx, c, "get_services")
}

// GetPanels returns the panels of the home's own front end.
func GetPanels(ctx context.Context, c Caller) (json.RawMessage, Position, error) {
	return ask[json.RawMessage](ctx, c, "get_panels")
}

// ServiceResult is the answer to a service call.
type ServiceResult struct {
	Context  Context         `json:"context"` // the changes it causes carry it
	Response json.RawMessage `json:"response"`
}

// CallService has the home carry out a service. data and target encode to
// JSON objects or are nil. Whether it worked shows in the states: a call for an
// entity that does not exist succeeds.
func CallService(ctx context.Context, c Caller, domain, service string, data, target any, returnResponse bool) (ServiceResult, Position, error) {
	cmd := Command{"type": "call_service", "domain": domain, "service": service}
	if !isNil(data) {
		cmd["service_data"] = data
	}
	if !isNil(target) {
		cmd["target"] = target
	}
	if returnResponse {
		cmd["return_response"] = true
	}
	return ask[ServiceResult](ctx, c, cmd)
}

func isNil(v any) bool {
	if raw, ok := v.(json.RawMessage); ok {
		return len(raw) == 0
	}
	return v == nil
}

// HistoryDuringPeriod returns the states that the home recorded in [from, to]
// for these entities, by entity and in order, with attributes, every change
// and not only those that Home Assistant calls significant. The state that
// held at from is left out: Home Assistant gives it from as its time, so it
// is not a change. History has no contexts. A zero to is now.
func HistoryDuringPeriod(ctx context.Context, c Caller, from, to time.Time, entityIDs []string) (map[string][]State, Position, error) {
	cmd := Command{
		"type": "history/history_during_period", "entity_ids": entityIDs,
		"start_time":               from.UTC().Format(time.RFC3339Nano),
		"include_start_time_state": false,
		"significant_changes_only": false,
		"minimal_response":         false,
		"no_attributes":            false,
	}
	if !to.IsZero() {
		cmd["end_time"] = to.UTC().Format(time.RFC3339Nano)
	}
	raw, at, err := ask[json.RawMessage](ctx, c, cmd)
	if err != nil {
		return nil, at, err
	}
	states, err := DecodeHistory(raw)
	return states, at, err
}

// DecodeHistory reads the answer to history/history_during_period and the
// "states" of a history/stream event. A record without attributes, as in
// minimal answers, has nil ones; one that cannot be read is left out, and the
// error, made with errors.Join, has an *ItemError for each, beside the rest.
func DecodeHistory(raw []byte) (map[string][]State, error) {
	out := make(map[string][]State)
	var errs []error
	it := scan.Object(raw)
	for it.Next() {
		id := string(it.Key)
		records := scan.Array(it.Value)
		for records.Next() {
			s, err := historyState(id, records.Value)
			if err != nil {
				item := itemError(id, records.Value, err)
				errs = append(errs, &item)
				continue
			}
			out[id] = append(out[id], s)
		}
		if records.Err() != nil {
			errs = append(errs, fmt.Errorf("history of %s: %w", id, records.Err()))
		}
	}
	if it.Err() != nil {
		errs = append(errs, fmt.Errorf("read history: %w", it.Err()))
	}
	return out, errors.Join(errs...)
}

// historyState reads a record of a history answer, in which "lu" is always
// there and "lc" only when it differs.
func historyState(id string, v []byte) (State, error) {
	if !scan.Valid(v) {
		return State{}, scan.ErrSyntax
	}
	var d Diff
	if err := d.members(v); err != nil {
		return State{}, err
	}
	if d.Has&HasState == 0 || d.Has&(HasLastUpdated|HasLastChanged) == 0 {
		return State{}, errors.New("no state or no time")
	}
	if d.Has&HasLastUpdated == 0 {
		d.LastUpdated = d.LastChanged
	}
	if d.Has&HasLastChanged == 0 {
		d.LastChanged = d.LastUpdated
	}
	return State{id, d.State, d.Attributes, d.LastChanged, d.LastUpdated, d.Context}, nil
}

// Ping asks for a sign of life and waits for it.
func Ping(ctx context.Context, c Caller) (Position, error) { return c.Call(ctx, "ping", nil) }

// SearchRelated returns what is related to an item: kind is "entity",
// "device", "area", "automation", "scene", …; the answer maps kinds to ids.
func SearchRelated(ctx context.Context, c Caller, kind, id string) (map[string][]string, Position, error) {
	return ask[map[string][]string](ctx, c, Command{"type": "search/related", "item_type": kind, "item_id": id})
}

// Icons returns the icon tables: category is "entity", "entity_component" or
// "services".
func Icons(ctx context.Context, c Caller, category string) (json.RawMessage, Position, error) {
	return resources(ctx, c, Command{"type": "frontend/get_icons", "category": category})
}

// Translations returns the texts of a category ("entity", "entity_component",
// "state", …) in a language, by their dotted keys. With no integrations it is
// those that are loaded.
func Translations(ctx context.Context, c Caller, language, category string, integrations ...string) (map[string]string, Position, error) {
	cmd := Command{"type": "frontend/get_translations", "language": language, "category": category}
	if len(integrations) > 0 {
		cmd["integration"] = integrations
	}
	raw, at, err := resources(ctx, c, cmd)
	if err != nil {
		return nil, at, err
	}
	var texts map[string]string
	if err := json.Unmarshal(raw, &texts); err != nil {
		return nil, at, fmt.Errorf("read translations: %w", err)
	}
	return texts, at, nil
}

func resources(ctx context.Context, c Caller, cmd Command) (json.RawMessage, Position, error) {
	v, at, err := ask[struct {
		Resources json.RawMessage `json:"resources"`
	}](ctx, c, cmd)
	return v.Resources, at, err
}

// SupervisorAPI passes a request through to the Supervisor. A home without one
// answers CodeUnknownCommand.
func SupervisorAPI(ctx context.Context, c Caller, method, endpoint string, data any) (json.RawMessage, Position, error) {
	cmd := Command{"type": "supervisor/api", "method": method, "endpoint": endpoint}
	if !isNil(data) {
		cmd["data"] = data
	}
	return ask[json.RawMessage](ctx, c, cmd)
}

// NetworkURLs are the addresses at which the home can be reached.
type NetworkURLs struct {
	Internal string `json:"internal"`
	External string `json:"external"`
	Cloud    string `json:"cloud"`
}

// NetworkURL returns the home's addresses.
func NetworkURL(ctx context.Context, c Caller) (NetworkURLs, Position, error) {
	return ask[NetworkURLs](ctx, c, "network/url")
}
