package web

import (
	"context"
	"strings"

	"github.com/concord-home/concord"
)

type odooInstance struct {
	ID              int64  `json:"id"`
	Name            string `json:"name"`
	APIURL          string `json:"api_url"`
	Description     string `json:"description"`
	IsActive        bool   `json:"is_active"`
	WebsocketStatus string `json:"websocket_status"`
	EntityCount     int    `json:"entity_count"`
	AreaCount       int    `json:"area_count"`
	LastSync        any    `json:"last_sync"`
}

// getInstances lists the homes.
func (s *Server) getInstances(ctx context.Context, _ *rpcCall) (any, error) {
	list := []odooInstance{}
	for _, h := range s.Live.Homes() {
		list = append(list, odooInstance{
			ID: h.ID, Name: h.Name, APIURL: apiURL(h.URL), Description: h.Description, IsActive: h.Active,
			WebsocketStatus: linkWord(h.Link), EntityCount: h.Entities, AreaCount: h.Areas,
			LastSync: odooTime(h.LastSync, sqlSeconds),
		})
	}
	var current any
	if h, err := s.currentHome(ctx); err == nil {
		current = h.ID
	}
	return ok(map[string]any{"instances": list, "current_instance_id": current}), nil
}

// apiURL turns the address of the WebSocket into that of the home.
func apiURL(url string) string {
	if rest, found := strings.CutPrefix(url, "ws"); found {
		url = "http" + rest // wss: https
	}
	return strings.TrimSuffix(strings.TrimSuffix(url, "/api/websocket"), "/")
}

func linkWord(l concord.LinkState) string {
	if l == concord.LinkAuthFailed {
		return "error"
	}
	return string(l)
}

// switchInstance has the session look at another home from now on.
func (s *Server) switchInstance(ctx context.Context, c *rpcCall) (any, error) {
	var p struct {
		Home number `json:"instance_id"`
	}
	if err := c.decode(&p); err != nil {
		return nil, err
	}
	if p.Home.state == numberAbsent {
		return nil, missing("switch_instance", "instance_id")
	}
	h, err := s.Live.Home(p.Home.value)
	if err != nil {
		return nil, instanceNotFound("Instance not found (ID: %d)", p.Home.value)
	}
	if !h.Active {
		return nil, typedError{concord.Errorf(concord.CodeInvalid, "Instance is not active (ID: %d)", h.ID), "instance_inactive"}
	}
	s.sessions.ChooseHome(ctx, identity(ctx).Session.TokenHash, h.ID)
	return ok(map[string]any{"instance_id": h.ID, "instance_name": h.Name, "message": "Switched to " + h.Name}), nil
}

// websocketStatus tells how the link to a home is.
func (s *Server) websocketStatus(ctx context.Context, c *rpcCall) (any, error) {
	var p homeParam
	if err := c.decode(&p); err != nil {
		return nil, err
	}
	h, err := s.home(ctx, p.Home)
	if err != nil {
		return nil, err
	}
	text := "Disconnected"
	if h.Link == concord.LinkConnected {
		text = "Connected"
	}
	return ok(map[string]any{
		"is_running":    h.Link == concord.LinkConnected || h.Link == concord.LinkConnecting,
		"config_synced": true, "current_url": apiURL(h.URL), "has_token": h.HasToken, "status_text": text,
		"instance_id": h.ID, "instance_name": h.Name,
	}), nil
}

// websocketRestart dials a home again.
func (s *Server) websocketRestart(ctx context.Context, c *rpcCall) (any, error) {
	var p struct {
		homeParam
		Force bool `json:"force"`
	}
	if err := c.decode(&p); err != nil {
		return nil, err
	}
	h, err := s.home(ctx, p.Home)
	if err != nil {
		return nil, err
	}
	if err := mayControl(ctx); err != nil {
		return nil, err
	}
	if s.Reconnector == nil {
		return nil, concord.Errorf(concord.CodeUnavailable, "This server cannot restart the connection")
	}
	if err := s.Reconnector.Reconnect(ctx, h.ID); err != nil {
		return nil, err
	}
	return ok(map[string]any{"message": "WebSocket restarting for " + h.Name}), nil
}

// mayControl says whether the caller may do more than look.
func mayControl(ctx context.Context) error {
	if identity(ctx).User.Role == concord.RoleViewer {
		return concord.Errorf(concord.CodeForbidden, "You may look, but not switch")
	}
	return nil
}
