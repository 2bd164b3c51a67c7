package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// load fills the tables in the order of time, as a running Concord does. Only
// the index of the year is built afterwards, which is faster and the same. It
// does nothing when the house was loaded before.
func (h *house) load(ctx context.Context) error {
	var loaded time.Time
	err := h.conn.QueryRow(ctx, `select done from rollup where home_id = $1`, h.home).Scan(&loaded)
	if err == nil {
		h.now = loaded.UTC()
		return nil
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	begin := time.Now()
	for back := 9; back >= 0; back -= 3 { // makes the partitions of that day and the three after it
		if err := h.db.Upkeep(ctx, h.now.Add(-time.Duration(back)*day)); err != nil {
			return err
		}
	}
	// A transaction for each processor. What is truncated in it needs no log.
	loads := make(chan error, 2)
	go func() { loads <- h.inTransaction(ctx, h.loadDays) }()
	go func() { loads <- h.inTransaction(ctx, h.loadYear) }()
	if err := errors.Join(<-loads, <-loads); err != nil {
		return err
	}
	// What autovacuum does in the course of a year, and the mark that all is there.
	for _, sql := range []string{
		`vacuum analyze statistics_1h`, `vacuum analyze statistics_5m`, `vacuum analyze history`, `vacuum analyze history_entity`,
		fmt.Sprintf(`insert into rollup (home_id, done) values (%d, '%s')`, h.home, h.now.Format(time.RFC3339)), `checkpoint`,
	} {
		if _, err := h.conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	h.loading = time.Since(begin)
	return nil
}

func (h *house) inTransaction(ctx context.Context, fn func(context.Context, pgx.Tx) error) error {
	conn, err := pgx.Connect(ctx, h.Server.URL())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set local maintenance_work_mem = '2GB'; set local session_replication_role = replica`); err != nil {
			return err
		}
		return fn(ctx, tx)
	})
}

// value is a number that differs by entity n and time t.
const value = `lateral (select mod(n * 7 + extract(epoch from t)::bigint / 300 * 13, 40) + 0.5 as v) x`

// loadDays loads the changes and the 5-minute statistics of ten days.
func (h *house) loadDays(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, fmt.Sprintf(`
		truncate history, statistics_5m;
		insert into history_entity (home_id, entity_key, entity_id) select %d, n, 'sensor.e' || n from generate_series(1, %d) n;
		insert into attributes (home_id, attributes_id, attributes, seen_on)
		select %[1]d, n, jsonb_build_object('unit_of_measurement', '°C', 'friendly_name', 'Sensor ' || n), current_date from generate_series(1, %[2]d) n`,
		h.home, h.entities)); err != nil {
		return err
	}
	from := h.now.Truncate(day).Add(-9 * day)
	if _, err := tx.Exec(ctx, `
		insert into history (home_id, entity_key, last_updated, last_changed, value, attributes_id, state, context_id)
		select $1, n, t + n * interval '50 ms', t + n * interval '50 ms', v, n, v::text, '01J00000000000000000000000'
		from generate_series($2::timestamptz, $3::timestamptz - interval '5 min', '5 min') t, generate_series(1, $4::int) n, `+value,
		h.home, from, h.now, h.entities); err != nil {
		return err
	}
	return h.loadStatistics(ctx, tx, "statistics_5m", "5 min", from)
}

// loadYear loads the hourly statistics, whose index it takes away meanwhile.
func (h *house) loadYear(ctx context.Context, tx pgx.Tx) error {
	var index, definition string
	if err := tx.QueryRow(ctx, `
		select conname, pg_get_constraintdef(oid) from pg_constraint where conrelid = 'statistics_1h'::regclass and contype = 'p'`).
		Scan(&index, &definition); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `truncate statistics_1h; alter table statistics_1h drop constraint `+index); err != nil {
		return err
	}
	if err := h.loadStatistics(ctx, tx, "statistics_1h", "1 hour", h.now.AddDate(-1, 0, 0)); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `alter table statistics_1h add constraint `+index+` `+definition)
	return err
}

func (h *house) loadStatistics(ctx context.Context, tx pgx.Tx, table, width string, from time.Time) error {
	_, err := tx.Exec(ctx, fmt.Sprintf(`
		insert into %s (home_id, entity_key, bucket, count, min, mean, max, last, last_state)
		select $1, n, t, 12, v - 1, v, v + 1, v, v::text
		from generate_series($2::timestamptz, $3::timestamptz - interval '%s', '%[2]s') t, generate_series(1, $4::int) n, `, table, width)+value,
		h.home, from, h.now, h.entities)
	return err
}

// describe tells what is loaded.
func (h *house) describe(ctx context.Context, r *report) error {
	return h.conn.QueryRow(ctx, `
		select (select count(*) from history), (select count(*) from statistics_5m), (select count(*) from statistics_1h),
		       pg_database_size(current_database())`).Scan(&r.Raw, &r.Five, &r.Hourly, &r.Bytes)
}
