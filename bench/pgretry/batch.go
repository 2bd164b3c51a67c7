package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/concord-home/concord/pgretry"
)

// batchResult is one cell of the batch table: rows a second, at the lower quartile of the passes' times.
type batchResult struct {
	Records int     `json:"records"`
	Pass    string  `json:"pass"`
	Bad     float64 `json:"bad_percent"`
	Rate    float64 `json:"rows_per_second"`
	// Raw is one set-based upsert by pgx of the same number of good records.
	Raw float64 `json:"raw_rows_per_second"`
	// Ratio is the median of the rounds' ratios.
	Ratio float64 `json:"ratio"`
	// Missed is as in a transaction's cell.
	Missed []string `json:"missed,omitempty"`
}

const stateTable = `create table state (id bigint primary key, entity text not null, value text not null,
	n bigint not null check (n >= 0), at timestamptz not null) with (fillfactor = 60, autovacuum_enabled = off)`

// stateRows are the same records twice: as pgx takes them by column, all good, and as a batch takes them by row.
type stateRows struct {
	ids, ns         []int64
	entities, value []string
	at              []time.Time
	records         [][]any
}

// makeStates makes records of random order with keys from first. Of those of the batch a share is bad.
func makeStates(n int, first int64, bad float64) *stateRows {
	s, at := &stateRows{}, time.Now()
	for i, k := range rand.Perm(n) {
		id := first + int64(k)
		entity, value := fmt.Sprintf("sensor.number_%d", id), fmt.Sprintf("%d.%d", i%100, k%10)
		s.ids, s.ns, s.at = append(s.ids, id), append(s.ns, int64(i)), append(s.at, at)
		s.entities, s.value = append(s.entities, entity), append(s.value, value)
		count := int64(i)
		if rand.Float64() < bad {
			count = -1
		}
		s.records = append(s.records, []any{id, entity, value, count, at})
	}
	return s
}

func (s *stateRows) raw(ctx context.Context, pool *pgxpool.Pool) error {
	return pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `insert into state as t (id, entity, value, n, at)
			select * from unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::timestamptz[])
			on conflict (id) do update set entity = excluded.entity, value = excluded.value, n = excluded.n, at = excluded.at
			where excluded.at > t.at`, s.ids, s.entities, s.value, s.ns, s.at)
		return err
	})
}

func (r *report) batches(ctx context.Context, o options) error {
	pool, err := connect(ctx, o.url, 2)
	if err != nil {
		return err
	}
	defer pool.Close()
	fmt.Printf("\n%-8s %9s %6s %12s %12s %6s\n", "batch", "records", "bad", "rows/s", "raw rows/s", "ratio")
	sizes, err := numbers(o.records)
	if err != nil {
		return err
	}
	for _, n := range sizes {
		for _, bad := range badShares(n) {
			for _, pass := range []string{"insert", "update"} {
				cell, err := batchCell(ctx, pool, n, bad, pass)
				if err != nil {
					return err
				}
				if cell.Ratio < batchAtLeast {
					cell.Missed = []string{fmt.Sprintf("%.2f of raw", batchAtLeast)}
				}
				r.Batches = append(r.Batches, cell)
				fmt.Printf("%-8s %9d %5.0f%% %12.0f %12.0f %6.2f  %s\n", pass, n, cell.Bad, cell.Rate, cell.Raw, cell.Ratio, verdict(true, cell.Missed))
			}
		}
	}
	return ctx.Err()
}

// badShares are the shares of bad records to measure with; of the largest batch only two, for time.
func badShares(n int) []float64 {
	if n >= 100_000 {
		return []float64{0, 0.01}
	}
	return []float64{0, 0.01, 0.1}
}

// A cell ends after cellTime, but not before fewestRounds, nor after mostRounds.
const (
	cellTime     = 5 * time.Second
	fewestRounds = 7
	mostRounds   = 200
)

// batchSide is one way to write records, and the time that its runs took.
type batchSide struct {
	run  func(*stateRows) error
	took []time.Duration
}

// batchCell measures a batch and raw pgx in turns, each on a table in the same state.
func batchCell(ctx context.Context, pool *pgxpool.Pool, n int, bad float64, pass string) (batchResult, error) {
	cell := batchResult{Records: n, Pass: pass, Bad: 100 * bad}
	batch := &pgretry.Batch{
		Table: pgx.Identifier{"state"}, Columns: []string{"id", "entity", "value", "n", "at"}, Key: []string{"id"}, Newer: "at",
	}
	if err := reset(ctx, pool, schema, stateTable); err != nil {
		return cell, err
	}
	ours := &batchSide{run: func(s *stateRows) error { _, err := batch.Upsert(ctx, pool, s.records); return err }}
	raw := &batchSide{run: func(s *stateRows) error { return s.raw(ctx, pool) }}
	sides := []*batchSide{ours, raw}
	begin := time.Now()
	for round := range mostRounds {
		if round >= fewestRounds && time.Since(begin) > cellTime {
			break
		}
		slices.Reverse(sides)
		for _, side := range sides {
			if err := prepare(ctx, pool, pass, n); err != nil {
				return cell, err
			}
			if err := side.turn(n, bad); err != nil {
				return cell, err
			}
		}
	}
	var ratios []float64
	for round := range ours.took {
		ratios = append(ratios, float64(raw.took[round])/float64(ours.took[round]))
	}
	cell.Rate, cell.Raw = float64(n)/quartile(ours.took).Seconds(), float64(n)/quartile(raw.took).Seconds()
	cell.Ratio = median(ratios[1:]) // the first round warms up
	return cell, nil
}

// prepare makes the table as a pass needs it: empty, or with all records, older.
func prepare(ctx context.Context, pool *pgxpool.Pool, pass string, n int) error {
	if _, err := pool.Exec(ctx, `truncate state`); err != nil {
		return err
	}
	if pass == "update" {
		if err := makeStates(n, 0, 0).raw(ctx, pool); err != nil {
			return err
		}
	}
	_, err := pool.Exec(ctx, `vacuum analyze state`)
	return err
}

// turn times one run. A record that is none of the pass goes first: the new state of the table makes the server plan the
// statement anew, and what this program left to collect is collected.
func (b *batchSide) turn(n int, bad float64) error {
	if err := b.run(makeStates(1, -1, 0)); err != nil {
		return err
	}
	rows := makeStates(n, 0, bad)
	runtime.GC()
	return timed(&b.took, func() error { return b.run(rows) })
}

func timed(into *[]time.Duration, run func() error) error {
	start := time.Now()
	err := run()
	*into = append(*into, time.Since(start))
	return err
}

// quartile is the time that a quarter of the passes took at most: what others do on the machine disturbs it less than
// the median.
func quartile(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/4]
}
