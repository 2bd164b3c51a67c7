package postgres_test

import (
	"encoding/json"
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
