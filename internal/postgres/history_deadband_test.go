package postgres_test

import (
	"bytes"
	"encoding/json"
	"os"
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

// A transaction whose answer was lost is found written: as by another Concord.
func TestDeadbandOfWhatIsFoundWritten(t *testing.T) {
	t.Parallel()
	open := deadbands(t, "sensor.*_power: absolute=5")
	b := open()
	b.write(t, 100, b.at("sensor.a_power", "100", 0, 1), b.at("sensor.b_power", "10", 0, 2))
	message := []concord.Record{b.at("sensor.a_power", "102", 3, 3), b.at("sensor.b_power", "20", 4, 4)}
	require.Equal(t, 1, open().write(t, 101, message...).Held)
	require.True(t, b.write(t, 101, message...).Skipped)
	n, err := b.db.StoreHeld(t.Context(), b.home, time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, 1, n, "the last value arrives")
	require.Equal(t, []string{"100", "102"}, b.statesOf(t, "sensor.a_power"))
	require.Equal(t, 1, b.write(t, 102, b.at("sensor.b_power", "21", 5, 5)).Held, "compared with what was stored")
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

// captured returns the states of a real home, by entity id.
func captured(t *testing.T) map[string]*concord.State {
	t.Helper()
	file, err := os.ReadFile("../../hass/testdata/captured/2025.4.4/get_states.jsonl")
	require.NoError(t, err)
	states := make(map[string]*concord.State)
	for line := range bytes.Lines(file) {
		var message struct {
			Raw struct {
				Result []struct {
					EntityID    string    `json:"entity_id"`
					State       string    `json:"state"`
					LastUpdated time.Time `json:"last_updated"`
					Attributes  json.RawMessage
				}
			}
		}
		require.NoError(t, json.Unmarshal(line, &message))
		for _, s := range message.Raw.Result {
			states[s.EntityID] = &concord.State{EntityID: s.EntityID, State: s.State, Attributes: s.Attributes, LastChanged: s.LastUpdated, LastUpdated: s.LastUpdated}
		}
	}
	return states
}

func TestDeadbandOfADeviceClass(t *testing.T) {
	t.Parallel()
	states := captured(t)
	changes := func(id string, begin int64, values ...string) (records []concord.Record) {
		for i, v := range values {
			s := *states[id]
			s.State, s.LastUpdated = v, s.LastUpdated.Add(time.Duration(begin+int64(i))*time.Second)
			s.Position = concord.Position{Epoch: 5, Seq: begin + int64(i)}
			records = append(records, concord.Record{State: &s})
		}
		return records
	}
	open := deadbands(t, "class=power: absolute=5")
	b := open()
	counts, err := b.db.WriteEvents(t.Context(), b.home, changes("sensor.load_0000_power_00000", 1, "100", "101", "106"), 100)
	require.NoError(t, err)
	require.Equal(t, 1, counts.Held, "no home lists it in its registry")
	counts, err = b.db.WriteEvents(t.Context(), b.home, changes("number.pwm_1", 4, "1", "2"), 101)
	require.NoError(t, err)
	require.Zero(t, counts.Held)
	b = open()
	counts, err = b.db.WriteEvents(t.Context(), b.home, changes("sensor.load_0000_power_00000", 6, "107"), 102)
	require.NoError(t, err)
	require.Equal(t, 1, counts.Held, "what was stored is known after a restart")

	_, err = b.conn.Exec(t.Context(), `
		insert into entity (home_id, entity_id, key, device_class)
		values ($1, 'sensor.load_0000_power_00000', 1, 'temperature'), ($1, 'number.pwm_1', 2, 'power')`, b.home)
	require.NoError(t, err)
	b = open()
	counts, err = b.db.WriteEvents(t.Context(), b.home, append(changes("sensor.load_0000_power_00000", 7, "108"), changes("number.pwm_1", 8, "3")...), 103)
	require.NoError(t, err)
	require.Equal(t, concord.EventCounts{Applied: 2, Stored: 1, Held: 1}, counts)
	require.Equal(t, 1, b.count(t, `select count(*) from history where state = '108'`), "the registry's counts")
}

func TestDeadbandOfADomain(t *testing.T) {
	t.Parallel()
	b := deadbands(t, "domain=number: percent=10")()
	counts, err := b.db.WriteEvents(t.Context(), b.home, []concord.Record{
		b.at("number.a", "100", 0, 1), b.at("number.a", "105", 1, 2), b.at("number.a", "111", 2, 3), b.at("sensor.number", "100", 3, 4), b.at("sensor.number", "101", 4, 5),
	}, 100)
	require.NoError(t, err)
	require.Equal(t, concord.EventCounts{Applied: 2, Stored: 4, Held: 1}, counts)
}

func TestDeadbandComparesWithWhatIsStored(t *testing.T) {
	t.Parallel()
	history := func(t *testing.T, b *bundle) (all string) {
		t.Helper()
		require.NoError(t, b.conn.QueryRow(t.Context(), `select string_agg(state, ' ' order by last_updated) from history`).Scan(&all))
		return all
	}
	heard := func(t *testing.T, b *bundle, seq uint64, records ...concord.Record) {
		t.Helper()
		_, err := b.db.WriteEvents(t.Context(), b.home, records, seq)
		require.NoError(t, err)
	}
	on := func(r concord.Record, connection int64) concord.Record {
		r.State.Position.Epoch = connection
		return r
	}
	rule := "sensor.*_power: absolute=5"

	t.Run("InTheStatesOfANewConnection", func(t *testing.T) {
		t.Parallel()
		b := deadbands(t, rule)()
		heard(t, b, 100, b.at("sensor.a_power", "100", 0, 1))
		require.NoError(t, b.db.OpenConnection(t.Context(), b.home, 101))
		_, err := b.db.WriteStates(t.Context(), b.home, []concord.Record{on(b.at("sensor.a_power", "900", 9, 1), 101)}, 102)
		require.NoError(t, err)
		heard(t, b, 103, on(b.at("sensor.a_power", "101", 20, 2), 101), on(b.at("sensor.a_power", "102", 21, 3), 101), on(b.at("sensor.a_power", "897", 22, 4), 101))
		require.Equal(t, "100 900 101 897", history(t, b))
	})

	t.Run("FromTheHomesOwnHistory", func(t *testing.T) {
		t.Parallel()
		b := deadbands(t, rule)()
		heard(t, b, 100, b.at("sensor.a_power", "100", 0, 1), b.at("sensor.a_power", "101", 9, 2))
		answer := concord.BackfillResult{States: []*concord.State{b.at("sensor.a_power", "200", 5, 0).State}}
		_, err := b.conn.Exec(t.Context(), `
			insert into backfill (home_id, entity_id, entity_key, from_time, to_time, known)
			select $1, entity_id, entity_key, now() - interval '1 day', now() + interval '1 day', true from history_entity`, b.home)
		require.NoError(t, err)
		due, err := b.db.FindBackfills(t.Context(), b.home, 1)
		require.NoError(t, err)
		answer.Backfill = due[0]
		_, err = b.db.FinishBackfills(t.Context(), b.home, []concord.BackfillResult{answer})
		require.NoError(t, err)
		heard(t, b, 101, b.at("sensor.a_power", "103", 10, 3))
		require.Equal(t, "100 200 103", history(t, b))
	})

	t.Run("OfThisEntityNotOfAnotherOfItsName", func(t *testing.T) {
		t.Parallel()
		b := deadbands(t, rule)()
		gone := b.at("sensor.a_power", "", 2, 4)
		gone.Removed = true
		heard(t, b, 100, b.at("sensor.a_power", "100", 0, 1), b.at("sensor.a_power", "103", second, 2), b.at("sensor.b", "1", 20*second, 3), gone,
			b.at("sensor.a_power", "101", 30*second, 5), b.at("sensor.a_power", "102", 31*second, 6))
		require.Equal(t, "100 103 1 101", history(t, b), "the last value of the removed one arrives")
		require.Zero(t, b.count(t, `select clock_epoch from spool_position`), "late, which tells nothing of the clock")
	})

	t.Run("OfWhatWentAwayUnheard", func(t *testing.T) {
		t.Parallel()
		open := deadbands(t, rule)
		b := open()
		heard(t, b, 100, b.at("sensor.a_power", "100", 0, 1), b.at("sensor.a_power", "103", 1, 2))
		b = open()
		_, err := b.db.SyncStage(t.Context(), concord.StageEntities, &concord.Snapshot{
			HomeID: b.home, Position: concord.Position{Epoch: 101, Seq: 5}, Endpoint: "background_sync", Registry: &concord.RegistryParts{},
		})
		require.NoError(t, err)
		require.Equal(t, "100 103", history(t, b))
		n, err := b.db.StoreHeld(t.Context(), b.home, time.Now().Add(time.Hour))
		require.NoError(t, err)
		require.Zero(t, n)
	})
}
