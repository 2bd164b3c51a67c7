package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// work is what the application does between reading and writing.
const work = time.Millisecond

// workload is a mix of transactions on tables of its own.
type workload struct {
	name string
	// setup makes the tables.
	setup string
	// next makes worker w's next transaction. Each attempt adds one to attempts.
	next func(w int, attempts *atomic.Int64) job
	// applied counts the operations that the tables show.
	applied string
	// writer, if set, is a further worker that begins one transaction each period, and is reported by itself.
	writer func(attempts *atomic.Int64) job
	period time.Duration
	// workers are the numbers of workers to measure with, length how long a cell is.
	workers []int
	length  time.Duration
}

func workloads() []workload {
	return []workload{
		hotRows("hot row", 1).with(5*time.Second, 2, 10, 50, 100),
		hotRows("10 rows", 10).with(2*time.Second, 10, 100),
		hotRows("500 rows", 500).with(2*time.Second, 10, 100),
		dashboard().with(2500*time.Millisecond, 10, 100),
		// The first second goes by before the server undoes the first deadlock.
		deadlock().with(4*time.Second, 50),
		writeSkew().with(2*time.Second, 10, 100),
	}
}

func (w workload) with(length time.Duration, workers ...int) workload {
	w.length, w.workers = length, workers
	return w
}

const counterTable = `create table counter (id int primary key, n bigint not null default 0) with (fillfactor = 50);
	insert into counter select i, 0 from generate_series(0, 999) i`

// increment reads, works and writes one row.
func increment(ctx context.Context, tx pgx.Tx, id int) error {
	var n int64
	if err := tx.QueryRow(ctx, `select n from counter where id = $1`, id).Scan(&n); err != nil {
		return err
	}
	time.Sleep(work)
	_, err := tx.Exec(ctx, `update counter set n = $2 where id = $1`, id, n+1)
	return err
}

func hotRows(name string, rows int) workload {
	return rowsBy(name, func(int) int { return rand.IntN(rows) })
}

// private gives each worker a row of its own: no contention.
func private() workload { return rowsBy(ownRow, func(w int) int { return w }).with(0, 1, 10, 50) }

const ownRow = "own row"

func rowsBy(name string, pick func(w int) int) workload {
	return workload{
		name: name, setup: counterTable, applied: `select sum(n) from counter`,
		next: func(w int, attempts *atomic.Int64) job {
			id := pick(w)
			return job{name: name, key: fmt.Sprint(name, id), iso: pgx.RepeatableRead, fn: func(ctx context.Context, tx pgx.Tx) error {
				attempts.Add(1)
				return increment(ctx, tx, id)
			}}
		},
	}
}

// dashboard has readers that upsert 20 areas after reading them, and a writer of 100 to 500 entities, whose areas it
// touches too, 25 times a second.
func dashboard() workload {
	const areas = 20
	upsert := `insert into area (id, seen) select i, 1 from generate_series(1, $1) i
		on conflict (id) do update set seen = area.seen + 1`
	return workload{
		name: "dashboard", period: 40 * time.Millisecond,
		setup: `create table area (id int primary key, seen bigint not null) with (fillfactor = 50);
			create table entity (id int primary key, area int not null, state bigint not null) with (fillfactor = 50);
			create table refresh (n bigint not null); insert into refresh values (0);
			insert into area select i, 0 from generate_series(1, 20) i;
			insert into entity select i, 1 + i % 20, 0 from generate_series(1, 500) i`,
		applied: `select max(seen) from area`,
		next: func(_ int, attempts *atomic.Int64) job {
			return job{name: "read", key: "dashboard", iso: pgx.RepeatableRead, fn: func(ctx context.Context, tx pgx.Tx) error {
				attempts.Add(1)
				if _, err := tx.Exec(ctx, `select area, count(*), max(state) from entity group by area`); err != nil {
					return err
				}
				time.Sleep(work)
				_, err := tx.Exec(ctx, upsert, areas)
				return err
			}}
		},
		writer: func(attempts *atomic.Int64) job {
			rows := 100 + rand.IntN(401)
			return job{name: "write", key: "dashboard", iso: pgx.RepeatableRead, fn: func(ctx context.Context, tx pgx.Tx) error {
				attempts.Add(1)
				if _, err := tx.Exec(ctx, `update entity set state = state + 1 where id <= $1`, rows); err != nil {
					return err
				}
				time.Sleep(work)
				_, err := tx.Exec(ctx, upsert, areas)
				return err
			}}
		},
	}
}

// deadlock increments 4 random rows of 20 in random order.
func deadlock() workload {
	return workload{
		name: "deadlock", setup: counterTable, applied: `select sum(n) / 4 from counter`,
		next: func(_ int, attempts *atomic.Int64) job {
			ids := rand.Perm(20)[:4]
			return job{name: "deadlock", key: "deadlock", iso: pgx.RepeatableRead, fn: func(ctx context.Context, tx pgx.Tx) error {
				attempts.Add(1)
				for i, id := range ids {
					if i == 2 {
						time.Sleep(work)
					}
					if _, err := tx.Exec(ctx, `update counter set n = n + 1 where id = $1`, id); err != nil {
						return err
					}
				}
				return nil
			}}
		},
	}
}

// writeSkew keeps, at SERIALIZABLE, that the sum of a pair of rows is at most one higher than what was committed: a
// transaction reads both rows of a pair and increments one.
func writeSkew() workload {
	return workload{
		name: "write skew", setup: counterTable, applied: `select sum(n) from counter`,
		next: func(_ int, attempts *atomic.Int64) job {
			pair := rand.IntN(5) * 2
			side := rand.IntN(2)
			return job{name: "skew", key: fmt.Sprint("skew", pair), iso: pgx.Serializable, fn: func(ctx context.Context, tx pgx.Tx) error {
				attempts.Add(1)
				var sum int64
				err := tx.QueryRow(ctx, `select sum(n)::bigint from counter where id between $1 and $1 + 1`, pair).Scan(&sum)
				if err != nil {
					return err
				}
				time.Sleep(work)
				// The pair's sum is kept in row 100 + pair too; at a weaker level the two drift apart.
				_, err = tx.Exec(ctx, `update counter set n = n + 1 where id = $1`, pair+side)
				return err
			}}
		},
	}
}

func reset(ctx context.Context, pool *pgxpool.Pool, schema, setup string) error {
	_, err := pool.Exec(ctx, `drop schema if exists `+schema+` cascade; create schema `+schema+`; `+setup)
	return err
}
