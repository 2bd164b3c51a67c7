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
	source   string        // a query of (at, min, max, last, state, mute, n); n is greater of what is later at the same time
	bucket   time.Duration // the width of its statistics, 0 without
	mute     bool          // some rows ended with what is no number
	// Of statistics the whole buckets in [whole, joint) are read, and raw rows before
	// and behind. What held at the beginning is known of the hours before carry, too.
	whole, joint, carry time.Time
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
	if result.Gaps, err = c.gaps(ctx, entityID, result.Numeric && c.mute); err != nil {
		return result, err
	}
	result.Filled, err = c.filled(ctx)
	return result, err
}

const (
	rawSource = `
		select last_updated as at, value as min, value as max, value as last, state, value is null as mute, clock_epoch + 1 as n
		from history
		where home_id = $1 and entity_key = any($2) and last_updated >= $6 and last_updated < $4
		union all
		select last_updated, value, value, value, state, value is null, clock_epoch + 1
		from history
		where home_id = $1 and entity_key = any($2) and last_updated >= $3 and last_updated < $4 and last_updated < $5`
	// One look for each key: over several PostgreSQL would sort all that came before.
	carrySource = `
		union all
		(select $3, value, value, value, state, value is null, 0
		 from (select h.*
		       from unnest($2::bigint[]) as k
		       cross join lateral (
		           select last_updated as at, value, state
		           from history
		           where home_id = $1 and entity_key = k and last_updated < $3 and last_updated > $3 - interval '30 days'
		           order by last_updated desc, clock_epoch desc limit 1) h
		       union all
		       select s.*
		       from unnest($2::bigint[]) as k
		       cross join lateral (
		           select bucket, case when not ` + mute + ` then last end, last_state
		           from statistics_1h
		           where home_id = $1 and entity_key = k and bucket < $7
		           order by bucket desc limit 1) s) c
		 order by at desc limit 1)`
	bucketSource = `
		select bucket as at, min, max, last, last_state as state, ` + mute + ` as mute, 1 as n
		from %TABLE%
		where home_id = $1 and entity_key = any($2) and bucket >= $5 and bucket < $6 and bucket < $4
		union all`
	// mute tells that a bucket ended with what is no number. It looks at the first
	// character: the index has no more than last_state.
	mute = `(last is null or ascii(last_state) not between ascii('+') and ascii('9'))`
)

// args are those of every source.
func (c *chart) args() []any {
	return []any{c.home, c.keys, c.from, c.to, c.whole, c.joint, c.carry}
}

// choose takes the coarsest source that is fine enough. Statistics have whole
// buckets; raw rows lead to them and carry on.
func (c *chart) choose(ctx context.Context) error {
	c.source, c.whole, c.joint, c.carry = rawSource+carrySource, c.from, c.from, c.from.Truncate(time.Hour)
	old := c.from.Before(oldestDay(c.db.days.keep))
	table := ""
	switch {
	case c.width >= time.Hour || old:
		table, c.bucket = "statistics_1h", time.Hour
	case c.width >= shortBucket:
		table, c.bucket = "statistics_5m", shortBucket
	default:
		return nil
	}
	var done *time.Time
	if err := c.db.pool.QueryRow(ctx, `select max(done) from rollup where home_id = $1`, c.home).Scan(&done); err != nil || done == nil {
		return err
	}
	c.whole = c.from.Add(c.bucket - 1).Truncate(c.bucket)
	c.joint = later(done.UTC().Truncate(c.bucket), c.whole)
	if old { // raw rows do not tell of the hour in which the chart begins
		c.carry = c.from
	}
	c.source = strings.Replace(bucketSource, "%TABLE%", table, 1) + c.source
	return nil
}

// points sums the rows up by points, and tells whether they are numbers.
func (c *chart) points(ctx context.Context, result *concord.Chart) error {
	rows, err := c.db.pool.Query(ctx, `
		select count(*), bool_or(mute), bool_or(mute and state not in ('unavailable', 'unknown', '')),
		       min(at) filter (where last is not null), min(min), max(max),
		       (max(array[extract(epoch from at)::double precision, n, last]) filter (where last is not null))[3]
		from (`+c.source+`) s
		group by date_bin($8, at, $3)
		order by 4`, append(c.args(), c.width)...)
	if err != nil {
		return err
	}
	texts := false
	var count int
	var mute, text bool
	var at *time.Time
	var low, high, last *float64
	_, err = pgx.ForEachRow(rows, []any{&count, &mute, &text, &at, &low, &high, &last}, func() error {
		result.Rows += count
		texts, c.mute = texts || text, c.mute || mute
		if at != nil && low != nil && high != nil && last != nil {
			result.Points = append(result.Points, concord.ChartPoint{At: *at, Min: *low, Max: *high, Last: *last})
		}
		return nil
	})
	result.Numeric = len(result.Points) > 0 && !texts
	return err
}

// steps keeps the last state of each point, and only where it changes.
func (c *chart) steps(ctx context.Context) ([]concord.ChartStep, error) {
	rows, err := c.db.pool.Query(ctx, `
		select at, state
		from (select at, state, lag(state) over (order by at) as before
		      from (select distinct on (date_bin($8, at, $3)) at, state
		            from (`+c.source+`) s
		            order by date_bin($8, at, $3), at desc, n desc) p) q
		where before is distinct from state
		order by at`, append(c.args(), c.width)...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[concord.ChartStep])
}

// gaps are the times of which nobody knows, those that are still being asked,
// and, between numbers, those when the entity said nothing. Their kinds are those
// of [concord.GapKind].
func (c *chart) gaps(ctx context.Context, entityID string, numeric bool) ([]concord.Gap, error) {
	rows, err := c.db.pool.Query(ctx, `
		select $5::text, greatest(from_time, $3), least(to_time, $4), reason, kind
		from (select from_time, to_time, reason, 0 as kind from gap
		      where home_id = $1 and (entity_key = any($2) or entity_key is null) and to_time > $3 and from_time < $4
		      union all
		      select from_time, to_time, 'being asked of the home', 1 from backfill
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
		select $8::text, at, until, state, 2
		from (select case when last is null then at else at + $9 end as at, state, mute, lead(at, 1, $4) over (order by at, n) as until
		      from (`+c.source+`) s) s
		where mute and at < until
		order by at`, append(c.args(), entityID, c.bucket)...)
	if err != nil {
		return nil, err
	}
	silent, err := pgx.CollectRows(rows, pgx.RowToStructByPos[concord.Gap])
	return append(gaps, silent...), err
}

// filled are the times that came from the home's own history, those together
// that a screen shows as one.
func (c *chart) filled(ctx context.Context) ([]concord.Span, error) {
	rows, err := c.db.pool.Query(ctx, `
		select lower(r), upper(r)
		from (select unnest(range_agg(tstzrange(from_time, to_time + $5, '[]'))) as r
		      from backfilled
		      where home_id = $1 and entity_key = any($2) and to_time >= $3 and from_time < $4) f`, c.home, c.keys, c.from, c.to, c.width)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[concord.Span])
}
