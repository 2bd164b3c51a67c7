package hass_test

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/hass"
)

// A real Home Assistant is used when HA_URL and HA_TOKEN name one, made by
// test/homeassistant/homeassistant-up with HA_RECORDER=sqlite, or when
// CONCORD_TEST_REAL_HOME=1 lets the test start both versions itself.
func realHomes(t *testing.T, f func(t *testing.T, url, token string)) {
	url, token := os.Getenv("HA_URL"), os.Getenv("HA_TOKEN")
	switch {
	case url != "" && token != "":
		f(t, url, token)
	case os.Getenv("CONCORD_TEST_REAL_HOME") == "1":
		for _, version := range versions {
			t.Run(version, func(t *testing.T) {
				url, token := startHome(t, version)
				f(t, url, token)
			})
		}
	default:
		t.Skip("needs a real Home Assistant: set CONCORD_TEST_REAL_HOME=1, or HA_URL and HA_TOKEN")
	}
}

// startHome starts a Home Assistant of its own, sharing the installed packages
// with earlier runs, and stops it after the test.
func startHome(t *testing.T, version string) (url, token string) {
	t.Helper()
	scripts, err := filepath.Abs(filepath.Join("..", "test", "homeassistant"))
	require.NoError(t, err)
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	dir := t.TempDir()
	environment := append(os.Environ(), "HA_VERSION="+version, "HA_DIR="+dir, "HA_RECORDER=sqlite",
		"HA_VENV="+filepath.Join(cache, "homeassistant-test-"+version, "venv"), "HA_COMMIT_INTERVAL=1",
		"HA_PORT="+strconv.Itoa(freePort(t)))
	require.NoError(t, os.MkdirAll(filepath.Join(cache, "homeassistant-test-"+version), 0o755))
	up := exec.Command(filepath.Join(scripts, "homeassistant-up"))
	up.Env = environment
	var messages strings.Builder
	up.Stderr = &messages
	t.Cleanup(func() {
		down := exec.Command(filepath.Join(scripts, "homeassistant-down"))
		down.Env = environment
		_ = down.Run() // it may not have come up
	})
	out, err := up.Output()
	require.NoError(t, err, "Home Assistant %s cannot be started: %s", version, messages.String())
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch name {
		case "HA_URL":
			url = value
		case "HA_TOKEN":
			token = value
		}
	}
	return url, token
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestRealHome(t *testing.T) {
	realHomes(t, func(t *testing.T, url, token string) {
		t.Run("Registries", func(t *testing.T) { realRegistries(t, url, token) })
		t.Run("Events", func(t *testing.T) { realEvents(t, url, token) })
		t.Run("Renames", func(t *testing.T) { realRenames(t, url, token) })
		t.Run("History", func(t *testing.T) { realHistory(t, url, token) })
		t.Run("WrongToken", func(t *testing.T) { realWrongToken(t, url) })
	})
}

// connected returns a client that is connected to a home.
func connected(t *testing.T, o hass.Options) *hass.Client {
	t.Helper()
	c, status, _ := runClient(t, o)
	for s := range status {
		require.Empty(t, s.LastError)
		if s.State == hass.StateConnected {
			break
		}
	}
	return c
}

func realRegistries(t *testing.T, url, token string) {
	c := connected(t, hass.Options{URL: url, Token: token})
	ctx := t.Context()
	config, _, err := hass.GetConfig(ctx, c)
	require.NoError(t, err)
	require.Equal(t, c.Status().HAVersion, config.Version)
	areas, _, err := hass.Areas(ctx, c)
	require.NoError(t, err)
	require.Len(t, areas, 8)
	floors, _, err := hass.Floors(ctx, c)
	require.NoError(t, err)
	require.Len(t, floors, 4)
	labels, _, err := hass.Labels(ctx, c)
	require.NoError(t, err)
	require.Len(t, labels, 3)
	devices, _, err := hass.Devices(ctx, c)
	require.NoError(t, err)
	require.NotEmpty(t, devices)
	entities, _, err := hass.Entities(ctx, c)
	require.NoError(t, err)
	require.NotEmpty(t, entities)
	display, _, err := hass.EntitiesForDisplay(ctx, c)
	require.NoError(t, err)
	require.NotEmpty(t, display.Entities)
	states, invalid, _, err := hass.GetStates(ctx, c)
	require.NoError(t, err)
	require.Empty(t, invalid)
	require.NotEmpty(t, states)
	services, _, err := hass.GetServices(ctx, c)
	require.NoError(t, err)
	require.Contains(t, string(services), "turn_on")
	icons, _, err := hass.Icons(ctx, c, "entity_component")
	require.NoError(t, err)
	require.Contains(t, string(icons), "mdi:")
	texts, _, err := hass.Translations(ctx, c, "en", "entity_component")
	require.NoError(t, err)
	require.Equal(t, "Open", texts["component.binary_sensor.entity_component.door.state.on"])
	related, _, err := hass.SearchRelated(ctx, c, "area", "kitchen")
	require.NoError(t, err)
	require.NotEmpty(t, related["device"])
	var refused *hass.CommandError
	if _, _, err := hass.NetworkURL(ctx, c); err != nil { // 2024.3 does not know it
		require.ErrorAs(t, err, &refused)
		require.Equal(t, hass.CodeUnknownCommand, refused.Code)
	}
	_, err = hass.Ping(ctx, c)
	require.NoError(t, err)
	_, _, err = hass.SupervisorAPI(ctx, c, "get", "/info", nil)
	require.ErrorAs(t, err, &refused, "no Supervisor in a test")
	text, err := c.RenderTemplate(ctx, "{{ 6 * 7 }}")
	require.NoError(t, err)
	require.Equal(t, "42", string(text))
	_, err = c.RenderTemplate(ctx, "{{ 1 / 0 }}")
	require.ErrorAs(t, err, &refused)
	require.Equal(t, hass.CodeTemplate, refused.Code)
}

// realEvents has 3,000 changes emitted and compares the table with what the
// home then says itself.
func realEvents(t *testing.T, url, token string) {
	c := connected(t, hass.Options{URL: url, Token: token})
	var table hass.Table
	var event hass.EntitiesEvent
	changes := 0
	ready, enough := make(chan bool), make(chan bool)
	const last = "2999" // the values count from 0
	c.Subscribe("subscribe_entities", func(e hass.Event) {
		require.NoError(t, event.Decode(e.Raw))
		require.Empty(t, event.Invalid)
		require.NoError(t, table.Apply(&event, nil))
		if e.First {
			close(ready)
		}
		for _, d := range event.Changed {
			if strings.HasPrefix(d.EntityID, "sensor.load_") {
				changes++
				if d.State == last {
					close(enough)
				}
			}
		}
	})
	<-ready
	answer, _, err := hass.CallService(t.Context(), c, "load_generator", "run", map[string]any{"rate": 3000, "duration": 1}, nil, true)
	require.NoError(t, err)
	require.Contains(t, string(answer.Response), `"sent":3000`)
	<-enough
	require.GreaterOrEqual(t, changes, 2999) // a fresh sensor is 0 already, so its first value is no change

	_, _, err = hass.CallService(t.Context(), c, "light", "turn_on", map[string]any{"brightness": 99},
		json.RawMessage(`{"entity_id":"light.bed_light"}`), false)
	require.NoError(t, err)
	states, _, at, err := hass.GetStates(t.Context(), c)
	require.NoError(t, err)
	matches := make(chan bool)
	sub := c.Subscribe(hass.Command{"type": "subscribe_events", "event_type": "concord_marker"}, func(e hass.Event) {
		// Everything before the snapshot has been folded when this arrives.
		require.Greater(t, e.Position.Seq, at.Seq)
		close(matches)
	})
	defer sub.Close()
	_, err = c.Call(t.Context(), hass.Command{"type": "fire_event", "event_type": "concord_marker"}, nil)
	require.NoError(t, err)
	<-matches
	for i := range states {
		got := table.Get(states[i].EntityID)
		if got != nil && got.LastUpdated.After(states[i].LastUpdated) {
			continue // it changed after the snapshot
		}
		requireSameState(t, &states[i], got)
	}
}

// realRenames gives an entity another name and has what the home says of that:
// the former name is removed, the new one added, and the registry tells both
// names, of which the place is that from which on it lists the new one.
func realRenames(t *testing.T, url, token string) {
	c := connected(t, hass.Options{URL: url, Token: token})
	const from, to = "light.bed_light", "light.renamed"
	places := make(chan [2]any, 8)
	ready := make(chan bool)
	var event hass.EntitiesEvent
	c.Subscribe("subscribe_entities", func(e hass.Event) {
		require.NoError(t, event.Decode(e.Raw))
		for _, s := range event.Added {
			if s.EntityID == to {
				places <- [2]any{"added", e.Position.Seq}
			}
		}
		for _, id := range event.Removed {
			if id == from {
				places <- [2]any{"removed", e.Position.Seq}
			}
		}
	})
	var said struct {
		Data struct {
			Action      string `json:"action"`
			EntityID    string `json:"entity_id"`
			OldEntityID string `json:"old_entity_id"`
		} `json:"data"`
	}
	c.Subscribe(hass.Command{"type": "subscribe_events", "event_type": hass.EventEntityRegistryUpdated}, func(e hass.Event) {
		require.NoError(t, json.Unmarshal(e.Raw, &said))
		places <- [2]any{"said", e.Position.Seq}
	})
	c.Subscribe(hass.Command{"type": "subscribe_events", "event_type": "concord_ready"}, func(hass.Event) { close(ready) })
	_, err := c.Call(t.Context(), hass.Command{"type": "fire_event", "event_type": "concord_ready"}, nil)
	require.NoError(t, err)
	<-ready
	before, beforeAt, err := hass.Entities(t.Context(), c)
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(before, func(e hass.EntityEntry) bool { return e.EntityID == from }))
	_, err = c.Call(t.Context(), hass.Command{"type": "config/entity_registry/update", "entity_id": from, "new_entity_id": to}, nil)
	require.NoError(t, err)
	after, afterAt, err := hass.Entities(t.Context(), c)
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(after, func(e hass.EntityEntry) bool { return e.EntityID == to }))
	seen := make(map[any]any)
	for range 3 {
		p := <-places
		t.Logf("%v at %v", p[0], p[1])
		seen[p[0]] = p[1]
	}
	require.Len(t, seen, 3)
	require.Greater(t, seen["said"], beforeAt.Seq)
	require.Less(t, seen["said"], afterAt.Seq)
	require.Equal(t, []string{"update", from, to}, []string{said.Data.Action, said.Data.OldEntityID, said.Data.EntityID})
}

func realHistory(t *testing.T, url, token string) {
	c := connected(t, hass.Options{URL: url, Token: token})
	const entity = "input_number.power_limit"
	var seen []hass.State
	done := make(chan bool)
	start := time.Now().Add(-time.Millisecond)
	c.Subscribe(hass.Command{"type": "subscribe_events", "event_type": "state_changed"}, func(e hass.Event) {
		var change stateChanged
		require.NoError(t, json.Unmarshal(e.Raw, &change))
		if change.Data.EntityID != entity {
			return
		}
		seen = append(seen, *change.Data.New)
		if len(seen) == 5 {
			close(done)
		}
	})
	base := float64(time.Now().UnixNano() % 1e6)
	for i := range 5 {
		_, _, err := hass.CallService(t.Context(), c, "input_number", "set_value",
			map[string]any{"value": base + float64(i)}, map[string]any{"entity_id": entity}, false)
		require.NoError(t, err)
	}
	<-done
	// The recorder commits every few seconds, so ask until it has.
	var states []hass.State
	for again := time.NewTicker(200 * time.Millisecond); len(states) < 5; <-again.C {
		all, _, err := hass.HistoryDuringPeriod(t.Context(), c, start, time.Time{}, []string{entity})
		require.NoError(t, err)
		states = all[entity]
	}
	require.Len(t, states, 5)
	for i, s := range states {
		require.Equal(t, seen[i].State, s.State)
		require.Equal(t, seen[i].LastUpdated, s.LastUpdated)
		require.Equal(t, seen[i].LastChanged, s.LastChanged)
		// Attributes that an integration marks as not to be recorded are missing
		// in history; "min" and "max" of an input_number are such.
		require.Contains(t, string(s.Attributes), `"friendly_name"`)
		require.NotContains(t, string(s.Attributes), `"max"`)
	}
}

func realWrongToken(t *testing.T, url string) {
	_, _, ended := runClient(t, hass.Options{URL: url, Token: "not.a.token"})
	require.ErrorIs(t, <-ended, hass.ErrAuthInvalid)
}
