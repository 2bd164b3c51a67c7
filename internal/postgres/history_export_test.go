package postgres_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/postgres"
)

func TestExportAndQuarantine(t *testing.T) {
	t.Parallel()
	b := setup(t)
	bad := b.at("sensor.bad", "1", 5, 5)
	bad.State.Attributes = json.RawMessage(`{"x":"\u0000"}`)
	_, err := b.db.WriteEvents(t.Context(), b.home, []concord.Record{b.at("sensor.a", "1", 1, 1), b.at("light.b", "on", 2, 2), bad}, 100)
	require.NoError(t, err)

	var got []postgres.HistoryRow
	err = b.db.Export(t.Context(), b.home, "sensor.*", time.Now().Add(-48*time.Hour), time.Now().Add(48*time.Hour), func(r postgres.HistoryRow) error {
		got = append(got, r)
		return nil
	})
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, "sensor.a", got[0].EntityID)
	require.JSONEq(t, `{"unit":"W","friendly_name":"x"}`, string(got[0].Attributes))

	found, err := b.db.FindQuarantined(t.Context(), b.home, 10)
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.ErrorIs(t, b.db.Replay(t.Context(), found[0]), postgres.ErrStillBad)
	_, err = b.conn.Exec(t.Context(), `update quarantine set record = convert_to(replace(convert_from(record, 'UTF8'), '\\u0000', 'y'), 'UTF8')`)
	require.NoError(t, err)
	found, err = b.db.FindQuarantined(t.Context(), b.home, 10)
	require.NoError(t, err)
	require.NoError(t, b.db.Replay(t.Context(), found[0]))
	require.Equal(t, "1", b.state(t, "sensor.bad"))
	require.Equal(t, 0, b.quarantined(t))
	require.Equal(t, 1, b.count(t, `select count(*) from state_history_named where entity_id = 'sensor.bad'`))
}

func TestReplay(t *testing.T) {
	t.Parallel()
	set := func(t *testing.T, bad ...concord.Record) (*bundle, []postgres.Quarantined) {
		t.Helper()
		b := setup(t)
		_, err := b.db.WriteEvents(t.Context(), b.home, append([]concord.Record{b.at("sensor.a", "0", 60*second, 1), b.at("sensor.b", "0", 0, 2)}, bad...), 100)
		require.NoError(t, err)
		_, err = b.conn.Exec(t.Context(), `update quarantine set record = convert_to(replace(convert_from(record, 'UTF8'), '\\u0000', 'y'), 'UTF8')`)
		require.NoError(t, err)
		found, err := b.db.FindQuarantined(t.Context(), b.home, 10)
		require.NoError(t, err)
		require.Len(t, found, len(bad))
		return b, found
	}
	nul := func(b *bundle) concord.Record {
		bad := b.at("sensor.a", "1", 10*second, 3)
		bad.State.Attributes = json.RawMessage(`{"x":"\u0000"}`)
		bad.State.Context = concord.EventContext{ID: "c", ParentID: "p", UserID: "u"}
		return bad
	}

	t.Run("InventsNoEntity", func(t *testing.T) {
		t.Parallel()
		for _, id := range []string{"sensor." + strings.Repeat("a", 300), "sensor.\xff\xfe"} {
			b, found := set(t, new(bundle).at(id, "1", second, 3))
			err := b.db.Replay(t.Context(), found[0])
			require.ErrorIs(t, err, postgres.ErrStillBad)
			require.ErrorContains(t, err, strings.TrimSuffix(strconv.Quote(id), `"`)[:15])
			_, err = b.conn.Exec(t.Context(), `update quarantine set record = convert_to(regexp_replace(convert_from(record, 'UTF8'), ' entity=.*', ''), 'UTF8')`)
			require.NoError(t, err)
			found, err = b.db.FindQuarantined(t.Context(), b.home, 10)
			require.NoError(t, err)
			require.ErrorContains(t, b.db.Replay(t.Context(), found[0]), "an earlier Concord kept it")
			require.Equal(t, 2, b.count(t, `select count(*) from history_entity`))
		}
	})

	t.Run("WritesInTheEpochOfTheClockWithTheWholeContext", func(t *testing.T) {
		t.Parallel()
		b, found := set(t, nul(new(bundle)))
		require.NoError(t, b.db.Replay(t.Context(), found[0]))
		require.Equal(t, 1, b.count(t, `
			select count(*) from history
			where state = '1' and clock_epoch = 1 and (context_id, context_parent_id, context_user_id) = ('c', 'p', 'u')`))
	})

	t.Run("DoublesNothingThatTheHomesHistoryHad", func(t *testing.T) {
		t.Parallel()
		b, found := set(t, nul(new(bundle)))
		_, err := b.conn.Exec(t.Context(), `
			insert into backfill (home_id, entity_id, entity_key, from_time, to_time, known)
			select $1, entity_id, entity_key, now() - interval '1 day', now() + interval '1 day', true from history_entity where entity_id = 'sensor.a'`, b.home)
		require.NoError(t, err)
		due, err := b.db.FindBackfills(t.Context(), b.home, 1)
		require.NoError(t, err)
		_, err = b.db.FinishBackfills(t.Context(), b.home, []concord.BackfillResult{{Backfill: due[0], States: []*concord.State{b.at("sensor.a", "1", 10*second, 0).State}}})
		require.NoError(t, err)
		require.NoError(t, b.db.Replay(t.Context(), found[0]))
		require.Equal(t, 1, b.count(t, `select count(*) from history where state = '1'`))
		require.Zero(t, b.quarantined(t))
	})
}
