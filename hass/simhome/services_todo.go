package simhome

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/concord-home/concord/hass"
	"github.com/concord-home/concord/hass/server"
)

// todoItem is one item of a to-do list, as todo.get_items answers it.
type todoItem struct {
	Summary string `json:"summary"`
	UID     string `json:"uid"`
	Status  string `json:"status"` // "needs_action" or "completed"
}

func items(e *entity) []todoItem {
	l, _ := e.detail["items"].([]todoItem)
	return l
}

// setItems stores the items; the state is how many are open.
func (c *call) setItems(e *entity, l []todoItem) error {
	if e.detail == nil {
		e.detail = map[string]any{}
	}
	e.detail["items"] = l
	open := 0
	for _, item := range l {
		if item.Status != "completed" {
			open++
		}
	}
	return c.set(e, strconv.Itoa(open), nil)
}

func addItem(c *call, e *entity) error {
	if c.text("item") == "" {
		return invalid("required key not provided @ data['item']")
	}
	l := slices.Clone(items(e))
	return c.setItems(e, append(l, todoItem{c.text("item"), fmt.Sprintf("%016x", c.home.rng.Uint64()), "needs_action"}))
}

func updateItem(c *call, e *entity) error {
	l := slices.Clone(items(e))
	i := slices.IndexFunc(l, func(t todoItem) bool { return t.UID == c.text("item") || t.Summary == c.text("item") })
	if i < 0 {
		return invalid("Unable to find to-do item: " + c.text("item"))
	}
	if s := c.text("rename"); s != "" {
		l[i].Summary = s
	}
	if s := c.text("status"); s != "" {
		l[i].Status = s
	}
	return c.setItems(e, l)
}

func removeItem(c *call, e *entity) error {
	names := texts2(c.data, "item")
	if c.text("item") != "" {
		names = []string{c.text("item")}
	}
	return c.setItems(e, slices.DeleteFunc(slices.Clone(items(e)), func(t todoItem) bool {
		return slices.Contains(names, t.UID) || slices.Contains(names, t.Summary)
	}))
}

func removeCompleted(c *call, e *entity) error {
	return c.setItems(e, slices.DeleteFunc(slices.Clone(items(e)), func(t todoItem) bool { return t.Status == "completed" }))
}

// answers are the services that give a response.
func (h *Home) answers(domain, name string, c *call) (any, bool) {
	response := map[string]any{}
	switch domain + "." + name {
	case "todo.get_items":
		for _, e := range h.targets(domain, c.data) {
			response[e.state.EntityID] = map[string]any{"items": append([]todoItem{}, items(e)...)}
		}
	case "weather.get_forecasts":
		for _, e := range h.targets(domain, c.data) {
			response[e.state.EntityID] = map[string]any{"forecast": h.forecast(c.text("type"))}
		}
	case "homeassistant.update_entity", "homeassistant.check_config", "persistent_notification.create", "persistent_notification.dismiss", "notify.notify":
		return nil, true
	case "simhome.emit":
		n, _ := c.number("count")
		h.emit(int(min(max(n, 0), 1e6)))
		return map[string]any{"sent": n}, true
	default:
		return nil, false
	}
	return response, true
}

// listItems answers todo/item/list.
func (h *Home) listItems(r server.Request) (any, error) {
	var m struct {
		EntityID string `json:"entity_id"`
	}
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	e := h.byID[m.EntityID]
	if e == nil {
		return nil, &server.Error{Code: hass.CodeNotFound, Message: "Entity not found"}
	}
	return map[string]any{"items": append([]todoItem{}, items(e)...)}, nil
}
