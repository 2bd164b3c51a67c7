package web_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/web"
)

const loginBody = `{"jsonrpc":"2.0","params":{"login":"admin","password":"` + password + `"},"id":7}`

func TestCookie(t *testing.T) {
	t.Parallel()
	b := setup(t, func(_ *bundle, o *web.Options) { o.TrustProxy = true })
	json := http.Header{"Content-Type": {"application/json"}}
	resp, _ := b.do(t, "POST", "/web/session/authenticate", loginBody, json)
	cookie := resp.Header.Get("Set-Cookie")
	for _, part := range []string{"session_id=", "HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=604800"} {
		require.Contains(t, cookie, part)
	}
	require.NotContains(t, cookie, "Secure")
	resp, _ = b.do(t, "POST", "/web/session/authenticate", loginBody, http.Header{"Content-Type": {"application/json"}, "X-Forwarded-Proto": {"https"}})
	require.Contains(t, resp.Header.Get("Set-Cookie"), "Secure")
}

func TestForgedRequestsAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signIn(t)
	const route, body = "/odoo_ha_addon/areas", `{"jsonrpc":"2.0","params":{},"id":1}`
	for _, c := range []struct {
		name   string
		header http.Header
		status int
	}{
		{"own page", http.Header{"Content-Type": {"application/json"}, "Origin": {b.http.URL}, "Sec-Fetch-Site": {"same-origin"}}, 200},
		{"script", http.Header{"Content-Type": {"application/json; charset=utf-8"}}, 200},
		{"ab, which sends two types", http.Header{"Content-Type": {"text/plain", "application/json"}}, 200},
		{"script without JSON", http.Header{"Content-Type": {"text/plain"}}, 400},
		{"form of another site", http.Header{"Content-Type": {"text/plain"}, "Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}}, 403},
		{"JSON of another site", http.Header{"Content-Type": {"application/json"}, "Origin": {"https://evil.example"}}, 403},
		{"browser with two types", http.Header{"Content-Type": {"text/plain", "application/json"}, "Origin": {b.http.URL}}, 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp, text := b.do(t, "POST", route, body, c.header)
			require.Equal(t, c.status, resp.StatusCode, text)
		})
	}
}

func TestSignInIsLimited(t *testing.T) {
	t.Parallel()
	b := setup(t)
	wrong := strings.Replace(loginBody, password, "guess", 1)
	json := http.Header{"Content-Type": {"application/json"}}
	for range 60 { // ten at once; more on a slow machine, where attempts come back
		resp, text := b.do(t, "POST", "/web/session/authenticate", wrong, json)
		require.Contains(t, text, `"odoo.exceptions.AccessDenied"`)
		if resp.StatusCode == http.StatusTooManyRequests {
			require.NotEmpty(t, resp.Header.Get("Retry-After"))
			return
		}
	}
	t.Fatal("nobody stops the guessing")
}

func TestPagesWorkWhileTheDatabaseIsDown(t *testing.T) {
	t.Parallel()
	b := setup(t, func(b *bundle, o *web.Options) {
		o.Health, o.StoreSessions = b.health, 10*time.Millisecond
	})
	b.signIn(t)
	down := errors.New("connection refused")
	b.sessions.mu.Lock()
	b.sessions.down = down
	clear(b.sessions.rows)
	b.sessions.mu.Unlock()
	b.health.set(concord.PartStatus{Error: "connection refused"})
	known := b.users.userByLogin
	b.users.userByLogin = func(context.Context, string) (concord.User, error) { return concord.User{}, down }

	require.Equal(t, true, result(t, b, "areas", nil)["success"], "the session is in memory")
	b.signIn(t) // the user was seen before
	require.Equal(t, true, result(t, b, "areas", nil)["success"])

	b.users.userByLogin = known
	b.sessions.mu.Lock()
	b.sessions.down = nil
	b.sessions.mu.Unlock()
	b.health.set(concord.PartStatus{Up: true})
	require.Eventually(t, func() bool {
		b.sessions.mu.Lock()
		defer b.sessions.mu.Unlock()
		return len(b.sessions.rows) == 1
	}, 10*time.Second, 5*time.Millisecond, "the session made meanwhile is stored")
}

func TestSessionsSurviveARestart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signIn(t)
	jar := b.client.Jar
	again := setup(t, func(n *bundle, o *web.Options) { n.sessions = b.sessions; o.Sessions = b.sessions })
	for _, c := range jar.Cookies(mustURL(t, b.http.URL)) {
		again.client.Jar.SetCookies(mustURL(t, again.http.URL), []*http.Cookie{c})
	}
	require.Equal(t, true, result(t, again, "areas", nil)["success"])
}

func TestSignOut(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signIn(t)
	cookies := b.client.Jar.Cookies(mustURL(t, b.http.URL))
	b.rpc(t, "/web/session/destroy", nil)
	b.client.Jar.SetCookies(mustURL(t, b.http.URL), cookies) // the thief's copy
	require.EqualValues(t, 100, b.rpc(t, "/odoo_ha_addon/areas", nil)["error"].(map[string]any)["code"])
	require.Empty(t, b.sessions.rows)
}

func TestMetricsAreForThisMachine(t *testing.T) {
	t.Parallel()
	b := setup(t, func(_ *bundle, o *web.Options) { o.MetricsToken = "secret" })
	get := func(h http.Header) int {
		resp, _ := b.do(t, "GET", "/metrics", "", h)
		return resp.StatusCode
	}
	require.Equal(t, 200, get(nil))
	require.Equal(t, 401, get(http.Header{"X-Forwarded-For": {"192.0.2.1"}}))
	require.Equal(t, 401, get(http.Header{"X-Forwarded-For": {"192.0.2.1"}, "Authorization": {"Bearer wrong"}}))
	require.Equal(t, 200, get(http.Header{"X-Forwarded-For": {"192.0.2.1"}, "Authorization": {"Bearer secret"}}))
}

func TestPageNeedsASession(t *testing.T) {
	t.Parallel()
	b := setup(t, func(_ *bundle, o *web.Options) {
		o.Page = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Security-Policy", "page's own")
			_, _ = w.Write([]byte("shell"))
		})
	})
	resp, _ := b.do(t, "GET", "/area/kitchen?kiosk", "", nil)
	require.Equal(t, http.StatusSeeOther, resp.StatusCode)
	require.Equal(t, "/login?next=%2Farea%2Fkitchen%3Fkiosk", resp.Header.Get("Location"))
	_, text := b.do(t, "GET", "/login", "", nil)
	require.Equal(t, "shell", text)
	b.signIn(t)
	resp, text = b.do(t, "GET", "/area/kitchen", "", nil)
	require.Equal(t, "shell", text)
	require.Equal(t, "page's own", resp.Header.Get("Content-Security-Policy"))
	require.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
}

func TestCorrelationID(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := func(h http.Header) string {
		resp, _ := b.do(t, "GET", "/health/live", "", h)
		return resp.Header.Get("X-Request-Id")
	}
	require.Equal(t, "my-id", id(http.Header{"X-Request-Id": {"my-id"}}))
	require.Equal(t, "4bf92f3577b34da6a3ce929d0e0e4736", id(http.Header{"Traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}))
	require.Len(t, id(http.Header{"X-Request-Id": {"'; DROP TABLE --"}}), 32)
}

func TestBadBodies(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signIn(t)
	json := http.Header{"Content-Type": {"application/json"}}
	for _, c := range []struct {
		name, body string
		status     int
	}{
		{"not JSON", "{", 400}, {"a list", "[]", 400}, {"too large", strings.Repeat(" ", 2<<20), 413},
	} {
		resp, text := b.do(t, "POST", "/odoo_ha_addon/areas", c.body, json)
		require.Equal(t, c.status, resp.StatusCode, "%s: %s", c.name, text)
	}
	resp, text := b.do(t, "POST", "/odoo_ha_addon/entities_by_area", `{"params":{"area_id":{"a":1}}}`, json)
	require.Equal(t, 200, resp.StatusCode)
	require.Contains(t, text, "Invalid area_id")
}
