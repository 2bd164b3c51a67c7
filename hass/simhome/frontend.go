package simhome

import (
	"context"
	"encoding/json"

	"github.com/concord-home/concord/hass"
	"github.com/concord-home/concord/hass/server"
)

func (h *Home) icons(context.Context, *server.Session, server.Request) (any, error) {
	return map[string]any{"resources": map[string]any{}}, nil
}

func (h *Home) translations(context.Context, *server.Session, server.Request) (any, error) {
	return map[string]any{"resources": map[string]any{}}, nil
}

// renderTemplate knows no Jinja: it says so.
func (h *Home) renderTemplate(context.Context, *server.Session, server.Request) (any, error) {
	return nil, &server.Error{Code: hass.CodeTemplate, Message: "TemplateError: the simulated home renders no templates"}
}

// answers are services that give a response.
func (h *Home) answers(domain, name string, _ *call) (any, bool) {
	_ = json.RawMessage(nil)
	return nil, false
}
