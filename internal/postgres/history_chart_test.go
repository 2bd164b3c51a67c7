package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
)

// hour is one that is long summed up, when upkeep was.
func hour() time.Time { return time.Now().UTC().Add(-30 * time.Hour).Truncate(time.Hour) }

// said writes what an entity said, in turn: minutes after an hour, and the state.
func (b *bundle) said(t *testing.T, id string, begin time.Time, changes ...any) {
	t.Helper()
	for i := 0; i < len(changes); i += 2 {
		minutes, _ := changes[i].(int)
		at := begin.Add(time.Duration(minutes) * time.Minute)
		b.write(t, uint64(at.UnixMicro()), b.on(id, fmt.Sprint(changes[i+1]), at, at.UnixMicro())) //nolint:gosec // after 1970
	}
	require.NoError(t, b.db.Upkeep(t.Context(), time.Now()))
}

func (b *bundle) chart(t *testing.T, id string, from, to time.Time, points int) concord.Chart {
	t.Helper()
	c, err := b.db.Chart(t.Context(), b.home, id, from, to, points)
	require.NoError(t, err)
	return c
}

// each looks at charts made of raw rows, of 5 minutes and of hours, when they are of
// ten hours.
func each(t *testing.T, look func(t *testing.T, points int)) {
	t.Helper()
	for name, points := range map[string]int{"Raw": 1000, "FiveMinutes": 60, "Hours": 10} {
		t.Run(name, func(t *testing.T) { look(t, points) })
	}
}

func TestChartDrawsNoLineThroughSilence(t *testing.T) {
	t.Parallel()
	b, begin := setup(t), hour()
	b.said(t, "sensor.a", begin, 10, 5, 22, "unavailable", 250, 6)
	each(t, func(t *testing.T, points int) {
		c := b.chart(t, "sensor.a", begin, begin.Add(10*time.Hour), points)
		require.True(t, c.Numeric)
		require.InDelta(t, 6, c.Points[len(c.Points)-1].Last, 0)
		require.Len(t, c.Gaps, 1)
		require.WithinRange(t, c.Gaps[0].From, begin.Add(22*time.Minute), begin.Add(time.Hour))
		require.WithinRange(t, c.Gaps[0].To, begin.Add(4*time.Hour), begin.Add(250*time.Minute))
	})
}

func TestChartKnowsWhatHeldBefore(t *testing.T) {
	t.Parallel()

	t.Run("ANumber", func(t *testing.T) {
		t.Parallel()
		b, begin := setup(t), hour()
		b.said(t, "sensor.a", begin, 10, 5, 600, 6)
		from := begin.Add(90 * time.Minute)
		each(t, func(t *testing.T, points int) {
			c := b.chart(t, "sensor.a", from, from.Add(10*time.Hour), points)
			require.Equal(t, from, c.Points[0].At.UTC())
			require.InDelta(t, 5, c.Points[0].Last, 0)
			require.InDelta(t, 6, c.Points[1].Last, 0)
		})
	})

	t.Run("AStateOfWhichTheRowIsGone", func(t *testing.T) {
		t.Parallel()
		b, begin := setup(t), hour()
		b.said(t, "light.a", begin, 10, "on")
		_, err := b.conn.Exec(t.Context(), `delete from history`)
		require.NoError(t, err)
		_, err = b.conn.Exec(t.Context(), `delete from statistics_5m`)
		require.NoError(t, err)
		from := begin.Add(90 * time.Minute)
		each(t, func(t *testing.T, points int) {
			c := b.chart(t, "light.a", from, from.Add(10*time.Hour), points)
			require.Equal(t, []concord.ChartStep{{At: from, State: "on"}}, utc(c.Steps))
		})
	})

	t.Run("Silence", func(t *testing.T) {
		t.Parallel()
		b, begin := setup(t), hour()
		b.said(t, "sensor.a", begin, 10, 5, 22, "unavailable", 600, 6)
		from := begin.Add(90 * time.Minute)
		each(t, func(t *testing.T, points int) {
			c := b.chart(t, "sensor.a", from, from.Add(10*time.Hour), points)
			require.Len(t, c.Points, 1)
			require.Len(t, c.Gaps, 1)
			require.Equal(t, from, c.Gaps[0].From.UTC())
			require.Equal(t, begin.Add(10*time.Hour), c.Gaps[0].To.UTC())
		})
	})

	t.Run("ButNotWhereAChangeFallsOnTheBegin", func(t *testing.T) {
		t.Parallel()
		b, begin := setup(t), hour()
		b.said(t, "sensor.a", begin, 10, 9, 60, 5)
		b.said(t, "light.a", begin, 70, "on", 120, "off")
		each(t, func(t *testing.T, points int) {
			c := b.chart(t, "sensor.a", begin.Add(time.Hour), begin.Add(11*time.Hour), points)
			require.Len(t, c.Points, 1)
			require.InDelta(t, 5, c.Points[0].Last, 0)
			c = b.chart(t, "light.a", begin.Add(2*time.Hour), begin.Add(12*time.Hour), points)
			require.Equal(t, []concord.ChartStep{{At: begin.Add(2 * time.Hour), State: "off"}}, utc(c.Steps))
		})
	})
}

func TestChartBeginsWithinABucket(t *testing.T) {
	t.Parallel()
	b, begin := setup(t), hour()
	b.said(t, "sensor.a", begin, 10, 5, 31, 100, 32, 100, 33, 5, 34, 5)
	from := begin.Add(30*time.Minute + 30*time.Second)
	each(t, func(t *testing.T, points int) {
		c := b.chart(t, "sensor.a", from, from.Add(10*time.Hour), points)
		peak := 0.0
		for _, p := range c.Points {
			require.False(t, p.At.Before(from))
			peak = max(peak, p.Max)
		}
		require.InDelta(t, 100, peak, 0)
		require.InDelta(t, 5, c.Points[len(c.Points)-1].Last, 0)
	})
}

func TestChartOfNumbersAndTextsIsOfSteps(t *testing.T) {
	t.Parallel()
	b, begin := setup(t), hour()
	b.said(t, "sensor.a", begin, 10, 5, 22, "heating")
	each(t, func(t *testing.T, points int) {
		c := b.chart(t, "sensor.a", begin, begin.Add(10*time.Hour), points)
		require.False(t, c.Numeric)
		require.Equal(t, "heating", c.Steps[len(c.Steps)-1].State)
	})
}

func TestChartCutsGapsAtItsEdges(t *testing.T) {
	t.Parallel()
	b, begin := setup(t), hour()
	b.said(t, "sensor.a", begin, 10, 5)
	from, to := begin.Add(time.Hour), begin.Add(11*time.Hour)
	_, err := b.conn.Exec(t.Context(), `
		insert into gap (home_id, from_time, to_time, reason)
		values ($1, $2::timestamptz - interval '1 hour', $2::timestamptz, 'before'), ($1, $2::timestamptz - interval '1 hour', $2::timestamptz + interval '1 hour', 'begin'),
		       ($1, $3::timestamptz - interval '1 hour', $3::timestamptz + interval '1 hour', 'end'), ($1, $3::timestamptz, $3::timestamptz + interval '1 hour', 'behind')`, b.home, from, to)
	require.NoError(t, err)
	each(t, func(t *testing.T, points int) {
		c := b.chart(t, "sensor.a", from, to, points)
		require.Len(t, c.Gaps, 2)
		require.Equal(t, []time.Time{from, from.Add(time.Hour), to.Add(-time.Hour), to}, []time.Time{c.Gaps[0].From.UTC(), c.Gaps[0].To.UTC(), c.Gaps[1].From.UTC(), c.Gaps[1].To.UTC()})
	})
}
