package postgres_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/postgres"
)

// syncEntity has the registry call one entity id.
func (b *bundle) syncEntity(t *testing.T, id string, seq int64) {
	t.Helper()
	b.syncEntry(t, id, "r1", seq)
}

func (b *bundle) syncEntry(t *testing.T, id, registryID string, seq int64) {
	t.Helper()
	state := b.at(id, "0", 20+seq, seq)
	state.State.Position.Epoch = 102
	_, err := b.db.SyncStage(t.Context(), concord.StageEntities, &concord.Snapshot{
		HomeID: b.home, Position: state.State.Position, Endpoint: "background_sync",
		Registry: &concord.RegistryParts{Entities: []concord.Entity{{EntityID: id, RegistryID: registryID}}},
		States:   []concord.Record{state},
	})
	require.NoError(t, err)
}

// missed has a.old heard, then a connection that begins with another state of it.
func (b *bundle) missed(t *testing.T) {
	t.Helper()
	_, err := b.db.WriteEvents(t.Context(), b.home, []concord.Record{b.at("a.old", "1", 1, 1)}, 100)
	require.NoError(t, err)
	b.syncEntity(t, "a.old", 2)
	_, err = b.conn.Exec(t.Context(), `delete from backfill`)
	require.NoError(t, err)
	require.NoError(t, b.db.OpenConnection(t.Context(), b.home, 103))
	now := b.at("a.old", "9", 90, 1)
	now.State.Position.Epoch = 103
	_, err = b.db.WriteStates(t.Context(), b.home, []concord.Record{now}, 104)
	require.NoError(t, err)
}

func TestBackfillFollowsARename(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.missed(t)
	early, err := b.db.FindBackfills(t.Context(), b.home, 10)
	require.NoError(t, err)
	require.Empty(t, early, "it may have been renamed unheard")
	b.syncEntity(t, "a.old", 3)
	before, err := b.db.FindBackfills(t.Context(), b.home, 1)
	require.NoError(t, err)
	require.Equal(t, "a.old", before[0].EntityID)
	_, err = b.conn.Exec(t.Context(), `delete from backfill where backfill_id <> $1`, before[0].ID)
	require.NoError(t, err)

	b.syncEntity(t, "a.new", 4)
	after, err := b.db.FindBackfills(t.Context(), b.home, 10)
	require.NoError(t, err)
	require.Equal(t, "a.new", after[0].EntityID, "the home knows no other name")

	late := concord.BackfillResult{Backfill: before[0], Gaps: []concord.Gap{{EntityID: "a.old", From: before[0].From, To: before[0].To, Reason: "nobody is called that"}}}
	_, err = b.db.FinishBackfills(t.Context(), b.home, []concord.BackfillResult{late})
	require.NoError(t, err)
	require.Zero(t, b.count(t, `select count(*) from gap`), "asked by a name that is no more")

	answer := concord.BackfillResult{Backfill: after[0], States: []*concord.State{b.at("a.new", "5", 50, 0).State}}
	counts, err := b.db.FinishBackfills(t.Context(), b.home, []concord.BackfillResult{answer})
	require.NoError(t, err)
	require.Equal(t, 1, counts.Stored)
	require.Zero(t, b.count(t, `select count(*) from backfill where backfill_id = $1`, after[0].ID))
	require.Equal(t, 1, b.count(t, `select count(*) from state_history_named where entity_id = 'a.new' and state = '5'`))
	require.Zero(t, b.count(t, `select count(*) from state_history_named where entity_id = 'a.old'`))
}

func TestBackfillLooksEachChangeUpByItsKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	rows, err := b.conn.Query(t.Context(), "explain "+postgres.FindMissingSQL, b.home, []string{"a.a"}, []int64{1}, []time.Time{time.Now()})
	require.NoError(t, err)
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Contains(t, strings.Join(plan, "\n"), "history_other h", "a partition of which nothing is known")
	for _, line := range plan {
		require.NotRegexp(t, `Filter: .*entity_key|Seq Scan on history_(p\d+|other)`, line)
	}
}

func TestBackfillOfWhatWasRenamedUnheard(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.db.WriteEvents(t.Context(), b.home, []concord.Record{b.at("a.old", "1", 1, 1)}, 100)
	require.NoError(t, err)
	b.syncEntity(t, "a.old", 2)
	_, err = b.conn.Exec(t.Context(), `delete from backfill`)
	require.NoError(t, err)
	require.NoError(t, b.db.OpenConnection(t.Context(), b.home, 103))
	now := b.at("a.new", "9", 90, 1)
	now.State.Position.Epoch = 103
	_, err = b.db.WriteStates(t.Context(), b.home, []concord.Record{now}, 104)
	require.NoError(t, err)
	finish := func() {
		due, err := b.db.FindBackfills(t.Context(), b.home, 10)
		require.NoError(t, err)
		var results []concord.BackfillResult
		for _, d := range due {
			require.Equal(t, "a.new", d.EntityID, "nobody is called that")
			require.True(t, d.Known, "by its name of before")
			require.Equal(t, b.at("a.old", "0", 22, 2).State.LastUpdated, d.Heard.UTC())
			// the home has renamed what it did before
			states := []*concord.State{b.at("a.new", "1", 1, 0).State, b.at("a.new", "5", 50, 0).State, now.State}
			results = append(results, concord.BackfillResult{Backfill: d, States: states})
		}
		_, err = b.db.FinishBackfills(t.Context(), b.home, results)
		require.NoError(t, err)
	}
	finish()
	b.syncEntity(t, "a.new", 3)
	finish()
	require.Zero(t, b.count(t, `select count(*) from backfill`))
	require.Equal(t, 1, b.count(t, `select count(*) from state_history_named where entity_id = 'a.new' and state = '1'`), "heard under its name of before")
	require.Equal(t, 1, b.count(t, `select count(*) from state_history_named where entity_id = 'a.new' and state = '5'`))
}

func TestHistoryOfARecreatedEntityFollowsItsName(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.syncEntry(t, "a.old", "r1", 1)
	b.syncEntry(t, "a.old", "r2", 2) // removed, and added again
	b.syncEntry(t, "a.new", "r2", 3)
	require.Equal(t, 3, b.count(t, `select count(*) from state_history_named where entity_id = 'a.new'`))
	require.Zero(t, b.count(t, `select count(*) from state_history_named where entity_id <> 'a.new'`))
}

// The home answers with changes that were heard, too, and wait to be written: of an
// entity that was removed and added again meanwhile, under another number.
func TestBackfillAheadOfTheWriter(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.missed(t)
	b.syncEntry(t, "a.old", "r2", 3)
	due, err := b.db.FindBackfills(t.Context(), b.home, 1)
	require.NoError(t, err)
	heard := b.at("a.old", "10", 100, 4)
	heard.State.Position.Epoch = 103
	_, err = b.db.FinishBackfills(t.Context(), b.home, []concord.BackfillResult{{Backfill: due[0], States: []*concord.State{heard.State}}})
	require.NoError(t, err)
	b.write(t, 105, heard)
	require.Equal(t, 1, b.count(t, `select count(*) from state_history_named where entity_id = 'a.old' and state = '10'`))
}

func TestBackfillOfWhatWentAwayUnheard(t *testing.T) {
	t.Parallel()
	b := setup(t)
	old, fresh := b.at("sensor.old", "1", 0, 1), b.at("sensor.b", "1", 0, 2)
	old.State.LastUpdated = fresh.State.LastUpdated.AddDate(0, 0, -7)
	_, err := b.db.WriteEvents(t.Context(), b.home, []concord.Record{old, fresh}, 100)
	require.NoError(t, err)
	require.NoError(t, b.db.OpenConnection(t.Context(), b.home, 101))
	fresh.State.Position.Epoch = 101
	_, err = b.db.SyncStage(t.Context(), concord.StageEntities, &concord.Snapshot{
		HomeID: b.home, Position: concord.Position{Epoch: 101, Seq: 5}, Endpoint: "background_sync", Registry: &concord.RegistryParts{}, States: []concord.Record{fresh},
	})
	require.NoError(t, err)
	due, err := b.db.FindBackfills(t.Context(), b.home, 10)
	require.NoError(t, err)
	require.Len(t, due, 1)
	require.Equal(t, "sensor.old", due[0].EntityID)
	require.Equal(t, fresh.State.LastUpdated.Add(-time.Minute), due[0].From.UTC(), "until then it was heard")
}

// lose has two entities heard, a message lost, and the entities heard again.
func (b *bundle) lose(t *testing.T) {
	t.Helper()
	b.write(t, 100, b.at("sensor.still", "1", 0, 1), b.at("sensor.a", "1", 0, 2), b.at("sensor.b", "1", 0, 3))
	require.NoError(t, b.db.LoseMessage(t.Context(), b.home, concord.BadRecord{Reason: "message format 255", Record: []byte{255}}, 101))
	b.write(t, 102, b.at("sensor.a", "3", 600*second, 5))
}

// begin writes the states that a connection begins with.
func (b *bundle) begin(t *testing.T, connection, seq uint64, states ...concord.Record) {
	t.Helper()
	for _, s := range states {
		s.State.Position.Epoch = int64(connection) //nolint:gosec // small
	}
	_, err := b.db.WriteStates(t.Context(), b.home, states, seq)
	require.NoError(t, err)
}

// asked empties the list of what is to be asked: the entities, and the seconds
// before their last change.
func (b *bundle) asked(t *testing.T) []string {
	t.Helper()
	rows, err := b.conn.Query(t.Context(), `
		with b as (delete from backfill returning *)
		select entity_id || ' ' || extract(epoch from last_time - from_time) from b where last_time = to_time - interval '1 us' order by entity_id`)
	require.NoError(t, err)
	asked, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return asked
}

// What was heard before the clock was set back proves nothing of the time away.
func TestBackfillAfterTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	now := time.Now().UTC().Truncate(time.Microsecond)
	away := now.Add(-40 * time.Minute)
	b.write(t, 100, b.on("a.a", "1", now.Add(-time.Minute), 1), b.on("a.gone", "1", now.Add(-time.Minute), 2), b.on("a.b", "1", away, 3))
	require.NoError(t, b.db.OpenConnection(t.Context(), b.home, 103))
	still, states := b.on("a.b", "1", away, 1), b.on("a.a", "2", now, 1)
	b.begin(t, 103, 104, still, states)
	b.sync(t, concord.StageEntities, &concord.Snapshot{
		HomeID: b.home, Position: concord.Position{Epoch: 103, Seq: 2}, Endpoint: "background_sync", Registry: &concord.RegistryParts{}, States: []concord.Record{still, states},
	})
	due, err := b.db.FindBackfills(t.Context(), b.home, 10)
	require.NoError(t, err)
	require.Len(t, due, 2)
	for _, d := range due {
		require.Equal(t, away.Add(-time.Minute), d.From.UTC(), d.EntityID)
		require.Equal(t, now.Add(-time.Minute), d.Heard.UTC(), d.EntityID)
	}
}

func TestBackfillOfALostMessage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.lose(t)
	last := 600 * second
	ask := func(connection uint64) []string {
		t.Helper()
		require.NoError(t, b.db.OpenConnection(t.Context(), b.home, connection))
		b.begin(t, connection, connection+1, b.at("sensor.still", "1", 0, 1), b.at("sensor.a", "3", last, 1), b.at("sensor.b", "2", 300*second, 1))
		return b.asked(t)
	}
	require.Equal(t, []string{"sensor.a 660.000000", "sensor.b 360.000000"}, ask(103), "also of what was heard again since")
	require.NoError(t, b.db.FinishSync(t.Context(), b.home, 105))
	require.Empty(t, ask(106))
	require.Equal(t, 1, b.quarantined(t))

	require.NoError(t, b.db.LoseMessage(t.Context(), b.home, concord.BadRecord{Reason: "message format 255", Record: []byte{254}}, 108))
	last = 900 * second
	changed := b.at("sensor.a", "3", last, 5)
	changed.State.Position.Epoch = 106
	b.write(t, 109, changed)
	require.NoError(t, b.db.OpenConnection(t.Context(), b.home, 110))
	require.Equal(t, []string{"sensor.a 360.000000"}, ask(112), "the connection between ended without its states")
}

// The states of a large home come in several messages.
func TestBackfillAfterAConnectionThatEndedWithinItsStates(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.lose(t)
	require.NoError(t, b.db.OpenConnection(t.Context(), b.home, 103))
	b.begin(t, 103, 104, b.at("sensor.still", "1", 0, 1))
	require.Empty(t, b.asked(t))
	require.NoError(t, b.db.OpenConnection(t.Context(), b.home, 105))
	b.begin(t, 105, 106, b.at("sensor.still", "1", 0, 1))
	b.begin(t, 105, 107, b.at("sensor.a", "3", 600*second, 1))
	require.Equal(t, []string{"sensor.a 660.000000"}, b.asked(t))
	require.NoError(t, b.db.FinishSync(t.Context(), b.home, 108))
	again := b.at("sensor.a", "4", 700*second, 2)
	again.State.Position.Epoch = 105
	b.write(t, 109, again)
	require.NoError(t, b.db.OpenConnection(t.Context(), b.home, 110))
	b.begin(t, 110, 111, b.at("sensor.a", "4", 700*second, 1))
	require.Empty(t, b.asked(t), "all states of the connection before were there")
}

// beginWithout begins a connection that has no state of an entity yet when another
// one changes.
func (b *bundle) beginWithout(t *testing.T) {
	t.Helper()
	b.write(t, 100, b.at("sensor.late", "1", 0, 1), b.at("sensor.a", "1", second, 2))
	require.NoError(t, b.db.OpenConnection(t.Context(), b.home, 103))
	b.begin(t, 103, 104, b.at("sensor.a", "1", second, 1))
	changed := b.at("sensor.a", "2", 601*second, 2)
	changed.State.Position.Epoch = 103
	b.write(t, 105, changed)
}

// A home that is starting has some of its states later than others change.
func TestBackfillOfAStateThatComesLate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.beginWithout(t)
	late := b.at("sensor.late", "2", 600*second, 3)
	b.begin(t, 103, 106, late)
	require.Equal(t, []string{"sensor.late 659.000000"}, b.asked(t))
	require.Equal(t, "2", b.state(t, "sensor.late"))
	b.begin(t, 103, 107, late)
	require.Empty(t, b.asked(t), "a repeated message")
	gone := b.gone("sensor.late", 4)
	gone.State.Position.Epoch = 103
	b.write(t, 108, gone)
	b.begin(t, 103, 109, late)
	require.Equal(t, "(none)", b.state(t, "sensor.late"), "it went away after that")
}

// The connection ends before all of them came.
func TestBackfillOfAStateThatComesWithTheNextConnection(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.beginWithout(t)
	require.NoError(t, b.db.OpenConnection(t.Context(), b.home, 106))
	b.begin(t, 106, 107, b.at("sensor.a", "2", 601*second, 1), b.at("sensor.late", "2", 600*second, 1))
	require.Equal(t, []string{"sensor.late 659.000000"}, b.asked(t))
}
