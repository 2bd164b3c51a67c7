package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
)

func TestStatisticsAndCharts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	begin := time.Now().UTC().Add(-3 * time.Hour).Truncate(time.Hour)
	var records []concord.Record
	change := func(id, state string, after time.Duration) {
		r := b.at(id, state, 0, int64(len(records)+1))
		r.State.LastUpdated, r.State.LastChanged = begin.Add(after), begin.Add(after)
		records = append(records, r)
	}
	for i := range 120 { // a minute apart: 0 … 119, and one peak
		change("sensor.n", fmt.Sprint(i), time.Duration(i)*time.Minute)
	}
	records[61].State.State = "1000"
	change("switch.s", "on", 0)
	records[len(records)-1].State.EntityID = "switch.s"
	change("switch.s", "off", 3*time.Minute)
	// In order of time, as a home sends them.
	records = append([]concord.Record{records[120], records[0], records[1], records[2], records[121]}, records[3:120]...)
	for i, r := range records {
		r.State.Position.Seq = int64(i + 1)
	}
	_, err := b.db.WriteEvents(t.Context(), b.home, records, 100)
	require.NoError(t, err)
	require.NoError(t, b.db.Upkeep(t.Context(), time.Now()))

	var count int
	var mean, last float64
	require.NoError(t, b.conn.QueryRow(t.Context(), `
		select count, mean, last from statistics_named
		where entity_id = 'sensor.n' and width = '5 minutes' and bucket = $1`, begin.Add(5*time.Minute)).Scan(&count, &mean, &last))
	require.Equal(t, 5, count)
	require.InDelta(t, 7, mean, 1e-9)
	require.InDelta(t, 9, last, 1e-9)
	var on float64
	require.NoError(t, b.conn.QueryRow(t.Context(), `
		select (states ->> 'on')::double precision from statistics_named
		where entity_id = 'switch.s' and width = '1 hour' and bucket = $1`, begin).Scan(&on))
	require.InDelta(t, 180, on, 1e-6)

	for _, points := range []int{10, 1000, 2} { // from statistics, from raw rows, by the hour
		c, err := b.db.Chart(t.Context(), b.home, "sensor.n", begin, begin.Add(2*time.Hour), points)
		require.NoError(t, err)
		require.True(t, c.Numeric)
		require.LessOrEqual(t, len(c.Points), points+1)
		peak := 0.0
		for _, p := range c.Points {
			peak = max(peak, p.Max)
		}
		require.InDelta(t, 1000, peak, 0, "the peak stays with %d points", points)
	}
	c, err := b.db.Chart(t.Context(), b.home, "switch.s", begin, begin.Add(time.Hour), 100)
	require.NoError(t, err)
	require.False(t, c.Numeric)
	require.Equal(t, []concord.ChartStep{{At: begin, State: "on"}, {At: begin.Add(3 * time.Minute), State: "off"}}, utc(c.Steps))

	require.Equal(t, 122, b.count(t, `select count(*) from state_history_named where home_id = $1`, b.home))
	dropped, err := b.db.DropHistory(t.Context(), time.Now().AddDate(0, 0, 2))
	require.NoError(t, err)
	require.NotEmpty(t, dropped)
	require.Zero(t, b.count(t, `select count(*) from history where home_id = $1`, b.home))
	require.NotZero(t, b.count(t, `select count(*) from statistics_1h where home_id = $1`, b.home))
}

func TestTimeInStateCountsQuietHoursAndNoGaps(t *testing.T) {
	t.Parallel()
	b := setup(t)
	begin := time.Now().UTC().Add(-30 * time.Hour).Truncate(time.Hour)
	var records []concord.Record
	for i, c := range []struct {
		state string
		after time.Duration
	}{{"on", 30 * time.Minute}, {"off", 5*time.Hour + 15*time.Minute}, {"on", 20 * time.Hour}} {
		r := b.at("light.l", c.state, 0, int64(i+1))
		r.State.LastUpdated, r.State.LastChanged = begin.Add(c.after), begin.Add(c.after)
		records = append(records, r)
	}
	_, err := b.db.WriteEvents(t.Context(), b.home, records, 100)
	require.NoError(t, err)
	require.NoError(t, b.db.Upkeep(t.Context(), time.Now()))
	_, err = b.conn.Exec(t.Context(), `insert into gap (home_id, from_time, to_time, reason) values ($1, $2, $3, 'test')`,
		b.home, begin.Add(22*time.Hour), begin.Add(23*time.Hour))
	require.NoError(t, err)

	hours := func(from, to time.Duration, step string) (sums []float64) {
		rows, err := b.conn.Query(t.Context(), `select seconds / 3600 from time_in_state($1, 'light.l', 'on', $2, $3, $4::interval)`,
			b.home, begin.Add(from), begin.Add(to), step)
		require.NoError(t, err)
		sums, err = pgx.CollectRows(rows, pgx.RowTo[float64])
		require.NoError(t, err)
		return sums
	}
	require.InDeltaSlice(t, []float64{4.75, 0, 3}, hours(0, 24*time.Hour, "8 hours"), 1e-6)
	require.InDeltaSlice(t, []float64{2}, hours(2*time.Hour, 4*time.Hour, "1 day"), 1e-6, "only quiet hours")
	require.InDeltaSlice(t, []float64{7.75}, hours(0, 24*time.Hour, "2 days"), 1e-6)
}

func utc(steps []concord.ChartStep) []concord.ChartStep {
	for i := range steps {
		steps[i].At = steps[i].At.UTC()
	}
	return steps
}

func TestBackfill(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.db.WriteEvents(t.Context(), b.home, []concord.Record{b.at("a.a", "1", 1, 1)}, 100)
	require.NoError(t, err)
	require.NoError(t, b.db.OpenConnection(t.Context(), b.home, 101))
	now := b.at("a.a", "9", 9, 1)
	now.State.Position.Epoch = 101
	_, err = b.db.WriteStates(t.Context(), b.home, []concord.Record{now}, 102)
	require.NoError(t, err)
	_, err = b.conn.Exec(t.Context(), `update backfill set due_at = now()`) // as the registry does
	require.NoError(t, err)
	due, err := b.db.FindBackfills(t.Context(), b.home, 10)
	require.NoError(t, err)
	require.Len(t, due, 2)
	require.True(t, due[0].Known)
	require.True(t, due[0].Heard.Equal(b.at("a.a", "1", 1, 1).State.LastUpdated))
	require.True(t, due[0].Last.Equal(now.State.LastUpdated))
	require.True(t, due[1].From.Before(*due[1].Last) && due[1].To.After(*due[1].Last), "its clock may have been set back")

	answer := []*concord.State{b.at("a.a", "1", 1, 0).State, b.at("a.a", "5", 5, 0).State, now.State}
	gap := concord.Gap{EntityID: "a.a", From: due[0].From, To: due[0].To, Reason: "test"}
	result := concord.BackfillResult{Backfill: due[0], States: answer, Gaps: []concord.Gap{gap}}
	for range 2 {
		_, err = b.db.FinishBackfills(t.Context(), b.home, []concord.BackfillResult{result, {Backfill: due[1]}})
		require.NoError(t, err)
	}
	require.Equal(t, 3, b.count(t, `select count(*) from history`))
	require.Equal(t, 1, b.count(t, `select count(*) from gap_named where entity_id = 'a.a'`))
	c, err := b.db.Chart(t.Context(), b.home, "a.a", due[0].From.Add(-time.Hour), due[0].To.Add(time.Hour), 100)
	require.NoError(t, err)
	require.Len(t, c.Gaps, 1)
	require.Equal(t, concord.GapLost, c.Gaps[0].Kind)
	filled := b.at("a.a", "5", 5, 0).State.LastUpdated
	require.Len(t, c.Filled, 1, "answered once")
	require.Equal(t, filled, c.Filled[0].From.UTC())
	stats, err := b.db.FindServerStats(t.Context())
	require.NoError(t, err)
	require.Equal(t, [3]int64{1, 0, 1}, [3]int64{stats.Gaps, stats.Asking, stats.Filled})
}
