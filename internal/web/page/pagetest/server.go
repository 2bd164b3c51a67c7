// Package pagetest drives the area dashboard in a real browser: [Start] serves
// it with a small house that answers as Concord's server does, [NewBrowser]
// opens Chromium. An end-to-end test uses the browser half with the real server.
package pagetest

import (
	"context"
	"encoding/json"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/concord-home/concord/internal/web/page"
)

// House is a running server with the page and a house behind it.
type House struct {
	URL string

	mu      sync.Mutex
	house   *house
	status  map[string]any
	clients map[*client]struct{}
	calls   []Call
	refusal string
	deaf    bool
	closed  bool
	expired bool
	bare    bool
}

// Call is one call_service that the page sent.
type Call struct {
	Domain  string         `json:"domain"`
	Service string         `json:"service"`
	Data    map[string]any `json:"service_data"`
	Target  struct {
		EntityID string `json:"entity_id"`
	} `json:"target"`
}

// NewHouse returns the house as an http.Handler that listens nowhere yet.
func NewHouse() (*House, http.Handler) {
	h := &House{house: parseHouse(houseText), clients: map[*client]struct{}{}}
	h.status = map[string]any{
		"kind": "status", "link": "connected", "since": now(), "data_age_ms": 0, "last_message": now(), "error": nil, "version": "test", "ha_version": "2025.4.4",
		"database": map[string]any{"up": true, "since": now(), "error": nil}, "spool": map[string]any{"up": true, "pending": 0},
	}
	mux := http.NewServeMux()
	mux.Handle("/", h.guard(page.Handler()))
	mux.HandleFunc("/api/websocket", h.serveSocket)
	mux.HandleFunc("POST /web/session/authenticate", authenticate)
	return h, mux
}

// Start serves the house until the test ends.
func Start(t testing.TB) *House {
	t.Helper()
	h, handler := NewHouse()
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		h.DropLinks()
		server.Close()
	})
	h.URL = server.URL
	return h
}

func authenticate(w http.ResponseWriter, r *http.Request) {
	var in struct{ Params struct{ Password string } }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.Params.Password != "secret" {
		_, _ = w.Write([]byte(`{"jsonrpc":"2.0","id":1,"error":{"code":200,"message":"Odoo Server Error","data":{"name":"odoo.exceptions.AccessDenied","message":"Access Denied"}}}`))
		return
	}
	_, _ = w.Write([]byte(`{"jsonrpc":"2.0","id":1,"result":{"uid":2}}`))
}

func now() int64 { return time.Now().UnixMilli() }

// SetState changes an entity as if the home had said so; attributes are merged.
func (h *House) SetState(id, newState string, attributes map[string]any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.setState(id, newState, attributes)
}

func (h *House) setState(id, newState string, attributes map[string]any) {
	old := h.house.states[id]
	merged := map[string]any{}
	for k, v := range old.Attributes {
		merged[k] = v
	}
	for k, v := range attributes {
		merged[k] = v
	}
	st := state{State: newState, Attributes: merged, Changed: float64(now()) / 1000}
	h.house.states[id] = st
	diff := map[string]any{"c": map[string]any{id: map[string]any{"+": map[string]any{"s": newState, "a": attributes, "lc": st.Changed}}}}
	for c := range h.clients {
		c.sendState(id, diff)
	}
	for _, a := range h.house.areas {
		for _, e := range a.entities() {
			if e.ID == id {
				h.publish("concord/subscribe_overview", map[string]any{"kind": "summaries", "areas": map[string]any{a.ID: h.house.summary(a)}})
			}
		}
	}
}

// State returns the state of an entity.
func (h *House) State(id string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.house.states[id].State
}

// SetStatus changes what the status subscription says; values are merged.
func (h *House) SetStatus(values map[string]any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	status := maps.Clone(h.status) // the one before may still be on its way to a page
	maps.Copy(status, values)
	h.status = status
	h.publish("concord/subscribe_status", h.status)
}

// Refuse makes every further service call fail with the message; "" ends it.
func (h *House) Refuse(message string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refusal = message
}

// Deafen makes service calls succeed without effect.
func (h *House) Deafen(deaf bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deaf = deaf
}

// SetClosed makes the house refuse new pages until told otherwise.
func (h *House) SetClosed(closed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = closed
}

// Expire ends every session: the links are cut, and the page's addresses lead
// to the login page.
func (h *House) Expire() {
	h.mu.Lock()
	h.closed, h.expired = true, true
	h.mu.Unlock()
	h.DropLinks()
}

func (h *House) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		expired := h.expired
		h.mu.Unlock()
		if expired && r.URL.Path == "/" {
			http.Redirect(w, r, "/login?next=%2F", http.StatusSeeOther)
			return
		}
		next.ServeHTTP(w, r.WithContext(h.firstScreen(r)))
	})
}

// Watched returns the entities that some page is subscribed to.
func (h *House) Watched() map[string]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := map[string]bool{}
	for c := range h.clients {
		for _, s := range c.subs {
			maps.Copy(all, s.ids)
		}
	}
	return all
}

// Calls returns the service calls so far.
func (h *House) Calls() []Call {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Call(nil), h.calls...)
}

// DropLinks closes every page's WebSocket.
func (h *House) DropLinks() {
	h.mu.Lock()
	clients := h.clients
	h.clients = map[*client]struct{}{}
	h.mu.Unlock()
	for c := range clients {
		_ = c.conn.CloseNow()
	}
}

func (h *House) publish(kind string, event any) {
	for c := range h.clients {
		for id, sub := range c.subs {
			if sub.kind == kind {
				c.event(id, event)
			}
		}
	}
}

// ---- one page's socket -------------------------------------------------------

type subscription struct {
	kind string
	ids  map[string]bool
}

type client struct {
	conn *websocket.Conn
	out  chan any
	subs map[int]subscription
}

type request struct {
	ID           int      `json:"id"`
	Type         string   `json:"type"`
	AreaID       string   `json:"area_id"`
	EntityID     string   `json:"entity_id"`
	EntityIDs    []string `json:"entity_ids"`
	Query        string   `json:"query"`
	Subscription int      `json:"subscription"`
	Call
}

func (c *client) event(id int, event any) {
	c.out <- map[string]any{"id": id, "type": "event", "event": event}
}

func (c *client) sendState(id string, diff any) {
	for sub, s := range c.subs {
		if s.kind == "subscribe_entities" && s.ids[id] {
			c.event(sub, diff)
		}
	}
}

func (h *House) serveSocket(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	closed := h.closed
	h.mu.Unlock()
	if closed {
		http.Error(w, "closed", http.StatusServiceUnavailable)
		return
	}
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	c := &client{conn: conn, out: make(chan any, 1024), subs: map[int]subscription{}}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go c.write(ctx)
	c.out <- map[string]any{"type": "auth_required", "ha_version": "2025.4.4"}
	for {
		_, body, err := conn.Read(ctx)
		if err != nil {
			h.forget(c)
			return
		}
		var q request
		if json.Unmarshal(body, &q) == nil {
			h.answer(c, q)
		}
	}
}

func (c *client) write(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-c.out:
			body, _ := json.Marshal(m)
			if c.conn.Write(ctx, websocket.MessageText, body) != nil {
				return
			}
		}
	}
}

func (h *House) forget(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.clients, c)
}

func (h *House) answer(c *client, q request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	result := func(v any) { c.out <- map[string]any{"id": q.ID, "type": "result", "success": true, "result": v} }
	failure := func(code, message string) {
		c.out <- map[string]any{"id": q.ID, "type": "result", "success": false, "error": map[string]any{"code": code, "message": message}}
	}
	switch q.Type {
	case "auth":
		h.clients[c] = struct{}{}
		c.out <- map[string]any{"type": "auth_ok", "ha_version": "2025.4.4"}
	case "ping":
		c.out <- map[string]any{"id": q.ID, "type": "pong"}
	case "unsubscribe_events":
		delete(c.subs, q.Subscription)
		result(nil)
	case "subscribe_entities":
		ids, full := map[string]bool{}, map[string]state{}
		for _, id := range q.EntityIDs {
			ids[id] = true
			if st, ok := h.house.states[id]; ok {
				full[id] = st
			}
		}
		c.subs[q.ID] = subscription{kind: q.Type, ids: ids}
		result(nil)
		c.event(q.ID, map[string]any{"a": full})
	case "concord/subscribe_overview", "concord/subscribe_status", "concord/subscribe_area":
		event, ok := h.first(q)
		if !ok {
			failure("not_found", "no such area")
			return
		}
		c.subs[q.ID] = subscription{kind: q.Type}
		result(nil)
		c.event(q.ID, event)
	case "concord/health":
		result(h.health())
	case "concord/entity":
		h.about(q, result, failure)
	case "concord/search":
		result(h.search(q.Query))
	case "concord/history":
		result(h.history(q.EntityID))
	case "concord/trends":
		result(h.trends(q.EntityIDs))
	case "call_service":
		h.call(q, result, failure)
	default:
		result(nil)
	}
}

func (h *House) first(q request) (any, bool) {
	switch q.Type {
	case "concord/subscribe_status":
		return h.status, true
	case "concord/subscribe_overview":
		areas := []any{}
		for _, a := range h.house.areas {
			areas = append(areas, map[string]any{"area_id": a.ID, "name": a.Name, "icon": a.Icon, "floor_id": a.FloorID, "s": h.house.summary(a)})
		}
		home := map[string]any{"id": 1, "name": "Maple Street 12"}
		return map[string]any{"kind": "overview", "home": home, "homes": []any{home}, "user": map[string]any{"name": "Admin", "role": "admin"},
			"floors": h.house.floors, "areas": areas, "unassigned": map[string]any{"devices": 0, "entities": 0, "s": map[string]any{"n": 0}}}, true
	}
	for _, a := range h.house.areas {
		if a.ID == q.AreaID {
			return map[string]any{"kind": "area", "area": a, "devices": a.devices, "entities": a.standalone, "hidden": 0, "disabled": 0}, true
		}
	}
	return nil, false
}

func (h *House) about(q request, result func(any), failure func(string, string)) {
	for _, a := range h.house.areas {
		for _, e := range a.entities() {
			if e.ID == q.EntityID {
				e.Name = e.FullName
				result(map[string]any{"entity": e, "area": a, "device": nil, "related": map[string]any{"automations": []string{"automation.lights_at_sunset"}, "scenes": []string{"scene.film_night"}}})
				return
			}
		}
	}
	failure("not_found", "no such entity")
}

func (h *House) search(query string) any {
	found := []any{}
	for _, a := range h.house.areas {
		for _, e := range a.entities() {
			if strings.Contains(strings.ToLower(e.FullName+" "+e.ID), strings.ToLower(query)) {
				found = append(found, e)
			}
		}
	}
	return map[string]any{"entities": found, "areas": []any{}, "total": len(found), "reasons": map[string]string{}}
}

func (h *House) history(id string) any {
	if strings.HasPrefix(id, "sensor.") {
		points := [][]float64{}
		for i := range 200 {
			v := 20 + 3*math.Sin(float64(i)/28) + 0.3*math.Sin(float64(i)*1.7)
			points = append(points, []float64{float64(now() - int64(200-i)*432_000), v - .3, v + .3, v})
		}
		return map[string]any{"numeric": true, "points": points}
	}
	states := [][]any{}
	for i := range 12 {
		states = append(states, []any{now() - int64(12-i)*7_000_000, []string{"on", "off"}[i%2]})
	}
	at := func(hours, minutes int64) [2]int64 {
		return [2]int64{now() - hours*3_600_000, now() - hours*3_600_000 + minutes*60_000}
	}
	lost, asked := at(20, 40), at(3, 20)
	return map[string]any{
		"numeric": false, "states": states, "gaps": [][2]int64{lost, asked}, "lost": [][2]int64{lost}, "asked": [][2]int64{asked}, "filled": [][2]int64{at(9, 50)},
	}
}

func (h *House) trends(ids []string) any {
	all := map[string][]float64{}
	for n, id := range ids {
		for i := range 32 {
			all[id] = append(all[id], math.Round(100*(20+3*math.Sin(float64(i+9*n)/4)+math.Sin(float64(i*(n+3)))))/100)
		}
	}
	return all
}

func (h *House) call(q request, result func(any), failure func(string, string)) {
	h.calls = append(h.calls, q.Call)
	if h.refusal != "" {
		failure("home_assistant_error", h.refusal)
		return
	}
	result(map[string]any{})
	if h.deaf {
		return
	}
	id := q.Target.EntityID
	st, attributes := effect(h.house.states[id], q.Call)
	h.setState(id, st, attributes)
}

// effect is what a service does to an entity of the house.
func effect(old state, call Call) (string, map[string]any) {
	a := map[string]any{}
	for k, v := range call.Data {
		a[k] = v
	}
	if v, ok := call.Data["brightness_pct"].(float64); ok {
		a["brightness"] = math.Round(v * 2.55)
	}
	if v, ok := call.Data["position"].(float64); ok {
		a["current_position"] = v
	}
	words := map[string]string{
		"turn_on": "on", "turn_off": "off", "lock": "locked", "unlock": "unlocked", "open_cover": "open", "close_cover": "closed", "start": "cleaning",
		"media_play": "playing", "media_pause": "paused", "open_valve": "open", "close_valve": "closed", "return_to_base": "returning",
	}
	st := old.State
	if word, ok := words[call.Service]; ok {
		st = word
	}
	for _, key := range []string{"value", "option", "hvac_mode"} {
		if v, ok := call.Data[key]; ok {
			body, _ := json.Marshal(v)
			st = strings.Trim(string(body), `"`)
		}
	}
	return st, a
}
