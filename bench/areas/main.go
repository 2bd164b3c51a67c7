// Command areas measures what the whole project is about: requests to
// /odoo_ha_addon/areas while Concord's writer and an adversary write the same
// rows. It runs a whole Concord, a simulated home of 6 areas and 70 entities,
// and the adversary, on loopback, and prints a table or, with -json, JSON.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/concord-home/concord/hass/simhome"
	"github.com/concord-home/concord/internal/app"
	"github.com/concord-home/concord/internal/lab"
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
	t, err := start(ctx)
	if err != nil {
		return err
	}
	defer t.stop()
	var cells []cell
	for _, c := range plan(s) {
		if err := t.measure(ctx, &c); err != nil {
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

// trial is a running Concord with its home.
type trial struct {
	dir     string
	home    *simhome.Home
	server  *httptest.Server
	url     string // of Concord
	db      string
	homeID  int64
	client  *http.Client
	cancel  context.CancelFunc
	stopped chan error
}

func start(ctx context.Context) (*trial, error) {
	t := &trial{stopped: make(chan error, 1)}
	var err error
	if t.home, err = simhome.New(simhome.Options{Entities: 70, Areas: 6, Seed: 1}); err != nil {
		return nil, err
	}
	t.server = httptest.NewServer(t.home)
	if t.dir, err = os.MkdirTemp("", "concord-bench-"); err != nil {
		return nil, err
	}
	a, err := app.New(ctx, app.Config{
		Listen: "127.0.0.1:0", DataDir: t.dir, AdminPassword: "bench", HAToken: t.home.Token(),
		HAURL: "ws" + strings.TrimPrefix(t.server.URL, "http") + "/api/websocket",
	})
	if err != nil {
		return nil, err
	}
	var work context.Context
	work, t.cancel = context.WithCancel(ctx)
	go func() { t.stopped <- a.Run(work) }()
	go t.home.Run(work) //nolint:errcheck // returns with its context
	t.url = "http://" + a.Addr()
	if t.db, err = app.DatabaseURL(t.dir); err != nil {
		return nil, err
	}
	return t, errors.Join(t.login(), t.awaitRows(ctx))
}

func (t *trial) stop() {
	t.cancel()
	<-t.stopped
	t.home.Close()
	t.server.Close()
	os.RemoveAll(t.dir)
}

func (t *trial) login() error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	t.client = &http.Client{Jar: jar, Timeout: 2 * time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 200}}
	_, err = t.call("/web/session/authenticate", `{"db":"concord","login":"admin","password":"bench"}`)
	return err
}

// call posts params and returns the result; the error says what was answered.
func (t *trial) call(path, params string) (json.RawMessage, error) {
	body := `{"jsonrpc":"2.0","params":` + params + `}`
	resp, err := t.client.Post(t.url+path, "application/json", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	var envelope struct {
		Result json.RawMessage `json:"result"`
		Error  json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(answer, &envelope); err != nil || envelope.Error != nil {
		return nil, fmt.Errorf("%s: %s: %.200s", path, resp.Status, answer)
	}
	return envelope.Result, nil
}

func (t *trial) areas(sync bool) error {
	params := "{}"
	if sync {
		params = `{"sync":true}`
	}
	result, err := t.call("/odoo_ha_addon/areas", params)
	if err != nil {
		return err
	}
	var areas struct {
		Success bool              `json:"success"`
		Areas   []json.RawMessage `json:"areas"`
		Error   string            `json:"error"`
	}
	if err := json.Unmarshal(result, &areas); err != nil {
		return err
	}
	if !areas.Success || len(areas.Areas) == 0 {
		return fmt.Errorf("%d areas: %s", len(areas.Areas), areas.Error)
	}
	return nil
}

func (t *trial) awaitRows(ctx context.Context) error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		wrong, err := t.wrongRows(ctx)
		if err == nil && wrong == 0 {
			err = t.areas(true)
		}
		if err == nil && wrong == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("Concord did not become equal to the home: %d rows differ, %w", wrong, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// measure fills one cell.
func (t *trial) measure(ctx context.Context, c *cell) error {
	own, cascades := t.logged()
	t.home.SetRate(c.Rate)
	fight, endFight := context.WithCancel(ctx)
	type outcome struct {
		report lab.AdversaryReport
		err    error
	}
	fought := make(chan outcome, 1)
	go func() {
		report, err := lab.Adversary{URL: t.db, Home: t.homeID, Rows: c.Adversary}.Run(fight)
		fought <- outcome{report, err}
	}()
	time.Sleep(time.Second) // both are in full swing
	latencies := t.load(c)
	// Without sync the requests are over in a moment: writer and adversary go on
	// meeting for a while, so that the cell says something about them.
	time.Sleep(2 * time.Second)
	endFight()
	o := <-fought
	t.home.SetRate(0)
	slices.Sort(latencies)
	c.P50, c.P99, c.Max = quantile(latencies, .5), quantile(latencies, .99), quantile(latencies, 1)
	c.Other = o.report
	if err := errors.Join(o.err, t.settle(ctx, c)); err != nil {
		return err
	}
	ownAfter, cascadesAfter := t.logged()
	c.Own40001, c.In25P02 = ownAfter-own, cascadesAfter-cascades
	return nil
}

func (t *trial) load(c *cell) []float64 {
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
				err := t.areas(c.Sync)
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

// settle waits until nothing is on its way and counts rows that differ from
// the home.
func (t *trial) settle(ctx context.Context, c *cell) error {
	deadline := time.Now().Add(20 * time.Second)
	for {
		var err error
		if c.Wrong, err = t.wrongRows(ctx); err != nil {
			return err
		}
		if c.Wrong == 0 || time.Now().After(deadline) {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (t *trial) wrongRows(ctx context.Context) (int, error) {
	conn, err := pgx.Connect(ctx, t.db)
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, `select home_id from home`).Scan(&t.homeID); err != nil {
		return 0, err
	}
	rows, err := conn.Query(ctx, `select entity_id, state, last_updated from entity_state where home_id = $1`, t.homeID)
	if err != nil {
		return 0, err
	}
	type row struct {
		ID, State string
		Updated   time.Time
	}
	have, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
	if err != nil {
		return 0, err
	}
	got := make(map[string]row, len(have))
	for _, r := range have {
		got[r.ID] = r
	}
	wrong := 0
	for _, want := range t.home.States() {
		r, ok := got[want.EntityID]
		delete(got, want.EntityID)
		if !ok || r.State != want.State || !r.Updated.Equal(want.LastUpdated) {
			wrong++
		}
	}
	return wrong + len(got), nil
}

// logged counts, in the server's own log, Concord's 40001 and everybody's 25P02.
func (t *trial) logged() (own40001, all25P02 int) {
	files, _ := filepath.Glob(filepath.Join(t.dir, "postgres", "data", "log", "*.log")) // the pattern is valid
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		own40001 += bytes.Count(b, []byte("app=concord sqlstate=40001 ERROR"))
		all25P02 += bytes.Count(b, []byte("sqlstate=25P02"))
	}
	return own40001, all25P02
}
