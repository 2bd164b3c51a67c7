package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/hass/server"
)

// open starts a server and returns an authenticated client of it.
func open(t *testing.T, o server.Options) (*server.Server, *websocket.Conn) {
	t.Helper()
	o.Authenticate = func(_ *http.Request, token string) (any, error) {
		if token != "right" {
			return nil, errors.New("no")
		}
		return "somebody", nil
	}
	s, err := server.New(o)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	ws, _, err := websocket.Dial(t.Context(), strings.Replace(srv.URL, "http", "ws", 1), nil)
	require.NoError(t, err)
	t.Cleanup(func() { ws.CloseNow() })
	ws.SetReadLimit(-1)
	write(t, ws, `{"type":"auth","access_token":"right"}`) // before auth_required is read, as browsers do
	require.Contains(t, read(t, ws), "auth_required")
	require.Contains(t, read(t, ws), "auth_ok")
	return s, ws
}

func write(t *testing.T, ws *websocket.Conn, s string) {
	t.Helper()
	require.NoError(t, ws.Write(t.Context(), websocket.MessageText, []byte(s)))
}

func read(t *testing.T, ws *websocket.Conn) string {
	t.Helper()
	_, b, err := ws.Read(t.Context())
	require.NoError(t, err)
	return string(b)
}

func TestCommands(t *testing.T) {
	t.Parallel()
	_, ws := open(t, server.Options{Commands: map[string]server.Command{
		"who": func(_ context.Context, s *server.Session, _ server.Request) (any, error) { return s.User(), nil },
		"no": func(context.Context, *server.Session, server.Request) (any, error) {
			return nil, &server.Error{Code: "not_allowed", Message: "No."}
		},
		"fail": func(context.Context, *server.Session, server.Request) (any, error) {
			return nil, errors.New("a secret")
		},
		"panic": func(context.Context, *server.Session, server.Request) (any, error) { panic("a secret") },
	}})
	for _, c := range [][2]string{
		{`{"id":1,"type":"who"}`, `{"id":1,"type":"result","success":true,"result":"somebody"}`},
		{`{"id":5,"type":"no"}`, `{"id":5,"type":"result","success":false,"error":{"code":"not_allowed","message":"No."}}`},
		{`{"id":6,"type":"fail"}`, `{"id":6,"type":"result","success":false,"error":{"code":"unknown_error","message":"Unknown error"}}`},
		{`{"id":7,"type":"panic"}`, `{"id":7,"type":"result","success":false,"error":{"code":"unknown_error","message":"Unknown error"}}`},
		{`{"id":8,"type":"ping"}`, `{"id":8,"type":"pong"}`},
		{`{"id":9,"type":"unsubscribe_events"}`, `{"id":9,"type":"result","success":false,"error":{"code":"invalid_format","message":"required key not provided @ data['subscription']. Got None"}}`},
	} {
		write(t, ws, c[0])
		require.JSONEq(t, c[1], read(t, ws))
	}
}

func TestFirstEventFollowsTheResultAndUnsubscribeEnds(t *testing.T) {
	t.Parallel()
	ended := make(chan bool, 1)
	_, ws := open(t, server.Options{Commands: map[string]server.Command{
		"follow": func(_ context.Context, s *server.Session, r server.Request) (any, error) {
			s.Result(r.ID, nil)
			s.SendEvent(r.ID, []byte(`{"n":1}`))
			s.OnUnsubscribe(r.ID, func() { ended <- true })
			return "not sent", nil
		},
	}})
	write(t, ws, `{"id":1,"type":"follow"}`)
	require.JSONEq(t, `{"id":1,"type":"result","success":true,"result":null}`, read(t, ws))
	require.Equal(t, `{"type":"event","event":{"n":1},"id":1}`, read(t, ws))
	write(t, ws, `{"id":2,"type":"unsubscribe_events","subscription":1}`)
	require.JSONEq(t, `{"id":2,"type":"result","success":true,"result":null}`, read(t, ws))
	<-ended
}

func TestCoalescesWhatIsPending(t *testing.T) {
	t.Parallel()
	held := make(chan bool)
	gate := func(ctx context.Context) {}
	_, ws := open(t, server.Options{Gate: func(ctx context.Context) { gate(ctx) }, Commands: map[string]server.Command{
		"burst": func(_ context.Context, s *server.Session, r server.Request) (any, error) {
			s.Result(r.ID, nil)
			for n := range 1000 {
				s.SendEvent(r.ID, fmt.Appendf(nil, `%d`, n))
			}
			close(held)
			return nil, nil
		},
	}})
	write(t, ws, `[{"id":1,"type":"supported_features","features":{"coalesce_messages":1}},{"id":2,"type":"burst"}]`)
	<-held
	seen, frames := 0, 0
	for seen < 1002 {
		frame := read(t, ws)
		frames++
		if !strings.HasPrefix(frame, "[") {
			seen++
			continue
		}
		var many []json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(frame), &many))
		require.Greater(t, len(many), 1)
		seen += len(many)
	}
	require.Less(t, frames, 1002)
}

func TestClientThatDoesNotReadIsCutAndTold(t *testing.T) {
	t.Parallel()
	dropped := make(chan error, 1)
	started := make(chan *server.Session, 1)
	_, ws := open(t, server.Options{
		OnDrop: func(_ *server.Session, reason error) { dropped <- reason },
		Commands: map[string]server.Command{"follow": func(_ context.Context, s *server.Session, _ server.Request) (any, error) {
			started <- s
			return nil, nil
		}},
	})
	write(t, ws, `{"id":1,"type":"follow"}`)
	s := <-started
	event := []byte(`"` + strings.Repeat("x", 10_000) + `"`)
	for s.SendEvent(1, event) { // until 4,096 are pending
	}
	require.ErrorIs(t, <-dropped, server.ErrOverload)
	<-s.Context().Done()
}

func TestAuthTimesOut(t *testing.T) {
	t.Parallel()
	s, err := server.New(server.Options{AuthTimeout: 20 * time.Millisecond, Commands: map[string]server.Command{},
		Authenticate: func(*http.Request, string) (any, error) { return nil, nil }})
	require.NoError(t, err)
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	ws, _, err := websocket.Dial(t.Context(), srv.URL, nil)
	require.NoError(t, err)
	require.Contains(t, read(t, ws), "auth_required")
	_, _, err = ws.Read(t.Context())
	require.Error(t, err)
}

func TestCloseEndsSessionsAndRefusesNewOnes(t *testing.T) {
	t.Parallel()
	s, ws := open(t, server.Options{Commands: map[string]server.Command{}})
	require.Equal(t, 1, s.Sessions())
	s.Close()
	s.Close()
	require.Equal(t, 0, s.Sessions())
	_, _, err := ws.Read(t.Context())
	require.Error(t, err)
}

func FuzzCommand(f *testing.F) {
	for _, s := range []string{`{"id":1,"type":"ping"}`, `[]`, `[1]`, `{"id":1e3,"type":"x"}`, `{"id":1,"type":"unsubscribe_events","subscription":"x"}`, `"x"`, `{"id":1,"type":"supported_features","features":7}`} {
		f.Add([]byte(s))
	}
	s, err := server.New(server.Options{Commands: map[string]server.Command{"x": func(_ context.Context, _ *server.Session, r server.Request) (any, error) { return r.Raw, nil }},
		Authenticate: func(*http.Request, string) (any, error) { return nil, nil }})
	require.NoError(f, err)
	srv := httptest.NewServer(s)
	f.Cleanup(func() { s.Close(); srv.Close() })
	f.Fuzz(func(t *testing.T, frame []byte) {
		ws, _, err := websocket.Dial(t.Context(), srv.URL, nil)
		require.NoError(t, err)
		defer ws.CloseNow()
		write(t, ws, `{"type":"auth","access_token":"x"}`)
		read(t, ws)
		read(t, ws)
		write(t, ws, string(frame))
		write(t, ws, `{"id":9007199254740991,"type":"ping"}`)
		for {
			_, b, err := ws.Read(t.Context())
			if err != nil {
				return // what is not JSON ends the session
			}
			require.True(t, json.Valid(b), "%q", b)
			if strings.Contains(string(b), "9007199254740991") {
				return
			}
		}
	})
}
