// Command ingest measures the way of a state change from a home to its
// committed rows: home → link → spool (fsync) → writer → PostgreSQL (fsync).
// Everything but PostgreSQL runs in one process. It prints how many changes a
// second are sustained with a flat lag, beside what plain pgx reaches with the
// same statements; how long a change takes at 100 and 2,000 a second, and at 1,000
// a second for a minute, to its row and to a screen; and what each stage costs
// alone. With -json it prints JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime/pprof"
	"time"
)

// What must be reached.
const (
	limitSustained = 30_000.0
	limitOfRaw     = 0.6
	limitP99Slow   = 50.0
	limitP99Fast   = 250.0

	steadyRate = 1000.0 // for six times as long as the other measurements
)

type report struct {
	Entities  int       `json:"entities"`
	Sustained sustained `json:"sustained"`
	RawPgx    float64   `json:"raw_pgx_per_second"`
	OfRaw     float64   `json:"share_of_raw"`
	Latency   []latency `json:"latency"`
	Steady    steady    `json:"steady"`
	AfterLoad latency   `json:"latency_after_load"` // without a limit: the disk still works off the load
	Stages    []stage   `json:"stages"`
}

func main() {
	length := flag.Duration("length", 10*time.Second, "of each measurement")
	entities := flag.Int("entities", 1000, "of the home")
	asJSON := flag.Bool("json", false, "print JSON")
	profile := flag.String("cpuprofile", "", "write a profile of this process to that file")
	flag.Parse()
	r, err := profiled(*profile, func() (*report, error) { return run(context.Background(), *entities, *length) })
	if err != nil {
		fmt.Fprintln(os.Stderr, "ingest:", err)
		os.Exit(1)
	}
	if *asJSON {
		_ = json.NewEncoder(os.Stdout).Encode(r) // standard output
	} else {
		r.print()
	}
	if !r.good() {
		fmt.Fprintln(os.Stderr, "ingest: a limit is missed")
		os.Exit(1)
	}
}

// profiled runs measure and writes a profile of it, when a file is named.
func profiled(file string, measure func() (*report, error)) (*report, error) {
	if file == "" {
		return measure()
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	defer pprof.StopCPUProfile()
	return measure()
}

func run(ctx context.Context, entities int, length time.Duration) (*report, error) {
	r := &report{Entities: entities}
	s, err := setUp(ctx, entities)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	// These come first: a load leaves work for the disk, which commits then wait for.
	// One stall of 300 ms holds 30 of the 1,000 changes that 10 s at 100/s have, so
	// it alone is their p99.
	for _, rate := range []float64{100, 2000} {
		l, err := s.latency(ctx, rate, length)
		if err != nil {
			return nil, err
		}
		r.Latency = append(r.Latency, l)
	}
	if r.Steady, err = s.steady(ctx, steadyRate, 6*length); err != nil {
		return nil, err
	}
	if err := s.settle(ctx); err != nil {
		return nil, err
	}
	// The peer runs before and after, because the machine may be busy with other things.
	before, err := s.raw(ctx, length/2)
	if err != nil {
		return nil, err
	}
	if r.Sustained, err = s.sustain(ctx, length); err != nil {
		return nil, err
	}
	after, err := s.raw(ctx, length/2)
	if err != nil {
		return nil, err
	}
	r.RawPgx = (before + after) / 2
	r.OfRaw = r.Sustained.PerSecond / r.RawPgx
	if r.AfterLoad, err = s.latency(ctx, 100, length); err != nil {
		return nil, err
	}
	if err := s.settle(ctx); err != nil {
		return nil, err
	}
	r.Stages, err = s.stages(ctx, length/3)
	return r, err
}

func (r *report) good() bool {
	return r.Sustained.PerSecond >= limitSustained && r.OfRaw >= limitOfRaw && r.Sustained.Missing == 0 &&
		r.Steady.Stored == r.Steady.Sent && !r.Steady.grows() && r.Latency[0].P99 <= limitP99Slow && r.Latency[1].P99 <= limitP99Fast
}

func (r *report) print() {
	fmt.Printf("%-34s %12s %12s\n", "", "measured", "must be")
	fmt.Printf("%-34s %10.0f/s %10.0f/s   lag %d..%d changes, %d of %d missing in history\n", "sustained, committed, fsync on",
		r.Sustained.PerSecond, limitSustained, r.Sustained.LagLow, r.Sustained.LagHigh, r.Sustained.Missing, r.Sustained.Sent)
	fmt.Printf("%-34s %9.1f µs in this process (home included), %.1f µs in PostgreSQL\n", "processor time of a change",
		r.Sustained.OwnMicros, r.Sustained.DatabaseMicros)
	fmt.Printf("%-34s %10.0f/s\n", "plain pgx, same statements", r.RawPgx)
	fmt.Printf("%-34s %12.2f %12.2f\n", "share of plain pgx", r.OfRaw, limitOfRaw)
	for i, l := range r.Latency {
		fmt.Printf("%-34s %9.1f ms %9.0f ms   p50 %.1f ms, longest %.1f ms (change %d of %d)\n", fmt.Sprintf("change to row at %.0f/s, p99", l.Rate), l.P99,
			[]float64{limitP99Slow, limitP99Fast}[i], l.P50, l.Longest, l.Which, l.Changes)
	}
	fmt.Printf("%-34s %9.1f ms                p50 %.1f ms, longest %.1f ms, a checkpoint meanwhile: %t\n", "the same at 100/s right after the load",
		r.AfterLoad.P99, r.AfterLoad.P50, r.AfterLoad.Longest, r.AfterLoad.Checkpoint)
	s := r.Steady
	fmt.Printf("\n%.0f/s for %.0f s\n  %-32s %d of %d\n  %-32s %.0f in the first third, %.0f in the last\n", s.Rate, s.Seconds,
		"rows in history of changes", s.Stored, s.Sent, "changes on their way, mean", s.LagFirst, s.LagLast)
	fmt.Printf("  %-32s p50 %.1f ms, p99 %.1f ms\n  %-32s p50 %.1f ms, p99 %.1f ms, %d changes\n",
		"change to row", s.RowP50, s.RowP99, "change to a screen", s.ShownP50, s.ShownP99, s.Shown)
	fmt.Println("\neach stage alone")
	for _, s := range r.Stages {
		fmt.Printf("  %-32s %10.0f/s %9.2f µs a change\n", s.Name, s.PerSecond, 1e6/s.PerSecond)
	}
}
