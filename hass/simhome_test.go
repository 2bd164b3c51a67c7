package hass_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/hass"
	"github.com/concord-home/concord/hass/simhome"
)

// watcher folds what a client of the home is sent.
type watcher struct {
	*wire
	mu      sync.Mutex
	table   hass.Table
	changes []*hass.State // nil for one that is gone
	told    chan bool
}

func watch(t *testing.T, o simhome.Options) *watcher {
	t.Helper()
	w := &watcher{wire: link(t, o, nil), told: make(chan bool, 1)}
	var event hass.EntitiesEvent
	w.client.Subscribe("subscribe_entities", func(e hass.Event) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if err := event.Decode(e.Raw); err != nil {
			panic(err)
		}
		fold := w.table.Apply
		if e.First {
			fold = w.table.Snapshot
		}
		_ = fold(&event, func(_, s *hass.State) {
			if !e.First {
				w.changes = append(w.changes, s)
			}
		})
		select {
		case w.told <- true:
		default:
		}
	})
	w.run(t)
	<-w.up
	w.until(func() bool { return w.table.Len() > 0 })
	return w
}

// until waits until what the watcher has seen satisfies f.
func (w *watcher) until(f func() bool) {
	for {
		w.mu.Lock()
		ok := f()
		w.mu.Unlock()
		if ok {
			return
		}
		<-w.told
	}
}

func (w *watcher) equalsHome() bool {
	states := w.home.States()
	for _, s := range states {
		got := w.table.Get(s.EntityID)
		if got == nil || got.State != s.State || !got.LastUpdated.Equal(s.LastUpdated) || string(got.Attributes) != string(s.Attributes) {
			return false
		}
	}
	return len(states) == w.table.Len()
}

func TestLiveHomeMoves(t *testing.T) {
	t.Parallel()
	w := watch(t, simhome.Options{Rate: 2000})
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	running.Go(func() { _ = w.home.Run(ctx) })
	defer running.Wait()
	defer cancel()
	w.until(func() bool { return len(w.changes) > 500 })
	w.home.SetRate(0)
	w.until(w.equalsHome)

	_, err := w.home.CallService(t.Context(), "cover", "set_cover_position", json.RawMessage(`{"entity_id":"cover.living_room_blind","position":55}`), nil)
	require.NoError(t, err)
	w.until(func() bool { return w.table.Get("cover.living_room_blind").State == "closing" })
	w.until(func() bool { return w.table.Get("cover.living_room_blind").State == "open" })
	require.Contains(t, string(w.table.Get("cover.living_room_blind").Attributes), `"current_position":55`)
}

func TestSentIsWhatClientsSee(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var sent []*hass.State
	w := watch(t, simhome.Options{Sent: func(c simhome.Change) {
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, c.New)
	}})
	w.home.Emit(5000)
	w.until(func() bool { return len(w.changes) == 5000 })
	mu.Lock()
	defer mu.Unlock()
	require.Len(t, sent, 5000)
	for i := range sent {
		require.Equal(t, sent[i], w.changes[i])
		if i > 0 {
			require.True(t, sent[i].LastUpdated.After(sent[i-1].LastUpdated), "no microsecond twice")
		}
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	t.Run("Duplicate", func(t *testing.T) {
		t.Parallel()
		w := watch(t, simhome.Options{})
		w.home.Duplicate(3)
		w.home.Emit(5)
		w.until(func() bool { return len(w.changes) == 8 })
		require.Equal(t, w.changes[0], w.changes[1])
	})
	t.Run("Reorder", func(t *testing.T) {
		t.Parallel()
		w := watch(t, simhome.Options{})
		w.home.Reorder(3)
		w.home.Emit(4)
		w.until(func() bool { return len(w.changes) == 4 })
		require.True(t, w.changes[0].LastUpdated.After(w.changes[1].LastUpdated))
		require.True(t, w.changes[3].LastUpdated.After(w.changes[0].LastUpdated))
	})
	t.Run("ClockBack", func(t *testing.T) {
		t.Parallel()
		w := watch(t, simhome.Options{})
		w.home.Set("sensor.x", "1", nil)
		w.home.StepClock(-time.Hour)
		w.home.Set("sensor.x", "2", json.RawMessage(`{"a":1}`))
		w.until(func() bool { return len(w.changes) == 2 })
		require.True(t, w.changes[1].LastUpdated.Before(w.changes[0].LastUpdated))
	})
	t.Run("RenameAndRemove", func(t *testing.T) {
		t.Parallel()
		w := watch(t, simhome.Options{})
		registry := make(chan string, 10)
		w.client.Subscribe(hass.Command{"type": "subscribe_events", "event_type": hass.EventEntityRegistryUpdated}, func(e hass.Event) { registry <- string(e.Raw) })
		_, err := hass.Ping(t.Context(), w.client)
		require.NoError(t, err)
		require.True(t, w.home.Rename("light.floor_lamp", "light.reading_lamp"))
		require.False(t, w.home.Rename("light.floor_lamp", "light.x"))
		require.Contains(t, <-registry, `"old_entity_id":"light.floor_lamp"`)
		require.True(t, w.home.Remove("switch.desk_plug"))
		require.Contains(t, <-registry, `"action":"remove"`)
		w.until(w.equalsHome)
		require.True(t, w.home.Restore("switch.desk_plug", true))
		require.False(t, w.home.Restore("switch.desk_plug", true))
		require.Contains(t, <-registry, `"action":"create"`)
		w.until(w.equalsHome)
		require.NotNil(t, w.table.Get("switch.desk_plug"))
		require.Nil(t, w.table.Get("light.floor_lamp"))
	})
	t.Run("Restart", func(t *testing.T) {
		t.Parallel()
		w := watch(t, simhome.Options{})
		before := w.home.State("light.floor_lamp")
		w.home.Restart(50 * time.Millisecond)
		<-w.down
		require.Equal(t, int64(2), <-w.up)
		w.until(w.equalsHome)
		require.True(t, w.home.State("light.floor_lamp").LastUpdated.After(before.LastUpdated))
	})
}

func TestHistoryOfTheHome(t *testing.T) {
	t.Parallel()
	w := watch(t, simhome.Options{})
	const id = "sensor.living_room_climate_temperature"
	start := time.Now().Add(-3 * time.Hour)
	first, _, err := hass.HistoryDuringPeriod(t.Context(), w.client, start, time.Time{}, []string{id, "sensor.not_there"})
	require.NoError(t, err)
	require.Len(t, first, 1)
	require.Greater(t, len(first[id]), 30, "the past is there from the start")
	w.home.Set(id, "30.5", nil)
	w.home.Set(id, "30.5", json.RawMessage(`{"only":"attributes"}`))
	again, _, err := hass.HistoryDuringPeriod(t.Context(), w.client, start, time.Time{}, []string{id})
	require.NoError(t, err)
	require.Equal(t, first[id], again[id][:len(first[id])], "the past does not change")
	last := again[id][len(again[id])-1]
	require.Equal(t, w.home.State(id).LastUpdated, last.LastUpdated)
	require.Equal(t, w.home.State(id).LastChanged, last.LastChanged)
	for i := 1; i < len(again[id]); i++ {
		require.True(t, again[id][i].LastUpdated.After(again[id][i-1].LastUpdated))
	}
}

func TestTypedCommandsAgainstTheHome(t *testing.T) {
	t.Parallel()
	w := watch(t, simhome.Options{})
	ctx := t.Context()
	areas, _, err := hass.Areas(ctx, w.client)
	require.NoError(t, err)
	require.Len(t, areas, 9)
	require.Equal(t, "sensor.living_room_climate_temperature", areas[0].TemperatureEntityID)
	entities, _, err := hass.Entities(ctx, w.client)
	require.NoError(t, err)
	kinds := map[string]int{}
	for _, e := range entities {
		for kind, is := range map[string]bool{
			"hidden": e.HiddenBy != "", "disabled": e.DisabledBy != "", "diagnostic": e.EntityCategory == "diagnostic",
			"config": e.EntityCategory == "config", "own area": e.AreaID != "", "precision": e.Precision() != nil, "labels": len(e.Labels) > 0,
		} {
			if is {
				kinds[kind]++
			}
		}
	}
	require.Len(t, kinds, 7, "%v", kinds)
	display, _, err := hass.EntitiesForDisplay(ctx, w.client)
	require.NoError(t, err)
	require.Less(t, len(display.Entities), len(entities))
	related, _, err := hass.SearchRelated(ctx, w.client, "entity", "light.floor_lamp")
	require.NoError(t, err)
	require.Equal(t, []string{"living_room"}, related["area"])
	require.Contains(t, related["scene"], "scene.movie_night")
	texts, _, err := hass.Translations(ctx, w.client, "en", "entity_component")
	require.NoError(t, err)
	require.Equal(t, "Open", texts["component.binary_sensor.entity_component.door.state.on"])
	text, err := w.client.RenderTemplate(ctx, "It is {{ states('weather.home') }}")
	require.NoError(t, err)
	require.Equal(t, `"It is partlycloudy"`, string(text))
	_, err = w.client.RenderTemplate(ctx, "{{ 1 / 0 }}")
	var refused *hass.CommandError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, hass.CodeTemplate, refused.Code)
}

func TestREST(t *testing.T) {
	t.Parallel()
	w := link(t, simhome.Options{}, nil)
	get := func(method, path, token, body string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, w.url+path, strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(b)
	}
	status, _ := get("GET", "/api/states", "wrong", "")
	require.Equal(t, 401, status)
	_, body := get("GET", "/api/states/light.floor_lamp", "simhome", "")
	require.Contains(t, body, `"state":"on"`)
	status, _ = get("GET", "/api/states/light.none", "simhome", "")
	require.Equal(t, 404, status)
	status, _ = get("POST", "/api/services/light/turn_off", "simhome", `{"entity_id":"light.floor_lamp"}`)
	require.Equal(t, 200, status)
	require.Equal(t, "off", w.home.State("light.floor_lamp").State)
	_, body = get("GET", "/api/camera_proxy/camera.driveway_camera", "simhome", "")
	require.True(t, strings.HasPrefix(body, "\x89PNG"))
}
