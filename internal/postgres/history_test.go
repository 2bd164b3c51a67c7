package postgres_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
)

// moment is the same for all of a run, and as long ago at every time of the day.
var moment = time.Now().UTC().Truncate(time.Hour).Add(-12 * time.Hour)

// at is a change at a time given in microseconds after the moment.
func (b *bundle) at(id, state string, micros int64, seq int64) concord.Record {
	t := moment.Add(time.Duration(micros) * time.Microsecond)
	return concord.Record{State: &concord.State{
		EntityID: id, State: state, Attributes: json.RawMessage(`{"unit":"W","friendly_name":"x"}`),
		LastChanged: t, LastUpdated: t, Position: concord.Position{Epoch: 5, Seq: seq},
	}}
}

func (b *bundle) count(t *testing.T, sql string, args ...any) int {
	t.Helper()
	var n int
	require.NoError(t, b.conn.QueryRow(t.Context(), sql, args...).Scan(&n))
	return n
}

func TestHistory(t *testing.T) {
	t.Parallel()

	t.Run("KeepsEveryChangeOnce", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		batch := []concord.Record{b.at("sensor.a", "1", 1, 1), b.at("sensor.a", "2.5", 2, 2), b.at("sensor.a", "2.5", 2, 3), b.at("sensor.b", "on", 2, 4)}
		counts, err := b.db.WriteEvents(t.Context(), b.home, batch, 100)
		require.NoError(t, err)
		require.Equal(t, 3, counts.Stored)
		counts, err = b.db.WriteEvents(t.Context(), b.home, batch, 100)
		require.NoError(t, err)
		require.True(t, counts.Skipped)
		counts, err = b.db.WriteEvents(t.Context(), b.home, batch, 101)
		require.NoError(t, err)
		require.Zero(t, counts.Stored, "the same changes in another batch")
		require.Equal(t, 1, b.count(t, `select count(*) from attributes`))
		require.Equal(t, 1, b.count(t, `select count(*) from history where value = 2.5`))
		require.Equal(t, 1, b.count(t, `select count(*) from history where value is null`))
		require.Equal(t, 0, b.count(t, `select count(*) from history_other`))
	})

	t.Run("KeepsAChangeOnceThatAnotherStored", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		_, err := b.db.WriteEvents(t.Context(), b.home, []concord.Record{b.at("sensor.a", "1", 1, 1)}, 100)
		require.NoError(t, err)
		_, err = b.conn.Exec(t.Context(), `
			insert into history (home_id, entity_key, last_updated, last_changed, attributes_id, state)
			select home_id, entity_key, last_updated + interval '1 us', last_changed, attributes_id, '2' from history`)
		require.NoError(t, err)
		counts, err := b.db.WriteEvents(t.Context(), b.home, []concord.Record{b.at("sensor.a", "2", 2, 2), b.at("sensor.a", "3", 3, 3)}, 101)
		require.NoError(t, err)
		require.Equal(t, 1, counts.Stored)
		require.Zero(t, counts.Failed)
		require.Equal(t, 3, b.count(t, `select count(*) from history`))
		require.Equal(t, 0, b.count(t, `select count(*) from quarantine`))
	})

	t.Run("AnOddClockBlocksNothing", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		odd := b.at("sensor.a", "1", 1, 1)
		odd.State.LastUpdated = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
		far := b.at("sensor.a", "2", 1, 2)
		far.State.LastUpdated = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
		counts, err := b.db.WriteEvents(t.Context(), b.home, []concord.Record{odd, far}, 100)
		require.NoError(t, err)
		require.Equal(t, 2, counts.Stored)
		require.Equal(t, 2, b.count(t, `select count(*) from history_other`))
	})

	t.Run("TheSameTimeAfterAStepBackIsAnotherChange", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		second := int64(time.Second / time.Microsecond)
		counts, err := b.db.WriteEvents(t.Context(), b.home, []concord.Record{b.at("a.a", "1", 0, 1), b.at("a.b", "1", 60*second, 2), b.at("a.a", "2", 0, 3)}, 100)
		require.NoError(t, err)
		require.Equal(t, 3, counts.Stored)
		require.Equal(t, 1, b.count(t, `select count(*) from history where clock_epoch = 1`))
	})

	t.Run("FollowsARenamedEntity", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		sync := func(id string, seq int64) {
			_, err := b.db.SyncStage(t.Context(), concord.StageEntities, &concord.Snapshot{
				HomeID: b.home, Position: concord.Position{Epoch: 5, Seq: seq}, Endpoint: "background_sync",
				Registry: &concord.RegistryParts{Entities: []concord.Entity{{EntityID: id, RegistryID: "r1"}}},
				States:   []concord.Record{b.at(id, "0", seq, seq)},
			})
			require.NoError(t, err)
		}
		_, err := b.db.WriteEvents(t.Context(), b.home, []concord.Record{b.at("a.old", "1", 1, 1)}, 100)
		require.NoError(t, err)
		sync("a.old", 2)
		_, err = b.db.WriteEvents(t.Context(), b.home, []concord.Record{b.at("a.old", "1", 3, 3), b.at("a.new", "1", 4, 4)}, 101)
		require.NoError(t, err)
		sync("a.new", 5)
		require.Equal(t, 5, b.count(t, `select count(*) from history join history_entity using (home_id, entity_key) where entity_id = 'a.new'`))
	})

	t.Run("AStateThatWasMissedIsKeptAndAsked", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		_, err := b.db.WriteEvents(t.Context(), b.home, []concord.Record{b.at("a.a", "1", 1, 1), b.at("a.b", "1", 2, 2)}, 100)
		require.NoError(t, err)
		require.NoError(t, b.db.OpenConnection(t.Context(), b.home, 101))
		states := []concord.Record{b.at("a.a", "7", 9, 1), b.at("a.b", "1", 2, 1)}
		states[0].State.Position.Epoch, states[1].State.Position.Epoch = 101, 101
		counts, err := b.db.WriteStates(t.Context(), b.home, states, 102)
		require.NoError(t, err)
		require.Equal(t, 1, counts.Applied)
		require.Equal(t, "7", b.state(t, "a.a"))
		require.Equal(t, 1, b.count(t, `select count(*) from history where state = '7'`))
		require.Equal(t, 1, b.count(t, `select count(*) from backfill where entity_id = 'a.a' and last_time = to_time - interval '1 us' and heard_time is not null`))
		require.Equal(t, 1, b.count(t, `select count(*) from backfill where last_time > from_time and last_time < to_time - interval '1 us'`), "its clock may have been set back")
		require.Equal(t, 2, b.count(t, `select count(*) from backfill`))
	})
}
