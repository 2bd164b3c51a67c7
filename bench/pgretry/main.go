// Command bench compares pgretry with other ways to run a transaction again, side by side on one PostgreSQL.
//
//	go run .                          all workloads
//	go run . -workload 'hot row' -workers 50,100 -length 5s
//	go run . -batch                   the batch upsert alone
//
// It prints a table, then the same as JSON. Without -url it starts a private PostgreSQL with fsync on.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/concord-home/concord/pgretry/internal/pgtest"
)

type options struct {
	url, workload, strategy, workers string
	records                          string
	length                           time.Duration
	rounds                           int
	batch, onlyTx                    bool
	json, docs                       string
}

func main() {
	var o options
	flag.StringVar(&o.url, "url", "", "a PostgreSQL to use, instead of a private one")
	flag.StringVar(&o.workload, "workload", "", "only workloads whose name contains this")
	flag.StringVar(&o.strategy, "strategy", "", "only strategies whose name contains this")
	flag.StringVar(&o.workers, "workers", "", "numbers of workers; by default each workload has its own")
	flag.StringVar(&o.records, "records", "500,5000,10000,100000", "sizes of a batch")
	flag.DurationVar(&o.length, "length", 0, "length of one cell; by default each workload has its own, 2 to 4 s")
	flag.IntVar(&o.rounds, "rounds", 1, "measure each cell so often, strategies in turn, and report the median")
	flag.BoolVar(&o.batch, "batch", false, "only the batch upsert")
	flag.BoolVar(&o.onlyTx, "transactions", false, "all but the batch upsert")
	flag.StringVar(&o.json, "json", "", "write the JSON to this file instead of standard output")
	flag.StringVar(&o.docs, "docs", "", "put the tables into this page, between its bench:begin and bench:end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	if o.url == "" {
		cluster, err := pgtest.Start("max_connections=300", "shared_buffers=256MB", "log_min_messages=fatal")
		if err != nil {
			return err
		}
		defer cluster.Stop()
		o.url = cluster.URL()
	}
	var report report
	if err := report.describe(ctx, o.url); err != nil {
		return err
	}
	if !o.batch {
		if err := report.transactions(ctx, o); err != nil {
			return err
		}
	}
	if !o.onlyTx {
		if err := report.batches(ctx, o); err != nil {
			return err
		}
	}
	if err := report.write(o.json); err != nil {
		return err
	}
	if o.docs != "" {
		if err := report.document(o.docs); err != nil {
			return err
		}
	}
	return report.judge()
}

// report is all that was measured.
type report struct {
	// Machine is the server's version and what it runs on.
	Machine      string        `json:"machine"`
	Transactions []result      `json:"transactions,omitempty"`
	Batches      []batchResult `json:"batches,omitempty"`
}

func (r *report) transactions(ctx context.Context, o options) error {
	if strings.Contains(ownRow, o.workload) {
		if err := r.withoutContention(ctx, o); err != nil {
			return err
		}
	}
	for _, w := range workloads() {
		if !strings.Contains(w.name, o.workload) {
			continue
		}
		workers, err := o.workersOf(w)
		if err != nil {
			return err
		}
		w.length = cmp.Or(o.length, w.length)
		header(w.name)
		for _, n := range workers {
			// One client goes before each number of workers: minutes later the machine is not the same.
			one, err := o.cell(ctx, w, strategies()[0], 1, 0)
			if err != nil {
				return err
			}
			r.add(one)
			if err := r.sideBySide(ctx, o, w, n, one.TPS); err != nil {
				return err
			}
		}
	}
	return nil
}

// describe notes where the run takes place.
func (r *report) describe(ctx context.Context, url string) error {
	pool, err := connect(ctx, url, 1)
	if err != nil {
		return err
	}
	defer pool.Close()
	var version, fsync string
	if err := pool.QueryRow(ctx, `select split_part(version(), ' ', 2), current_setting('fsync')`).Scan(&version, &fsync); err != nil {
		return err
	}
	r.Machine = fmt.Sprintf("PostgreSQL %s, fsync %s, %d cores shared by server and client, %s", version, fsync, runtime.NumCPU(), time.Now().Format(time.DateOnly))
	fmt.Println(r.Machine)
	return nil
}

func (o options) workersOf(w workload) ([]int, error) {
	if o.workers == "" {
		return w.workers, nil
	}
	return numbers(o.workers)
}

func header(name string) {
	fmt.Printf("\n%-22s %7s %8s %8s %8s %9s %8s %8s %8s %8s %6s %5s %7s %7s  %s\n", name, "workers", "success", "tries/op", "tps",
		"of one", "p50 ms", "p95 ms", "p99 ms", "max ms", "Jain", "lost", "doubled", "writer", "must reach")
}

// sideBySide measures all strategies in turn, several rounds of them, and keeps each one's median round.
func (r *report) sideBySide(ctx context.Context, o options, w workload, workers int, one float64) error {
	rounds := map[string][]result{}
	for range max(1, o.rounds) {
		for _, s := range strategies() {
			if !strings.Contains(s.name, o.strategy) {
				continue
			}
			cell, err := o.cell(ctx, w, s, workers, one)
			if err != nil {
				return err
			}
			rounds[s.name] = append(rounds[s.name], cell)
		}
	}
	for _, s := range strategies() {
		if cells := rounds[s.name]; len(cells) > 0 {
			slices.SortFunc(cells, func(a, b result) int { return cmp.Compare(a.TPS, b.TPS) })
			r.add(cells[len(cells)/2])
		}
	}
	return nil
}

// add keeps a cell and prints it.
func (r *report) add(c result) {
	c.judge()
	r.Transactions = append(r.Transactions, c)
	fmt.Printf("%-22s %7d %7.1f%% %8.2f %8.0f %9s %8.1f %8.1f %8.1f %8.1f %6.2f %5d %7d %7.1f  %s\n", c.Strategy, c.Workers, c.Success,
		c.Attempts, c.TPS, c.ofOne(), c.P50, c.P95, c.P99, c.Max, c.Jain, c.Lost, c.Doubled, c.WriterRate, verdict(c.Judged, c.Missed))
}

func (o options) cell(ctx context.Context, w workload, s strategy, workers int, one float64) (result, error) {
	if w.writer != nil && one == 0 {
		w.writer = nil
	}
	pool, err := connect(ctx, o.url, workers+2)
	if err != nil {
		return result{}, err
	}
	defer pool.Close()
	if err := reset(ctx, pool, schema, w.setup); err != nil {
		return result{}, err
	}
	if err := warm(ctx, pool, workers); err != nil {
		return result{}, err
	}
	cell, err := measure(ctx, pool, w, s, workers, w.length)
	if err != nil {
		return result{}, err
	}
	if one > 0 {
		of := cell.TPS / one
		cell.OfOneClient = &of
	}
	return cell, ctx.Err()
}

const schema = "pgretry_bench"

func connect(ctx context.Context, url string, size int) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.MaxConns = int32(size)
	config.ConnConfig.RuntimeParams["search_path"] = schema
	return pgxpool.NewWithConfig(ctx, config)
}

// warm opens the connections, so that no cell measures the server's forking.
func warm(ctx context.Context, pool *pgxpool.Pool, n int) error {
	conns := make([]*pgxpool.Conn, 0, n)
	defer func() {
		for _, c := range conns {
			c.Release()
		}
	}()
	for range n {
		c, err := pool.Acquire(ctx)
		if err != nil {
			return err
		}
		conns = append(conns, c)
	}
	return nil
}

func numbers(list string) (out []int, err error) {
	for s := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil {
			return nil, fmt.Errorf("list of numbers: %w", err)
		}
		out = append(out, n)
	}
	return out, nil
}

func (r *report) write(file string) error {
	out := os.Stdout
	if file != "" {
		f, err := os.Create(file)
		if err != nil {
			return err
		}
		defer f.Close()
		out = f
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}
