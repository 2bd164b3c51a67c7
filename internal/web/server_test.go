package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/web"
	"github.com/concord-home/concord/internal/web/signin"
)

const password = "correct horse"

// hash of password, made once: hashing is slow on purpose.
var hash = func() string {
	h, err := signin.NewHasher(1).Hash(context.Background(), password)
	if err != nil {
		panic(err)
	}
	return h
}()

// bundle is a server on a loopback socket and everything it stands on.
type bundle struct {
	live     *live
	link     *link
	health   *health
	users    *users
	sessions *sessions
	registry *prometheus.Registry
	log      *bytes.Buffer
	server   *web.Server
	http     *httptest.Server
	client   *http.Client
}

// setup starts a server for a small home; change may replace parts of it.
func setup(t testing.TB, change ...func(*bundle, *web.Options)) *bundle {
	t.Helper()
	admin := concord.User{ID: 2, Login: "admin", Name: "Administrator", Role: concord.RoleAdmin, PasswordHash: hash, Active: true}
	b := &bundle{
		live:     smallHome(),
		link:     &link{},
		health:   &health{database: concord.PartStatus{Up: true}},
		sessions: &sessions{rows: map[[32]byte]concord.Session{}},
		registry: prometheus.NewRegistry(),
		log:      &bytes.Buffer{},
		users: &users{
			userByLogin: func(_ context.Context, login string) (concord.User, error) {
				if login != admin.Login {
					return concord.User{}, concord.Errorf(concord.CodeNotFound, "no such user")
				}
				return admin, nil
			},
			userByID: func(context.Context, int64) (concord.User, error) { return admin, nil },
		},
	}
	o := web.Options{
		Live: b.live, Link: b.link, Users: b.users, Sessions: b.sessions, Version: "test",
		Registerer: b.registry, Gatherer: b.registry,
		Logger: slog.New(slog.NewJSONHandler(&lockedWriter{w: b.log}, nil)),
	}
	for _, c := range change {
		c(b, &o)
	}
	var err error
	b.server, err = web.New(o)
	require.NoError(t, err)
	b.server.Start()
	b.http = httptest.NewUnstartedServer(b.server.Handler())
	b.http.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		_ = c.(*net.TCPConn).SetWriteBuffer(32 << 10) // see smallBuffers
		return ctx
	}
	b.http.Start()
	t.Cleanup(func() { b.server.Stop(); b.http.Close() })
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	b.client = &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return b
}

// signIn gives the bundle's client a session.
func (b *bundle) signIn(t testing.TB) {
	t.Helper()
	answer := b.rpc(t, "/web/session/authenticate", map[string]any{"db": "any", "login": "admin", "password": password})
	require.Contains(t, answer, "result", "sign-in: %v", answer)
}

// rpc makes a JSON-RPC call and returns the envelope.
func (b *bundle) rpc(t testing.TB, route string, params any) map[string]any {
	t.Helper()
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "method": "call", "params": params, "id": 1})
	require.NoError(t, err)
	resp, err := b.client.Post(b.http.URL+route, "application/json", bytes.NewReader(body))
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	var answer map[string]any
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&answer))
	return answer
}

// do sends a request and returns its answer with the body read.
func (b *bundle) do(t testing.TB, method, path, body string, header http.Header) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, b.http.URL+path, bytes.NewBufferString(body))
	require.NoError(t, err)
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := b.client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(text)
}
