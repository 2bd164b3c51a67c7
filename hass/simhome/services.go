package simhome

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/concord-home/concord/hass"
	"github.com/concord-home/concord/hass/server"
)

// call is one service call on its way to one entity.
type call struct {
	home    *Home
	service string
	data    map[string]any
	context hass.Context
}

// service carries a call out on one entity. The error is a *server.Error.
type service func(c *call, e *entity) error

// callService answers call_service.
func (h *Home) callService(_ context.Context, _ *server.Session, r server.Request) (any, error) {
	var m struct {
		Domain   string          `json:"domain"`
		Service  string          `json:"service"`
		Data     json.RawMessage `json:"service_data"`
		Target   json.RawMessage `json:"target"`
		Response bool            `json:"return_response"`
	}
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	c, response, err := h.dispatch(m.Domain, m.Service, m.Data, m.Target, user)
	if err != nil {
		return nil, err
	}
	answer := map[string]any{"context": map[string]any{"id": c.ID, "parent_id": nil, "user_id": c.UserID}}
	if m.Response {
		if response == nil {
			return nil, &server.Error{Code: hass.CodeServiceValidation, Message: "An action which does not return responses can't be called with return_response=True"}
		}
		answer["response"] = response
	}
	// Encoded under the lock: the response may hold parts of the house.
	text, err := json.Marshal(answer)
	return json.RawMessage(text), err
}

// CallService carries a service out, as a client's call_service does. data and
// target are JSON objects or nil.
func (h *Home) CallService(_ context.Context, domain, name string, data, target json.RawMessage) (json.RawMessage, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, response, err := h.dispatch(domain, name, data, target, user)
	if err != nil || response == nil {
		return nil, err
	}
	return json.Marshal(response)
}

func (h *Home) dispatch(domain, name string, data, target json.RawMessage, userID string) (hass.Context, any, error) {
	now := h.clock.now()
	c := &call{home: h, service: name, data: map[string]any{}, context: hass.Context{ID: ulid(now, h.rng), UserID: userID}}
	for _, raw := range []json.RawMessage{data, target} {
		if len(raw) > 0 && json.Unmarshal(raw, &c.data) != nil {
			return c.context, nil, &server.Error{Code: hass.CodeInvalidFormat, Message: "expected a dictionary"}
		}
	}
	if c.data == nil { // null
		c.data = map[string]any{}
	}
	h.fireCall(domain, name, c)
	if response, ok := h.answers(domain, name, c); ok {
		return c.context, response, nil
	}
	run := find(domain, name)
	if run == nil {
		return c.context, nil, &server.Error{Code: hass.CodeNotFound, Message: "Service " + domain + "." + name + " not found."}
	}
	for _, e := range h.targets(domain, c.data) {
		if err := run(c, e); err != nil {
			return c.context, nil, err
		}
	}
	return c.context, nil, nil
}

func (h *Home) fireCall(domain, name string, c *call) {
	if slices.ContainsFunc(h.subs, func(s *subscription) bool { return !s.entities }) {
		h.fire("call_service", map[string]any{"domain": domain, "service": name, "service_data": c.data})
	}
}

func find(domain, name string) service {
	if domain == "homeassistant" && slices.Contains([]string{"turn_on", "turn_off", "toggle"}, name) {
		return func(c *call, e *entity) error {
			own, _, _ := strings.Cut(e.state.EntityID, ".")
			if run := services[own][name]; run != nil {
				return run(c, e)
			}
			return nil
		}
	}
	return services[domain][name]
}

// strings returns a member of the call that is a text or a list of texts.
func texts(data map[string]any, key string) []string {
	switch v := data[key].(type) {
	case string:
		return strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' })
	case []any:
		var l []string
		for _, item := range v {
			if s, ok := item.(string); ok {
				l = append(l, s)
			}
		}
		return l
	}
	return nil
}

// targets returns the entities of the domain that the call is for: by entity,
// device, area, floor or label. Hidden and categorised entities are left out
// unless they are named themselves. Unknown ids are ignored, as by Home Assistant.
func (h *Home) targets(domain string, data map[string]any) []*entity {
	ids, devices := texts(data, "entity_id"), texts(data, "device_id")
	areas, floors, labels := texts(data, "area_id"), texts(data, "floor_id"), texts(data, "label_id")
	for _, a := range h.reg.areas {
		if a.FloorID != nil && slices.Contains(floors, *a.FloorID) {
			areas = append(areas, a.AreaID)
		}
	}
	everything := slices.Contains(ids, "all")
	var found []*entity
	for _, e := range h.entities {
		if e.state == nil || domain != "homeassistant" && !strings.HasPrefix(e.state.EntityID, domain+".") {
			continue
		}
		if everything || slices.Contains(ids, e.state.EntityID) || h.indirect(e.entry, devices, areas, labels) {
			found = append(found, e)
		}
	}
	return found
}

func (h *Home) indirect(e *hass.EntityEntry, devices, areas, labels []string) bool {
	if e == nil || e.HiddenBy != "" || e.EntityCategory != "" || len(devices)+len(areas)+len(labels) == 0 {
		return false
	}
	return slices.Contains(devices, e.DeviceID) || slices.Contains(areas, h.areaOf(e)) ||
		slices.ContainsFunc(e.Labels, func(l string) bool { return slices.Contains(labels, l) })
}

// set changes the state, "" keeps it, and attributes of the entity.
func (c *call) set(e *entity, state string, attributes map[string]any) error {
	if state == "" {
		state = e.state.State
	}
	c.home.update(e, state, attributes, c.context)
	return nil
}

// number returns a member of the call that is a number.
func (c *call) number(key string) (float64, bool) {
	f, ok := c.data[key].(float64)
	return f, ok
}

func (c *call) text(key string) string {
	s, _ := c.data[key].(string)
	return s
}

// to makes a service that only sets a state.
func to(state string) service {
	return func(c *call, e *entity) error { return c.set(e, state, nil) }
}

func toggle(on, off service) service {
	return func(c *call, e *entity) error {
		if e.state.State == "off" {
			return on(c, e)
		}
		return off(c, e)
	}
}

func invalid(message string) error {
	return &server.Error{Code: hass.CodeServiceValidation, Message: message}
}

// getServices describes the services, briefly.
func (h *Home) getServices(server.Request) (any, error) {
	all := map[string]any{"homeassistant": describe([]string{"toggle", "turn_off", "turn_on", "update_entity"})}
	for _, domain := range h.domains() {
		if s := services[domain]; s != nil {
			all[domain] = describe(slices.Sorted(maps.Keys(s)))
		}
	}
	return all, nil
}

func describe(names []string) map[string]any {
	m := map[string]any{}
	for _, name := range names {
		title := strings.ReplaceAll(name, "_", " ")
		m[name] = map[string]any{
			"name": strings.ToUpper(title[:1]) + title[1:], "description": "", "fields": map[string]any{},
			"target": map[string]any{"entity": []any{map[string]any{}}},
		}
	}
	return m
}
