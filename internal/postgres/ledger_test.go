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

func TestLedger(t *testing.T) {
	t.Parallel()
	setup := func(t *testing.T) (*postgres.DB, *pgx.Conn) {
		t.Helper()
		url := pgtest.URL(t)
		db, err := postgres.Open(t.Context(), postgres.Options{URL: url})
		require.NoError(t, err)
		t.Cleanup(db.Close)
		conn, err := pgx.Connect(t.Context(), url)
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close(t.Context()) })
		return db, conn
	}
	minute := time.Now().UTC().Truncate(time.Minute)
	entry := concord.LedgerMinute{
		Minute: minute, Endpoint: "get_areas", Transactions: 5, Conflicted: 3, Retried: 2, Lost: 1, Retries: 7, Failures: 8, Deadlocks: 1,
		Seconds: 2.5, Slowest: 1.5, LastFailure: minute.Add(time.Second),
	}

	t.Run("AddsUpAndSkipsOneInstance", func(t *testing.T) {
		t.Parallel()
		db, _ := setup(t)
		require.NoError(t, db.AddLedger(t.Context(), "a", []concord.LedgerMinute{entry}))
		require.NoError(t, db.AddLedger(t.Context(), "a", []concord.LedgerMinute{entry}))
		require.NoError(t, db.AddLedger(t.Context(), "b", []concord.LedgerMinute{{Minute: minute, Endpoint: "get_areas", Transactions: 1}}))
		found, err := db.FindLedger(t.Context(), minute, "b")
		require.NoError(t, err)
		require.Len(t, found, 1)
		want := entry
		want.Add(entry)
		require.True(t, found[0].LastFailure.Equal(want.LastFailure))
		require.True(t, found[0].Minute.Equal(minute))
		found[0].LastFailure, found[0].Minute = want.LastFailure, want.Minute
		require.Equal(t, want, found[0])
	})
	t.Run("TheViewKeepsWhatIsPruned", func(t *testing.T) {
		t.Parallel()
		db, conn := setup(t)
		old := entry
		old.Minute = minute.Add(-time.Hour)
		require.NoError(t, db.AddLedger(t.Context(), "a", []concord.LedgerMinute{old, entry}))
		require.NoError(t, db.PruneLedger(t.Context(), minute))
		require.NoError(t, db.PruneLedger(t.Context(), minute))
		found, err := db.FindLedger(t.Context(), time.Time{}, "")
		require.NoError(t, err)
		require.Len(t, found, 1)
		var name string
		var deadlocks, failures, conflicts, active, files, bytes int64
		require.NoError(t, conn.QueryRow(t.Context(), `
			select datname, deadlocks, serialization_failures, recovery_conflicts, active_connections, temp_files, temp_bytes
			from serialization_conflict_stats`).Scan(&name, &deadlocks, &failures, &conflicts, &active, &files, &bytes))
		require.Equal(t, conn.Config().Database, name)
		require.EqualValues(t, 14, failures, "two times 8 failures less one deadlock each")
		require.Positive(t, active)
	})
	t.Run("AnIncidentIsOpenedAndClosedOnce", func(t *testing.T) {
		t.Parallel()
		db, _ := setup(t)
		opened := func() bool { ok, err := db.OpenIncident(t.Context(), "conflicts"); require.NoError(t, err); return ok }
		closed := func() bool {
			ok, _, err := db.CloseIncident(t.Context(), "conflicts")
			require.NoError(t, err)
			return ok
		}
		require.False(t, closed())
		require.True(t, opened())
		require.False(t, opened())
		require.True(t, closed())
		require.False(t, closed())
		require.True(t, opened())
	})
	t.Run("TheServerTellsAboutItself", func(t *testing.T) {
		t.Parallel()
		db, conn := setup(t)
		_, err := conn.Exec(t.Context(), `begin`)
		require.NoError(t, err)
		stats, err := db.FindServerStats(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 1, stats.IdleInTransaction)
		require.EqualValues(t, 300, stats.MaxConnections)
		require.NotEmpty(t, stats.Version)
		require.Positive(t, stats.DatabaseBytes)
		require.Positive(t, stats.LongestTx)
	})
}
