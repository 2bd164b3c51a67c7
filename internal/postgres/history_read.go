package postgres

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/concord-home/concord"
)

// Chart implements [concord.HistoryService]. A chart whose points are at least
// as wide as the buckets of statistics is made of those, so a year takes no
// longer than a day.
func (db *DB) Chart(ctx context.Context, home int64, entityID string, from, to time.Time, points int) (concord.Chart, error) {
	c := &chart{db: db, home: home, from: from.UTC(), to: to.UTC(), width: max(to.Sub(from)/time.Duration(max(points, 1)), time.Millisecond)}
	result, err := c.read(ctx, entityID)
	if err != nil {
		return result, classify(err)
	}
	return result, nil
}

type chart struct {
	db       *DB
	home     int64
	from, to time.Time
	width    time.Duration
	keys     []int64
	source   string // a query of (at, min, max, last, state)
	joint    time.Time
	silent   bool // some rows are no numbers
}

func (c *chart) read(ctx context.Context, entityID string) (concord.Chart, error) {
	var result concord.Chart
	rows, err := c.db.pool.Query(ctx, `select entity_key from history_entity where home_id = $1 and entity_id = $2`, c.home, entityID)
	if err != nil {
		return result, err
	}
	if c.keys, err = pgx.CollectRows(rows, pgx.RowTo[int64]); err != nil || len(c.keys) == 0 {
		return result, err
	}
	if err := c.choose(ctx); err != nil {
		return result, err
	}
	if err := c.points(ctx, &result); err != nil {
		return result, err
	}
	if !result.Numeric {
		result.Points = nil
		if result.Steps, err = c.steps(ctx); err != nil {
			return result, err
		}
	}
	result.Gaps, err = c.gaps(ctx, entityID, result.Numeric && c.silent)
	return result, err
}

const (
	rawSource = `
		select last_updated as at, value as min, value as max, value as last, state
		from history
		where home_id = $1 and entity_key = any($2) and last_updated >= $5 and last_updated < $4 and last_updated >= $3`
	// One look for each key: over several PostgreSQL would sort all that came before.
	carrySource = `
		union all
		(select $3, value, value, value, state
		 from unnest($2::bigint[]) as k
		 cross join lateral (
			select value, state, last_updated
			from history
			where home_id = $1 and entity_key = k and last_updated < $3 and last_updated > $3 - interval '30 days'
			order by last_updated desc limit 1) h
		 order by h.last_updated desc limit 1)`
	bucketSource = `
		select bucket as at, min, max, last, last_state as state
		from %TABLE%
		where home_id = $1 and entity_key = any($2) and bucket >= $3 and bucket < $4 and bucket < $5
		union all`
)

// args are those of every source: home, entity, from, to, and the time from
// which on raw rows are read.
func (c *chart) args() []any { return []any{c.home, c.keys, c.from, c.to, c.joint} }

// choose takes the coarsest source that is fine enough. Statistics have whole
// buckets; raw rows carry on.
func (c *chart) choose(ctx context.Context) error {
	c.source, c.joint = rawSource+carrySource, c.from
	table, bucket := "", time.Duration(0)
	switch {
	case c.width >= time.Hour || c.from.Before(startOf(dayOf(time.Now())-int64(c.db.days.keep))):
		table, bucket = "statistics_1h", time.Hour
	case c.width >= 5*time.Minute:
		table, bucket = "statistics_5m", 5*time.Minute
	default:
		return nil
	}
	var done *time.Time
	if err := c.db.pool.QueryRow(ctx, `select max(done) from rollup where home_id = $1`, c.home).Scan(&done); err != nil || done == nil {
		return err
	}
	c.joint = done.UTC().Truncate(bucket)
	if c.joint.Before(c.from) {
		c.joint = c.from
	}
	c.source = strings.Replace(bucketSource, "%TABLE%", table, 1) + rawSource
	return nil
}

// points sums the rows up by points, and tells whether they are numbers.
func (c *chart) points(ctx context.Context, result *concord.Chart) error {
	rows, err := c.db.pool.Query(ctx, `
		select count(*), count(last), count(*) filter (where last is null and state not in ('unavailable', 'unknown', '')),
		       min(at) filter (where last is not null), min(min), max(max),
		       (max(array[extract(epoch from at)::double precision, last]) filter (where last is not null))[2]
		from (`+c.source+`) s
		group by date_bin($6, at, $3)
		order by 4`, append(c.args(), c.width)...)
	if err != nil {
		return err
	}
	texts := 0
	var count, numbers, others int
	var at *time.Time
	var low, high, last *float64
	_, err = pgx.ForEachRow(rows, []any{&count, &numbers, &others, &at, &low, &high, &last}, func() error {
		result.Rows += count
		texts += others
		c.silent = c.silent || numbers < count
		if at != nil && low != nil && high != nil && last != nil {
			result.Points = append(result.Points, concord.ChartPoint{At: *at, Min: *low, Max: *high, Last: *last})
		}
		return nil
	})
	result.Numeric = len(result.Points) > 0 && texts == 0
	return err
}

// steps keeps the last state of each point, and only where it changes.
func (c *chart) steps(ctx context.Context) ([]concord.ChartStep, error) {
	rows, err := c.db.pool.Query(ctx, `
		select at, state
		from (select at, state, lag(state) over (order by at) as before
		      from (select distinct on (date_bin($6, at, $3)) at, state
		            from (`+c.source+`) s
		            order by date_bin($6, at, $3), at desc) p) q
		where before is distinct from state
		order by at`, append(c.args(), c.width)...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[concord.ChartStep])
}

// gaps are the times of which nobody knows, those that are still being asked,
// and, between numbers, those when the entity said nothing.
func (c *chart) gaps(ctx context.Context, entityID string, numeric bool) ([]concord.Gap, error) {
	rows, err := c.db.pool.Query(ctx, `
		select $5::text, greatest(from_time, $3), least(to_time, $4), reason
		from (select from_time, to_time, reason from gap
		      where home_id = $1 and (entity_key = any($2) or entity_key is null) and to_time > $3 and from_time < $4
		      union all
		      select from_time, to_time, 'being asked of the home' from backfill
		      where home_id = $1 and entity_key = any($2) and to_time > $3 and from_time < $4) g
		order by 2`, c.home, c.keys, c.from, c.to, entityID)
	if err != nil {
		return nil, err
	}
	gaps, err := pgx.CollectRows(rows, pgx.RowToStructByPos[concord.Gap])
	if err != nil || !numeric {
		return gaps, err
	}
	rows, err = c.db.pool.Query(ctx, `
		select $6::text, at, until, state
		from (select at, state, last, lead(at, 1, $4) over (order by at) as until from (`+c.source+`) s) s
		where last is null
		order by at`, append(c.args(), entityID)...)
	if err != nil {
		return nil, err
	}
	silent, err := pgx.CollectRows(rows, pgx.RowToStructByPos[concord.Gap])
	return append(gaps, silent...), err
}
