package app_test

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/hass"
	"github.com/concord-home/concord/internal/trial"
	"github.com/concord-home/concord/internal/web/page/pagetest"
)

// A light switched on the page changes in the home, and the other way round,
// in a real browser, with the simulated and a real Home Assistant.
func TestPageAndHomeSwitchEachOther(t *testing.T) {
	t.Parallel()

	t.Run("SimulatedHome", func(t *testing.T) {
		t.Parallel()
		c := start(t, trial.Options{})
		url, token := c.HomeAddress()
		switchBothWays(t, c, url, token)
	})

	t.Run("RealHomeAssistant", func(t *testing.T) {
		t.Parallel()
		url, token := realHome(t)
		c := start(t, trial.Options{HAURL: url, HAToken: token})
		switchBothWays(t, c, url, token)
		areasAreThoseOfTheHome(t, c, url, token)
		everyChangeIsStored(t, c, url, token)
	})
}

func switchBothWays(t *testing.T, c *trial.Trial, url, token string) {
	t.Helper()
	home := connect(t, url, token)
	for name, screen := range map[string]pagetest.Screen{"desktop": pagetest.Desktop, "phone-dark": pagetest.Phone.InDark()} {
		b := pagetest.NewBrowser(t, screen)
		b.Login(t, c.URL, "admin", trial.Password)
		b.Open(t, c.URL+"/area/living_room", "[data-entity^='light.'] button.ic")
		id := pagetest.Eval[string](t, b, `document.querySelector("[data-entity^='light.']:has(button.ic)").dataset.entity`)
		row := `document.querySelector("[data-entity='` + id + `']").dataset.state`

		before := state(t, home, id)
		b.Until(t, row+` === "`+before+`"`)
		b.Do(t, pagetest.Click("[data-entity='"+id+"'] button.ic"))
		after := map[string]string{"on": "off", "off": "on"}[before]
		b.Until(t, row+` === "`+after+`"`)
		require.Equal(t, after, state(t, home, id))

		_, _, err := hass.CallService(t.Context(), home, "light", "turn_"+before, map[string]any{"entity_id": id}, nil, false)
		require.NoError(t, err)
		b.Until(t, row+` === "`+before+`"`)
		require.Empty(t, b.Complaints())
		shoot(t, b, name)
	}
}

// shoot keeps a picture where CONCORD_SCREENSHOTS names a folder.
func shoot(t *testing.T, b *pagetest.Browser, name string) {
	t.Helper()
	if dir := os.Getenv("CONCORD_SCREENSHOTS"); dir != "" {
		require.NoError(t, b.Shoot(filepath.Join(dir, strings.ReplaceAll(t.Name(), "/", "-")+"-"+name+".png")))
	}
}

func areasAreThoseOfTheHome(t *testing.T, c *trial.Trial, url, token string) {
	t.Helper()
	home := connect(t, url, token)
	areas, _, err := hass.Areas(t.Context(), home)
	require.NoError(t, err)
	devices, _, err := hass.Devices(t.Context(), home)
	require.NoError(t, err)
	states, _, _, err := hass.GetStates(t.Context(), home)
	require.NoError(t, err)
	require.Equal(t, len(areas), query[int](t, c, `select count(*)::int from area`))
	require.Equal(t, len(devices), query[int](t, c, `select count(*)::int from device`))
	require.Equal(t, len(states), query[int](t, c, `select count(*)::int from entity_state`))
}

// everyChangeIsStored lets the home change as fast as it can for 20 seconds: it is
// asked for more than it reaches, and its load_generator stops when it took 5 s
// more than three times as long as asked.
func everyChangeIsStored(t *testing.T, c *trial.Trial, url, token string) {
	t.Helper()
	before := query[int](t, c, `select count(*)::int from history`)
	home := connect(t, url, token)
	result, _, err := hass.CallService(t.Context(), home, "load_generator", "run",
		map[string]any{"rate": 100_000, "duration": 5, "tick_ms": 1}, nil, true)
	require.NoError(t, err)
	done := time.Now()
	var sent struct {
		Sent int     `json:"sent"`
		Rate float64 `json:"rate"`
	}
	require.NoError(t, json.Unmarshal(result.Response, &sent))
	require.Greater(t, sent.Sent, 1000)

	stored := func() int {
		return query[int](t, c, `
			select count(distinct h.value)::int from history h join history_entity e using (home_id, entity_key)
			where e.entity_id like 'sensor.load%' and h.value between 0 and $1::int - 1`, sent.Sent)
	}
	require.Eventually(t, func() bool { return stored() == sent.Sent }, time.Minute, 100*time.Millisecond,
		"%d of %d are stored, of all %d", stored(), sent.Sent, query[int](t, c, `select count(*)::int from history`)-before)
	t.Logf("%d changes at %.0f a second, all stored %.1f s later", sent.Sent, sent.Rate, time.Since(done).Seconds())
	require.Zero(t, query[int](t, c, `select count(*)::int from gap`))
	require.Equal(t, 1, query[int](t, c, `select count(distinct epoch)::int from entity_state`), "one connection")
}

func connect(t *testing.T, url, token string) *hass.Client {
	t.Helper()
	up := make(chan struct{}, 100)
	client, err := hass.NewClient(hass.Options{URL: url, Token: token, OnStatus: func(s hass.Status) {
		if s.State == hass.StateConnected {
			up <- struct{}{}
		}
	}})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- client.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	select {
	case <-up:
	case <-time.After(20 * time.Second):
		t.Fatal("no connection to the home")
	}
	return client
}

func state(t *testing.T, home *hass.Client, id string) string {
	t.Helper()
	states, _, _, err := hass.GetStates(t.Context(), home)
	require.NoError(t, err)
	for _, s := range states {
		if s.EntityID == id {
			return s.State
		}
	}
	t.Fatalf("the home has no %s", id)
	return ""
}

// realHome starts a Home Assistant 2025.4.4 of this test's own.
func realHome(t *testing.T) (url, token string) {
	t.Helper()
	if testing.Short() || os.Getenv("CONCORD_TEST_REAL_HOME") != "1" {
		t.Skip("installs and starts Home Assistant: set CONCORD_TEST_REAL_HOME=1")
	}
	scripts, err := filepath.Abs("../../test/homeassistant")
	require.NoError(t, err)
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	port, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, port.Close())
	venv := filepath.Join(cache, "homeassistant-test-2025.4.4", "venv")
	require.NoError(t, os.MkdirAll(filepath.Dir(venv), 0o755))
	env := append(os.Environ(), "HA_VERSION=2025.4.4", "HA_DIR="+t.TempDir(), "HA_VENV="+venv, "HA_RECORDER=sqlite",
		"HA_PORT="+strconv.Itoa(port.Addr().(*net.TCPAddr).Port))
	t.Cleanup(func() {
		down := exec.Command(filepath.Join(scripts, "homeassistant-down"))
		down.Env = env
		_ = down.Run() // it may not have come up
	})
	up := exec.Command(filepath.Join(scripts, "homeassistant-up"))
	up.Env = env
	var messages strings.Builder
	up.Stderr = &messages
	out, err := up.Output()
	require.NoError(t, err, messages.String())
	for line := range strings.Lines(string(out)) {
		switch name, value, _ := strings.Cut(strings.TrimSpace(line), "="); name {
		case "HA_URL":
			url = value
		case "HA_TOKEN":
			token = value
		}
	}
	return url, token
}
