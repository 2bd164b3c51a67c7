// Command outage has PostgreSQL away for as many changes as a home of 100 a
// second makes in an hour, and measures how fast Concord catches up with them
// while the home goes on, and how long a change takes to the live model
// meanwhile. Everything is on this machine's own disk, fsync on. Afterwards the
// history must equal what the home sent.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/concord-home/concord/internal/faulttest"
)

const (
	hour      = 360_000
	limitRate = 10_000 // changes a second that must be caught up with
)

type report struct {
	Heard       int     `json:"changes_while_away"`
	Hearing     float64 `json:"heard_in_seconds"`
	CatchUp     float64 `json:"caught_up_in_seconds"`
	Rate        float64 `json:"caught_up_per_second"`
	Limit       float64 `json:"limit_per_second"`
	LiveRate    int     `json:"live_per_second"`
	SlowestAway float64 `json:"slowest_to_live_model_while_away_ms"`
	SlowestThen float64 `json:"slowest_to_live_model_while_catching_up_ms"`
	Sent        int     `json:"changes_sent"`
	Stored      int     `json:"rows_in_history"`
}

func main() {
	binary := flag.String("binary", "bin/concord", "the concord to measure")
	changes := flag.Int("changes", hour, "changes while PostgreSQL is away")
	asJSON := flag.Bool("json", false, "print JSON")
	flag.Parse()
	r, err := run(context.Background(), *binary, *changes)
	if err != nil {
		fmt.Fprintln(os.Stderr, "outage:", err)
		os.Exit(1)
	}
	if *asJSON {
		_ = json.NewEncoder(os.Stdout).Encode(r) // plain numbers
	} else {
		r.print()
	}
	if r.Rate < limitRate {
		fmt.Fprintf(os.Stderr, "outage: %.0f/s is less than %d/s\n", r.Rate, limitRate)
		os.Exit(1)
	}
}

func run(ctx context.Context, binary string, changes int) (r report, err error) {
	if binary, err = filepath.Abs(binary); err != nil {
		return r, err
	}
	system, err := faulttest.Start(ctx, faulttest.Options{Binary: binary, OwnDisk: true})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, system.Close()) }()
	o, err := system.Outage(ctx, changes)
	if err != nil {
		return r, err
	}
	if !o.Exact() || o.Stored != o.Sent {
		return r, fmt.Errorf("%d changes sent, %d stored: %v", o.Sent, o.Stored, o.Examples)
	}
	return report{
		Heard: o.Heard, Hearing: o.Hearing.Seconds(), CatchUp: o.CatchUp.Seconds(), Rate: o.Rate(), Limit: limitRate, LiveRate: faulttest.LiveRate,
		SlowestAway: o.Before.Seconds() * 1000, SlowestThen: o.During.Seconds() * 1000, Sent: o.Sent, Stored: o.Stored,
	}, nil
}

func (r report) print() {
	fmt.Printf("%d changes while PostgreSQL was away, heard in %.1f s\n", r.Heard, r.Hearing)
	fmt.Printf("caught up in %.1f s: %.0f/s beside %d/s live (must be %.0f/s)\n", r.CatchUp, r.Rate, r.LiveRate, r.Limit)
	fmt.Printf("slowest change to the live model: %.0f ms while away (bursts of 2,000), %.0f ms while catching up\n", r.SlowestAway, r.SlowestThen)
	fmt.Printf("%d sent, %d stored\n", r.Sent, r.Stored)
}
