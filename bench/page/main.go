// Command page measures the area view in a real Chromium with a cold cache and
// a processor slowed down four times: the time to the first card, what is sent
// until ten seconds later, and the heap before and after many changes. Beside
// each load a page of three lines is loaded that shows one card, as a measure
// of the machine's own business. It prints a table or, with -json, JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/concord-home/concord/hass/simhome"
	"github.com/concord-home/concord/internal/trial"
	"github.com/concord-home/concord/internal/web/page/pagetest"
)

const (
	slowDown      = 4
	settled       = 10 * time.Second // after the first card
	limitBytes    = 200_000
	limitRequests = 30
	limitHeapGrow = 1.1
)

// house is a home and what is asked of its area view. The peer is Home
// Assistant 2025.4 with its own dashboard on a home of 215 states.
type house struct {
	Name     string  `json:"name"`
	Entities int     `json:"entities"`
	Areas    int     `json:"areas"`
	Want     int     `json:"wanted_entities_of_area"`
	Limit    float64 `json:"limit_first_card_ms"`
}

var houses = []house{
	{Name: "family house", Want: 1000, Limit: 700}, // its largest area
	{Name: "100 areas of 150", Entities: 15_000, Areas: 100, Want: 150, Limit: 1500},
}

const (
	peerFirstCard = 2604
	peerBytes     = 1_266_000
	peerRequests  = 110
)

type cell struct {
	house
	Area      string    `json:"area"`
	Shown     int       `json:"entities_of_area"`
	FirstCard float64   `json:"first_card_ms"` // median
	Loads     []float64 `json:"loads_ms"`
	Work      float64   `json:"main_thread_ms"`  // processor time until then, slow-down included; median
	Trivial   float64   `json:"trivial_page_ms"` // median, same run, same slow-down
	Bytes     int64     `json:"bytes"`
	Requests  int       `json:"requests"`
	Events    uint64    `json:"events"`
	HeapFrom  float64   `json:"heap_before_mb"`
	HeapTo    float64   `json:"heap_after_mb"`
	Passed    bool      `json:"passed"`
}

type options struct {
	loads  int
	events uint64
	rate   float64
	only   string
}

func main() {
	var o options
	flag.IntVar(&o.loads, "loads", 5, "cold loads per home")
	flag.Uint64Var(&o.events, "events", 120_000, "changes between the two measurements of the heap")
	flag.Float64Var(&o.rate, "rate", 2000, "changes a second meanwhile")
	flag.StringVar(&o.only, "only", "", "measure only the home of this name")
	asJSON := flag.Bool("json", false, "print JSON")
	flag.Parse()
	passed, err := run(context.Background(), o, *asJSON)
	if err != nil {
		fmt.Fprintln(os.Stderr, "page:", err)
	}
	if err != nil || !passed {
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, asJSON bool) (passed bool, err error) {
	var cells []cell
	passed = true
	for _, h := range houses {
		if o.only != "" && o.only != h.Name {
			continue
		}
		c, err := measureHouse(ctx, h, o)
		if err != nil {
			return false, fmt.Errorf("%s: %w", h.Name, err)
		}
		cells = append(cells, c)
		passed = passed && c.Passed
		if !asJSON {
			show(c, len(cells) == 1)
		}
	}
	if asJSON {
		return passed, json.NewEncoder(os.Stdout).Encode(map[string]any{
			"limit": map[string]any{"bytes": limitBytes, "requests": limitRequests, "heap_growth": limitHeapGrow},
			"peer":  map[string]any{"first_card_ms": peerFirstCard, "bytes": peerBytes, "requests": peerRequests}, "cells": cells,
		})
	}
	fmt.Printf("limits: %d bytes, %d requests, heap ×%.1f; Home Assistant 2025.4, 215 states: %d ms, %d bytes, %d requests\n",
		limitBytes, limitRequests, limitHeapGrow, peerFirstCard, peerBytes, peerRequests)
	return passed, nil
}

func show(c cell, header bool) {
	if header {
		fmt.Printf("%s/%s, %d processors, Chromium at 1/%d of its speed\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), slowDown)
		fmt.Printf("%-18s %8s %10s %8s %10s %10s %8s %8s %9s %9s %7s\n", "home", "in area", "first card", "limit", "work", "trivial", "bytes", "requests", "heap from", "to MB", "passed")
	}
	fmt.Printf("%-18s %8d %7.0f ms %5.0f ms %7.0f ms %7.0f ms %8d %8d %9.1f %9.1f %7t\n", c.Name, c.Shown, c.FirstCard, c.Limit, c.Work, c.Trivial, c.Bytes, c.Requests, c.HeapFrom, c.HeapTo, c.Passed)
}

func measureHouse(ctx context.Context, h house, o options) (cell, error) {
	c := cell{house: h}
	t, err := trial.Start(ctx, trial.Options{Home: simhome.Options{Entities: h.Entities, Areas: h.Areas, Seed: 1}})
	if err != nil {
		return c, err
	}
	defer t.Stop() //nolint:errcheck // the figures are taken by then
	if err := c.chooseArea(t); err != nil {
		return c, err
	}
	trivial := httptest.NewServer(http.HandlerFunc(trivialPage))
	defer trivial.Close()
	if err := c.measureLoads(ctx, t, trivial.URL, o); err != nil {
		return c, err
	}
	if err := c.measureHeap(ctx, t, o); err != nil {
		return c, err
	}
	c.Passed = c.FirstCard <= c.Limit && c.Bytes <= limitBytes && c.Requests <= limitRequests && c.HeapTo <= c.HeapFrom*limitHeapGrow
	return c, nil
}

// trivialPage shows one card by script.
func trivialPage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprint(w, `<!doctype html><title>one card</title><main></main><script>document.querySelector("main").innerHTML = '<div class="row"><span class="val">1</span></div>'</script>`)
}

// chooseArea takes the area whose number of entities is nearest to what the
// house wants.
func (c *cell) chooseArea(t *trial.Trial) error {
	var result struct {
		Areas []struct {
			ID    string `json:"area_id"`
			Count int    `json:"entity_count"`
		} `json:"areas"`
	}
	if err := t.Call("/odoo_ha_addon/areas", map[string]any{}, &result); err != nil {
		return err
	}
	for _, a := range result.Areas {
		if c.Area == "" || abs(a.Count-c.Want) < abs(c.Shown-c.Want) {
			c.Area, c.Shown = a.ID, a.Count
		}
	}
	return nil
}

func abs(n int) int { return max(n, -n) }

func (c *cell) measureLoads(ctx context.Context, t *trial.Trial, trivial string, o options) error {
	var others, work []float64
	for range o.loads {
		other, _, err := firstCard(ctx, t, trivial, 0)
		if err != nil {
			return fmt.Errorf("load the trivial page: %w", err)
		}
		others = append(others, other)
		mine, traffic, err := firstCard(ctx, t, t.URL+"/area/"+c.Area, settled)
		if err != nil {
			return fmt.Errorf("load the area: %w", err)
		}
		c.Loads, work = append(c.Loads, mine), append(work, traffic.work)
		c.Bytes, c.Requests = max(c.Bytes, traffic.bytes), max(c.Requests, traffic.requests)
	}
	c.FirstCard, c.Work, c.Trivial = median(c.Loads), median(work), median(others)
	return nil
}

func median(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}

type traffic struct {
	bytes    int64
	requests int
	work     float64 // ms of the main thread until the first card
}

// firstCard loads an address in a browser of its own, and counts what is sent
// until wait later.
func firstCard(ctx context.Context, t *trial.Trial, address string, wait time.Duration) (ms float64, sent traffic, err error) {
	b, stop, err := openBrowser(ctx, t)
	defer stop()
	if err != nil {
		return 0, sent, err
	}
	if err := b.Slow(slowDown); err != nil {
		return 0, sent, err
	}
	if err := errors.Join(b.CountWork(), b.Go(address), b.Await("window.firstCard")); err != nil {
		return 0, sent, err
	}
	work, err := b.Work()
	if err != nil {
		return 0, sent, err
	}
	sent.work = float64(work.Microseconds()) / 1000
	time.Sleep(wait)
	sent.bytes, sent.requests = b.Traffic()
	ms, err = pagetest.Value[float64](b, "window.firstCard")
	return ms, sent, err
}

func openBrowser(ctx context.Context, t *trial.Trial) (*pagetest.Browser, func(), error) {
	b, stop, err := pagetest.OpenBrowser(ctx, pagetest.Desktop)
	if err != nil {
		return b, stop, err
	}
	server, err := url.Parse(t.URL)
	if err != nil {
		return b, stop, err
	}
	for _, cookie := range t.HTTP.Jar.Cookies(server) {
		if err := b.SetCookie(t.URL, cookie.Name, cookie.Value); err != nil {
			return b, stop, err
		}
	}
	return b, stop, b.Inject(pagetest.FirstCard)
}

// measureHeap leaves the area open while the home changes.
func (c *cell) measureHeap(ctx context.Context, t *trial.Trial, o options) error {
	b, stop, err := openBrowser(ctx, t)
	defer stop()
	if err != nil {
		return err
	}
	if err := b.Go(t.URL + "/area/" + c.Area); err != nil {
		return err
	}
	if err := b.Await("window.firstCard"); err != nil {
		return err
	}
	t.Home.SetRate(o.rate)
	defer t.Home.SetRate(0)
	from := uint64(t.Home.Emitted())
	awaitEvents(t, from+o.events/10) // every kind of control has been drawn once
	if c.HeapFrom, err = heapMB(b); err != nil {
		return err
	}
	awaitEvents(t, from+o.events)
	c.Events = uint64(t.Home.Emitted()) - from
	c.HeapTo, err = heapMB(b)
	return err
}

func awaitEvents(t *trial.Trial, until uint64) {
	for uint64(t.Home.Emitted()) < until {
		time.Sleep(100 * time.Millisecond)
	}
}

func heapMB(b *pagetest.Browser) (float64, error) {
	bytes, err := b.Heap()
	return bytes / (1 << 20), err
}
