package postgres_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/postgres"
)

// gone is a removal at that place of the stream.
func (b *bundle) gone(id string, seq int64) concord.Record {
	r := b.at(id, "", seq, seq)
	r.Removed = true
	return r
}

// syncRegistry has the registry, as it was at a place of the stream, name entries.
func (b *bundle) syncRegistry(t *testing.T, seq int64, names map[string]string, states ...concord.Record) {
	t.Helper()
	at := concord.Position{Epoch: 5, Seq: seq}
	s := &concord.Snapshot{HomeID: b.home, Position: at, RegistryAt: at, Endpoint: "background_sync", Registry: new(concord.RegistryParts), States: states}
	for id, entry := range names {
		s.Registry.Entities = append(s.Registry.Entities, concord.Entity{EntityID: id, RegistryID: entry})
	}
	_, err := b.db.SyncStage(t.Context(), concord.StageEntities, s)
	require.NoError(t, err)
}

// statesOf are the states in an entity's history, by time.
func (b *bundle) statesOf(t *testing.T, id string) []string {
	t.Helper()
	rows, err := b.conn.Query(t.Context(), `select state from state_history_named where home_id = $1 and entity_id = $2 order by last_updated`, b.home, id)
	require.NoError(t, err)
	states, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return states
}

func (b *bundle) write(t *testing.T, seq uint64, records ...concord.Record) concord.EventCounts {
	t.Helper()
	counts, err := b.db.WriteEvents(t.Context(), b.home, records, seq)
	require.NoError(t, err)
	return counts
}

// A registered entity gives its name up; another one takes it.
func TestANameUsedAgain(t *testing.T) {
	t.Parallel()

	renamed := func(t *testing.T) *bundle {
		b := setup(t)
		b.write(t, 100, b.at("sensor.x", "x1", 1, 1))
		b.syncRegistry(t, 2, map[string]string{"sensor.x": "r1"}, b.at("sensor.x", "x1", 1, 2))
		return b
	}

	for name, other := range map[string]string{"ByOneWithAnEntry": "r2", "ByOneWithoutAnEntry": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := renamed(t)
			b.write(t, 101, b.gone("sensor.x", 3), b.at("sensor.old", "x2", 4, 4))
			b.syncRegistry(t, 5, map[string]string{"sensor.old": "r1"}, b.at("sensor.old", "x2", 4, 5))
			b.write(t, 102, b.at("sensor.x", "n1", 6, 6))
			require.Equal(t, []string{"n1"}, b.statesOf(t, "sensor.x"))
			names := map[string]string{"sensor.old": "r1"}
			if other != "" {
				names["sensor.x"] = other
			}
			b.syncRegistry(t, 8, names, b.at("sensor.old", "x2", 4, 8), b.at("sensor.x", "n1", 6, 8))
			b.write(t, 103, b.at("sensor.x", "n2", 9, 9))
			require.Equal(t, []string{"n1", "n2"}, b.statesOf(t, "sensor.x"))
			require.Equal(t, []string{"x1", "x2"}, b.statesOf(t, "sensor.old"))
		})
	}

	t.Run("BeforeTheRegistryIsRead", func(t *testing.T) {
		t.Parallel()
		b := renamed(t)
		b.write(t, 101, b.at("sensor.b", "b1", 1, 2))
		b.syncRegistry(t, 2, map[string]string{"sensor.x": "r1", "sensor.b": "r2"}, b.at("sensor.x", "x1", 1, 2), b.at("sensor.b", "b1", 1, 2))
		swap := []concord.Record{b.gone("sensor.x", 3), b.at("sensor.c", "x2", 3, 3), b.gone("sensor.b", 4), b.at("sensor.x", "b2", 5, 5)}
		require.Equal(t, 2, b.write(t, 102, swap...).Stored)
		require.Zero(t, b.write(t, 103, swap...).Stored, "the same message again")
		before := map[string]string{"sensor.x": "r1", "sensor.b": "r2"}
		states := []concord.Record{b.at("sensor.c", "x2", 3, 6), b.at("sensor.x", "b2", 5, 6)}
		s := &concord.Snapshot{HomeID: b.home, Position: states[0].State.Position, RegistryAt: concord.Position{Epoch: 5, Seq: 2}, Endpoint: "background_sync", Registry: new(concord.RegistryParts), States: states}
		for id, entry := range before { // read before the names changed hands, written afterwards
			s.Registry.Entities = append(s.Registry.Entities, concord.Entity{EntityID: id, RegistryID: entry})
		}
		_, err := b.db.SyncStage(t.Context(), concord.StageEntities, s)
		require.NoError(t, err)
		b.syncRegistry(t, 7, map[string]string{"sensor.c": "r1", "sensor.x": "r2"}, states...)
		require.Equal(t, []string{"x1", "x2"}, b.statesOf(t, "sensor.c"))
		require.Equal(t, []string{"b1", "b2"}, b.statesOf(t, "sensor.x"))
	})

	t.Run("ByAConcordThatDidNotHearTheRemoval", func(t *testing.T) {
		t.Parallel()
		b := renamed(t)
		b.write(t, 101, b.gone("sensor.x", 3), b.at("sensor.old", "x2", 4, 4))
		var err error
		b.db, err = postgres.Open(t.Context(), postgres.Options{URL: b.conn.Config().ConnString()})
		require.NoError(t, err)
		t.Cleanup(b.db.Close)
		b.write(t, 102, b.at("sensor.x", "n1", 6, 6))
		b.syncRegistry(t, 7, map[string]string{"sensor.old": "r1"}, b.at("sensor.old", "x2", 4, 7), b.at("sensor.x", "n1", 6, 7))
		require.Equal(t, []string{"n1"}, b.statesOf(t, "sensor.x"))
		require.Equal(t, []string{"x1", "x2"}, b.statesOf(t, "sensor.old"))
	})

	t.Run("ByItsFormerOwner", func(t *testing.T) {
		t.Parallel()
		b := renamed(t)
		b.write(t, 101, b.gone("sensor.x", 3), b.at("sensor.x", "x2", 4, 4)) // removed and added again
		b.syncRegistry(t, 5, map[string]string{"sensor.x": "r1"}, b.at("sensor.x", "x2", 4, 5))
		b.write(t, 102, b.gone("sensor.x", 6), b.at("sensor.old", "x3", 7, 7))
		b.syncRegistry(t, 8, map[string]string{"sensor.old": "r1"}, b.at("sensor.old", "x3", 7, 8))
		require.Equal(t, []string{"x1", "x2", "x3"}, b.statesOf(t, "sensor.old"))
	})

	t.Run("FoundByAConcordThatIsBehind", func(t *testing.T) {
		t.Parallel()
		b := renamed(t)
		_, err := b.conn.Exec(t.Context(), `
			insert into history_entity (home_id, entity_key, entity_id) values ($1, $2, 'sensor.other')`, b.home, (*concord.Registry)(nil).EntityKey("sensor.new"))
		require.NoError(t, err)
		change := b.at("sensor.new", "n1", 6, 6)
		_, err = b.db.WriteEvents(t.Context(), b.home, []concord.Record{change}, 101)
		require.Error(t, err)
		b.write(t, 101, change)
		require.Equal(t, []string{"n1"}, b.statesOf(t, "sensor.new"))
	})
}

// What was heard before a removal is the former entity's, however late it is written.
func TestANameGivenUpKeepsWhatWasHeardBefore(t *testing.T) {
	t.Parallel()
	registered := func(t *testing.T, b *bundle, id string) {
		t.Helper()
		b.write(t, 100, b.at(id, "1", 1, 1))
		b.syncRegistry(t, 2, map[string]string{id: "r1"}, b.at(id, "1", 1, 2))
	}
	renamed := func(t *testing.T, b *bundle, id string) {
		t.Helper()
		b.syncRegistry(t, 8, map[string]string{"sensor.old": "r1", id: "r2"}, b.at("sensor.old", "3", 5, 8), b.at(id, "100", 7, 8))
	}

	t.Run("InAMessageThatIsWrittenAgain", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		registered(t, b, "sensor.x")
		b.write(t, 101, b.at("sensor.x", "1b", 2, 3)) // its numbers are loaded
		message := []concord.Record{b.at("sensor.x", "2", 3, 4), b.gone("sensor.x", 5), b.at("sensor.old", "3", 5, 5), b.at("sensor.x", "100", 7, 7)}
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := b.db.WriteEvents(canceled, b.home, message, 102)
		require.Error(t, err)
		require.Equal(t, 3, b.write(t, 102, message...).Stored)
		renamed(t, b, "sensor.x")
		require.Equal(t, []string{"1", "1b", "2", "3"}, b.statesOf(t, "sensor.old"))
		require.Equal(t, []string{"100"}, b.statesOf(t, "sensor.x"))
	})

	t.Run("InADeadband", func(t *testing.T) {
		t.Parallel()
		b := deadbands(t, "sensor.*_power: absolute=5")()
		registered(t, b, "sensor.x_power")
		b.write(t, 101, b.at("sensor.x_power", "2", 3, 4))
		b.write(t, 102, b.gone("sensor.x_power", 5), b.at("sensor.old", "3", 5, 5), b.at("sensor.x_power", "100", 7, 7))
		renamed(t, b, "sensor.x_power")
		require.Equal(t, []string{"1", "2", "3"}, b.statesOf(t, "sensor.old"))
		require.Equal(t, []string{"100"}, b.statesOf(t, "sensor.x_power"))
	})
}
