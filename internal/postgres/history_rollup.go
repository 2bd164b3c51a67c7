package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/concord-home/concord"
)

const (
	upkeepEvery = time.Minute
	// shortBucket is the width of a row of statistics_5m.
	shortBucket = 5 * time.Minute
	// settled is how old history must be before it is summed up.
	settled = 10 * time.Second
	// oldSettled is how long changes are gathered of an hour before the days that are kept.
	oldSettled = 5 * time.Minute
)

// RunUpkeep makes partitions ahead, sums history up and drops what is older
// than is kept, until ctx ends. Several instances may do it at once.
func (db *DB) RunUpkeep(ctx context.Context) {
	tick := time.NewTicker(upkeepEvery)
	defer tick.Stop()
	for {
		if err := db.Upkeep(ctx, time.Now()); err != nil && ctx.Err() == nil {
			db.log.Warn("upkeep of the history is left for later", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Upkeep does it once, as if it were now.
func (db *DB) Upkeep(ctx context.Context, now time.Time) error {
	var errs []error
	for n := dayOf(now); n <= dayOf(now)+daysAhead; n++ {
		errs = append(errs, db.createDay(ctx, n, lockTries))
	}
	if err := db.rollUpAll(ctx, now); err != nil { // what is not summed up yet is kept
		return errors.Join(append(errs, err)...)
	}
	_, err := db.DropHistory(ctx, now.AddDate(0, 0, -db.days.keep))
	return errors.Join(append(errs, err)...)
}

func (db *DB) rollUpAll(ctx context.Context, now time.Time) error {
	homes, err := db.FindHomes(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, h := range homes {
		_, err := db.StoreHeld(ctx, h.ID, now)
		errs = append(errs, err)
	}
	if err := db.awaitWriters(ctx); err != nil {
		return errors.Join(append(errs, err)...)
	}
	for _, h := range homes {
		if err := errors.Join(db.rollUp(ctx, h.ID, now), db.rollUpOld(ctx, h.ID, now)); err != nil {
			errs = append(errs, fmt.Errorf("sum up home %d: %w", h.ID, err))
		}
	}
	return errors.Join(errs...)
}

const (
	writersWait = 10 * time.Second
	writersPoll = 5 * time.Millisecond
)

// awaitWriters returns when the transactions that write history at this moment
// have ended. Those that begin later see that what they write is old, should it
// be: see moveRollUpBack.
func (db *DB) awaitWriters(ctx context.Context) error {
	const writing = `
		select virtualtransaction from pg_locks
		where locktype = 'relation' and relation = 'history'::regclass and mode = 'RowExclusiveLock' and granted
		  and database = (select oid from pg_database where datname = current_database())
		  and virtualtransaction = any(coalesce($1::text[], array[virtualtransaction]))`
	var open []string
	for end := time.Now().Add(writersWait); ; {
		rows, err := db.pool.Query(ctx, writing, open)
		if err != nil {
			return classify(err)
		}
		if open, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil || len(open) == 0 {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("somebody has been writing history for %v: nothing is summed up meanwhile", writersWait)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(writersPoll):
		}
	}
}

// rollUp sums up one home's history, at most an hour a transaction. Only whole
// buckets are made, so each change is read twice: for its 5 minutes and for its
// hour. No transaction may be writing changes of before now.
func (db *DB) rollUp(ctx context.Context, home int64, now time.Time) error {
	for {
		more := false
		err := db.write(ctx, "background_sync", func(ctx context.Context, tx pgx.Tx) (err error) {
			more, err = rollUpOnce(ctx, tx, home, now)
			return err
		})
		if err != nil || !more {
			return err
		}
	}
}

func rollUpOnce(ctx context.Context, tx pgx.Tx, home int64, now time.Time) (more bool, err error) {
	until := now.Add(-settled).UTC().Truncate(shortBucket)
	var done *time.Time
	err = tx.QueryRow(ctx, `
		select coalesce((select done from rollup where home_id = $1),
		                (`+firstChange+` and last_updated < $2))`,
		home, now, now.AddDate(-1, 0, 0)).Scan(&done)
	if err != nil || done == nil {
		return false, err
	}
	from := done.UTC().Truncate(shortBucket)
	if !from.Before(until) {
		return false, nil
	}
	hour := from.Truncate(time.Hour)
	to := hour.Add(time.Hour)
	if to.After(until) {
		to = until
	}
	if _, err := tx.Exec(ctx, rollUpSQL("statistics_5m", "5 minutes", true), home, from, to); err != nil {
		return false, fmt.Errorf("sum up 5 minutes: %w", err)
	}
	if to.Equal(hour.Add(time.Hour)) {
		if _, err := tx.Exec(ctx, rollUpSQL("statistics_1h", "1 hour", true), home, hour, to); err != nil {
			return false, fmt.Errorf("sum up the hour: %w", err)
		}
	}
	_, err = tx.Exec(ctx, `
		insert into rollup (home_id, done) values ($1, $2)
		on conflict (home_id) do update set done = excluded.done`, home, to)
	return to.Before(until), err
}

// rollUpOld sums up the hours that moveRollUpBack noted a while ago: what an entity
// was when it was first heard of, and is since, and what a clock that is weeks
// behind says. An hour that is noted again is summed up again. Where more was summed
// up before, that stays: some of its raw history is gone.
func (db *DB) rollUpOld(ctx context.Context, home int64, now time.Time) error {
	rows, err := db.pool.Query(ctx, `select hour from rollup_old where home_id = $1 and noted_at < $2`, home, now.Add(-oldSettled))
	if err != nil {
		return classify(err)
	}
	hours, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
	if err != nil {
		return classify(err)
	}
	for _, hour := range hours {
		err := db.write(ctx, "background_sync", func(ctx context.Context, tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `delete from rollup_old where home_id = $1 and hour = $2`, home, hour); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, rollUpSQL("statistics_1h", "1 hour", false), home, hour, hour.Add(time.Hour))
			return err
		})
		if err != nil {
			return fmt.Errorf("sum up an old hour: %w", err)
		}
	}
	return nil
}

// asNumber leaves out what cannot be added up or weighed within a double, and
// takes for 0 what cannot be weighed above it.
const asNumber = `case when abs(value) < 1e-300 then 0 when abs(value) <= 1e300 then value end as value`

// rollUpSQL cuts what held at each moment into buckets. $1 is the home, $2 and
// $3 the time. What held at the beginning comes from the last row before it.
// An entity of several numbers is summed up under one of them. avg is avoided:
// it squares, and fails above 1e154. Rows that are there are replaced, all of them
// or those of fewer changes.
func rollUpSQL(table, width string, all bool) string {
	others, fewer := "", "where s.count < excluded.count"
	if all {
		others = `, others as ( -- from when another number was chosen
		delete from ` + table + ` s
		using entities n
		where s.home_id = $1 and s.entity_key = n.entity_key and n.entity_key <> n.chosen and s.bucket >= $2 and s.bucket < $3
	)`
		fewer = ""
	}
	return `
	with entities as materialized (
		select entity_key, chosen from history_number where home_id = $1
	), changes as (
		select n.chosen as entity_key, h.last_updated as at, ` + asNumber + `, h.state, true as change
		from history h join entities n using (entity_key)
		where h.home_id = $1 and h.last_updated >= $2 and h.last_updated < $3
	), before as (
		select distinct on (k.entity_key) k.entity_key, $2::timestamptz as at, b.value, b.state, false as change
		from (select distinct entity_key from changes) k
		join entities n on n.chosen = k.entity_key
		cross join lateral (
			select ` + asNumber + `, state, last_updated from history h
			where h.home_id = $1 and h.entity_key = n.entity_key and h.last_updated < $2
			order by h.last_updated desc limit 1) b
		order by k.entity_key, b.last_updated desc
	)` + others + `, spans as (
		select entity_key, at, value, state, change,
		       lead(at, 1, $3::timestamptz) over (partition by entity_key order by at, change) as until
		from (select * from changes union all select * from before) a
	), pieces as (
		select s.entity_key, b.bucket, s.value, s.state, s.at, s.change and s.at >= b.bucket as change,
		       greatest(extract(epoch from least(s.until, b.bucket + interval '` + width + `') - greatest(s.at, b.bucket)), 0)::double precision as seconds
		from spans s
		cross join lateral generate_series(date_bin('` + width + `', s.at, '2000-01-01Z'), s.until, interval '` + width + `') as b (bucket)
		where b.bucket < s.until or b.bucket <= s.at
	), numbers as (
		select entity_key, bucket, count(*) filter (where change) as count, min(value) as min, max(value) as max,
		       coalesce(sum(value * seconds) / nullif(sum(seconds) filter (where value is not null), 0), sum(value) / count(value)) as mean,
		       (array_agg(value order by at desc, change desc) filter (where value is not null))[1] as last,
		       (array_agg(state order by at desc, change desc))[1] as last_state
		from pieces
		group by entity_key, bucket
		having count(*) filter (where change) > 0
	), texts as (
		select entity_key, bucket, jsonb_object_agg(state, seconds) as states
		from (select entity_key, bucket, state, round(sum(seconds)::numeric, 3) as seconds
		      from pieces where value is null group by entity_key, bucket, state) t
		group by entity_key, bucket
	)
	insert into ` + table + ` as s (home_id, entity_key, bucket, count, min, mean, max, last, last_state, states)
	select $1, n.entity_key, n.bucket, n.count, n.min, n.mean, n.max, n.last, n.last_state, t.states
	from numbers n left join texts t using (entity_key, bucket)
	order by n.entity_key, n.bucket
	on conflict (home_id, entity_key, bucket) do update
	set count = excluded.count, min = excluded.min, mean = excluded.mean, max = excluded.max, last = excluded.last,
	    last_state = excluded.last_state, states = excluded.states
	` + fewer
}

// moveRollUpBack has statistics made again from a time on, when history for a
// time before arrives late. It looks at the clock after the rows were written:
// an upkeep that does not see them comes before that, see awaitWriters, and
// leaves the time of young rows for later. Rows from before the days that are
// kept, as of a home whose clock begins in 1970, are left to rollUpOld.
func (p *pastHome) moveRollUpBack(ctx context.Context, tx pgx.Tx, home int64, rows *historyRows) error {
	var oldest time.Time
	var old []time.Time
	floor := oldestDay(p.days)
	for _, t := range rows.updated {
		switch {
		case t.Before(floor):
			old = append(old, t)
		case oldest.IsZero() || t.Before(oldest):
			oldest = t
		}
	}
	if err := noteOld(ctx, tx, home, old); err != nil {
		return err
	}
	if oldest.IsZero() || time.Since(oldest) < settled/2 {
		return nil
	}
	return moveRollUp(ctx, tx, home, oldest)
}

// noteOld notes the hours of times within a year. It writes the rows whatever is in
// them, as moveRollUp.
func noteOld(ctx context.Context, tx pgx.Tx, home int64, times []time.Time) error {
	if len(times) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `
		insert into rollup_old as r (home_id, hour)
		select distinct $1::bigint, date_bin('1 hour', t, '2000-01-01Z')
		from unnest($2::timestamptz[]) t
		where t > now() - interval '1 year'
		order by 2
		on conflict (home_id, hour) do update set noted_at = r.noted_at`, home, times)
	return err
}

// moveRollUp writes the row whatever is in it, so that an upkeep at the same time
// conflicts. A new one begins with the first change, which was not late.
func moveRollUp(ctx context.Context, tx pgx.Tx, home int64, to time.Time) error {
	_, err := tx.Exec(ctx, `
		insert into rollup as r (home_id, done)
		select $1, case when exists (select from rollup where home_id = $1) then $2 else least($2, (`+firstChange+`)) end
		on conflict (home_id) do update set done = least(r.done, greatest($2, r.kept))`, home, to, time.Now().AddDate(-1, 0, 0))
	return err
}

// firstChange is where the statistics of a home begin; $3 is how far back at most.
const firstChange = `select min(last_updated) from history where home_id = $1 and last_updated > $3 and tableoid <> 'history_other'::regclass`

// DropHistory drops the partitions that lie before a time as a whole, and the
// attributes that only they referred to, and the records in quarantine that did
// not come again since. It returns the names of the partitions.
func (db *DB) DropHistory(ctx context.Context, before time.Time) ([]string, error) {
	var dropped []string
	for table := range partitioned {
		names, err := db.partitionsBefore(ctx, table, dayOf(before))
		if err != nil {
			return dropped, classify(err)
		}
		if table == "history" && len(names) > 0 {
			if err := db.endRollUp(ctx, startOf(dayOf(before))); err != nil {
				return dropped, err
			}
		}
		for _, name := range names {
			if err := db.withLocks(ctx, lockTries, func(tx pgx.Tx) error { return dropPartition(ctx, tx, name) }); err != nil {
				return dropped, fmt.Errorf("drop %s: %w", name, err)
			}
			dropped = append(dropped, name)
		}
	}
	return dropped, db.write(ctx, "background_sync", func(ctx context.Context, tx pgx.Tx) error {
		for _, sql := range []string{
			`delete from attributes where seen_on < $1::date - 1`,
			`delete from history_other where stored_at < $1`,
			`delete from statistics_5m_other where bucket < $1`,
			`delete from backfilled where created_at < $1`,
		} {
			if _, err := tx.Exec(ctx, sql, before); err != nil {
				return err
			}
		}
		return dropQuarantined(ctx, tx, before)
	})
}

// endRollUp has statistics of before a time never made again.
func (db *DB) endRollUp(ctx context.Context, before time.Time) error {
	return db.write(ctx, "background_sync", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `update rollup set kept = greatest(kept, least($1, done)) where kept < least($1, done)`, before)
		return err
	})
}

// partitionsBefore names the partitions of days that end before day n begins.
func (db *DB) partitionsBefore(ctx context.Context, table string, n int64) ([]string, error) {
	rows, err := db.pool.Query(ctx, `
		select c.relname
		from pg_inherits i
		join pg_class c on c.oid = i.inhrelid
		where i.inhparent = $1::regclass and c.relname ~ '_p[0-9]{8}$' and right(c.relname, 8) < $2
		order by 1`, table, startOf(n).Format("20060102"))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

var _ concord.HistoryService = (*DB)(nil)
