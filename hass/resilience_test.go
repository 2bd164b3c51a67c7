package hass_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/hass"
	"github.com/concord-home/concord/hass/simhome"
)

// oddHome is a server that says auth_required and auth_ok and then does as the
// test wants.
func oddHome(t *testing.T, then func(ctx context.Context, ws *websocket.Conn)) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer ws.CloseNow()
		ws.SetReadLimit(1 << 20)
		say := func(s string) { _ = ws.Write(r.Context(), websocket.MessageText, []byte(s)) }
		say(`{"type":"auth_required","ha_version":"2025.4.4"}`)
		_, _, _ = ws.Read(r.Context())
		say(`{"type":"auth_ok","ha_version":"2025.4.4"}`)
		_, _, _ = ws.Read(r.Context()) // supported_features
		say(`{"id":1,"type":"result","success":true,"result":null}`)
		then(r.Context(), ws)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func hold(ctx context.Context, ws *websocket.Conn) {
	for {
		if _, _, err := ws.Read(ctx); err != nil {
			return
		}
	}
}

// runClient runs a client until the test ends and returns where its status
// changes and its end are told.
func runClient(t *testing.T, o hass.Options) (*hass.Client, chan hass.Status, chan error) {
	t.Helper()
	status, ended := make(chan hass.Status, 1000), make(chan error, 1)
	if o.Token == "" {
		o.Token = "t0ken"
	}
	if o.BackoffMax == 0 {
		o.BackoffMin, o.BackoffMax = time.Millisecond, 10*time.Millisecond
	}
	o.OnStatus = func(s hass.Status) { status <- s }
	c, err := hass.NewClient(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { ended <- c.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return c, status, ended
}

func lastErrorLike(t *testing.T, status chan hass.Status, part string) {
	t.Helper()
	for s := range status {
		if strings.Contains(s.LastError, part) {
			require.NotContains(t, s.LastError, "\n")
			return
		}
	}
}

func TestWrongTokenIsFinal(t *testing.T) {
	t.Parallel()
	w := link(t, simhome.Options{}, func(o *hass.Options) { o.Token = "secret-but-wrong" })
	w.run(t)
	err := <-w.ended
	require.ErrorIs(t, err, hass.ErrAuthInvalid)
	require.NotContains(t, err.Error(), "secret")
	s := w.client.Status()
	require.Equal(t, hass.StateAuthFailed, s.State)
	require.Contains(t, s.LastError, "token")
}

func TestBadOptions(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]hass.Options{
		"NoURL": {Token: "t"}, "NoToken": {URL: "ws://x"}, "OtherScheme": {URL: "ftp://x", Token: "t"},
		"NoHost": {URL: "ws://", Token: "t"}, "NotAURL": {URL: "ws://user:hunter2@[", Token: "t"},
	} {
		_, err := hass.NewClient(o)
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestUnreachableIsOneLineAndOneLogEntry(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(writerFunc(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return log.Write(b)
	}), nil))
	c, status, _ := runClient(t, hass.Options{URL: "ws://127.0.0.1:1", Logger: logger})
	lastErrorLike(t, status, "cannot reach the home")
	require.Eventually(t, func() bool { return c.Status().Tries > 5 }, 10*time.Second, time.Millisecond)
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestNotAHome(t *testing.T) {
	t.Parallel()
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	_, status, _ := runClient(t, hass.Options{URL: plain.URL})
	lastErrorLike(t, status, "no WebSocket at the home's URL (HTTP status 404)")
}

func TestEchoServerDoesNotLeakTheToken(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer ws.CloseNow()
		_ = ws.Write(r.Context(), websocket.MessageText, []byte(`{"type":"auth_required"}`))
		_, b, _ := ws.Read(r.Context())
		_ = ws.Write(r.Context(), websocket.MessageText, b)
		hold(r.Context(), ws)
	}))
	t.Cleanup(srv.Close)
	_, status, _ := runClient(t, hass.Options{URL: srv.URL, Token: "hunter2"})
	for s := range status {
		require.NotContains(t, s.LastError, "hunter2")
		if strings.Contains(s.LastError, "does not speak") {
			return
		}
	}
}

func TestGarbageDropsTheConnectionAndNothingElse(t *testing.T) {
	t.Parallel()
	for name, garbage := range map[string]string{
		"Text": "hello", "Cut": `{"id":2,"type":"event","event":{"a":`, "List": `[1,2]`, "Empty": "", "Number": "7",
		"Binary": "\x00\x01", "Unfinished": `[{"id":1,"type":"pong"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := oddHome(t, func(ctx context.Context, ws *websocket.Conn) {
				_ = ws.Write(ctx, websocket.MessageText, []byte(garbage))
				hold(ctx, ws)
			})
			c, status, _ := runClient(t, hass.Options{URL: url})
			lastErrorLike(t, status, "does not speak Home Assistant's WebSocket API")
			require.Eventually(t, func() bool { return c.Status().Connection > 1 }, 10*time.Second, time.Millisecond, "it tries again")
		})
	}
}

func TestFrameWithNULBytesCostsOneRecord(t *testing.T) {
	t.Parallel()
	url := oddHome(t, func(ctx context.Context, ws *websocket.Conn) {
		_, _, _ = ws.Read(ctx) // subscribe
		_ = ws.Write(ctx, websocket.MessageText, []byte("[{\"id\":2,\"type\":\"result\",\"success\":true,\"result\":null},{\"id\":2,\"type\":\"event\",\"event\":{\"a\":{\"x.y\":{\"s\":\"\x00\",\"lc\":1},\"x.z\":{\"s\":\"ok\",\"lc\":1}}}}]"))
		hold(ctx, ws)
	})
	c, _, _ := runClient(t, hass.Options{URL: url})
	events := make(chan hass.Event, 1)
	c.Subscribe("subscribe_entities", func(e hass.Event) { events <- e })
	event := <-events
	require.Equal(t, hass.Position{Connection: 1, Seq: 3}, event.Position)
	require.True(t, event.First)
	require.True(t, event.Last)
	var e hass.EntitiesEvent
	require.NoError(t, e.Decode(event.Raw))
	require.Len(t, e.Invalid, 1)
	require.Equal(t, "x.z", e.Added[0].EntityID)
}

func TestFrameOfNearly64MiB(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds under the race detector; not in -short")
	}
	t.Parallel()
	big := strings.Repeat("x", 60<<20)
	url := oddHome(t, func(ctx context.Context, ws *websocket.Conn) {
		_, _, _ = ws.Read(ctx)
		_ = ws.Write(ctx, websocket.MessageText, []byte(`{"id":2,"type":"event","event":{"a":{"x.y":{"s":"`+big+`","lc":1}}}}`))
		hold(ctx, ws)
	})
	c, _, _ := runClient(t, hass.Options{URL: url})
	events := make(chan hass.Event, 1)
	c.Subscribe("subscribe_entities", func(e hass.Event) { events <- e })
	var e hass.EntitiesEvent
	require.NoError(t, e.Decode((<-events).Raw))
	require.Len(t, e.Added[0].State, len(big))
}

func TestFrameAboveTheLimitIsNamed(t *testing.T) {
	t.Parallel()
	url := oddHome(t, func(ctx context.Context, ws *websocket.Conn) {
		_ = ws.Write(ctx, websocket.MessageText, []byte(`{"type":"`+strings.Repeat("x", 5000)+`"}`))
		hold(ctx, ws)
	})
	_, status, _ := runClient(t, hass.Options{URL: url, ReadLimit: 4096})
	lastErrorLike(t, status, "above the limit of 4096 bytes")
}

func TestSilentHomeIsNoticedAndGivenUp(t *testing.T) {
	t.Parallel()
	url := oddHome(t, func(ctx context.Context, ws *websocket.Conn) { hold(ctx, ws) }) // never answers a ping
	_, status, _ := runClient(t, hass.Options{URL: url, Heartbeat: 10 * time.Millisecond, HeartbeatTimeout: time.Second})
	stalled := false
	for s := range status {
		stalled = stalled || s.State == hass.StateStalled
		if strings.Contains(s.LastError, hass.ErrSilent.Error()) {
			break
		}
	}
	require.True(t, stalled)
}

func TestStalledHomeComesBack(t *testing.T) {
	t.Parallel()
	w := link(t, simhome.Options{}, func(o *hass.Options) { o.Heartbeat = 20 * time.Millisecond })
	states := make(chan hass.LinkState, 100)
	w2, err := hass.NewClient(hass.Options{URL: w.url, Token: "simhome", Heartbeat: 20 * time.Millisecond, OnStatus: func(s hass.Status) { states <- s.State }})
	require.NoError(t, err)
	w.client = w2
	w.run(t)
	want := func(state hass.LinkState) {
		for s := range states {
			if s == state {
				return
			}
		}
	}
	want(hass.StateConnected)
	w.home.Stall(300 * time.Millisecond)
	want(hass.StateStalled)
	want(hass.StateConnected)
	require.Equal(t, int64(1), w.client.Status().Connection)
}

func TestTLS(t *testing.T) {
	t.Parallel()
	home, err := simhome.New(simhome.Options{})
	require.NoError(t, err)
	t.Cleanup(home.Close)
	srv := httptest.NewTLSServer(home)
	t.Cleanup(srv.Close)

	_, status, _ := runClient(t, hass.Options{URL: srv.URL, Token: home.Token()})
	lastErrorLike(t, status, "unknown authority")

	_, status, _ = runClient(t, hass.Options{URL: strings.Replace(srv.URL, "https", "wss", 1), Token: home.Token(), HTTPClient: srv.Client()})
	for s := range status {
		if s.State == hass.StateConnected {
			return
		}
	}
}

func TestSubscriptionsSurviveReconnects(t *testing.T) {
	t.Parallel()
	w := link(t, simhome.Options{}, nil)
	first := make(chan int64, 10)
	w.client.Subscribe("subscribe_entities", func(e hass.Event) {
		if e.First {
			first <- e.Position.Connection
		}
	})
	_, err := w.client.Call(t.Context(), "ping", nil)
	require.ErrorIs(t, err, hass.ErrNotConnected)
	w.run(t)
	for want := int64(1); want <= 3; want++ {
		require.Equal(t, want, <-first)
		w.home.Disconnect()
		require.Error(t, <-w.down)
	}
}

func TestOnConnectComesBeforeEvents(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var order []string
	note := func(s string) { mu.Lock(); defer mu.Unlock(); order = append(order, s) }
	refuse := errors.New("not yet")
	w := link(t, simhome.Options{}, func(o *hass.Options) {
		tries := 0
		o.OnConnect = func(ctx context.Context, c *hass.Conn) error {
			if tries++; tries == 1 {
				return refuse
			}
			areas, _, err := hass.Areas(ctx, c)
			require.NotEmpty(t, areas)
			note("prepared")
			return err
		}
	})
	done := make(chan bool)
	w.client.Subscribe("subscribe_entities", func(hass.Event) { note("event"); close(done) })
	w.run(t)
	<-done
	require.Equal(t, []string{"prepared", "event"}, order)
}

func TestARestoredSubscriptionMissesNothingOfOnConnect(t *testing.T) {
	t.Parallel()
	var sub *hass.Subscription
	var home *simhome.Home
	w := link(t, simhome.Options{}, func(o *hass.Options) {
		o.OnConnect = func(ctx context.Context, c *hass.Conn) error {
			c.Restore(sub)
			entries, _, err := hass.Entities(ctx, c)
			require.True(t, home.Rename(entries[0].EntityID, "sensor.renamed"))
			return err
		}
	})
	home = w.home
	events := make(chan hass.Event, 10)
	sub = w.client.Subscribe(hass.Command{"type": "subscribe_events", "event_type": hass.EventEntityRegistryUpdated}, func(e hass.Event) { events <- e })
	w.run(t)
	require.True(t, (<-events).First)
	require.True(t, home.Rename("sensor.renamed", "sensor.again"))
	require.False(t, (<-events).First)
	_, err := w.client.Call(t.Context(), "get_config", nil)
	require.NoError(t, err)
	require.Empty(t, events, "it was sent once")
}

func TestSlowHandlerIsToldAndLosesNothing(t *testing.T) {
	t.Parallel()
	slow := make(chan hass.Status, 10)
	release := make(chan bool)
	w := link(t, simhome.Options{Entities: 300, MaxPending: 1 << 20}, func(o *hass.Options) {
		o.SlowAfter, o.QueueBytes, o.OnSlow = 20*time.Millisecond, 10_000, func(s hass.Status) { slow <- s }
	})
	const changes = 20_000
	all := make(chan bool)
	var table hass.Table
	var event hass.EntitiesEvent
	seen := 0
	w.client.Subscribe("subscribe_entities", func(e hass.Event) {
		if e.First {
			<-release
		}
		require.NoError(t, event.Decode(e.Raw))
		require.NoError(t, table.Apply(&event, nil))
		if seen += len(event.Changed); seen == changes {
			close(all)
		}
	})
	w.run(t)
	s := <-slow
	require.Positive(t, s.Behind)
	w.home.Emit(changes)
	close(release)
	<-all
	for _, want := range w.home.States() {
		require.Equal(t, want, table.Get(want.EntityID))
	}
	require.Equal(t, int64(1), w.client.Status().Connection)
}

func TestErrorsOfCommands(t *testing.T) {
	t.Parallel()
	w := link(t, simhome.Options{}, nil)
	w.run(t)
	<-w.up
	_, err := w.client.Call(t.Context(), "no/such", nil)
	var refused *hass.CommandError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, hass.CodeUnknownCommand, refused.Code)
	_, err = w.client.Call(t.Context(), map[string]int{"x": 1}, nil)
	require.ErrorContains(t, err, "no type")
	_, _, err = hass.CallService(t.Context(), w.client, "light", "explode", nil, nil, false)
	require.ErrorAs(t, err, &refused)
	require.Equal(t, hass.CodeNotFound, refused.Code)

	w.home.Stall(time.Minute)
	failed := make(chan error)
	go func() { _, err := w.client.Call(context.Background(), "get_states", nil); failed <- err }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = w.client.Call(ctx, "ping", nil)
	require.ErrorIs(t, err, context.Canceled)
	w.home.Disconnect()
	require.ErrorIs(t, <-failed, hass.ErrConnectionLost)
}
