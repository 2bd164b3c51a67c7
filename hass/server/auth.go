package server

import (
	"context"
	"encoding/json"

	"github.com/coder/websocket"
)

// authenticate runs the phase before the first command.
func (s *Session) authenticate() bool {
	o := &s.server.opts
	ctx, cancel := context.WithTimeout(s.ctx, o.AuthTimeout)
	defer cancel()
	if s.say(ctx, map[string]string{"type": "auth_required", "ha_version": o.HAVersion}) != nil {
		return false
	}
	kind, data, err := s.ws.Read(ctx)
	if err != nil || kind != websocket.MessageText {
		return false
	}
	token, problem := authMessage(data)
	if problem == "" {
		s.user, err = o.Authenticate(s.request, token)
		if err != nil {
			problem = "Invalid access token or password"
		}
	}
	if problem != "" {
		if s.say(ctx, map[string]string{"type": "auth_invalid", "message": problem}) == nil {
			_ = s.ws.Close(websocket.StatusNormalClosure, "")
		}
		return false
	}
	return s.say(ctx, map[string]string{"type": "auth_ok", "ha_version": o.HAVersion}) == nil
}

// authMessage returns the token, or what is wrong with the message. The
// problem never repeats the message: it may hold a secret.
func authMessage(data []byte) (token, problem string) {
	const wrong = "Auth message incorrectly formatted: "
	var m map[string]json.RawMessage
	if json.Unmarshal(data, &m) != nil {
		return "", wrong + "expected an object"
	}
	var kind string
	if json.Unmarshal(m["type"], &kind) != nil || kind != "auth" {
		return "", wrong + "not a valid value for dictionary value @ data['type']"
	}
	if json.Unmarshal(m["access_token"], &token) != nil || token == "" {
		return "", wrong + "required key not provided @ data['access_token']"
	}
	if len(m) != 2 {
		return "", wrong + "extra keys not allowed"
	}
	return token, ""
}

func (s *Session) say(ctx context.Context, m map[string]string) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	s.server.opts.Gate(ctx)
	return s.ws.Write(ctx, websocket.MessageText, b)
}
