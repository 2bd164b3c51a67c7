package postgres_test

import (
	"context"
	"slices"
	"testing"
	"time"

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

	t.Run("InADeadbandWhenItsNewNameIsToldFirst", func(t *testing.T) {
		t.Parallel()
		b := deadbands(t, "sensor.*_power: absolute=5")()
		registered(t, b, "sensor.x_power")
		b.write(t, 101, b.at("sensor.x_power", "2", 3, 4))
		for i, r := range b.renames(true, "sensor.x_power", "sensor.old", "3", 5) {
			b.write(t, uint64(102+i), r) //nolint:gosec // small
		}
		require.Equal(t, []string{"1", "2", "3"}, b.statesOf(t, "sensor.old"))
		require.Empty(t, b.statesOf(t, "sensor.x_power"))
	})
}

// renames is what a home says when an entity gets another name: the former one is
// removed, the state comes under the new one, and the registry says so after or
// before that.
func (b *bundle) renames(first bool, from, to, state string, seq int64) []concord.Record {
	said := b.at(to, "", seq, seq)
	said.RenamedFrom = from
	removed, added := b.gone(from, seq+1), b.at(to, state, seq+2, seq+2)
	if first {
		return []concord.Record{said, removed, added}
	}
	said.State.Position.Seq, removed.State.Position.Seq, added.State.Position.Seq = seq+2, seq, seq+1
	return []concord.Record{removed, added, said}
}

// names has a connection begin with these names.
func (b *bundle) names(t *testing.T, epoch int64, seq uint64, names map[string]string) {
	t.Helper()
	var entities []concord.Entity
	for id, entry := range names {
		entities = append(entities, concord.Entity{EntityID: id, RegistryID: entry})
	}
	require.NoError(t, b.db.WriteNames(t.Context(), b.home, entities, concord.Position{Epoch: epoch, Seq: 1}, seq))
}

// Names are given before the registry, which comes last, can be read.
func TestNamesAreFollowed(t *testing.T) {
	t.Parallel()
	type story struct {
		changes func(b *bundle, first bool) []concord.Record
		names   map[string]string
		states  map[string][]string
	}
	stories := map[string]story{
		"GivenTwice": {func(b *bundle, first bool) []concord.Record {
			all := append(b.renames(first, "sensor.x", "sensor.t", "x2", 10), b.at("sensor.t", "x3", 20, 20))
			return append(append(all, b.renames(first, "sensor.t", "sensor.z", "x4", 30)...), b.at("sensor.z", "x5", 40, 40))
		}, map[string]string{"sensor.z": "r1", "sensor.y": "r2"}, map[string][]string{
			"sensor.x": nil, "sensor.t": nil, "sensor.y": {"y1"}, "sensor.z": {"x1", "x2", "x3", "x4", "x5"},
		}},
		"Exchanged": {func(b *bundle, first bool) []concord.Record {
			all := append(b.renames(first, "sensor.x", "sensor.t", "x2", 10), b.at("sensor.t", "x3", 20, 20))
			all = append(append(all, b.renames(first, "sensor.y", "sensor.x", "y2", 30)...), b.at("sensor.x", "y3", 40, 40))
			return append(append(all, b.renames(first, "sensor.t", "sensor.y", "x4", 50)...), b.at("sensor.y", "x5", 60, 60), b.at("sensor.x", "y4", 61, 61))
		}, map[string]string{"sensor.x": "r2", "sensor.y": "r1"}, map[string][]string{
			"sensor.x": {"y1", "y2", "y3", "y4"}, "sensor.y": {"x1", "x2", "x3", "x4", "x5"}, "sensor.t": nil,
		}},
		"OfAnEntityThatCameAgain": {func(b *bundle, first bool) []concord.Record {
			all := []concord.Record{b.gone("sensor.x", 10), b.at("sensor.x", "x2", 11, 11)}
			return append(append(all, b.renames(first, "sensor.x", "sensor.z", "x3", 20)...), b.at("sensor.x", "n1", 30, 30))
		}, map[string]string{"sensor.z": "r3", "sensor.y": "r2"}, map[string][]string{
			"sensor.x": {"n1"}, "sensor.y": {"y1"}, "sensor.z": {"x1", "x2", "x3"},
		}},
		"OfANewEntity": {func(b *bundle, first bool) []concord.Record {
			all := append([]concord.Record{b.at("sensor.n", "n1", 10, 10)}, b.renames(first, "sensor.n", "sensor.z", "n2", 20)...)
			all = append(all, b.at("sensor.n", "m1", 30, 30))
			return append(append(all, b.renames(first, "sensor.n", "sensor.m", "m2", 40)...), b.at("sensor.z", "n3", 50, 50))
		}, map[string]string{"sensor.x": "r1", "sensor.y": "r2", "sensor.z": "r3", "sensor.m": "r4"}, map[string][]string{
			"sensor.x": {"x1"}, "sensor.n": nil, "sensor.z": {"n1", "n2", "n3"}, "sensor.m": {"m1", "m2"},
		}},
	}
	ways := map[string]func(t *testing.T, b *bundle, all []concord.Record){
		"InOneMessage": func(t *testing.T, b *bundle, all []concord.Record) { t.Helper(); b.write(t, 200, all...) },
		"InOneMessageOfManyParts": func(t *testing.T, b *bundle, all []concord.Record) {
			t.Helper()
			defer b.refuse(t, "never")()
			b.write(t, 200, all...)
		},
		"ByAConcordEach": func(t *testing.T, b *bundle, all []concord.Record) {
			t.Helper()
			for i, r := range all {
				b.db = openAgain(t, b.conn.Config().ConnString())
				b.write(t, uint64(200+i), r)
			}
		},
	}
	ways["HalfOfWhichIsToldAgain"] = func(t *testing.T, b *bundle, all []concord.Record) {
		t.Helper()
		for n := 1; n < len(all)+3; n += 3 {
			b.db = openAgain(t, b.conn.Config().ConnString())
			b.write(t, uint64(200+n), all[:min(n, len(all))]...) //nolint:gosec // small
		}
	}
	for name, s := range stories {
		for way, write := range ways {
			for order, first := range map[string]bool{"SaidFirst": true, "SaidLast": false} {
				t.Run(name+way+order, func(t *testing.T) {
					t.Parallel()
					b := setup(t)
					b.write(t, 100, b.at("sensor.x", "x1", 1, 1), b.at("sensor.y", "y1", 1, 2))
					b.names(t, 5, 101, map[string]string{"sensor.x": "r1", "sensor.y": "r2"})
					b.syncRegistry(t, 3, map[string]string{"sensor.x": "r1", "sensor.y": "r2"}, b.at("sensor.x", "x1", 1, 3), b.at("sensor.y", "y1", 1, 3))
					write(t, b, s.changes(b, first))
					for id, states := range s.states {
						require.ElementsMatch(t, states, b.statesOf(t, id), id)
					}
					b.syncRegistry(t, 99, s.names)
					for id, states := range s.states {
						require.ElementsMatch(t, states, b.statesOf(t, id), id)
					}
				})
			}
		}
	}
}

// Names change hands while nobody listens.
func TestNamesExchangedUnheard(t *testing.T) {
	t.Parallel()
	b := setup(t)
	before, after := map[string]string{"sensor.x": "r1", "sensor.y": "r2"}, map[string]string{"sensor.x": "r2", "sensor.y": "r1"}
	b.write(t, 100, b.at("sensor.x", "x1", 1, 1), b.at("sensor.y", "y1", 1, 2))
	b.syncRegistry(t, 3, before, b.at("sensor.x", "x1", 1, 3), b.at("sensor.y", "y1", 1, 3))
	require.NoError(t, b.db.OpenConnection(t.Context(), b.home, 101))
	b.names(t, 101, 102, after)
	states := []concord.Record{b.at("sensor.x", "y2", 20, 2), b.at("sensor.y", "x2", 21, 2)}
	change := b.at("sensor.x", "y3", 30, 3)
	for _, r := range append(states, change) {
		r.State.Position.Epoch = 101
	}
	_, err := b.db.WriteStates(t.Context(), b.home, states, 103)
	require.NoError(t, err)
	b.write(t, 104, change)
	b.names(t, 101, 105, before) // from before that, and repeated
	require.Equal(t, []string{"y1", "y2", "y3"}, b.statesOf(t, "sensor.x"))
	require.Equal(t, []string{"x1", "x2"}, b.statesOf(t, "sensor.y"))
	position, err := b.db.SpoolPosition(t.Context(), b.home)
	require.NoError(t, err)
	require.EqualValues(t, 105, position)
}

// A value that a deadband held back when nobody listened any more is that of the
// entity which had the name.
func TestNamesGivenUnheardTakeWhatWasHeldBackAlong(t *testing.T) {
	t.Parallel()
	b := deadbands(t, "sensor.*_power: absolute=5")()
	b.write(t, 100, b.at("sensor.x_power", "1", 1, 1))
	b.syncRegistry(t, 2, map[string]string{"sensor.x_power": "r1"}, b.at("sensor.x_power", "1", 1, 2))
	require.Equal(t, 1, b.write(t, 101, b.at("sensor.x_power", "2", 3, 4)).Held)
	require.NoError(t, b.db.OpenConnection(t.Context(), b.home, 102))
	b.names(t, 102, 103, map[string]string{"sensor.old": "r1", "sensor.x_power": "r2"})
	states := []concord.Record{b.at("sensor.old", "3", 20, 2), b.at("sensor.x_power", "100", 21, 2)}
	for _, r := range states {
		r.State.Position.Epoch = 102
	}
	_, err := b.db.WriteStates(t.Context(), b.home, states, 104)
	require.NoError(t, err)
	require.Equal(t, []string{"1", "2", "3"}, b.statesOf(t, "sensor.old"))
	require.Equal(t, []string{"100"}, b.statesOf(t, "sensor.x_power"))
}

// What is called something else now is not asked for by its former name, of which
// the home knows nothing.
func TestANameGivenUpUnheardIsNotAskedFor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.write(t, 100, b.at("sensor.x", "x1", 1, 1), b.at("sensor.y", "y1", 1, 2))
	b.syncRegistry(t, 3, map[string]string{"sensor.x": "r1", "sensor.y": "r2"}, b.at("sensor.x", "x1", 1, 3), b.at("sensor.y", "y1", 1, 3))
	require.NoError(t, b.db.OpenConnection(t.Context(), b.home, 101))
	b.names(t, 101, 102, map[string]string{"sensor.old": "r1"})
	state := b.at("sensor.old", "x2", 20, 2)
	state.State.Position.Epoch = 101
	_, err := b.db.WriteStates(t.Context(), b.home, []concord.Record{state}, 103)
	require.NoError(t, err)
	s := &concord.Snapshot{HomeID: b.home, Position: state.State.Position, RegistryAt: state.State.Position, Endpoint: "background_sync", Registry: new(concord.RegistryParts), States: []concord.Record{state}}
	s.Registry.Entities = append(s.Registry.Entities, concord.Entity{EntityID: "sensor.old", RegistryID: "r1"})
	_, err = b.db.SyncStage(t.Context(), concord.StageEntities, s)
	require.NoError(t, err)
	asked, err := b.db.FindBackfills(t.Context(), b.home, 10)
	require.NoError(t, err)
	heard := make(map[string]time.Time)
	for _, q := range asked {
		heard[q.EntityID] = time.Time{}
		if q.Heard != nil {
			heard[q.EntityID] = q.Heard.UTC()
		}
	}
	last := b.at("", "", 1, 1).State.LastUpdated
	require.Equal(t, map[string]time.Time{"sensor.old": last, "sensor.y": last}, heard, "of what is gone altogether it is asked")
}

// An entity gets another name when the names are told, and before the states are: its
// former name is never removed.
func TestANameGivenUpBeforeTheFirstStatesIsNotAskedFor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	names := map[string]string{"sensor.x": "r1"}
	b.write(t, 100, b.at("sensor.x", "x1", 1, 1))
	b.syncRegistry(t, 3, names, b.at("sensor.x", "x1", 1, 3))
	require.NoError(t, b.db.OpenConnection(t.Context(), b.home, 101))
	b.names(t, 101, 102, names)
	said, state := b.renames(true, "sensor.x", "sensor.old", "", 3)[0], b.at("sensor.old", "x2", 20, 4)
	said.State.Position.Epoch = 101
	b.write(t, 103, said)
	b.begin(t, 101, 104, state)
	s := snapshot(b.home, 101, 4, state)
	s.RegistryAt, s.Registry = s.Position, &concord.RegistryParts{Entities: []concord.Entity{{EntityID: "sensor.old", RegistryID: "r1"}}}
	b.sync(t, concord.StageEntities, s)
	asked, err := b.db.FindBackfills(t.Context(), b.home, 10)
	require.NoError(t, err)
	require.NotEmpty(t, asked)
	for _, q := range asked {
		require.Equal(t, "sensor.old", q.EntityID)
		require.Equal(t, b.at("", "", 1, 1).State.LastUpdated, q.Heard.UTC())
	}
}

// A registry that has an entry, or a name, twice keeps nothing else from being written.
func TestNamesThatAreToldTwice(t *testing.T) {
	t.Parallel()
	for name, second := range map[string]concord.Entity{"AnEntry": {EntityID: "sensor.y", RegistryID: "r1"}, "AName": {EntityID: "sensor.x", RegistryID: "r2"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			twice := []concord.Entity{{EntityID: "sensor.x", RegistryID: "r1"}, second}
			require.NoError(t, b.db.WriteNames(t.Context(), b.home, slices.Clone(twice), concord.Position{Epoch: 5, Seq: 1}, 101))
			s := snapshot(b.home, 5, 2, b.at("sensor.x", "1", 1, 2))
			s.Registry = &concord.RegistryParts{Entities: twice}
			_, err := b.db.SyncStage(t.Context(), concord.StageEntities, s)
			require.NoError(t, err)
			require.Equal(t, []string{"1"}, b.statesOf(t, "sensor.x"))
		})
	}
}

// Of entities that were never heard nothing is missed, although their names were told.
func TestNamesDoNotMakeEntitiesKnown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.db.OpenConnection(t.Context(), b.home, 101))
	b.names(t, 101, 102, map[string]string{"sensor.x": "r1", "sensor.y": "r2"})
	now := time.Now()
	b.begin(t, 101, 103, b.on("sensor.x", "1", now, 2))
	b.begin(t, 101, 104, b.on("sensor.y", "1", now, 2))
	require.Zero(t, b.count(t, `select count(*) from backfill where known`))
}
