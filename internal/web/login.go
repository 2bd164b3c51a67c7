package web

import (
	"context"
	"net/http"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/web/signin"
)

// authenticate begins a session: POST /web/session/authenticate.
func (s *Server) authenticate(ctx context.Context, c *rpcCall) (any, error) {
	var p struct {
		DB       string `json:"db"`
		Login    string `json:"login"`
		Password string `json:"password"`
	}
	if err := c.decode(&p); err != nil {
		return nil, err
	}
	token, id, err := s.sessions.SignIn(ctx, p.Login, p.Password, s.clientAddress(c.r))
	s.metrics.signIns.WithLabelValues(signInOutcome(err)).Inc()
	if err != nil {
		return nil, &rpcError{code: rpcFault, message: "Odoo Server Error", name: signInException(err), err: err}
	}
	s.setCookie(c.w, c.r, token, int(signin.Lifetime.Seconds()), id.Session)
	info := s.describe(c.r, id, p.DB)
	info["session_id"] = token
	return info, nil
}

func signInOutcome(err error) string {
	switch concord.ErrorCode(err) {
	case "":
		return "ok"
	case concord.CodeUnauthorized:
		return "denied"
	case concord.CodeTooMany:
		return "limited"
	}
	return "error"
}

func signInException(err error) string {
	switch concord.ErrorCode(err) {
	case concord.CodeUnauthorized, concord.CodeTooMany:
		return "odoo.exceptions.AccessDenied"
	}
	return "odoo.exceptions.UserError"
}

// setCookie gives the browser its session; a negative maxAge takes it away.
func (s *Server) setCookie(w http.ResponseWriter, r *http.Request, token string, maxAge int, session concord.Session) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: token, Path: "/", MaxAge: maxAge, Expires: session.ExpiresAt,
		HttpOnly: true, Secure: s.overTLS(r), SameSite: http.SameSiteLaxMode,
	})
}

// sessionInfo is authenticate's answer for a session that exists.
func (s *Server) sessionInfo(ctx context.Context, c *rpcCall) (any, error) {
	return s.describe(c.r, identity(ctx), "concord"), nil
}

// destroySession ends the caller's session, if there is one.
func (s *Server) destroySession(ctx context.Context, c *rpcCall) (any, error) {
	s.endSession(c.w, c.r)
	return nil, nil
}

// logout is destroySession for the page: no envelope.
func (s *Server) logout(w http.ResponseWriter, r *http.Request) error {
	if !isJSON(r.Header) {
		return concord.Errorf(concord.CodeInvalid, "The request's Content-Type must be application/json")
	}
	s.endSession(w, r)
	return writeJSON(w, http.StatusOK, struct{}{})
}

func (s *Server) endSession(w http.ResponseWriter, r *http.Request) {
	if id, err := s.identify(r); err == nil {
		s.sessions.SignOut(r.Context(), id.Session.TokenHash)
		s.ws.closeScreens(id.Session.TokenHash)
	}
	s.setCookie(w, r, "", -1, concord.Session{})
}

// describe is Odoo's session_info, as far as it means something here.
func (s *Server) describe(r *http.Request, id signin.Identity, db string) map[string]any {
	u := id.User
	admin := u.Role == concord.RoleAdmin
	scheme := "http://"
	if s.overTLS(r) {
		scheme = "https://"
	}
	return map[string]any{
		"uid": u.ID, "is_system": admin, "is_admin": admin, "is_public": false, "is_internal_user": true,
		"user_context": map[string]any{"lang": "en_US", "tz": false, "uid": u.ID},
		"db":           db, "user_settings": map[string]any{"id": u.ID, "user_id": map[string]any{"id": u.ID}},
		"server_version": "18.0", "server_version_info": []any{18, 0, 0, "final", 0, ""},
		"support_url": "", "name": u.Name, "username": u.Login,
		"partner_write_date": id.Session.CreatedAt.UTC().Format("2006-01-02 15:04:05"), "partner_display_name": u.Name, "partner_id": u.ID,
		"web.base.url": scheme + r.Host, "active_ids_limit": 20000, "max_file_upload_size": maxBody,
		"profile_session": nil, "profile_collectors": nil, "profile_params": nil, "home_action_id": false,
		"cache_hashes": map[string]any{}, "currencies": map[string]any{}, "bundle_params": map[string]any{"lang": "en_US"},
		"test_mode": false, "view_info": map[string]any{}, "user_companies": false, "show_effect": false,
		"display_switch_company_menu": false, "websocket_worker_version": s.Version, "tour_enabled": false, "current_tour": false,
		"storeData": map[string]any{}, "odoobot_initialized": true, "iap_company_enrich": false,
		"concord_version": s.Version, "role": u.Role,
	}
}
