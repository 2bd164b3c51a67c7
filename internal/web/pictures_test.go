package web_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
)

func TestPictures(t *testing.T) {
	t.Parallel()
	home := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/api/camera_proxy/camera.redirects":
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		case r.URL.Path == "/api/camera_proxy/camera.page":
			w.Header().Set("Content-Type", "text/html")
		case r.URL.Query().Get("token") == "key" && r.Header.Get("Cookie")+r.Header.Get("Authorization") == "":
			w.Header().Set("Content-Type", "image/jpeg")
			_, _ = w.Write([]byte("picture of " + r.URL.Path))
		default:
			http.Error(w, "no", http.StatusForbidden)
		}
	}))
	t.Cleanup(home.Close)
	b := setup(t)
	b.live.setStatus(func(s *concord.HomeStatus) {
		s.URL = strings.Replace(home.URL, "http", "ws", 1) + "/api/websocket"
	})
	for id, picture := range map[string]string{
		"camera.door":      "/api/camera_proxy/camera.door?token=key",
		"camera.stale":     "/api/camera_proxy/camera.stale?token=old",
		"camera.redirects": "/api/camera_proxy/camera.redirects",
		"camera.page":      "/api/camera_proxy/camera.page",
		"camera.elsewhere": "https://elsewhere.example/api/camera_proxy/x",
		"camera.host":      "//elsewhere.example/api/camera_proxy/x",
		"camera.climbs":    "/api/camera_proxy/../states",
		"camera.escaped":   "/api/camera_proxy/%2e%2e/states",
		"camera.other":     "/api/states",
	} {
		b.live.set(state(id, "idle", `{"entity_picture":"`+picture+`"}`))
	}
	get := func(path string) (int, string, http.Header) {
		resp, body := b.do(t, "GET", path, "", nil)
		return resp.StatusCode, string(body), resp.Header
	}
	code, _, _ := get("/api/camera_proxy/camera.door")
	require.Equal(t, http.StatusUnauthorized, code, "nobody is signed in")

	b.signIn(t)
	code, body, header := get("/api/camera_proxy/camera.door")
	require.Equal(t, http.StatusOK, code, body)
	require.Equal(t, "picture of /api/camera_proxy/camera.door", body)
	require.Equal(t, "image/jpeg", header.Get("Content-Type"))
	require.Contains(t, header.Get("Content-Security-Policy"), "sandbox")

	for id, want := range map[string]int{
		"camera.stale": 503, "camera.redirects": 503, "camera.page": 503, "camera.elsewhere": 404, "camera.host": 404,
		"camera.climbs": 404, "camera.escaped": 404, "camera.other": 404, "camera.none": 404, "light.ceiling": 404,
	} {
		code, body, _ := get("/api/entity_picture/" + id)
		require.Equal(t, want, code, "%s: %s", id, body)
		require.NotContains(t, body, "token", id)
	}
	require.NotContains(t, b.log.String(), "token=", "keys stay out of the log")
}
