package postgres_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/pgtest"
	"github.com/concord-home/concord/internal/postgres"
)

// deadbands returns what opens one database, again and again, with a rule.
func deadbands(t *testing.T, text string) func() *bundle {
	t.Helper()
	rule, err := concord.ParseDeadbandRule(text)
	require.NoError(t, err)
	url := pgtest.URL(t)
	return func() *bundle {
		db, err := postgres.Open(t.Context(), postgres.Options{URL: url, Deadband: []concord.DeadbandRule{rule}})
		require.NoError(t, err)
		t.Cleanup(db.Close)
		home, err := db.EnsureHome(t.Context(), "Home", "ws://home/api/websocket")
		require.NoError(t, err)
		conn, err := pgx.Connect(t.Context(), url)
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close(t.Context()) })
		return &bundle{db: db, conn: conn, home: home.ID}
	}
}

func TestDeadband(t *testing.T) {
	t.Parallel()
	open := deadbands(t, "sensor.*_power: absolute=5")
	b := open()
	var records []concord.Record
	for i, state := range []string{"100", "102", "104", "106", "unavailable", "106", "107", "101", "103"} {
		records = append(records, b.at("sensor.a_power", state, int64(i), int64(i+1)))
	}
	records = append(records, b.at("sensor.b", "1", 20, 20), b.at("sensor.b", "2", 21, 21))
	counts, err := b.db.WriteEvents(t.Context(), b.home, records, 100)
	require.NoError(t, err)
	require.Equal(t, 4, counts.Held)
	require.Equal(t, 7, counts.Stored)
	require.Equal(t, "103", b.state(t, "sensor.a_power"), "the live state is whole")
	require.Equal(t, 0, b.count(t, `select count(*) from history where state = '103'`))

	b = open() // what was held back survives a crash
	n, err := b.db.StoreHeld(t.Context(), b.home, time.Now())
	require.NoError(t, err)
	require.Zero(t, n, "it may change again")
	n, err = b.db.StoreHeld(t.Context(), b.home, time.Now().Add(2*time.Minute))
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, 1, b.count(t, `select count(*) from history where state = '103'`), "the last value arrives")
}

func TestDeadbandOfABackfill(t *testing.T) {
	t.Parallel()
	b := deadbands(t, "sensor.*_power: absolute=5")()
	heard := []concord.Record{b.at("sensor.a_power", "100", 0, 1), b.at("sensor.a_power", "102", 1, 2), b.at("sensor.b", "1", 0, 3)}
	counts, err := b.db.WriteEvents(t.Context(), b.home, heard, 100)
	require.NoError(t, err)
	require.Equal(t, 1, counts.Held)
	require.NoError(t, b.db.OpenConnection(t.Context(), b.home, 101))
	now := []concord.Record{b.at("sensor.a_power", "110", 9, 1), b.at("sensor.b", "9", 9, 2)}
	for _, r := range now {
		r.State.Position.Epoch = 101
	}
	_, err = b.db.WriteStates(t.Context(), b.home, now, 102)
	require.NoError(t, err)
	_, err = b.conn.Exec(t.Context(), `update backfill set due_at = now()`) // as the registry does
	require.NoError(t, err)
	due, err := b.db.FindBackfills(t.Context(), b.home, 10)
	require.NoError(t, err)

	answer := func(id string, states ...string) concord.BackfillResult {
		var r concord.BackfillResult
		for _, d := range due {
			if d.EntityID == id && d.Last.Before(d.To) && r.ID == 0 {
				r.Backfill = d
			}
		}
		for i, s := range states {
			r.States = append(r.States, b.at(id, s, int64(i), 0).State)
		}
		return r
	}
	counts, err = b.db.FinishBackfills(t.Context(), b.home, []concord.BackfillResult{
		answer("sensor.a_power", "100", "102", "104", "106", "108", "unavailable", "107", "108", "109", "110", "111", "112"),
		answer("sensor.b", "1", "2", "3"),
	})
	require.NoError(t, err)
	require.Equal(t, 6, counts.Held, "102, 104, twice 108, 109 and 111")
	states := func(id string) (all string) {
		t.Helper()
		require.NoError(t, b.conn.QueryRow(t.Context(), `
			select string_agg(state, ' ' order by last_updated) from state_history_named where entity_id = $1`, id).Scan(&all))
		return all
	}
	require.Equal(t, "100 106 unavailable 107 110 112", states("sensor.a_power"))
	require.Equal(t, "1 2 3 9", states("sensor.b"))
}

func TestDeadbandRules(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "sensor.a", "sensor.[: absolute=1", "sensor.a: absolut=1", "sensor.a: absolute=-1", "sensor.a: interval=x"} {
		_, err := concord.ParseDeadbandRule(bad)
		require.Equal(t, concord.CodeInvalid, concord.ErrorCode(err), bad)
	}
	r, err := concord.ParseDeadbandRule("class=power: percent=10 interval=10s")
	require.NoError(t, err)
	require.True(t, r.Matches("sensor.a", "power"))
	require.False(t, r.Matches("sensor.a", "energy"))
	at := time.Unix(1000, 0)
	require.False(t, r.Keeps(100, at, 200, at.Add(time.Second)))
	require.False(t, r.Keeps(100, at, 109, at.Add(time.Minute)))
	require.True(t, r.Keeps(100, at, 110, at.Add(time.Minute)))
}
