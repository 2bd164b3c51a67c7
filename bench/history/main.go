// Command history measures charts and retention on a house of 5,000 entities:
// raw changes and 5-minute statistics of ten days, hourly statistics of a year,
// which are 44 million rows, stored in the order of time as a running Concord
// stores them. It prints the time of a chart over a day, ten days and a year,
// with PostgreSQL's cache cold (other entities each time) and warm, and the time
// that retention takes for a day while changes are written. With -json it prints
// JSON. With -dir the house is kept there: the first run loads it, with -load
// does no more than that, and each measurement takes its oldest day off.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"
)

// What must be reached, in milliseconds.
const (
	limitChart     = 50.0
	limitRetention = 1000.0
)

type report struct {
	Entities  int       `json:"entities"`
	Raw       int64     `json:"raw_rows"`
	Five      int64     `json:"statistics_5m_rows"`
	Hourly    int64     `json:"statistics_1h_rows"`
	Bytes     int64     `json:"database_bytes"`
	Loading   float64   `json:"loading_s"` // 0 when the house was there
	Charts    []chart   `json:"charts"`
	Retention retention `json:"retention"`
}

type chart struct {
	Span   string  `json:"span"`
	Points int     `json:"points"`
	Rows   int     `json:"rows_read"`
	First  float64 `json:"first_time_p50_ms"` // of an entity that nobody looked at before
	Slow   float64 `json:"first_time_p99_ms"`
	Again  float64 `json:"again_p50_ms"`
}

type retention struct {
	Rows    int64   `json:"rows"`
	Took    float64 `json:"took_ms"`
	Writes  int     `json:"writes_meanwhile"`
	Slowest float64 `json:"slowest_write_ms"`
}

func main() {
	entities := flag.Int("entities", 5000, "of the home")
	asJSON := flag.Bool("json", false, "print JSON")
	dir := flag.String("dir", "", "keep the house there")
	loadOnly := flag.Bool("load", false, "load the house, measure nothing")
	flag.Parse()
	r, err := run(context.Background(), *entities, *dir, *loadOnly)
	if err != nil {
		fmt.Fprintln(os.Stderr, "history:", err)
		os.Exit(1)
	}
	if *loadOnly {
		fmt.Printf("loaded in %.0f s\n", r.Loading)
		return
	}
	if *asJSON {
		_ = json.NewEncoder(os.Stdout).Encode(r) // standard output
	} else {
		r.print()
	}
	if !r.good() {
		fmt.Fprintln(os.Stderr, "history: a limit is missed")
		os.Exit(1)
	}
}

func (r *report) good() bool {
	for _, c := range r.Charts {
		if c.Slow > limitChart {
			return false
		}
	}
	return r.Retention.Took <= limitRetention
}

func (r *report) print() {
	fmt.Printf("%d entities: %.1f million raw rows, %.1f million of 5 minutes, %.1f million of an hour, %.1f GB, loaded in %.0f s\n", r.Entities,
		float64(r.Raw)/1e6, float64(r.Five)/1e6, float64(r.Hourly)/1e6, float64(r.Bytes)/1e9, r.Loading)
	fmt.Printf("%-10s %8s %10s %16s %16s %12s %10s\n", "chart of", "points", "rows read", "first time p50", "first time p99", "again p50", "must be")
	for _, c := range r.Charts {
		fmt.Printf("%-10s %8d %10d %13.1f ms %13.1f ms %9.1f ms %7.0f ms\n", c.Span, c.Points, c.Rows, c.First, c.Slow, c.Again, limitChart)
	}
	fmt.Printf("retention of a day, %.1f million rows: %.0f ms (must be %.0f ms); %d writes meanwhile, the slowest %.0f ms\n",
		float64(r.Retention.Rows)/1e6, r.Retention.Took, limitRetention, r.Retention.Writes, r.Retention.Slowest)
}

func run(ctx context.Context, entities int, dir string, loadOnly bool) (*report, error) {
	h, err := setUp(ctx, entities, dir)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	r := &report{Entities: entities}
	if err := h.load(ctx); err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	r.Loading = h.loading.Seconds()
	if loadOnly {
		return r, nil
	}
	for _, s := range []struct {
		name string
		days int
	}{{"1 day", 1}, {"10 days", 10}, {"1 year", 365}} {
		c, err := h.charts(ctx, s.name, time.Duration(s.days)*24*time.Hour)
		if err != nil {
			return nil, fmt.Errorf("chart of %s: %w", s.name, err)
		}
		r.Charts = append(r.Charts, c)
	}
	if err := h.describe(ctx, r); err != nil { // reads it all: not before the charts
		return nil, err
	}
	r.Retention, err = h.retain(ctx)
	return r, err
}
