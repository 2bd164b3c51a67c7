package hass_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/hass"
)

var versions = []string{"2024.3.3", "2025.4.4"}

// captured is one line of a recording of a real Home Assistant.
type captured struct {
	Dir string          `json:"dir"` // "send" by the client, "recv" by it, or "note"
	Raw json.RawMessage `json:"raw"`
}

// wireMessage is any message of the protocol.
type wireMessage struct {
	ID      json.RawMessage    `json:"id"`
	Type    string             `json:"type"`
	Success bool               `json:"success"`
	Result  json.RawMessage    `json:"result"`
	Event   json.RawMessage    `json:"event"`
	Error   *hass.CommandError `json:"error"`
}

func recording(t testing.TB, version, name string) (lines []captured) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "captured", version, name+".jsonl"))
	require.NoError(t, err)
	defer f.Close()
	scanner := bufio.NewScanner(f)
	scanner.Buffer(nil, 16<<20)
	for scanner.Scan() {
		var c captured
		require.NoError(t, json.Unmarshal(scanner.Bytes(), &c))
		lines = append(lines, c)
	}
	require.NoError(t, scanner.Err())
	return lines
}

// received returns what the home sent, frames with several messages taken apart.
func received(t testing.TB, version, name string) (all []wireMessage) {
	t.Helper()
	for _, line := range recording(t, version, name) {
		if line.Dir != "recv" {
			continue
		}
		var many []wireMessage
		if bytes.HasPrefix(line.Raw, []byte("[")) {
			require.NoError(t, json.Unmarshal(line.Raw, &many))
		} else {
			var one wireMessage
			require.NoError(t, json.Unmarshal(line.Raw, &one))
			many = append(many, one)
		}
		all = append(all, many...)
	}
	return all
}

func result(t testing.TB, version, name string, into any) {
	t.Helper()
	for _, m := range received(t, version, name) {
		if m.Type == "result" && m.Success {
			require.NoError(t, json.Unmarshal(m.Result, into))
			return
		}
	}
	require.Fail(t, "no result in "+name)
}

// stateChanged is the data of a state_changed event.
type stateChanged struct {
	EventType string `json:"event_type"`
	Data      struct {
		EntityID string      `json:"entity_id"`
		New      *hass.State `json:"new_state"`
	} `json:"data"`
}

// The recording has both forms of every change. Folding the compressed ones
// must give the full ones.
func TestTableAgreesWithStateChanged(t *testing.T) {
	t.Parallel()
	for _, version := range versions {
		for _, name := range []string{"coalesced", "entity_renamed"} {
			t.Run(version+"/"+name, func(t *testing.T) {
				t.Parallel()
				var table hass.Table
				var folded, full []*hass.State
				snapshot := true
				for _, m := range received(t, version, name) {
					var c stateChanged
					if m.Type != "event" || json.Unmarshal(m.Event, &c) == nil && c.EventType != "" && c.EventType != "state_changed" {
						continue
					}
					if c.EventType == "state_changed" {
						full = append(full, c.Data.New)
						continue
					}
					var e hass.EntitiesEvent
					require.NoError(t, e.Decode(m.Event))
					require.Empty(t, e.Invalid)
					require.NoError(t, table.Apply(&e, func(_, s *hass.State) {
						if !snapshot {
							folded = append(folded, s)
						}
					}))
					snapshot = false
				}
				require.NotEmpty(t, full)
				require.Len(t, folded, len(full))
				for i, want := range full {
					requireSameState(t, want, folded[i])
				}
			})
		}
	}
}

func requireSameState(t testing.TB, want, got *hass.State) {
	t.Helper()
	if want == nil || got == nil {
		require.Equal(t, want, got)
		return
	}
	require.JSONEq(t, string(want.Attributes), string(got.Attributes))
	w, g := *want, *got
	w.Attributes, g.Attributes = nil, nil
	require.Equal(t, w, g)
}

func TestCapturedSnapshotsAgree(t *testing.T) {
	t.Parallel()
	for _, version := range versions {
		var raw json.RawMessage
		result(t, version, "get_states", &raw)
		states, invalid, err := hass.DecodeStates(raw)
		require.NoError(t, err)
		require.Empty(t, invalid)
		require.Greater(t, len(states), 150)
		for i := range states {
			var back hass.State
			require.NoError(t, json.Unmarshal(hass.AppendState(nil, &states[i]), &back))
			require.Equal(t, states[i], back)

			var e hass.EntitiesEvent
			require.NoError(t, e.Decode(hass.AppendAdded(nil, &states[i])))
			require.Equal(t, states[i], e.Added[0])
		}
	}
}

func TestCapturedRegistries(t *testing.T) {
	t.Parallel()
	for _, version := range versions {
		var areas []hass.Area
		result(t, version, "area_registry_list", &areas)
		require.Len(t, areas, 8)
		require.Equal(t, "Living Room", areas[0].Name)
		require.Equal(t, version == "2025.4.4", areas[0].FloorID == "ground_floor")

		var floors []hass.Floor
		result(t, version, "floor_registry_list", &floors)
		require.Equal(t, -1, *floors[0].Level)

		var labels []hass.Label
		result(t, version, "label_registry_list", &labels)
		require.NotEmpty(t, labels[0].LabelID)

		var devices []hass.Device
		result(t, version, "device_registry_list", &devices)
		require.Equal(t, "LG-10", devices[0].Model)
		require.Equal(t, "load_generator", devices[0].Identifiers[0][0])

		var entities []hass.EntityEntry
		result(t, version, "entity_registry_list", &entities)
		require.Greater(t, len(entities), 100)
		require.NotEmpty(t, entities[0].ID)

		var entry hass.EntityEntry
		result(t, version, "entity_registry_get", &entry)
		require.Equal(t, "power", entry.OriginalDeviceClass)

		var display hass.DisplayEntities
		result(t, version, "entity_registry_list_for_display", &display)
		require.Equal(t, "diagnostic", display.Categories["1"])
		require.Greater(t, len(display.Entities), 100)

		var config hass.Config
		result(t, version, "get_config", &config)
		require.Equal(t, version, config.Version)
		require.Equal(t, "°C", config.UnitSystem["temperature"])
	}
}

func TestCapturedHistory(t *testing.T) {
	t.Parallel()
	for _, version := range versions {
		for _, m := range received(t, version, "history") {
			if !m.Success || !bytes.HasPrefix(m.Result, []byte(`{"light.bed_light"`)) {
				continue
			}
			states, err := hass.DecodeHistory(m.Result)
			require.NoError(t, err)
			require.Greater(t, len(states["light.bed_light"]), 3)
			for _, s := range states["light.bed_light"] {
				require.Equal(t, 2026, s.LastUpdated.Year())
				require.False(t, s.LastChanged.After(s.LastUpdated))
			}
		}
	}
}
