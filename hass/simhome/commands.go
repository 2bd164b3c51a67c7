package simhome

import (
	"context"
	"encoding/json"
	"path"
	"slices"
	"strings"

	"github.com/concord-home/concord/hass"
	"github.com/concord-home/concord/hass/server"
)

func (h *Home) commands() map[string]server.Command {
	return map[string]server.Command{
		"get_states":         h.locked(h.getStates),
		"get_config":         h.locked(h.getConfig),
		"get_services":       h.locked(h.getServices),
		"get_panels":         constant(`{}`),
		"auth/current_user":  h.currentUser,
		"subscribe_entities": h.subscribeEntities,
		"subscribe_events":   h.subscribeEvents,
		"call_service":       h.callService,

		"config/area_registry/list":               h.locked(func(server.Request) (any, error) { return h.reg.areas, nil }),
		"config/floor_registry/list":              h.locked(func(server.Request) (any, error) { return h.reg.floors, nil }),
		"config/label_registry/list":              h.locked(func(server.Request) (any, error) { return h.reg.labels, nil }),
		"config/device_registry/list":             h.locked(func(server.Request) (any, error) { return h.reg.devices, nil }),
		"config/category_registry/list":           constant(`[]`),
		"config/entity_registry/list":             h.locked(h.listEntries),
		"config/entity_registry/get":              h.locked(h.getEntry),
		"config/entity_registry/list_for_display": h.locked(h.listForDisplay),
		"config/entity_registry/update":           h.locked(h.updateEntry),
		"config/entity_registry/remove":           h.removeEntry,
		"config/area_registry/update":             h.locked(h.updateArea),
		"config/device_registry/update":           h.locked(h.updateDevice),

		"history/history_during_period": h.history,
		"recorder/info":                 constant(`{"backlog":0,"max_backlog":65000,"migration_in_progress":false,"migration_is_live":false,"recording":true,"thread_running":true}`),
		"search/related":                h.locked(h.searchRelated),
		"frontend/get_icons":            h.icons,
		"frontend/get_translations":     h.translations,
		"network/url":                   constant(`{"internal":"http://simhome.local:8123","external":null,"cloud":null}`),
		"render_template":               h.renderTemplate,
		"todo/item/list":                h.locked(h.listItems),
	}
}

func constant(result string) server.Command {
	return func(context.Context, *server.Session, server.Request) (any, error) {
		return json.RawMessage(result), nil
	}
}

// locked makes a command of a function that needs the home's lock. Its result
// is encoded under the lock.
func (h *Home) locked(f func(server.Request) (any, error)) server.Command {
	return func(_ context.Context, s *server.Session, r server.Request) (any, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		v, err := f(r)
		if err != nil {
			return nil, err
		}
		text, ok := v.(json.RawMessage)
		if !ok {
			if text, err = json.Marshal(v); err != nil {
				return nil, err
			}
		}
		s.Result(r.ID, text)
		return nil, nil
	}
}

func (h *Home) getStates(server.Request) (any, error) {
	b := []byte{'['}
	for _, e := range h.entities {
		if e.state == nil {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = hass.AppendState(b, e.state)
	}
	return json.RawMessage(append(b, ']')), nil
}

func (h *Home) getConfig(server.Request) (any, error) {
	return map[string]any{
		"location_name": h.opts.Name, "version": "2025.4.4", "state": "RUNNING",
		"time_zone": "Europe/Amsterdam", "latitude": 52.3731, "longitude": 4.8922, "elevation": 2,
		"radius": 100, "currency": "EUR", "country": "NL", "language": "en",
		"unit_system": map[string]string{
			"length": "km", "accumulated_precipitation": "mm", "area": "m²", "mass": "g", "pressure": "Pa",
			"temperature": "°C", "volume": "L", "wind_speed": "m/s",
		},
		"components": h.domains(), "config_dir": "/config", "config_source": "storage",
		"allowlist_external_dirs": []string{}, "allowlist_external_urls": []string{}, "whitelist_external_dirs": []string{},
		"safe_mode": false, "recovery_mode": false, "debug": false, "internal_url": nil, "external_url": nil,
	}, nil
}

func (h *Home) domains() []string {
	var all []string
	for _, e := range h.entities {
		if e.state != nil {
			domain, _, _ := strings.Cut(e.state.EntityID, ".")
			all = append(all, domain)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (h *Home) currentUser(context.Context, *server.Session, server.Request) (any, error) {
	return map[string]any{"id": user, "name": "Owner", "is_owner": true, "is_admin": true, "credentials": []any{}, "mfa_modules": []any{}}, nil
}

// filter is how subscribe_entities chooses.
type filter struct {
	EntityIDs stringList `json:"entity_ids"`
	Include   *selection `json:"include"`
	Exclude   *selection `json:"exclude"`
}

type selection struct {
	Domains  []string `json:"domains"`
	Entities []string `json:"entities"`
	Globs    []string `json:"entity_globs"`
}

// stringList is a list of texts that may come as one text.
type stringList []string

func (l *stringList) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*l = strings.Split(one, ",")
		for i := range *l {
			(*l)[i] = strings.TrimSpace((*l)[i])
		}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(l))
}

func (s *selection) has(id string) bool {
	domain, _, _ := strings.Cut(id, ".")
	if slices.Contains(s.Domains, domain) || slices.Contains(s.Entities, id) {
		return true
	}
	return slices.ContainsFunc(s.Globs, func(glob string) bool {
		ok, err := path.Match(glob, id)
		return ok && err == nil
	})
}

func (f *filter) function() func(string) bool {
	if f.EntityIDs == nil && f.Include == nil && f.Exclude == nil {
		return nil
	}
	var ids map[string]bool
	if f.EntityIDs != nil {
		ids = make(map[string]bool)
		for _, id := range f.EntityIDs {
			ids[id] = true
		}
	}
	return func(id string) bool {
		switch {
		case ids != nil:
			return ids[id]
		case f.Include != nil && !f.Include.has(id):
			return false
		}
		return f.Exclude == nil || !f.Exclude.has(id)
	}
}

func (h *Home) subscribeEntities(_ context.Context, s *server.Session, r server.Request) (any, error) {
	var f filter
	if err := r.Decode(&f); err != nil {
		return nil, err
	}
	for _, id := range f.EntityIDs {
		if !strings.Contains(id, ".") {
			return nil, &server.Error{Code: hass.CodeInvalidFormat, Message: "Entity ID " + id + " is an invalid entity ID for dictionary value @ data['entity_ids']"}
		}
	}
	sub := &subscription{session: s, id: r.ID, entities: true, wants: f.function()}
	s.Result(r.ID, nil)
	h.addSubscription(sub)
	return nil, nil
}

// addSubscription begins to send to a subscription, without a gap after the
// snapshot that comes first.
func (h *Home) addSubscription(sub *subscription) {
	// Outside the lock, because what it is given takes the lock. A command runs
	// before its session can end, so it is not called at once.
	sub.session.OnUnsubscribe(sub.id, func() { h.unsubscribe(sub) })
	h.mu.Lock()
	defer h.mu.Unlock()
	if sub.entities {
		var now []*hass.State
		for _, e := range h.entities {
			if e.state != nil && (sub.wants == nil || sub.wants(e.state.EntityID)) {
				now = append(now, e.state)
			}
		}
		sub.session.SendEvent(sub.id, hass.AppendAdded(nil, now...))
	}
	h.subs = append(h.subs, sub)
}

func (h *Home) subscribeEvents(_ context.Context, s *server.Session, r server.Request) (any, error) {
	var m struct {
		EventType string `json:"event_type"`
	}
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	if m.EventType == "*" {
		m.EventType = ""
	}
	s.Result(r.ID, nil)
	h.addSubscription(&subscription{session: s, id: r.ID, event: m.EventType})
	return nil, nil
}
