package web

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"

	"github.com/concord-home/concord"
)

// callService has a home carry out a service.
func (s *Server) callService(ctx context.Context, c *rpcCall) (any, error) {
	var p struct {
		homeParam
		Domain  *string     `json:"domain"`
		Service *string     `json:"service"`
		Data    serviceData `json:"service_data"`
	}
	if err := c.decode(&p); err != nil {
		return nil, err
	}
	if p.Domain == nil || p.Service == nil || *p.Domain == "" || *p.Service == "" {
		return nil, concord.Errorf(concord.CodeInvalid, "domain and service are required")
	}
	ids := entityIDs(p.Data["entity_id"])
	if len(ids) == 0 {
		return nil, concord.Errorf(concord.CodeInvalid, "entity_id is required in service_data")
	}
	if err := mayControl(ctx); err != nil {
		return nil, err
	}
	h, err := s.home(ctx, p.Home)
	if err != nil {
		return nil, err
	}
	s.clamp(h.ID, *p.Domain, *p.Service, ids, p.Data)
	data, err := json.Marshal(p.Data)
	if err != nil {
		return nil, err
	}
	answer, err := s.Link.CallService(ctx, h.ID, concord.ServiceCall{Domain: *p.Domain, Service: *p.Service, Data: data})
	if err != nil {
		return nil, err
	}
	return ok(raw(answer)), nil
}

// serviceData keeps numbers as they were written: as a float64, an id above 2⁵³
// would become another.
type serviceData map[string]any

// UnmarshalJSON implements [json.Unmarshaler].
func (d *serviceData) UnmarshalJSON(b []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.UseNumber()
	return decoder.Decode((*map[string]any)(d))
}

// raw is what a home answered; nothing is null.
func raw(answer json.RawMessage) json.RawMessage {
	if len(bytes.TrimSpace(answer)) == 0 {
		return json.RawMessage("null")
	}
	return answer
}

// entityIDs reads "light.a" and ["light.a", "light.b"].
func entityIDs(v any) []string {
	switch v := v.(type) {
	case string:
		if v != "" {
			return []string{v}
		}
	case []any:
		var ids []string
		for _, item := range v {
			if id, isText := item.(string); isText && id != "" {
				ids = append(ids, id)
			}
		}
		return ids
	}
	return nil
}

// clamp brings the value of a number's set_value between the bounds of every
// entity that it goes to.
func (s *Server) clamp(home int64, domain, service string, ids []string, data map[string]any) {
	if service != "set_value" || domain != "number" && domain != "input_number" {
		return
	}
	value, isNumber := asNumber(data["value"])
	if !isNumber {
		return // the home says what is wrong with it
	}
	for _, id := range ids {
		var bounds struct{ Min, Max *float64 }
		st := s.Live.State(home, id)
		if st == nil || json.Unmarshal(st.Attributes, &bounds) != nil {
			continue
		}
		if bounds.Max != nil && value > *bounds.Max {
			value, data["value"] = *bounds.Max, *bounds.Max
		}
		if bounds.Min != nil && value < *bounds.Min {
			value, data["value"] = *bounds.Min, *bounds.Min
		}
	}
}

func asNumber(v any) (float64, bool) {
	switch v := v.(type) {
	case json.Number:
		f, err := v.Float64()
		return f, err == nil
	case string:
		f, err := strconv.ParseFloat(v, 64)
		return f, err == nil
	}
	return 0, false
}

// supervisor asks a home's supervisor, which only some installations have.
func (s *Server) supervisor(endpoint string) rpcFunc {
	return s.ask(map[string]string{"type": "supervisor/api", "endpoint": endpoint, "method": "get"})
}

// getURLs asks a home for the addresses it is known by.
func (s *Server) getURLs(ctx context.Context, c *rpcCall) (any, error) {
	return s.ask(map[string]string{"type": "network/url"})(ctx, c)
}

// ask returns a method that answers with what the home answers to command.
func (s *Server) ask(command map[string]string) rpcFunc {
	return func(ctx context.Context, c *rpcCall) (any, error) {
		var p homeParam
		if err := c.decode(&p); err != nil {
			return nil, err
		}
		answer, err := s.command(ctx, p.Home, command)
		if err != nil {
			return nil, err
		}
		return ok(raw(answer)), nil
	}
}

func (s *Server) command(ctx context.Context, home number, command map[string]string) (json.RawMessage, error) {
	h, err := s.home(ctx, home)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(command)
	if err != nil {
		return nil, err
	}
	return s.Link.Command(ctx, h.ID, body)
}
