package web

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/hass/server"
	"github.com/concord-home/concord/internal/spans"
	"github.com/concord-home/concord/internal/web/hub"
)

// command answers one WebSocket command of a screen.
type command func(ctx context.Context, c *screen, r server.Request) (any, error)

// commands lists every command, and names those that wait for the home.
func (s *Server) commands() (all map[string]server.Command, background map[string]bool) {
	list := map[string]command{
		"auth/current_user": s.wsCurrentUser,

		"get_states":                              s.wsStates,
		"subscribe_entities":                      s.wsSubscribeEntities,
		"subscribe_events":                        s.wsSubscribeEvents,
		"config/area_registry/list":               s.wsAreas,
		"config/floor_registry/list":              s.wsFloors,
		"config/device_registry/list":             s.wsDevices,
		"config/entity_registry/list":             s.wsEntities,
		"config/entity_registry/list_for_display": s.wsEntitiesForDisplay,
		"config/label_registry/list":              s.wsLabels,

		"concord/subscribe_overview": s.wsSubscribeOverview,
		"concord/subscribe_area":     s.wsSubscribeArea,
		"concord/subscribe_status":   s.wsSubscribeStatus,
		"concord/select_home":        s.wsSelectHome,
		"concord/search":             s.wsSearch,
		"concord/health":             s.wsHealth,
	}
	waiting := map[string]command{
		"call_service":                  s.wsCallService,
		"get_config":                    s.wsPass,
		"get_services":                  s.wsPass,
		"get_panels":                    s.wsPass,
		"search/related":                s.wsPass,
		"history/history_during_period": s.wsPass,
		"frontend/get_icons":            s.wsPass,
		"frontend/get_translations":     s.wsPass,
		"todo/item/list":                s.wsPass,
		"concord/entity":                s.wsEntity,
		"concord/history":               s.wsHistory,
		"concord/trends":                s.wsTrends,
	}
	all, background = map[string]server.Command{}, map[string]bool{}
	for name, f := range list {
		all[name] = s.wsCommand(name, f)
	}
	for name, f := range waiting {
		all[name], background[name] = s.wsCommand(name, f), true
	}
	return all, background
}

// wsCommand gives f its screen and turns errors into the client's codes.
func (s *Server) wsCommand(name string, f command) server.Command {
	return func(ctx context.Context, session *server.Session, r server.Request) (any, error) {
		c := session.User().(*screen) // what authenticateScreen returned
		id, err := s.sessions.Current(c.identity.Session.TokenHash)
		if err != nil {
			return nil, s.refusal(ctx, name, err)
		}
		ctx = concord.WithCorrelationID(context.WithValue(ctx, identityKey{}, id), c.id)
		ctx, cancel := context.WithTimeout(ctx, asksHome)
		defer cancel()
		ctx, span := s.Tracer.Start(ctx, name, spans.Server)
		var result any
		err = s.guard(ctx, func() (err error) {
			result, err = f(ctx, c, r)
			return err
		})
		span.SetText("concord.correlation_id", c.id)
		span.End(err, string(concord.ErrorCode(err)))
		s.ws.commands.WithLabelValues(name, cmp.Or(string(concord.ErrorCode(clientError(err))), "ok")).Inc()
		if err == nil {
			return result, nil
		}
		return nil, s.refusal(ctx, name, err)
	}
}

// clientError has what the protocol refuses counted as invalid.
func clientError(err error) error {
	if _, isRefusal := errors.AsType[*server.Error](err); isRefusal {
		return &concord.Error{Code: concord.CodeInvalid, Err: err}
	}
	return err
}

// wsCodes are Home Assistant's words for ours.
var wsCodes = map[concord.Code]string{
	concord.CodeInternal:     "unknown_error",
	concord.CodeInvalid:      "home_assistant_error",
	concord.CodeNotFound:     "not_found",
	concord.CodeUnauthorized: "unauthorized",
	concord.CodeForbidden:    "unauthorized",
	concord.CodeConflict:     "conflict",
	concord.CodeUnavailable:  "home_unreachable",
	concord.CodeTooMany:      "too_many",
	concord.CodeTimeout:      "timeout",
}

// refusal is what the client gets, and the log line of what nobody foresaw.
func (s *Server) refusal(ctx context.Context, name string, err error) error {
	if e, isRefusal := errors.AsType[*server.Error](err); isRefusal {
		return e
	}
	code := concord.ErrorCode(err)
	s.countError(err)
	s.Logger.Log(ctx, logLevel(err), "websocket command failed", "correlation_id", concord.CorrelationID(ctx), "command", name, "error", err)
	message := concord.ErrorMessage(err)
	if code == concord.CodeInternal {
		message += " (" + concord.CorrelationID(ctx) + ")"
	}
	return &server.Error{Code: wsCodes[code], Message: message}
}

// wsHome returns the home that a command is about.
func (s *Server) wsHome(ctx context.Context, r server.Request) (concord.HomeStatus, error) {
	var p struct {
		Home number `json:"home_id"`
	}
	if err := r.Decode(&p); err != nil {
		return concord.HomeStatus{}, err
	}
	return s.home(ctx, p.Home)
}

// wsHub returns the hub of the home that a command is about.
func (s *Server) wsHub(ctx context.Context, c *screen, r server.Request) (*hub.Hub, error) {
	home, err := s.wsHome(ctx, r)
	if err != nil {
		return nil, err
	}
	return s.hub(home.ID)
}

func (s *Server) wsCurrentUser(_ context.Context, c *screen, _ server.Request) (any, error) {
	u := c.identity.User
	admin := u.Role == concord.RoleAdmin
	return map[string]any{
		"id": u.ID, "name": u.Name, "is_owner": admin, "is_admin": admin, "credentials": []any{}, "mfa_modules": []any{},
	}, nil
}

// wsPass asks the home and answers with what it says.
func (s *Server) wsPass(ctx context.Context, _ *screen, r server.Request) (any, error) {
	home, err := s.wsHome(ctx, r)
	if err != nil {
		return nil, err
	}
	var all map[string]json.RawMessage
	if err := r.Decode(&all); err != nil {
		return nil, err
	}
	delete(all, "id")
	delete(all, "home_id")
	body, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	answer, err := s.Link.Command(ctx, home.ID, body)
	return raw(answer), err
}

// wsCallService has the home carry out a service.
func (s *Server) wsCallService(ctx context.Context, _ *screen, r server.Request) (any, error) {
	var p struct {
		Domain         string          `json:"domain"`
		Service        string          `json:"service"`
		Data           json.RawMessage `json:"service_data"`
		Target         json.RawMessage `json:"target"`
		ReturnResponse bool            `json:"return_response"`
	}
	if err := r.Decode(&p); err != nil {
		return nil, err
	}
	if p.Domain == "" || p.Service == "" {
		return nil, &server.Error{Code: "invalid_format", Message: "domain and service are required"}
	}
	if err := mayControl(ctx); err != nil {
		return nil, err
	}
	home, err := s.wsHome(ctx, r)
	if err != nil {
		return nil, err
	}
	answer, err := s.Link.CallService(ctx, home.ID, concord.ServiceCall{
		Domain: p.Domain, Service: p.Service, Data: p.Data, Target: p.Target, ReturnResponse: p.ReturnResponse,
	})
	return raw(answer), err
}
