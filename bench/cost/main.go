// Command cost measures what watching costs: the way of a state change from a
// home to its committed rows with metrics, the ledger, the retry observer and
// logs at info, beside the same way with none of them. Traces are off in both.
//
// The two take turns in one process, on one PostgreSQL and one spool, because a
// shared machine changes its mind within a minute. Their difference is far below
// what such a machine does by itself, which a third way, not watched either,
// shows. So the limit is on what the profile of the watched turns says: the share
// of the processor time that was spent in functions that only watch. With -json
// it prints JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"time"
)

// limitCost is the share of the processor time that watching may take.
const limitCost = 0.02

// side is one of the two, as measured in every round.
type side struct {
	Micros    []float64 `json:"cpu_us_of_a_change"` // of this process, the simulated home included
	PerSecond []float64 `json:"changes_per_second"`
}

type report struct {
	Plain    side      `json:"plain"`
	Watched  side      `json:"watched"`
	Same     side      `json:"plain_again"` // plain a second time: what the machine alone makes of it
	Share    float64   `json:"share"`       // of the processor time of the watched turns, from their profile
	Costs    []float64 `json:"cost_by_round"`
	Cost     float64   `json:"cost"`    // median over the rounds, as a share of the processor time
	Noise    float64   `json:"noise"`   // the same of plain beside plain
	Slower   float64   `json:"slower"`  // the same of the throughput
	Missing  int64     `json:"missing"` // changes that were not written
	Scrapes  int64     `json:"scrapes"` // of /metrics, meanwhile
	LogBytes int64     `json:"log_bytes"`
}

func main() {
	rounds := flag.Int("rounds", 9, "turns of each")
	length := flag.Duration("length", 3*time.Second, "of a turn")
	entities := flag.Int("entities", 1000, "of the home")
	asJSON := flag.Bool("json", false, "print JSON")
	flag.Parse()
	r, err := run(context.Background(), *entities, *rounds, *length)
	if err != nil {
		fmt.Fprintln(os.Stderr, "cost:", err)
		os.Exit(1)
	}
	if *asJSON {
		_ = json.NewEncoder(os.Stdout).Encode(r) // standard output
	} else {
		r.print()
	}
	if r.Share > limitCost || r.Missing > 0 {
		fmt.Fprintln(os.Stderr, "cost: a limit is missed")
	}
}

func run(ctx context.Context, entities, rounds int, length time.Duration) (*report, error) {
	b, err := setUp(ctx, entities)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	r := &report{}
	turns := []struct {
		way *way
		to  *side
	}{{b.plain, &r.Plain}, {b.watched, &r.Watched}, {b.same, &r.Same}}
	for round := range rounds {
		for i := range turns { // the order changes, so that nobody always follows the same
			turn := turns[(i+round)%len(turns)]
			if err := b.turn(ctx, turn.way, turn.to, length); err != nil {
				return nil, err
			}
		}
	}
	r.Missing = b.plain.missing() + b.watched.missing() + b.same.missing()
	r.Scrapes, r.LogBytes = b.scrapes.Load(), b.log.Load()
	if r.Share, err = b.share(); err != nil {
		return nil, err
	}
	r.sum()
	return r, nil
}

// sum compares turns of the same round and takes the median over the rounds.
func (r *report) sum() {
	var noise, slower []float64
	for i := range r.Plain.Micros {
		base := (r.Plain.Micros[i] + r.Same.Micros[i]) / 2
		r.Costs = append(r.Costs, r.Watched.Micros[i]/base-1)
		noise = append(noise, r.Same.Micros[i]/r.Plain.Micros[i]-1)
		slower = append(slower, 1-r.Watched.PerSecond[i]/((r.Plain.PerSecond[i]+r.Same.PerSecond[i])/2))
	}
	r.Cost, r.Noise, r.Slower = median(r.Costs), median(noise), median(slower)
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[len(v)/2] + v[(len(v)-1)/2]) / 2
}

func (r *report) print() {
	fmt.Printf("%-28s %16s %16s\n", fmt.Sprintf("median of %d turns", len(r.Costs)), "CPU of a change", "changes/s")
	for _, s := range []struct {
		name string
		side side
	}{{"watched", r.Watched}, {"not watched", r.Plain}, {"not watched, again", r.Same}} {
		fmt.Printf("%-28s %13.2f µs %16.0f\n", s.name, median(s.side.Micros), median(s.side.PerSecond))
	}
	fmt.Printf("\n%-44s %7.2f%%   must be at most %.0f%%\n", "watching, of the processor time (profile)", 100*r.Share, 100*limitCost)
	fmt.Printf("%-44s %7.2f%%   not watched beside itself: %.2f%%; by round", "processor time of a change, watched or not", 100*r.Cost, 100*r.Noise)
	for _, c := range r.Costs {
		fmt.Printf(" %.1f", 100*c)
	}
	fmt.Printf("\n%-44s %7.2f%%\n", "throughput, watched or not", -100*r.Slower)
	fmt.Printf("%d changes missing, %d scrapes, %d bytes of log\n", r.Missing, r.Scrapes, r.LogBytes)
}
