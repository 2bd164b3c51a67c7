// Command areas measures what the whole project is about: requests to
// /odoo_ha_addon/areas while Concord's writer and an adversary write the same
// rows. It runs a whole Concord, a simulated home of 6 areas and 70 entities,
// and the adversary, on loopback, and prints a table or, with -json, JSON.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/concord-home/concord/hass/simhome"
	"github.com/concord-home/concord/internal/lab"
	"github.com/concord-home/concord/internal/trial"
)

type settings struct {
	requests int
	at       []int
	rates    []float64
	json     bool
}

func main() {
	requests := flag.Int("requests", 200, "requests per cell")
	short := flag.Bool("short", false, "only 10 and 100 at once with 25 changes a second")
	asJSON := flag.Bool("json", false, "print JSON")
	flag.Parse()
	s := settings{requests: *requests, at: []int{1, 10, 20, 100}, rates: []float64{0, 25, 100}, json: *asJSON}
	if *short {
		s.at, s.rates = []int{10, 100}, []float64{25}
	}
	if err := run(context.Background(), s); err != nil {
		fmt.Fprintln(os.Stderr, "areas:", err)
		os.Exit(1)
	}
}

// cell is one line of the report.
type cell struct {
	Sync      bool                `json:"sync"`
	Adversary int                 `json:"adversary_rows"`
	Rate      float64             `json:"events_per_second"`
	AtOnce    int                 `json:"at_once"`
	Requests  int                 `json:"requests"`
	Succeeded int                 `json:"succeeded"`
	P50       float64             `json:"p50_ms"`
	P99       float64             `json:"p99_ms"`
	Max       float64             `json:"max_ms"`
	Other     lab.AdversaryReport `json:"adversary"`
	Own40001  int                 `json:"concord_40001"`
	In25P02   int                 `json:"server_log_25p02"`
	Wrong     int                 `json:"wrong_rows"`
	FirstFail string              `json:"first_failure,omitempty"`
}

func run(ctx context.Context, s settings) error {
	t, err := trial.Start(ctx, trial.Options{Home: simhome.Options{Entities: 70, Areas: 6, Seed: 1}})
	if err != nil {
		return err
	}
	defer t.Stop() //nolint:errcheck // the figures are printed by then
	var cells []cell
	for _, c := range plan(s) {
		if err := measure(ctx, t, &c); err != nil {
			return err
		}
		cells = append(cells, c)
		if !s.json {
			print(c, len(cells) == 1)
		}
	}
	if s.json {
		return json.NewEncoder(os.Stdout).Encode(map[string]any{"machine": machine(), "cells": cells})
	}
	return nil
}

func plan(s settings) []cell {
	var cells []cell
	for _, adversary := range []int{1, 70} {
		for _, sync := range []bool{false, true} {
			for _, rate := range s.rates {
				if adversary == 70 && rate != 25 {
					continue
				}
				for _, n := range s.at {
					cells = append(cells, cell{Sync: sync, Adversary: adversary, Rate: rate, AtOnce: n, Requests: s.requests})
				}
			}
		}
	}
	return cells
}

func machine() string {
	return fmt.Sprintf("%s/%s, %d processors, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
}

func print(c cell, header bool) {
	if header {
		fmt.Println(machine())
		fmt.Printf("%-5s %9s %8s %8s %9s %8s %8s %8s %10s %9s %6s %6s\n", "sync", "adv. rows", "events/s", "at once",
			"success %", "p50 ms", "p99 ms", "max ms", "adv.commit", "own 40001", "25P02", "wrong")
	}
	fmt.Printf("%-5t %9d %8.0f %8d %9.1f %8.1f %8.1f %8.1f %10d %9d %6d %6d  %s\n", c.Sync, c.Adversary, c.Rate, c.AtOnce,
		100*float64(c.Succeeded)/float64(c.Requests), c.P50, c.P99, c.Max, c.Other.Commits, c.Own40001, c.In25P02, c.Wrong, c.FirstFail)
}

// measure fills one cell.
func measure(ctx context.Context, t *trial.Trial, c *cell) error {
	own, cascades := t.ServerLog()
	t.Home.SetRate(c.Rate)
	fight, endFight := context.WithCancel(ctx)
	type outcome struct {
		report lab.AdversaryReport
		err    error
	}
	fought := make(chan outcome, 1)
	go func() {
		report, err := lab.Adversary{URL: t.DB, Home: t.HomeID, Rows: c.Adversary}.Run(fight)
		fought <- outcome{report, err}
	}()
	time.Sleep(time.Second) // both are in full swing
	latencies := load(t, c)
	// Without sync the requests are over in a moment: writer and adversary go on
	// meeting for a while, so that the cell says something about them.
	time.Sleep(2 * time.Second)
	endFight()
	o := <-fought
	t.Home.SetRate(0)
	slices.Sort(latencies)
	c.P50, c.P99, c.Max = quantile(latencies, .5), quantile(latencies, .99), quantile(latencies, 1)
	c.Other = o.report
	if o.err != nil {
		return o.err
	}
	if err := t.AwaitEqual(ctx); err != nil {
		c.FirstFail = cmp.Or(c.FirstFail, err.Error())
	}
	var err error
	if c.Wrong, err = t.WrongRows(ctx); err != nil {
		return err
	}
	ownAfter, cascadesAfter := t.ServerLog()
	c.Own40001, c.In25P02 = ownAfter-own, cascadesAfter-cascades
	return nil
}

func load(t *trial.Trial, c *cell) []float64 {
	var mu sync.Mutex
	var latencies []float64
	var wg sync.WaitGroup
	next := make(chan struct{}, c.Requests)
	for range c.Requests {
		next <- struct{}{}
	}
	close(next)
	for range c.AtOnce {
		wg.Go(func() {
			for range next {
				begin := time.Now()
				err := t.Areas(c.Sync)
				took := time.Since(begin).Seconds() * 1000
				mu.Lock()
				latencies = append(latencies, took)
				if err == nil {
					c.Succeeded++
				} else {
					c.FirstFail = cmp.Or(c.FirstFail, err.Error())
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return latencies
}

func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
