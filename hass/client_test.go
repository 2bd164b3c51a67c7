package hass_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/hass"
	"github.com/concord-home/concord/hass/simhome"
)

// wire is a simulated home on a loopback port and a client of it.
type wire struct {
	home   *simhome.Home
	url    string
	client *hass.Client
	up     chan int64 // connection numbers, as they come up
	down   chan error
	ended  chan error // what Run returned
}

// link starts a home and a client; change may alter the client's options.
// Nothing runs before w.run.
func link(t testing.TB, house simhome.Options, change func(*hass.Options)) *wire {
	t.Helper()
	w := &wire{up: make(chan int64, 100), down: make(chan error, 100), ended: make(chan error, 1)}
	var err error
	w.home, err = simhome.New(house)
	require.NoError(t, err)
	srv := httptest.NewServer(w.home)
	t.Cleanup(srv.Close)
	t.Cleanup(w.home.Close)
	w.url = srv.URL
	o := hass.Options{URL: srv.URL, Token: w.home.Token(), BackoffMin: 1e6, BackoffMax: 1e7}
	o.OnStatus = func(s hass.Status) {
		if s.State == hass.StateConnected && s.LastError == "" {
			w.up <- s.Connection
		}
	}
	o.OnDisconnect = func(err error) { w.down <- err }
	if change != nil {
		change(&o)
	}
	w.client, err = hass.NewClient(o)
	require.NoError(t, err)
	return w
}

// run runs the client until the test ends.
func (w *wire) run(t testing.TB) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { w.ended <- w.client.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
}

func TestClientFollowsAServiceCall(t *testing.T) {
	t.Parallel()
	w := link(t, simhome.Options{}, nil)
	seen := make(chan *hass.State, 1000)
	var table hass.Table
	var event hass.EntitiesEvent
	w.client.Subscribe("subscribe_entities", func(e hass.Event) {
		if event.Decode(e.Raw) != nil || len(event.Invalid) > 0 {
			return
		}
		_ = table.Apply(&event, func(_, s *hass.State) { seen <- s })
	})
	w.run(t)
	<-w.up
	_, _, err := hass.CallService(t.Context(), w.client, "light", "turn_on", map[string]any{"brightness": 120},
		json.RawMessage(`{"entity_id":"light.ceiling_light"}`), false)
	require.NoError(t, err)
	for s := range seen {
		if s.EntityID == "light.ceiling_light" && strings.Contains(string(s.Attributes), `"brightness":120`) {
			require.Equal(t, w.home.State(s.EntityID), s)
			return
		}
	}
}
