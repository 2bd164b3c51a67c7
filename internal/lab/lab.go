package lab

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Experiment is one cell: dashboard requests by one strategy beside a service
// that writes state changes. A request does what the Odoo add-on's does, in one
// transaction at REPEATABLE READ: it reads the areas and writes every area and
// every entity, one statement a row. URL and Strategy are required.
type Experiment struct {
	URL      string
	Strategy Strategy
	Events   float64       // state changes a second that the service writes
	Readers  int           // requests at once; 0 means 10
	Areas    int           // 0 means 6
	Entities int           // 0 means 70
	Duration time.Duration // 0 means 5 s
	Pool     int           // connections; 0 means 64, what an Odoo has
}

// Result is what a cell measured.
type Result struct {
	Strategy    string  `json:"strategy"`
	Events      float64 `json:"events_per_second"`
	Readers     int     `json:"readers"`
	Requests    int     `json:"requests"`
	Succeeded   int     `json:"succeeded"`
	MeanRetries float64 `json:"mean_retries"`
	P50         float64 `json:"p50_ms"`
	P99         float64 `json:"p99_ms"`
	PerSecond   float64 `json:"succeeded_per_second"`
	EventsSent  int     `json:"events_sent"`
	EventsLost  int     `json:"events_lost"`
	WrongRows   int     `json:"rows_left_wrong"`
	Savepoints  int64   `json:"savepoints"`
	SavepointMS float64 `json:"mean_savepoint_ms"`
	PoolHigh    int     `json:"pool_high_water"`
	PoolWaits   int64   `json:"waits_for_a_connection"`
	ClientCPU   float64 `json:"client_cpu_seconds"`
	ServerCPU   float64 `json:"server_cpu_seconds"` // of the backends; 0 where they run on another machine
}

// SuccessRate is the share of requests that succeeded, 0 to 1.
func (r Result) SuccessRate() float64 {
	if r.Requests == 0 {
		return 0
	}
	return float64(r.Succeeded) / float64(r.Requests)
}

func (e Experiment) withDefaults() Experiment {
	set := func(n *int, otherwise int) {
		if *n == 0 {
			*n = otherwise
		}
	}
	set(&e.Readers, 10)
	set(&e.Areas, 6)
	set(&e.Entities, 70)
	set(&e.Pool, 64)
	if e.Duration == 0 {
		e.Duration = 5 * time.Second
	}
	return e
}

// Run makes the tables in a schema of their own, runs the experiment, and drops
// the schema. It touches nothing else in the database.
func (e Experiment) Run(ctx context.Context) (Result, error) {
	e = e.withDefaults()
	config, err := pgxpool.ParseConfig(e.URL)
	if err != nil {
		return Result{}, errors.New("lab: not a PostgreSQL connection string")
	}
	schema := "concord_lab_" + strconv.FormatUint(rand.Uint64(), 36)
	config.MaxConns = int32(e.Pool) //nolint:gosec // small
	config.ConnConfig.RuntimeParams["search_path"] = schema
	config.ConnConfig.RuntimeParams["application_name"] = "concord lab"
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return Result{}, fmt.Errorf("lab: %w", err)
	}
	defer pool.Close()
	r := &run{Experiment: e, pool: pool, sent: make(map[int]string)}
	if err := r.create(ctx, schema); err != nil {
		return Result{}, fmt.Errorf("lab: set up: %w", err)
	}
	defer pool.Exec(context.WithoutCancel(ctx), `drop schema `+schema+` cascade`) //nolint:errcheck // best effort
	result, err := r.measure(ctx)
	if err != nil {
		return Result{}, fmt.Errorf("lab: %w", err)
	}
	return result, nil
}

type run struct {
	Experiment
	pool *pgxpool.Pool

	mu        sync.Mutex
	latencies []float64
	requests  int
	retries   int
	sent      map[int]string // what each entity's row must hold in the end
	events    int
	lost      int

	savepoints     atomic.Int64
	savepointNanos atomic.Int64
}

func (r *run) create(ctx context.Context, schema string) error {
	_, err := r.pool.Exec(ctx, fmt.Sprintf(`
		create schema %[1]s;
		create table %[1]s.area (id int primary key, name text, synced bigint not null default 0);
		create table %[1]s.entity (id int primary key, area_id int not null references %[1]s.area, state text not null default '', synced bigint not null default 0);
		create table %[1]s.entity_label (entity_id int not null references %[1]s.entity, label text not null, primary key (entity_id, label));
		insert into %[1]s.area select i, 'area ' || i from generate_series(1, %[2]d) i;
		insert into %[1]s.entity select i, 1 + i %% %[2]d from generate_series(1, %[3]d) i;
		insert into %[1]s.entity_label select i, 'label ' || i %% 5 from generate_series(1, %[3]d) i`, schema, r.Areas, r.Entities))
	return err
}

func (r *run) measure(ctx context.Context) (Result, error) {
	before := cpuSeconds()
	work, stop := context.WithTimeout(ctx, r.Duration)
	defer stop()
	var wg sync.WaitGroup
	high := 0
	wg.Go(func() { r.service(work) })
	wg.Go(func() { high = r.watchPool(work) })
	begin := time.Now()
	for range r.Readers {
		wg.Go(func() {
			for work.Err() == nil {
				r.request(ctx)
			}
		})
	}
	wg.Wait()
	took := time.Since(begin).Seconds()
	server := r.serverCPU(ctx)
	wrong, err := r.wrongRows(ctx)
	if err != nil {
		return Result{}, err
	}
	slices.Sort(r.latencies)
	result := Result{
		Strategy: r.Strategy.Name, Events: r.Events, Readers: r.Readers, Requests: r.requests, Succeeded: len(r.latencies),
		P50: quantile(r.latencies, .5), P99: quantile(r.latencies, .99), PerSecond: float64(len(r.latencies)) / took,
		EventsSent: r.events, EventsLost: r.lost, WrongRows: wrong, Savepoints: r.savepoints.Load(), PoolHigh: high,
		PoolWaits: r.pool.Stat().EmptyAcquireCount(), ClientCPU: cpuSeconds() - before, ServerCPU: server,
	}
	if r.requests > 0 {
		result.MeanRetries = float64(r.retries) / float64(r.requests)
	}
	if result.Savepoints > 0 {
		result.SavepointMS = float64(r.savepointNanos.Load()) / float64(result.Savepoints) / 1e6
	}
	return result, nil
}

func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// request is one load of the dashboard. One under way at the end is finished.
func (r *run) request(ctx context.Context) {
	begin := time.Now()
	retries, err := r.Strategy.request(ctx, r)
	took := float64(time.Since(begin).Microseconds()) / 1000
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests++
	r.retries += retries
	if err == nil {
		r.latencies = append(r.latencies, took)
	}
}

// sync is what the request's transaction does. write runs one statement; it is
// where a strategy puts its savepoints.
func (r *run) sync(ctx context.Context, tx pgx.Tx, write func(ctx context.Context, sql string, args ...any) error) error {
	rows, err := tx.Query(ctx, `select id from area order by id`)
	if err != nil {
		return err
	}
	areas, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		return err
	}
	for _, id := range areas {
		if err := write(ctx, `update area set synced = synced + 1 where id = $1`, id); err != nil {
			return err
		}
	}
	for id := 1; id <= r.Entities; id++ {
		if err := write(ctx, `update entity set synced = synced + 1 where id = $1`, id); err != nil {
			return err
		}
	}
	return nil
}

// service writes state changes, one transaction each, on an open loop: a home
// does not wait.
func (r *run) service(ctx context.Context) {
	if r.Events <= 0 {
		return
	}
	tick := time.NewTicker(time.Duration(float64(time.Second) / r.Events))
	defer tick.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	busy := make([]sync.Mutex, r.Entities+1) // the changes of one entity stay in order
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		id, state := 1+rand.IntN(r.Entities), strconv.Itoa(n)
		r.mu.Lock()
		r.sent[id] = state
		r.events++
		r.mu.Unlock()
		wg.Go(func() {
			busy[id].Lock()
			defer busy[id].Unlock()
			if !r.newest(id, state) {
				return // a later change waits: it says all that matters
			}
			if err := r.Strategy.event(context.WithoutCancel(ctx), r, id, state); err != nil {
				r.mu.Lock()
				r.lost++
				r.mu.Unlock()
			}
		})
	}
}

func (r *run) newest(id int, state string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sent[id] == state
}

func (r *run) watchPool(ctx context.Context) (high int) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		high = max(high, int(r.pool.Stat().AcquiredConns()))
		select {
		case <-ctx.Done():
			return high
		case <-tick.C:
		}
	}
}

// wrongRows counts the rows that do not hold what was reported as done: the last state that was sent, and as many
// synchronisations as requests said that they had succeeded.
func (r *run) wrongRows(ctx context.Context) (int, error) {
	rows, err := r.pool.Query(ctx, `select id, state, synced from entity union all select -id, '', synced from area`)
	if err != nil {
		return 0, err
	}
	wrong := 0
	var id, synced int
	var state string
	_, err = pgx.ForEachRow(rows, []any{&id, &state, &synced}, func() error {
		if state != r.sent[id] || !r.Strategy.readOnly && synced != len(r.latencies) {
			wrong++
		}
		return nil
	})
	return wrong, err
}
