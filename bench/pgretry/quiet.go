package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Without contention the strategies differ by microseconds, and whatever else the machine does by more. So they take
// turns of a tenth of a second, in an order that changes. Two strategies are compared by the ratio of their turns in the
// same round, and the median of these ratios counts: of a hundred, for one of thirty strays by two percent.
const (
	turnLength = 100 * time.Millisecond
	turns      = 100
)

// sides are the strategies compared: all that run a transaction once, in one round trip for BEGIN and one for COMMIT.
func sides() []strategy {
	return slices.DeleteFunc(strategies(), func(s strategy) bool { return s.name == "crdbpgxv5" || s.name == "3 × 0.5 s" })
}

// withoutContention measures workers that have a row of their own each.
func (r *report) withoutContention(ctx context.Context, o options) error {
	w := private()
	workers, err := o.workersOf(w)
	if err != nil {
		return err
	}
	header(w.name + ", in turns")
	for _, n := range workers {
		cells, err := o.inTurns(ctx, w, n)
		if err != nil {
			return err
		}
		for _, c := range cells {
			r.add(c)
			fmt.Printf("%30s %.3f of the best peer, %.0f µs of the client's CPU each\n", "", c.OfBestPeer, c.CPU)
		}
	}
	return ctx.Err()
}

// turn is one strategy's share of the measurement.
type turn struct {
	tps, cpu []float64
	tallies  []tally
}

func (o options) inTurns(ctx context.Context, w workload, workers int) ([]result, error) {
	pool, err := connect(ctx, o.url, workers+2)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	if err := reset(ctx, pool, schema, w.setup); err != nil {
		return nil, err
	}
	if err := warm(ctx, pool, workers); err != nil {
		return nil, err
	}
	all := sides()
	runs := make([]func(context.Context, job) error, len(all))
	for i, s := range all {
		runs[i] = s.make(pool)
	}
	measured := make([]turn, len(all))
	for round := range turns + 1 {
		for _, i := range rand.Perm(len(all)) {
			if err := measured[i].take(ctx, pool, w, runs[i], workers, round > 0); err != nil {
				return nil, err
			}
		}
	}
	cells := make([]result, len(all))
	for i, s := range all {
		cells[i] = measured[i].result()
		cells[i].Workload, cells[i].Strategy, cells[i].Workers = w.name, s.name, workers
		cells[i].OfBestPeer = ofBestPeer(measured, all, i)
	}
	return cells, ctx.Err()
}

// take runs a strategy for a turn. The first one of each warms up and does not count.
func (t *turn) take(ctx context.Context, pool *pgxpool.Pool, w workload, run func(context.Context, job) error, workers int, counts bool) error {
	var attempts atomic.Int64
	before := cpuTime()
	start := time.Now()
	tallies := crowd(ctx, workers, start.Add(turnLength), run, func(i int) job { return w.next(i, &attempts) })
	elapsed := time.Since(start)
	done := 0
	for _, tl := range tallies {
		done += tl.done
	}
	if counts {
		t.tps = append(t.tps, float64(done)/elapsed.Seconds())
		t.cpu = append(t.cpu, ratio(float64((cpuTime()-before).Microseconds()), float64(done)))
		t.tallies = append(t.tallies, tallies...)
	}
	return ctx.Err()
}

func (t *turn) result() result {
	r := summarize(t.tallies, time.Second)
	r.TPS, r.CPU, r.Attempts, r.Jain = median(t.tps), median(t.cpu), 1, 1
	return r
}

// ofBestPeer compares a strategy with the peer of the highest median.
func ofBestPeer(measured []turn, all []strategy, i int) float64 {
	best := -1
	for k, peer := range all {
		if !strings.HasPrefix(peer.name, "pgretry") && (best < 0 || median(measured[k].tps) > median(measured[best].tps)) {
			best = k
		}
	}
	ratios := make([]float64, len(measured[best].tps))
	for round, tps := range measured[best].tps {
		ratios[round] = ratio(measured[i].tps[round], tps)
	}
	return median(ratios)
}

func median(values []float64) float64 {
	values = slices.Clone(values)
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// cpuTime is the processor time that this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
