package simhome

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/concord-home/concord/hass"
	"github.com/concord-home/concord/hass/server"
)

// tables are the icons and English texts of states by domain and device class,
// as far as the simulated house needs them.
//
//go:embed tables.json
var tables embed.FS

type table struct {
	// domain → device class, "_" for none → state → icon; "default" is any state
	Icons map[string]map[string]map[string]string `json:"icons"`
	// the same for texts
	Texts map[string]map[string]map[string]string `json:"texts"`
}

func loadTable() (t table, err error) {
	raw, err := tables.ReadFile("tables.json")
	if err != nil {
		return t, fmt.Errorf("read tables: %w", err)
	}
	if err := json.Unmarshal(raw, &t); err != nil {
		return t, fmt.Errorf("read tables: %w", err)
	}
	return t, nil
}

// icons answers frontend/get_icons. Only the category "entity_component" has
// any: the devices of the house come with icons of their own.
func (h *Home) icons(_ context.Context, _ *server.Session, r server.Request) (any, error) {
	var m struct {
		Category string `json:"category"`
	}
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	resources := map[string]any{}
	if m.Category == "entity_component" {
		t, err := loadTable()
		if err != nil {
			return nil, err
		}
		for domain, classes := range t.Icons {
			entry := map[string]any{}
			for class, states := range classes {
				entry[class] = iconEntry(states)
			}
			resources[domain] = entry
		}
	}
	return map[string]any{"resources": resources}, nil
}

func iconEntry(states map[string]string) map[string]any {
	entry := map[string]any{}
	byState := map[string]string{}
	for state, icon := range states {
		if state == "default" {
			entry["default"] = icon
		} else {
			byState[state] = icon
		}
	}
	if len(byState) > 0 {
		entry["state"] = byState
	}
	return entry
}

// translations answers frontend/get_translations, in English whatever is asked.
func (h *Home) translations(_ context.Context, _ *server.Session, r server.Request) (any, error) {
	var m struct {
		Category string `json:"category"`
	}
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	resources := map[string]string{}
	if m.Category == "entity_component" {
		t, err := loadTable()
		if err != nil {
			return nil, err
		}
		for domain, classes := range t.Texts {
			for class, states := range classes {
				for state, text := range states {
					resources["component."+domain+".entity_component."+class+".state."+state] = text
				}
			}
		}
	}
	return map[string]any{"resources": resources}, nil
}

// renderTemplate knows no Jinja, only states('entity'): enough to see that
// templates are answered.
func (h *Home) renderTemplate(_ context.Context, s *server.Session, r server.Request) (any, error) {
	var m struct {
		Template string `json:"template"`
	}
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	text, ids, err := h.render(m.Template)
	if err != nil {
		return nil, err
	}
	event, err := json.Marshal(map[string]any{
		"result": text, "listeners": map[string]any{"all": false, "entities": ids, "domains": []string{}, "time": false},
	})
	if err != nil {
		return nil, err
	}
	s.Result(r.ID, nil)
	s.OnUnsubscribe(r.ID, func() {})
	s.SendEvent(r.ID, event)
	return nil, nil
}

func (h *Home) render(template string) (text string, ids []string, err error) {
	ids = []string{}
	for {
		before, rest, found := strings.Cut(template, "{{")
		text += before
		if !found {
			return text, ids, nil
		}
		expression, after, closed := strings.Cut(rest, "}}")
		expression = strings.TrimSpace(expression)
		id, isStates := strings.CutPrefix(expression, "states(")
		if !closed || !isStates || !strings.HasSuffix(id, ")") {
			return "", nil, &server.Error{Code: hass.CodeTemplate, Message: "TemplateError: the simulated home knows only {{ states('entity_id') }}"}
		}
		id = strings.Trim(strings.TrimSuffix(id, ")"), `'" `)
		state := "unknown"
		if s := h.State(id); s != nil {
			state = s.State
		}
		text, ids, template = text+state, append(ids, id), after
	}
}
