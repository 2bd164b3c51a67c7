package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/web"
)

// wsClient is a WebSocket connection of the signed-in browser.
type wsClient struct {
	t    testing.TB
	conn *websocket.Conn
	ctx  context.Context
	id   int64
	// kept are messages that came while another was awaited.
	kept []message
}

type message struct {
	ID      int64           `json:"id"`
	Type    string          `json:"type"`
	Success bool            `json:"success"`
	Result  json.RawMessage `json:"result"`
	Event   json.RawMessage `json:"event"`
	Error   struct{ Code, Message string }
}

// smallBuffers dials sockets that hold little, so that who does not read is
// noticed soon.
var smallBuffers = &http.Client{Transport: &http.Transport{
	DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return conn, conn.(*net.TCPConn).SetReadBuffer(32 << 10)
	},
}}

// dial opens a connection with the header given.
func (b *bundle) dial(t testing.TB, header http.Header) *wsClient {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	conn, _, err := websocket.Dial(ctx, b.http.URL+"/api/websocket", &websocket.DialOptions{HTTPHeader: header, HTTPClient: smallBuffers})
	require.NoError(t, err)
	conn.SetReadLimit(64 << 20)
	t.Cleanup(func() { conn.CloseNow() })
	c := &wsClient{t: t, conn: conn, ctx: ctx}
	require.Equal(t, "auth_required", c.read().Type)
	return c
}

// browserHeader is what a browser sends with the page's own connection.
func (b *bundle) browserHeader(t testing.TB) http.Header {
	t.Helper()
	u, err := url.Parse(b.http.URL)
	require.NoError(t, err)
	h := http.Header{"Origin": {b.http.URL}}
	for _, cookie := range b.client.Jar.Cookies(u) {
		h.Add("Cookie", cookie.Name+"="+cookie.Value)
	}
	return h
}

// screen signs in and connects.
func (b *bundle) screen(t testing.TB) *wsClient {
	t.Helper()
	b.signIn(t)
	c := b.dial(t, b.browserHeader(t))
	c.write(map[string]any{"type": "auth", "access_token": "session"})
	require.Equal(t, "auth_ok", c.read().Type)
	return c
}

func (c *wsClient) write(v any) {
	c.t.Helper()
	data, err := json.Marshal(v)
	require.NoError(c.t, err)
	require.NoError(c.t, c.conn.Write(c.ctx, websocket.MessageText, data))
}

func (c *wsClient) read() message {
	c.t.Helper()
	_, data, err := c.conn.Read(c.ctx)
	require.NoError(c.t, err)
	var m message
	require.NoError(c.t, json.Unmarshal(data, &m), string(data))
	return m
}

// await returns the next message that matches, and keeps the others.
func (c *wsClient) await(match func(message) bool) message {
	c.t.Helper()
	for i, m := range c.kept {
		if match(m) {
			c.kept = append(c.kept[:i:i], c.kept[i+1:]...)
			return m
		}
	}
	for {
		m := c.read()
		if match(m) {
			return m
		}
		c.kept = append(c.kept, m)
	}
}

// send sends a command and returns its id.
func (c *wsClient) send(command string, fields map[string]any) int64 {
	c.t.Helper()
	c.id++
	all := map[string]any{"id": c.id, "type": command}
	for k, v := range fields {
		all[k] = v
	}
	c.write(all)
	return c.id
}

// call sends a command and returns the answer to it.
func (c *wsClient) call(command string, fields map[string]any) message {
	c.t.Helper()
	id := c.send(command, fields)
	return c.await(func(m message) bool { return m.ID == id && m.Type == "result" })
}

// subscribe begins a subscription and returns its id.
func (c *wsClient) subscribe(command string, fields map[string]any) int64 {
	c.t.Helper()
	m := c.call(command, fields)
	require.True(c.t, m.Success, "%s: %v", command, m.Error)
	return m.ID
}

// event returns the next event of a subscription.
func (c *wsClient) event(id int64) map[string]any {
	c.t.Helper()
	m := c.await(func(m message) bool { return m.ID == id && m.Type == "event" })
	var event map[string]any
	require.NoError(c.t, json.Unmarshal(m.Event, &event))
	return event
}

func TestScreenSignsIn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signIn(t)
	good := b.browserHeader(t)
	for _, c := range []struct {
		name   string
		header http.Header
		token  string
	}{
		{"no cookie", http.Header{"Origin": good["Origin"]}, "session"},
		{"no origin", http.Header{"Cookie": good["Cookie"]}, "session"},
		{"another word", good, "something"},
		{"another cookie", http.Header{"Origin": good["Origin"], "Cookie": {"session_id=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}, "session"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := b.dial(t, c.header)
			w.write(map[string]any{"type": "auth", "access_token": c.token})
			require.Equal(t, "auth_invalid", w.read().Type)
		})
	}
	t.Run("another origin", func(t *testing.T) {
		header := http.Header{"Cookie": good["Cookie"], "Origin": {"https://evil.example"}}
		_, resp, err := websocket.Dial(context.Background(), b.http.URL+"/api/websocket", &websocket.DialOptions{HTTPHeader: header})
		require.Error(t, err)
		require.Equal(t, http.StatusForbidden, resp.StatusCode)
	})
	t.Run("signing out ends the connection", func(t *testing.T) {
		w := b.screen(t)
		resp, _ := b.do(t, "POST", "/auth/logout", "{}", http.Header{"Content-Type": {"application/json"}})
		require.Equal(t, 200, resp.StatusCode)
		_, _, err := w.conn.Read(w.ctx)
		require.Error(t, err)
		require.NoError(t, w.ctx.Err(), "the server must have closed it")
	})
}

func TestSubscribeEntities(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := b.screen(t)
	id := c.subscribe("subscribe_entities", map[string]any{"entity_ids": []string{"light.ceiling", "light.later", "light.counter"}})
	added := c.event(id)["a"].(map[string]any)
	require.Len(t, added, 2)
	require.Equal(t, "on", added["light.ceiling"].(map[string]any)["s"])

	b.live.set(state("sensor.cpu", "13", `{}`)) // not shown here
	b.live.set(state("light.ceiling", "off", `{"friendly_name":"Kitchen Ceiling"}`))
	change := c.event(id)["c"].(map[string]any)
	require.Len(t, change, 1)
	require.Equal(t, map[string]any{"+": map[string]any{"s": "off"}, "-": map[string]any{"a": []any{"brightness"}}}, change["light.ceiling"])

	b.live.set(state("light.later", "on", `{}`))
	require.Contains(t, c.event(id)["a"], "light.later")
	b.live.remove("light.later")
	require.Equal(t, []any{"light.later"}, c.event(id)["r"])

	require.True(t, c.call("unsubscribe_events", map[string]any{"subscription": id}).Success)
	require.Equal(t, "invalid_format", c.call("subscribe_entities", map[string]any{"entity_ids": []string{"nonsense"}}).Error.Code)
}

func TestSubscribeEvents(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := b.screen(t)
	id := c.subscribe("subscribe_events", map[string]any{"event_type": "state_changed"})
	reg := c.subscribe("subscribe_events", map[string]any{"event_type": "area_registry_updated"})
	b.live.set(state("light.counter", "on", `{}`))
	e := c.event(id)
	require.Equal(t, "state_changed", e["event_type"])
	data := e["data"].(map[string]any)
	require.Equal(t, "off", data["old_state"].(map[string]any)["state"])
	require.Equal(t, "on", data["new_state"].(map[string]any)["state"])
	b.live.setRegistry(smallRegistry())
	require.Equal(t, "area_registry_updated", c.event(reg)["event_type"])
	require.Equal(t, "not_supported", c.call("subscribe_events", map[string]any{"event_type": "zha_event"}).Error.Code)
}

func TestSubscribeOverview(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := b.screen(t)
	id := c.subscribe("concord/subscribe_overview", nil)
	full := c.event(id)
	require.Equal(t, "overview", full["kind"])
	require.Equal(t, map[string]any{"id": 1.0, "name": "Test home"}, full["home"])
	require.Equal(t, map[string]any{"name": "Administrator", "role": "admin"}, full["user"])
	require.Len(t, full["floors"], 2)
	areas := full["areas"].([]any)
	require.Len(t, areas, 3)
	kitchen := areas[1].(map[string]any)
	require.Equal(t, "kitchen", kitchen["area_id"])
	require.Equal(t, map[string]any{
		"n": 5.0, "lights": []any{1.0, 2.0}, "open": 0.0, "unavail": 0.0, "temp": "21.4 °C", "hum": "48 %",
		"temp_entity": "sensor.kitchen_temperature", "active": []any{"light.ceiling"},
		"light_ids": []any{"light.ceiling", "light.counter"}, "motion": nil, "alert": []any{},
	}, kitchen["s"])
	require.Equal(t, map[string]any{"devices": 1.0, "entities": 3.0}, without(full["unassigned"].(map[string]any), "s"))

	b.live.set(state("light.counter", "on", `{"friendly_name":"Kitchen Counter"}`))
	b.live.set(state("binary_sensor.leak", "on", `{"friendly_name":"Bath Leak"}`))
	seen := map[string]any{}
	for len(seen) < 2 {
		next := c.event(id)
		require.Equal(t, "summaries", next["kind"])
		for area, s := range next["areas"].(map[string]any) {
			seen[area] = s
		}
	}
	require.Equal(t, []any{2.0, 2.0}, seen["kitchen"].(map[string]any)["lights"])
	require.Equal(t, []any{"binary_sensor.leak"}, seen["bath"].(map[string]any)["alert"])

	b.live.setRegistry(concord.NewRegistry(nil, []concord.Area{{ID: "loft", Name: "Loft"}}, nil, nil, nil, false))
	again := c.event(id)
	require.Equal(t, "overview", again["kind"])
	require.Len(t, again["areas"], 1)
}

func without(m map[string]any, key string) map[string]any {
	delete(m, key)
	return m
}

func TestSubscribeArea(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := b.screen(t)
	id := c.subscribe("concord/subscribe_area", map[string]any{"area_id": "kitchen"})
	e := c.event(id)
	require.Equal(t, "area", e["kind"])
	require.EqualValues(t, 1, e["hidden"])
	require.EqualValues(t, 1, e["disabled"])
	devices := e["devices"].([]any)
	require.Len(t, devices, 1)
	lamp := devices[0].(map[string]any)
	require.Equal(t, "sensor.lamp_battery", lamp["battery"])
	require.EqualValues(t, 2, lamp["entity_count"])
	first := lamp["entities"].([]any)[0].(map[string]any)
	require.Equal(t, "Ceiling", first["name"])
	require.Equal(t, "Kitchen Ceiling", first["full_name"])
	require.Equal(t, "Battery", lamp["entities"].([]any)[1].(map[string]any)["name"])
	require.Len(t, e["entities"], 3)

	hall := c.event(c.subscribe("concord/subscribe_area", map[string]any{"area_id": "hall"}))
	door := hall["entities"].([]any)[0].(map[string]any)
	require.Equal(t, "Lamp", door["device"])
	require.Equal(t, "Door", door["name"])

	none := c.event(c.subscribe("concord/subscribe_area", map[string]any{"area_id": "unassigned"}))
	require.Len(t, none["devices"], 1)
	require.Len(t, none["entities"], 2)
	require.Equal(t, "not_found", c.call("concord/subscribe_area", map[string]any{"area_id": "nowhere"}).Error.Code)
}

func TestSubscribeStatus(t *testing.T) {
	t.Parallel()
	b := setup(t, func(b *bundle, o *web.Options) { o.Health = b.health })
	c := b.screen(t)
	id := c.subscribe("concord/subscribe_status", nil)
	e := c.event(id)
	require.Equal(t, "connected", e["link"])
	require.Equal(t, true, e["database"].(map[string]any)["up"])
	b.live.setStatus(func(s *concord.HomeStatus) { s.Link, s.Error = concord.LinkConnecting, "no answer" })
	e = c.event(id)
	require.Equal(t, "connecting", e["link"])
	require.Equal(t, "no answer", e["error"])
	require.Positive(t, e["data_age_ms"])
	b.health.set(concord.PartStatus{Error: "connection refused"})
	for e["database"].(map[string]any)["up"] == true {
		e = c.event(id)
	}
	require.Equal(t, "connection refused", e["database"].(map[string]any)["error"])
}

// A screen that does not read costs a bounded backlog, holds nobody up, and gets
// the states in full when it reads again.
func TestSlowScreen(t *testing.T) {
	t.Parallel()
	b := setup(t)
	slow, quick := b.screen(t), b.screen(t)
	ids := map[string]any{"entity_ids": []string{"sensor.cpu"}}
	slowID := slow.subscribe("subscribe_entities", ids)
	slow.event(slowID)
	quickID := quick.subscribe("subscribe_entities", ids)
	quick.event(quickID)

	const frames, each = 40, 20 // of 4 kB: more than a feed and the sockets of these tests hold
	filler := strings.Repeat("x", 4<<10)
	last := func(n int) string { return fmt.Sprintf(`"s":"%d"`, n) }
	for i := range frames {
		var frame []*concord.State
		for j := range each {
			frame = append(frame, state("sensor.cpu", fmt.Sprint(i*each+j), fmt.Sprintf(`{"filler":"%s%d"}`, filler, i*each+j)))
		}
		b.live.set(frame...)
		quick.await(func(m message) bool { return m.ID == quickID && strings.Contains(string(m.Event), last(i*each+each-1)) })
		quick.kept = nil
	}
	events, full := 0, 0
	for event := ""; !strings.Contains(event, last(frames*each-1)); events++ {
		event = string(slow.await(func(m message) bool { return m.ID == slowID }).Event)
		if strings.HasPrefix(event, `{"a":`) {
			full++
		}
	}
	require.Less(t, events, frames*each, "what nobody can read is not kept")
	require.Positive(t, full)
}

// refused returns the status that a handshake with this header gets instead of
// a connection.
func (b *bundle) refused(t *testing.T, header http.Header) int {
	t.Helper()
	conn, resp, err := websocket.Dial(t.Context(), b.http.URL+"/api/websocket", &websocket.DialOptions{HTTPHeader: header})
	if err == nil {
		conn.CloseNow()
	}
	require.Error(t, err)
	return resp.StatusCode
}

func TestHandshake(t *testing.T) {
	t.Parallel()

	t.Run("AnotherSitesPageIsRefused", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.signIn(t)
		for _, origin := range []string{"https://evil.example", "null", "http://127.0.0.1:1"} {
			h := b.browserHeader(t)
			h.Set("Origin", origin)
			require.Equal(t, http.StatusForbidden, b.refused(t, h), origin)
		}
	})

	t.Run("AStaleCookieIsToldByAuthInvalid", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := b.dial(t, http.Header{"Origin": {b.http.URL}, "Cookie": {"session_id=" + strings.Repeat("A", 43)}})
		c.write(map[string]any{"type": "auth", "access_token": "session"})
		require.Equal(t, "auth_invalid", c.read().Type)
	})

	t.Run("StrangersDoNotTakeThePlacesOfOthers", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		for range 256 {
			b.dial(t, nil)
		}
		require.Equal(t, http.StatusTooManyRequests, b.refused(t, nil))
		b.screen(t)
	})
}
