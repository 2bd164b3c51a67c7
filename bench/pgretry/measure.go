package main

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// drain is how long transactions that began in time may take to end; the rest counts as failed.
const drain = 3 * time.Second

// result is one cell of the table. Times are milliseconds.
type result struct {
	Workload   string  `json:"workload"`
	Strategy   string  `json:"strategy"`
	Workers    int     `json:"workers"`
	Operations int     `json:"operations"`
	Success    float64 `json:"success_percent"`
	Attempts   float64 `json:"attempts_per_operation"`
	TPS        float64 `json:"tps"`
	P50        float64 `json:"p50_ms"`
	P95        float64 `json:"p95_ms"`
	P99        float64 `json:"p99_ms"`
	Max        float64 `json:"max_ms"`
	Jain       float64 `json:"jain"`
	Lost       int64   `json:"lost"`
	Doubled    int64   `json:"doubled"`
	// WriterRate is the batch writer's commits a second, of 25 wanted.
	WriterRate float64 `json:"writer_per_second,omitempty"`
	// OfOneClient is TPS divided by that of one client alone; nil where that was not measured.
	OfOneClient *float64 `json:"of_one_client,omitempty"`
	// OfBestPeer is TPS divided by that of the quickest peer, where there is no contention.
	OfBestPeer float64 `json:"of_best_peer,omitempty"`
	// CPU is the client's processor time per transaction in microseconds, where there is no contention.
	CPU float64 `json:"client_cpu_us,omitempty"`
	// Missed is what the strategy must reach and did not; nil if it reached all, or nothing is asked of it.
	Missed []string `json:"missed,omitempty"`
	// Judged tells that something is asked of it.
	Judged bool `json:"judged"`
}

// tally is what one worker did.
type tally struct {
	done, failed int
	took         []time.Duration
}

func measure(ctx context.Context, pool *pgxpool.Pool, w workload, s strategy, workers int, length time.Duration) (result, error) {
	run := s.make(pool)
	var attempts atomic.Int64
	tallies := make([]tally, workers)
	var writer tally
	start := time.Now()
	end := start.Add(length)
	ctx, cancel := context.WithDeadline(ctx, end.Add(drain))
	defer cancel()
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() { tallies[i].loop(ctx, end, run, func() job { return w.next(i, &attempts) }) })
	}
	if w.writer != nil {
		wg.Go(func() { writer.paced(ctx, start, end, w.period, run, func() job { return w.writer(&attempts) }) })
	}
	wg.Wait()
	elapsed := time.Since(start)
	r := summarize(tallies, elapsed)
	r.Workload, r.Strategy, r.Workers = w.name, s.name, workers
	r.Attempts = ratio(float64(attempts.Load()), float64(r.Operations+writer.done+writer.failed))
	r.WriterRate = float64(writer.done) / elapsed.Seconds()
	if w.writer != nil {
		r.WriterRate = float64(writer.done) / length.Seconds()
	}
	var applied float64
	if err := pool.QueryRow(context.WithoutCancel(ctx), `select (`+w.applied+`)::float8`).Scan(&applied); err != nil {
		return r, err
	}
	claimed := int64(writer.done)
	for _, t := range tallies {
		claimed += int64(t.done)
	}
	r.Lost, r.Doubled = max(0, claimed-int64(applied)), max(0, int64(applied)-claimed)
	return r, nil
}

// crowd has workers run jobs until end and returns what each did.
func crowd(ctx context.Context, workers int, end time.Time, run func(context.Context, job) error, next func(worker int) job) []tally {
	tallies := make([]tally, workers)
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() { tallies[i].loop(ctx, end, run, func() job { return next(i) }) })
	}
	wg.Wait()
	return tallies
}

func (t *tally) loop(ctx context.Context, end time.Time, run func(context.Context, job) error, next func() job) {
	for time.Now().Before(end) {
		t.one(ctx, run, next())
	}
}

// paced begins a transaction each period, late ones at once, never two together.
func (t *tally) paced(ctx context.Context, start, end time.Time, period time.Duration, run func(context.Context, job) error, next func() job) {
	for n := 0; ; n++ {
		due := start.Add(time.Duration(n) * period)
		if !due.Before(end) || time.Now().After(end) {
			return
		}
		if pause(ctx, time.Until(due)) != nil {
			return
		}
		t.one(ctx, run, next())
	}
}

func (t *tally) one(ctx context.Context, run func(context.Context, job) error, j job) {
	begin := time.Now()
	if err := run(ctx, j); err != nil {
		t.failed++
		return
	}
	t.done++
	t.took = append(t.took, time.Since(begin))
}

func summarize(tallies []tally, elapsed time.Duration) result {
	var took []time.Duration
	var done, failed int
	var sum, squares float64
	for _, t := range tallies {
		done, failed, took = done+t.done, failed+t.failed, append(took, t.took...)
		sum += float64(t.done)
		squares += float64(t.done) * float64(t.done)
	}
	slices.Sort(took)
	at := func(q float64) float64 {
		if len(took) == 0 {
			return 0
		}
		return float64(took[int(q*float64(len(took)-1))]) / float64(time.Millisecond)
	}
	return result{
		Operations: done + failed,
		Success:    100 * ratio(float64(done), float64(done+failed)),
		TPS:        float64(done) / elapsed.Seconds(),
		P50:        at(0.5), P95: at(0.95), P99: at(0.99), Max: at(1),
		Jain: ratio(sum*sum, float64(len(tallies))*squares),
	}
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
