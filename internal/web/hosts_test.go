package web_test

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/web"
)

func TestOnlyKnownHosts(t *testing.T) {
	t.Parallel()
	machine, err := os.Hostname()
	require.NoError(t, err)
	short, _, _ := strings.Cut(machine, ".")
	b := setup(t, func(_ *bundle, o *web.Options) {
		o.AllowedHosts, o.MetricsToken = []string{"https://Home.example.org", "concord"}, "secret"
	})
	get := func(path, host, token string) int {
		req, err := http.NewRequest(http.MethodGet, b.http.URL+path, nil)
		require.NoError(t, err)
		req.Host = host
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode
	}
	for _, host := range []string{
		"localhost", "LOCALHOST:8069", "concord.localhost", "127.0.0.1:1", "[::1]:8069", "192.0.2.7", machine, strings.ToUpper(machine) + ":8069",
		"home.example.org", "home.example.org.:443", "concord:8069", short + ".local", short + ".fritz.box:8069",
	} {
		require.Equal(t, 200, get("/metrics", host, ""), host)
	}
	for _, host := range []string{"evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "home.example.org.evil.example", "x:y:z"} {
		for _, path := range []string{"/metrics", "/health/ready", "/api/websocket", "/login"} {
			require.Equal(t, 403, get(path, host, ""), host+path)
		}
	}
	require.Equal(t, 200, get("/metrics", "evil.example", "secret"), "who knows the token is no page of another site")
	require.Equal(t, 403, get("/metrics", "evil.example", "guess"))

	all := setup(t, func(_ *bundle, o *web.Options) { o.AllowedHosts = []string{"*"} })
	b = all
	require.Equal(t, 200, get("/health/live", "evil.example", ""))
}
