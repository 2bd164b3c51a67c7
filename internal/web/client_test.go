package web_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/hass"
	"github.com/concord-home/concord/internal/web"
)

// withHeader adds what a browser would to each request.
type withHeader struct{ header http.Header }

func (t withHeader) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for k, v := range t.header {
		r.Header[k] = v
	}
	return http.DefaultTransport.RoundTrip(r)
}

// A client that was written for Home Assistant works against Concord.
func TestHomeAssistantClient(t *testing.T) {
	t.Parallel()
	b := setup(t, withAnswers)
	b.signIn(t)
	client, err := hass.NewClient(hass.Options{
		URL: b.http.URL, Token: "session", HTTPClient: &http.Client{Transport: withHeader{b.browserHeader(t)}},
	})
	require.NoError(t, err)
	var table hass.Table
	seen := make(chan *hass.State, 100)
	client.Subscribe(hass.Command{"type": "subscribe_entities"}, func(e hass.Event) {
		var event hass.EntitiesEvent
		if event.Decode(e.Raw) == nil {
			_ = table.Apply(&event, func(_, now *hass.State) { seen <- now })
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- client.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })

	for range len(b.live.sorted()) {
		<-seen
	}
	changed := state("light.ceiling", "off", `{"friendly_name":"Kitchen Ceiling"}`)
	changed.LastChanged, changed.Context.UserID = noon.Add(1e9), "u"
	changed.LastUpdated = changed.LastChanged
	b.live.set(changed)
	got := <-seen
	require.Equal(t, "off", got.State)
	require.Equal(t, changed.LastUpdated, got.LastUpdated)
	require.Equal(t, "u", got.Context.UserID)
	require.JSONEq(t, string(changed.Attributes), string(got.Attributes))

	states, invalid, _, err := hass.GetStates(ctx, client)
	require.NoError(t, err)
	require.Empty(t, invalid)
	require.Len(t, states, len(b.live.sorted()))
	areas, _, err := hass.Areas(ctx, client)
	require.NoError(t, err)
	require.Equal(t, "hall", areas[0].AreaID)
	entities, _, err := hass.Entities(ctx, client)
	require.NoError(t, err)
	require.Len(t, entities, len(b.live.registry.Entities))
	devices, _, err := hass.Devices(ctx, client)
	require.NoError(t, err)
	require.Len(t, devices, 2)
	floors, _, err := hass.Floors(ctx, client)
	require.NoError(t, err)
	require.Len(t, floors, 2)

	var answer json.RawMessage
	_, err = client.Call(ctx, hass.Command{"type": "call_service", "domain": "light", "service": "turn_on",
		"target": map[string]string{"entity_id": "light.ceiling"}}, &answer)
	require.NoError(t, err)
	require.Contains(t, string(answer), `"context"`)
}

func TestRefusalsOfTheHome(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := b.screen(t)
	for code, err := range map[string]error{
		"home_unreachable":     concord.Errorf(concord.CodeUnavailable, "The home cannot be reached"),
		"timeout":              concord.Errorf(concord.CodeTimeout, "The home did not answer in time"),
		"home_assistant_error": concord.Errorf(concord.CodeInvalid, "Service light.nothing not found."),
		"unknown_error":        http.ErrHandlerTimeout,
	} {
		b.link.callService = func(context.Context, int64, concord.ServiceCall) (json.RawMessage, error) { return nil, err }
		m := c.call("call_service", map[string]any{"domain": "light", "service": "turn_on"})
		require.False(t, m.Success)
		require.Equal(t, code, m.Error.Code)
	}
	b.link.callService = func(context.Context, int64, concord.ServiceCall) (json.RawMessage, error) { panic("boom") }
	require.Equal(t, "unknown_error", c.call("call_service", map[string]any{"domain": "light", "service": "turn_on"}).Error.Code)
	require.True(t, c.call("get_states", nil).Success, "the connection lives on")
}

func TestEntityHistoryAndSearch(t *testing.T) {
	t.Parallel()
	b := setup(t, withAnswers)
	c := b.screen(t)
	get := func(m message) map[string]any {
		require.True(t, m.Success, "%v", m.Error)
		var v map[string]any
		require.NoError(t, json.Unmarshal(m.Result, &v))
		return v
	}
	e := get(c.call("concord/entity", map[string]any{"entity_id": "light.ceiling"}))
	require.Equal(t, "Kitchen", e["area"].(map[string]any)["name"])
	require.Equal(t, "Lamp", e["device"].(map[string]any)["name"])
	related := e["related"].(map[string]any)
	require.Equal(t, []any{map[string]any{"id": "automation.morning", "name": "Morning"}}, related["automations"])
	require.Equal(t, "Favourite", related["labels"].([]any)[0].(map[string]any)["name"])
	require.Equal(t, "not_found", c.call("concord/entity", map[string]any{"entity_id": "light.none"}).Error.Code)

	found := get(c.call("concord/search", map[string]any{"query": "kitchen light", "limit": 2}))
	require.EqualValues(t, 3, found["total"])
	require.Len(t, found["entities"], 2)
	found = get(c.call("concord/search", map[string]any{"query": "light."}))
	require.Equal(t, map[string]any{"light.secret": "hidden", "light.off": "disabled"}, found["reasons"])

	b.link.command = func(context.Context, int64, json.RawMessage) (json.RawMessage, error) {
		return json.RawMessage(`{"sensor.cpu":[{"s":"1","lu":1000},{"s":"5","lu":1000.5},{"s":"unavailable","lu":1100},{"s":"2","lu":1200}]}`), nil
	}
	h := get(c.call("concord/history", map[string]any{"entity_id": "sensor.cpu", "start": 900_000, "end": "1970-01-01T00:21:40Z", "points": 100}))
	require.Equal(t, map[string]any{
		"numeric": true, "states": []any{}, "gaps": []any{[]any{1100000.0, 1200000.0}},
		"points": []any{[]any{1000000.0, 1.0, 5.0, 5.0}, []any{1200000.0, 2.0, 2.0, 2.0}},
	}, h)
	b.link.command = func(context.Context, int64, json.RawMessage) (json.RawMessage, error) {
		return json.RawMessage(`{"light.a":[{"s":"on","lu":800},{"s":"on","lu":950},{"s":"off","lu":1000}]}`), nil
	}
	h = get(c.call("concord/history", map[string]any{"entity_id": "light.a", "start": 900_000, "end": 1_300_000}))
	require.Equal(t, []any{[]any{900000.0, "on"}, []any{1000000.0, "off"}}, h["states"])
	require.Equal(t, "invalid_format", c.call("concord/history", map[string]any{"entity_id": "light.a"}).Error.Code)
}

func TestHistoryTellsWhatIsLostAndWhatWasFilledIn(t *testing.T) {
	t.Parallel()
	b := setup(t, withAnswers, func(_ *bundle, o *web.Options) {
		o.History = charts{func(_ string, from, _ time.Time) (concord.Chart, error) {
			gap := func(kind concord.GapKind, second int64) concord.Gap {
				return concord.Gap{From: time.Unix(second, 0), To: time.Unix(second+10, 0), Kind: kind}
			}
			return concord.Chart{
				Numeric: true, Rows: 1, Points: []concord.ChartPoint{{At: from, Min: 1, Max: 1, Last: 1}},
				Gaps:   []concord.Gap{gap(concord.GapLost, 910), gap(concord.GapAsked, 920), gap(concord.GapSilent, 930)},
				Filled: []concord.Span{{From: time.Unix(940, 0), To: time.Unix(950, 0)}},
			}, nil
		}}
	})
	m := b.screen(t).call("concord/history", map[string]any{"entity_id": "sensor.cpu", "start": 900_000, "end": 1_300_000})
	require.JSONEq(t, `{"numeric": true, "points": [[900000, 1, 1, 1]], "states": [], "gaps": [[910000, 920000], [920000, 930000], [930000, 940000]],
		"lost": [[910000, 920000]], "asked": [[920000, 930000]], "filled": [[940000, 950000]]}`, string(m.Result))
}

func TestREST(t *testing.T) {
	t.Parallel()
	b := setup(t, withAnswers)
	resp, _ := b.do(t, "GET", "/api/states", "", nil)
	require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
	b.signIn(t)
	_, text := b.do(t, "GET", "/api/", "", nil)
	require.JSONEq(t, `{"message":"API running."}`, text)
	_, text = b.do(t, "GET", "/api/states", "", nil)
	states, _, err := hass.DecodeStates([]byte(text))
	require.NoError(t, err)
	require.Len(t, states, len(b.live.sorted()))
	_, text = b.do(t, "GET", "/api/states/sensor.cpu", "", nil)
	require.Contains(t, text, `"entity_id":"sensor.cpu"`)
	resp, text = b.do(t, "GET", "/api/states/sensor.none", "", nil)
	require.Equal(t, 404, resp.StatusCode)
	require.JSONEq(t, `{"message":"Entity not found."}`, text)
	resp, text = b.do(t, "POST", "/api/services/light/turn_on", `{"entity_id":"light.ceiling"}`, http.Header{"Content-Type": {"application/json"}})
	require.Equal(t, 200, resp.StatusCode, text)
}
