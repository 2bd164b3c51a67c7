package hub_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/hass"
	"github.com/concord-home/concord/internal/live"
	"github.com/concord-home/concord/internal/web/hub"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func state(id, value, attributes string) *concord.State {
	return &concord.State{EntityID: id, State: value, Attributes: json.RawMessage(attributes), LastChanged: noon, LastUpdated: noon}
}

// home is a live model with one home, and a hub over it.
type home struct {
	model *live.Model
	hub   *hub.Hub
}

func setup(t testing.TB, r *concord.Registry, states ...*concord.State) *home {
	t.Helper()
	m := live.New()
	m.SetHome(concord.Home{ID: 1, Name: "Home", Active: true}, true)
	if r != nil {
		m.SetRegistry(1, r)
	}
	m.Replace(1, states)
	return &home{model: m, hub: newHub(t, m)}
}

func newHub(t testing.TB, m *live.Model) *hub.Hub {
	t.Helper()
	h, err := hub.New(m, 1, hub.Options{SummariesEvery: time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(h.Stop)
	return h
}

// set changes states as a home does.
func (h *home) set(states ...*concord.State) {
	var changes []concord.Change
	for _, s := range states {
		changes = append(changes, concord.Change{EntityID: s.EntityID, Old: h.model.State(1, s.EntityID), New: s})
	}
	h.model.Apply(1, changes)
}

func (h *home) remove(id string) {
	h.model.Apply(1, []concord.Change{{EntityID: id, Old: h.model.State(1, id)}})
}

// reader reads a feed.
type reader struct {
	feed *hub.Feed
	wake chan struct{}
}

func read(open func(wake func()) *hub.Feed) *reader {
	r := &reader{wake: make(chan struct{}, 1)}
	r.feed = open(func() {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	})
	return r
}

// next waits for the next event.
func (r *reader) next(t testing.TB) json.RawMessage {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		event, more, err := r.feed.Next(nil)
		require.NoError(t, err)
		if more {
			return event
		}
		select {
		case <-r.wake:
		case <-deadline:
			t.Fatal("no event came")
		}
	}
}

func TestStripPrefix(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, prefix, want string }{
		{"Kitchen Ceiling", "Kitchen", "Ceiling"},
		{"kitchen ceiling light", "Kitchen", "Ceiling light"},
		{"Kitchen: ceiling", "Kitchen", "Ceiling"},
		{"Kitchen - ceiling", "Kitchen", "Ceiling"},
		{"Kitchen iPhone charger", "Kitchen", "iPhone charger"},
		{"Kitchen", "Kitchen", "Kitchen"},
		{"Kitchen ", "Kitchen", "Kitchen "},
		{"Kitchenette lamp", "Kitchen", "Kitchenette lamp"},
		{"Lamp", "", "Lamp"},
		{"Küche ölofen", "Küche", "Ölofen"},
		{"廚房 燈", "廚房", "燈"},
		{"ı", "I", "ı"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, hub.StripPrefix(c.name, c.prefix))
		})
	}
}

// A feed that is not read holds little, and then makes up for what it dropped.
func TestSlowFeedGetsTheStatesInFull(t *testing.T) {
	t.Parallel()
	h := setup(t, nil, state("light.a", "off", `{}`), state("light.b", "off", `{}`))
	slow := read(func(wake func()) *hub.Feed { return h.hub.Entities([]string{"light.a", "light.b"}, wake) })
	quick := read(func(wake func()) *hub.Feed { return h.hub.Entities([]string{"light.a", "light.b"}, wake) })
	var table hass.Table
	apply := func(event json.RawMessage) {
		var e hass.EntitiesEvent
		require.NoError(t, e.Decode(event))
		require.NoError(t, table.Apply(&e, nil))
	}
	apply(slow.next(t))
	quick.next(t)
	for i := range 1000 {
		h.set(state("light.a", fmt.Sprint(i), `{}`))
	}
	h.remove("light.b")
	var last json.RawMessage
	for !strings.Contains(string(last), `"r":["light.b"]`) {
		last = quick.next(t)
	}
	require.Equal(t, 1, slow.feed.Resyncs())
	event := slow.next(t)
	apply(event)
	require.JSONEq(t, `{"a":{"light.a":{"s":"999","a":{},"c":"","lc":1795348800.0}},"r":["light.b"]}`, string(event))
	require.Equal(t, "999", table.Get("light.a").State)
	require.Nil(t, table.Get("light.b"))
	h.set(state("light.a", "on", `{}`))
	require.JSONEq(t, `{"c":{"light.a":{"+":{"s":"on"}}}}`, string(slow.next(t)))
}

func TestSlowEventsFeedIsTold(t *testing.T) {
	t.Parallel()
	h := setup(t, nil, state("light.a", "off", `{}`))
	events := read(h.hub.Events)
	quick := read(func(wake func()) *hub.Feed { return h.hub.Entities([]string{"light.a"}, wake) })
	quick.next(t)
	changes := make([]concord.Change, 20_001)
	for i := range changes {
		changes[i] = concord.Change{EntityID: "light.a", Old: state("light.a", "x", `{}`), New: state("light.a", fmt.Sprint(i), `{}`)}
	}
	h.model.Apply(1, changes)
	quick.next(t)
	_, _, err := events.feed.Next(nil)
	require.ErrorIs(t, err, hub.ErrBehind)
}

func TestClosedFeedIsForgotten(t *testing.T) {
	t.Parallel()
	h := setup(t, nil, state("light.a", "off", `{}`))
	closed := read(func(wake func()) *hub.Feed { return h.hub.Entities([]string{"light.a"}, wake) })
	closed.next(t)
	closed.feed.Close()
	closed.feed.Close()
	other := read(func(wake func()) *hub.Feed { return h.hub.Entities(nil, wake) })
	other.next(t)
	h.set(state("light.a", "on", `{}`))
	other.next(t)
	_, more, err := closed.feed.Next(nil)
	require.NoError(t, err)
	require.False(t, more)
}

// Summaries kept change by change equal those counted anew.
func TestSummariesAddUp(t *testing.T) {
	t.Parallel()
	r := randomRegistry()
	h := setup(t, r)
	overview := read(func(wake func()) *hub.Feed { return h.hub.Overview(noExtra, wake) })
	now := summaries(t, overview.next(t), nil)
	random := rand.New(rand.NewPCG(1, 2))
	marker := 0
	for round := range 20 {
		for range 200 {
			h.set(randomState(random, r))
		}
		h.remove(r.Entities[random.IntN(len(r.Entities))].EntityID)
		marker = round
		h.set(state("sensor.a_marker", fmt.Sprint(marker), `{"device_class":"temperature"}`))
		for now["unassigned"].Temp == nil || *now["unassigned"].Temp != fmt.Sprintf("%d.0", marker) {
			now = summaries(t, overview.next(t), now)
		}
		fresh := read(func(wake func()) *hub.Feed { return newHub(t, h.model).Overview(noExtra, wake) })
		require.Equal(t, summaries(t, fresh.next(t), nil), now, "round %d", round)
	}
}

func noExtra() json.RawMessage { return json.RawMessage(`{}`) }

type summary struct {
	N       int
	Lights  [2]int
	Open    int
	Unavail int
	Temp    *string
	Hum     *string
	Active  []string
	Alert   []string
	Motion  *bool
}

// summaries returns the summaries by area after an event.
func summaries(t testing.TB, event json.RawMessage, before map[string]summary) map[string]summary {
	t.Helper()
	var e struct {
		Kind       string
		Areas      json.RawMessage
		Unassigned struct{ S summary }
	}
	require.NoError(t, json.Unmarshal(event, &e), string(event))
	if e.Kind == "summaries" {
		require.NoError(t, json.Unmarshal(e.Areas, &before))
		return before
	}
	var areas []struct {
		ID string `json:"area_id"`
		S  summary
	}
	require.NoError(t, json.Unmarshal(e.Areas, &areas))
	all := map[string]summary{"unassigned": e.Unassigned.S}
	for _, a := range areas {
		all[a.ID] = a.S
	}
	return all
}

func randomRegistry() *concord.Registry {
	areas := []concord.Area{{ID: "a", Name: "A", TemperatureEntityID: "sensor.t1"}, {ID: "b", Name: "B"}}
	entities := []concord.Entity{{EntityID: "sensor.a_marker", DeviceClass: "temperature"}}
	for i, kind := range []struct{ domain, dc string }{
		{"light", ""}, {"light", ""}, {"cover", "garage"}, {"binary_sensor", "door"}, {"binary_sensor", "motion"},
		{"binary_sensor", "smoke"}, {"sensor", "temperature"}, {"sensor", "humidity"}, {"media_player", ""}, {"fan", ""},
	} {
		for j, area := range []string{"a", "b", "", "a"} {
			e := concord.Entity{EntityID: fmt.Sprintf("%s.e%d_%d", kind.domain, i, j), AreaID: area, DeviceClass: kind.dc}
			if j == 3 {
				e.HiddenBy = "user"
			}
			entities = append(entities, e)
		}
	}
	return concord.NewRegistry(nil, areas, nil, entities, nil, false)
}

func randomState(random *rand.Rand, r *concord.Registry) *concord.State {
	values := []string{"on", "off", "unavailable", "unknown", "open", "playing", "21.5", "30"}
	e := r.Entities[random.IntN(len(r.Entities)-1)]
	if e.EntityID == "sensor.a_marker" {
		return state("light.e0_0", "on", `{}`)
	}
	return state(e.EntityID, values[random.IntN(len(values))], `{}`)
}

// An event can tell only one thing of an entity, so two changes are two events.
func TestTwoChangesOfOneEntityInAFrame(t *testing.T) {
	t.Parallel()
	h := setup(t, nil, state("light.a", "off", `{}`), state("light.b", "off", `{}`))
	feed := read(func(wake func()) *hub.Feed { return h.hub.Entities(nil, wake) })
	feed.next(t)
	off, on, dim := state("light.a", "off", `{}`), state("light.a", "on", `{}`), state("light.a", "on", `{"brightness":3}`)
	h.model.Apply(1, []concord.Change{
		{EntityID: "light.a", Old: off, New: on}, {EntityID: "light.b", Old: state("light.b", "off", `{}`)},
		{EntityID: "light.a", Old: on, New: dim}, {EntityID: "light.c", New: state("light.c", "on", `{}`)},
	})
	require.JSONEq(t, `{"c":{"light.a":{"+":{"s":"on"}}},"r":["light.b"]}`, string(feed.next(t)))
	require.JSONEq(t, `{"c":{"light.a":{"+":{"a":{"brightness":3}}}},"a":{"light.c":{"s":"on","a":{},"c":"","lc":1795348800.0}}}`, string(feed.next(t)))
}

// An entity that is renamed, or appears without a registry entry, finds its
// place on the screens.
func TestLayoutFollowsTheStates(t *testing.T) {
	t.Parallel()
	h := setup(t, nil, state("light.a", "off", `{"friendly_name":"A"}`))
	area := read(func(wake func()) *hub.Feed { return h.hub.Area(hub.Unassigned, "", wake) })
	require.Contains(t, string(area.next(t)), `"name":"A"`)
	h.set(state("light.a", "off", `{"friendly_name":"B"}`))
	require.Contains(t, string(area.next(t)), `"name":"B"`)
	h.set(state("light.new", "off", `{}`))
	require.Contains(t, string(area.next(t)), `light.new`)
	h.remove("light.a")
	require.NotContains(t, string(area.next(t)), `light.a`)
}

// BenchmarkLayout is what a change of the registry costs in a home of 10,000
// entities, until a screen has the overview.
func BenchmarkLayout(b *testing.B) {
	areas, entities := make([]concord.Area, 100), make([]concord.Entity, 10_000)
	states := make([]*concord.State, len(entities))
	for i := range areas {
		areas[i] = concord.Area{ID: fmt.Sprintf("area_%d", i), Name: fmt.Sprintf("Area %d", i)}
	}
	for i := range entities {
		entities[i] = concord.Entity{EntityID: fmt.Sprintf("sensor.e%05d", i), AreaID: areas[i%100].ID}
		states[i] = state(entities[i].EntityID, "12.5", `{"friendly_name":"Area Sensor","unit_of_measurement":"W","device_class":"power"}`)
	}
	r := concord.NewRegistry(nil, areas, nil, entities, nil, false)
	h := setup(b, r, states...)
	overview := read(func(wake func()) *hub.Feed { return h.hub.Overview(noExtra, wake) })
	overview.next(b)
	for b.Loop() {
		h.model.SetRegistry(1, r)
		overview.next(b)
	}
}

func TestTextAttribute(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, attributes, want string }{
		{"first", `{"k":"v","b":1}`, "v"},
		{"last", `{"b":{"k":"inner"},"c":["k","x"],"k":"v"}`, "v"},
		{"spaces", "{ \"b\" : 1 ,\n \"k\" : \"v w\" }", "v w"},
		{"escapes", `{"a\"":"}","k":"\"\\\u00e9,"}`, `"\é,`},
		{"a value like the key", `{"b":"k","c":"k"}`, ""},
		{"only inside", `{"b":{"k":"v"}}`, ""},
		{"a number", `{"k":5}`, ""},
		{"null", `{"k":null}`, ""},
		{"an object", `{"k":{"k":"v"},"z":"y"}`, ""},
		{"empty", ``, ""}, {"cut", `{"k":"v`, ""}, {"garbage", `"k":]}{"`, ""}, {"backslash at the end", `{"k":"\`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, hub.TextAttribute(json.RawMessage(c.attributes), "k"))
		})
	}
}

func FuzzTextAttribute(f *testing.F) {
	f.Add(`{"k":"v","b":{"k":1}}`)
	f.Fuzz(func(t *testing.T, attributes string) {
		got := hub.TextAttribute(json.RawMessage(attributes), "k")
		var all map[string]json.RawMessage
		if !json.Valid([]byte(attributes)) || json.Unmarshal([]byte(attributes), &all) != nil || strings.Count(attributes, `"k"`) != 1 {
			return // several members of one name, or none: only that it does not panic
		}
		var want string
		if raw, ok := all["k"]; ok && json.Unmarshal(raw, &want) == nil {
			require.Equal(t, want, got)
		}
	})
}

// The temperature of a room is not that of the fridge in it.
func TestRoomTemperature(t *testing.T) {
	t.Parallel()
	devices := []concord.Device{{ID: "fridge", AreaID: "a", Name: "Fridge"}, {ID: "meter", AreaID: "a", Name: "Meter"}, {ID: "boiler", AreaID: "b", Name: "Boiler"}}
	entities := []concord.Entity{
		{EntityID: "binary_sensor.fridge_door", DeviceID: "fridge", DeviceClass: "door"},
		{EntityID: "sensor.a_fridge", DeviceID: "fridge", DeviceClass: "temperature"},
		{EntityID: "sensor.meter", DeviceID: "meter", DeviceClass: "temperature"},
		{EntityID: "sensor.meter_humidity", DeviceID: "meter", DeviceClass: "humidity"},
		{EntityID: "sensor.flow", DeviceID: "boiler", DeviceClass: "temperature"},
		{EntityID: "sensor.return", DeviceID: "boiler", DeviceClass: "temperature"},
		{EntityID: "cover.blind", AreaID: "b", DeviceClass: "blind"},
	}
	r := concord.NewRegistry(nil, []concord.Area{{ID: "a", Name: "A"}, {ID: "b", Name: "B"}}, devices, entities, nil, false)
	h := setup(t, r, state("sensor.a_fridge", "4", `{}`), state("sensor.meter", "21", `{"unit_of_measurement":"°C"}`),
		state("sensor.meter_humidity", "40.4", `{"unit_of_measurement":"%"}`), state("sensor.flow", "45", `{}`),
		state("cover.blind", "open", `{}`), state("binary_sensor.fridge_door", "on", `{}`))
	overview := read(func(wake func()) *hub.Feed { return h.hub.Overview(noExtra, wake) })
	now := summaries(t, overview.next(t), nil)
	require.Equal(t, "21.0 °C", *now["a"].Temp)
	require.Equal(t, "40 %", *now["a"].Hum)
	require.Equal(t, 1, now["a"].Open)
	require.Nil(t, now["b"].Temp)
	require.Zero(t, now["b"].Open, "an open blind is no open door")
	require.Equal(t, []string{"cover.blind"}, now["b"].Active)
}
