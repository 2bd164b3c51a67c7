package faulttest

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/concord-home/concord/internal/postgres"
)

var widths = []time.Duration{5 * time.Minute, time.Hour}

type bucket struct {
	entity string
	width  time.Duration
	begins int64 // in µs
}

// sums are a row of statistics, or what it must be.
type sums struct {
	count          int
	min, max, last *float64
	state          string
	unordered      bool // two changes have the same time: the clock was set back
}

// compareStatistics sums the history up, which was found to be what the home
// sent, beside PostgreSQL, and compares. The clock of the home may be hours ahead.
func (r *Run) compareStatistics(ctx context.Context, conn *pgx.Conn, result *Result) error {
	db, err := postgres.Open(ctx, postgres.Options{URL: r.server.URL()})
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.Upkeep(ctx, time.Now().AddDate(0, 0, 1)); err != nil {
		return err
	}
	want, err := sumUp(ctx, conn)
	if err != nil {
		return err
	}
	have, err := readSums(ctx, conn, result)
	if err != nil {
		return err
	}
	for b, w := range want {
		if h, ok := have[b]; !ok || !h.equal(w) {
			result.wrong(b, fmt.Sprintf("%v, not %v", h, w))
		}
		delete(have, b)
	}
	for b, h := range have {
		result.wrong(b, fmt.Sprintf("%v, not there", h))
	}
	return nil
}

func (r *Result) wrong(b bucket, what string) {
	r.Wrong++
	r.example(fmt.Sprintf("statistics of %v from %s of %s: %s", b.width, text(time.UnixMicro(b.begins)), b.entity, what))
}

func readSums(ctx context.Context, conn *pgx.Conn, result *Result) (map[bucket]sums, error) {
	have := make(map[bucket]sums)
	rows, err := conn.Query(ctx, `select entity_id, width, bucket, count, min, max, last, last_state from statistics_named`)
	if err != nil {
		return nil, err
	}
	var b bucket
	var s sums
	var begins time.Time
	_, err = pgx.ForEachRow(rows, []any{&b.entity, &b.width, &begins, &s.count, &s.min, &s.max, &s.last, &s.state}, func() error {
		b.begins = begins.UnixMicro()
		result.Buckets++
		if _, twice := have[b]; twice {
			result.wrong(b, "twice")
		}
		have[b] = s
		s = sums{}
		return nil
	})
	return have, err
}

type point struct {
	entity, state string
	at            int64
}

// sumUp makes the statistics of the history.
func sumUp(ctx context.Context, conn *pgx.Conn) (map[bucket]sums, error) {
	rows, err := conn.Query(ctx, `select entity_id, state, last_updated from state_history_named`)
	if err != nil {
		return nil, err
	}
	var all []point
	var p point
	var at time.Time
	if _, err := pgx.ForEachRow(rows, []any{&p.entity, &p.state, &at}, func() error {
		p.at = at.UnixMicro()
		all = append(all, p)
		return nil
	}); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b point) int { return cmp.Or(cmp.Compare(a.entity, b.entity), cmp.Compare(a.at, b.at)) })
	want := make(map[bucket]sums)
	for _, width := range widths {
		for i := range all {
			addTo(want, all, i, width)
		}
	}
	return want, nil
}

// addTo adds change i to its bucket. What held when the bucket began is one of
// its numbers.
func addTo(want map[bucket]sums, all []point, i int, width time.Duration) {
	p := all[i]
	b := bucket{p.entity, width, p.at - p.at%width.Microseconds()}
	s := want[b]
	follows := i > 0 && all[i-1].entity == p.entity
	if s.count == 0 && follows && p.at > b.begins {
		s.number(all[i-1].state)
	}
	s.count++
	s.number(p.state)
	s.state = p.state
	s.unordered = s.unordered || follows && all[i-1].at == p.at
	want[b] = s
}

func (s *sums) number(state string) {
	v, ok := postgres.Number(state)
	if !ok {
		return
	}
	low, high := v, v
	if s.min != nil {
		low, high = math.Min(low, *s.min), math.Max(high, *s.max)
	}
	s.min, s.max, s.last = &low, &high, &v
}

func (s sums) equal(want sums) bool {
	if s.count != want.count || want.unordered {
		return s.count == want.count
	}
	return same(s.min, want.min) && same(s.max, want.max) && same(s.last, want.last) && s.state == want.state
}

func same(a, b *float64) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }

func (s sums) String() string {
	number := func(v *float64) string {
		if v == nil {
			return "none"
		}
		return fmt.Sprint(*v)
	}
	return fmt.Sprintf("%d changes, %s to %s, last %s, %q", s.count, number(s.min), number(s.max), number(s.last), s.state)
}
