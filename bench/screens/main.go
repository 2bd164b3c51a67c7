// Command screens measures how long a change takes from the home to the sockets
// of the screens that show it: a simulated home of 10,000 entities changes
// 2,000 times a second, and each screen shows 40 entities. Everything runs in
// one process on loopback, the clients included. It prints a table or, with
// -json, JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/concord-home/concord/hass"
	"github.com/concord-home/concord/hass/simhome"
	"github.com/concord-home/concord/internal/trial"
)

const shown = 40 // entities on a screen

// limit is what must be reached with 100 screens.
const (
	limitP50 = 3.0
	limitP99 = 15.0
)

type cell struct {
	Screens   int     `json:"screens"`
	Rate      float64 `json:"events_per_second"`
	Seconds   float64 `json:"seconds"`
	Received  int     `json:"changes_received"`
	Expected  float64 `json:"changes_expected"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	Max       float64 `json:"max_ms"`
	BytesEach float64 `json:"bytes_per_screen_and_second"`
	HeapMB    float64 `json:"heap_mb"`
}

func main() {
	entities := flag.Int("entities", 10_000, "entities of the home")
	rate := flag.Float64("rate", 2000, "changes a second")
	duration := flag.Duration("duration", 10*time.Second, "time per cell")
	asJSON := flag.Bool("json", false, "print JSON")
	flag.Parse()
	if err := run(context.Background(), *entities, *rate, *duration, *asJSON); err != nil {
		fmt.Fprintln(os.Stderr, "screens:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, entities int, rate float64, d time.Duration, asJSON bool) error {
	t, err := trial.Start(ctx, trial.Options{Home: simhome.Options{Entities: entities, Seed: 1}})
	if err != nil {
		return err
	}
	defer t.Stop() //nolint:errcheck // the figures are printed by then
	var cells []cell
	for _, n := range []int{1, 100, 500} {
		c, err := measure(ctx, t, n, rate, d)
		if err != nil {
			return err
		}
		cells = append(cells, c)
		if !asJSON {
			show(c, len(cells) == 1)
		}
	}
	if asJSON {
		return json.NewEncoder(os.Stdout).Encode(map[string]any{
			"limit": map[string]float64{"screens": 100, "p50_ms": limitP50, "p99_ms": limitP99}, "cells": cells,
		})
	}
	fmt.Printf("limit with 100 screens: p50 %.0f ms, p99 %.0f ms\n", limitP50, limitP99)
	return nil
}

func show(c cell, header bool) {
	if header {
		fmt.Printf("%s/%s, %d processors, %s\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
		fmt.Printf("%8s %9s %9s %9s %8s %8s %8s %12s %8s\n", "screens", "events/s", "received", "expected", "p50 ms", "p99 ms", "max ms", "B/screen/s", "heap MB")
	}
	fmt.Printf("%8d %9.0f %9d %9.0f %8.2f %8.2f %8.2f %12.0f %8.1f\n", c.Screens, c.Rate, c.Received, c.Expected, c.P50, c.P99, c.Max, c.BytesEach, c.HeapMB)
}

// screen is a client that shows some entities.
type screen struct {
	mu        sync.Mutex
	latencies []float64
	bytes     int
	ready     chan struct{}
	once      sync.Once
}

func (s *screen) event(e hass.Event) {
	now := time.Now()
	var changes hass.EntitiesEvent
	if err := changes.Decode(e.Raw); err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes += len(e.Raw)
	if e.First {
		s.bytes = 0
		s.once.Do(func() { close(s.ready) })
		return
	}
	for i := range changes.Changed {
		if d := &changes.Changed[i]; d.Has&(hass.HasLastChanged|hass.HasLastUpdated) != 0 {
			at := d.LastUpdated
			if at.IsZero() {
				at = d.LastChanged
			}
			s.latencies = append(s.latencies, float64(now.Sub(at).Microseconds())/1000)
		}
	}
}

func measure(ctx context.Context, t *trial.Trial, n int, rate float64, d time.Duration) (cell, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	states := t.Home.States()
	screens := make([]*screen, n)
	for i := range screens {
		var ids []string
		for j := range shown {
			ids = append(ids, states[(i*shown+j)%len(states)].EntityID)
		}
		var err error
		if screens[i], err = open(ctx, t, ids); err != nil {
			return cell{}, err
		}
	}
	for _, s := range screens {
		select {
		case <-s.ready:
		case <-time.After(30 * time.Second):
			return cell{}, fmt.Errorf("a screen got no states")
		}
	}
	before := t.Home.Emitted()
	t.Home.SetRate(rate)
	begin := time.Now()
	time.Sleep(d)
	t.Home.SetRate(0)
	took := time.Since(begin).Seconds()
	emitted := float64(t.Home.Emitted() - before)
	time.Sleep(500 * time.Millisecond)
	return summarize(screens, took, emitted, len(states)), nil
}

func summarize(screens []*screen, took, emitted float64, entities int) cell {
	c := cell{Screens: len(screens), Seconds: took, Rate: emitted / took, Expected: emitted * shown / float64(entities) * float64(len(screens))}
	var all []float64
	for _, s := range screens {
		s.mu.Lock()
		all = append(all, s.latencies...)
		c.BytesEach += float64(s.bytes) / took / float64(len(screens))
		s.mu.Unlock()
	}
	slices.Sort(all)
	c.Received = len(all)
	if len(all) > 0 {
		c.P50, c.P99, c.Max = all[len(all)/2], all[len(all)*99/100], all[len(all)-1]
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	c.HeapMB = float64(m.HeapAlloc) / (1 << 20)
	return c
}

// sameOrigin does what a browser does on Concord's own page.
type sameOrigin struct {
	base   http.RoundTripper
	origin string
}

func (s sameOrigin) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Origin", s.origin)
	return s.base.RoundTrip(r)
}

func open(ctx context.Context, t *trial.Trial, ids []string) (*screen, error) {
	s := &screen{ready: make(chan struct{})}
	client, err := hass.NewClient(hass.Options{
		URL: "ws" + strings.TrimPrefix(t.URL, "http") + "/api/websocket", Token: "session",
		HTTPClient: &http.Client{Jar: t.HTTP.Jar, Transport: sameOrigin{http.DefaultTransport, t.URL}},
	})
	if err != nil {
		return nil, err
	}
	client.Subscribe(hass.Command{"type": "subscribe_entities", "entity_ids": ids}, s.event)
	go client.Run(ctx) //nolint:errcheck // returns with its context
	return s, nil
}
