package web

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net"
	"net/http"
	"strings"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/web/signin"
)

// cookieName is the one that Odoo's clients know.
const cookieName = "session_id"

// correlationID is the caller's own id of the request when it sent a sound one
// (W3C traceparent, else X-Request-ID), else that of the trace that has begun for
// it, else a new one.
func correlationID(h http.Header, trace string) string {
	if id := traceID(h.Get("Traceparent")); id != "" {
		return id
	}
	if id := h.Get("X-Request-Id"); plainID(id) {
		return id
	}
	if trace != "" {
		return trace
	}
	b := make([]byte, 16)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// traceID takes the trace id out of version-traceid-parentid-flags.
func traceID(traceparent string) string {
	parts := strings.Split(traceparent, "-")
	if len(parts) < 4 || len(parts[1]) != 32 || strings.Trim(parts[1], "0") == "" {
		return ""
	}
	if _, err := hex.DecodeString(parts[1]); err != nil {
		return ""
	}
	return strings.ToLower(parts[1])
}

// plainID reports whether id may stand in log lines and SQL comments.
func plainID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for _, c := range []byte(id) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

// clientAddress is the address that limits and logs go by.
func (s *Server) clientAddress(r *http.Request) string {
	if s.TrustProxy {
		forwarded := strings.Join(r.Header.Values("X-Forwarded-For"), ",")
		last := strings.TrimSpace(forwarded[strings.LastIndexByte(forwarded, ',')+1:])
		if net.ParseIP(last) != nil {
			return last
		}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// overTLS reports whether the browser's connection is encrypted.
func (s *Server) overTLS(r *http.Request) bool {
	return r.TLS != nil || s.TrustProxy && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

type identityKey struct{}

// identity returns who asks; the zero Identity on routes that are open to all.
func identity(ctx context.Context) signin.Identity {
	id, _ := ctx.Value(identityKey{}).(signin.Identity)
	return id
}

// identify returns who holds the request's cookie. The error is CodeUnauthorized.
func (s *Server) identify(r *http.Request) (signin.Identity, error) {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return signin.Identity{}, &concord.Error{Code: concord.CodeUnauthorized, Message: "Session expired", Err: err}
	}
	return s.sessions.Resume(r.Context(), cookie.Value)
}

// isJSON reports whether the request says that its body is JSON. A browser says
// so exactly once, and cannot do that across origins without being asked first.
// A program may say other things beside it: ab sends text/plain too.
func isJSON(h http.Header) bool {
	types := h.Values("Content-Type")
	browser := h.Get("Origin") != "" || h.Get("Sec-Fetch-Site") != ""
	if browser && len(types) != 1 {
		return false
	}
	for _, t := range types {
		t, _, _ = strings.Cut(t, ";")
		if strings.EqualFold(strings.TrimSpace(t), "application/json") {
			return true
		}
	}
	return false
}
