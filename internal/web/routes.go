package web

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/concord-home/concord"
)

// Longest that a handler of each kind may take. Whatever asks a home waits for
// the home: its own limit is 15 s.
const (
	quick    = 10 * time.Second
	asksHome = 30 * time.Second
)

// routes lists every route of the server.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, timeout time.Duration, h handlerFunc) {
		mux.Handle(pattern, s.serve(pattern, timeout, h))
	}

	handle("POST /web/session/authenticate", quick, s.jsonRPC("authenticate", s.authenticate))
	handle("POST /web/session/destroy", quick, s.jsonRPC("destroy", s.destroySession))
	handle("POST /web/session/get_session_info", quick, s.userRPC("get_session_info", s.sessionInfo))
	handle("POST /auth/logout", quick, s.logout)

	const odoo = "POST /odoo_ha_addon/"
	handle(odoo+"areas", s.SyncTimeout+quick, s.userRPC("get_areas", s.getAreas))
	handle(odoo+"entities_by_area", quick, s.userRPC("get_entities_by_area", s.getEntitiesByArea))
	handle(odoo+"area_dashboard_data", quick, s.userRPC("get_area_dashboard_data", s.getAreaDashboardData))
	handle(odoo+"call_service", asksHome, s.userRPC("call_service", s.callService))
	handle(odoo+"get_instances", quick, s.userRPC("get_instances", s.getInstances))
	handle(odoo+"switch_instance", quick, s.userRPC("switch_instance", s.switchInstance))
	handle(odoo+"websocket_status", quick, s.userRPC("websocket_status", s.websocketStatus))
	handle(odoo+"websocket_restart", quick, s.userRPC("websocket_restart", s.websocketRestart))
	handle(odoo+"hardware_info", asksHome, s.userRPC("get_hardware_info", s.supervisor("/hardware/info")))
	handle(odoo+"network_info", asksHome, s.userRPC("get_network_info", s.supervisor("/network/info")))
	handle(odoo+"ha_urls", asksHome, s.userRPC("get_ha_urls", s.getURLs))
	handle(odoo+"glances_devices", quick, s.userRPC("get_glances_devices", s.getGlancesDevices))
	handle(odoo+"glances_device_entities", quick, s.userRPC("get_glances_device_entities", s.getGlancesDeviceEntities))
	handle(odoo+"entity_related", asksHome, s.userRPC("get_entity_related", s.getEntityRelated))

	handle("GET /api/websocket", 0, s.serveWebsocket) // lasts as long as the screen

	handle("GET /api/{$}", quick, s.user(s.restRoot))
	handle("GET /api/states", quick, s.user(s.restStates))
	handle("GET /api/states/{entity_id}", quick, s.user(s.restState))
	handle("GET /api/services", asksHome, s.user(s.restServices))
	handle("POST /api/services/{domain}/{service}", asksHome, s.user(s.restCall))

	for _, place := range []string{"camera_proxy", "image_proxy", "media_player_proxy", "entity_picture"} {
		handle("GET /api/"+place+"/{entity_id}", asksHome, s.user(s.picture))
	}

	handle("GET /health/live", quick, s.live)
	handle("GET /health/ready", quick, s.ready)
	handle("GET /health/serialization", quick, s.serialization)
	handle("POST /health/serialization", quick, s.userRPC("health_serialization", s.serializationRPC))
	handle("GET /metrics", quick, s.showMetrics)

	handle("/", quick, s.page)
	return s.onlyKnownHosts(crossOrigin(mux))
}

// crossOrigin refuses what another site's page makes a browser send.
func crossOrigin(next http.Handler) http.Handler {
	p := http.NewCrossOriginProtection()
	p.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := correlationID(r.Header, "")
		setHeaders(w.Header(), id)
		writeError(w, r, concord.Errorf(concord.CodeForbidden, "Cross-origin request refused"))
	}))
	return p.Handler(next)
}

// openToAll are the page's files that a browser without a session may load.
var openToAll = []string{"/login", "/static/", "/icons/", "/i18n/", "/manifest.webmanifest", "/favicon", "/apple-touch-icon", "/robots.txt", "/sw.js"}

// page serves the page's files, and sends whoever has no session to /login.
func (s *Server) page(w http.ResponseWriter, r *http.Request) error {
	if s.Page == nil {
		return concord.Errorf(concord.CodeNotFound, "There is nothing at this address")
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return concord.Errorf(concord.CodeNotFound, "There is nothing at this address for this method")
	}
	for _, prefix := range openToAll {
		if strings.HasPrefix(r.URL.Path, prefix) {
			s.Page.ServeHTTP(w, r)
			return nil
		}
	}
	id, err := s.identify(r)
	if err != nil && concord.ErrorCode(err) != concord.CodeUnauthorized {
		return err
	}
	if err != nil {
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, "/login?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
		return nil
	}
	ctx := s.withFirstScreen(context.WithValue(r.Context(), identityKey{}, id), r)
	s.Page.ServeHTTP(w, r.WithContext(ctx))
	return nil
}
