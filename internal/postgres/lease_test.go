package postgres_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/postgres"
)

func TestLease(t *testing.T) {
	t.Parallel()

	second := func(t *testing.T, b *bundle) *postgres.DB {
		t.Helper()
		db, err := postgres.Open(t.Context(), postgres.Options{URL: b.conn.Config().ConnString()})
		require.NoError(t, err)
		t.Cleanup(db.Close)
		return db
	}
	lead := func(t *testing.T, db *postgres.DB, home int64) *postgres.Lease {
		t.Helper()
		lease, holder, err := db.Lead(t.Context(), home)
		require.NoError(t, err)
		require.NotNil(t, lease, "held by %v", holder)
		t.Cleanup(lease.Release)
		return lease
	}

	t.Run("OneHasItAndTheOtherIsToldWho", func(t *testing.T) {
		t.Parallel()
		one := setup(t)
		two := second(t, one)
		lease := lead(t, one.db, one.home)
		require.False(t, lease.Resumed)
		none, holder, err := two.Lead(t.Context(), one.home)
		require.NoError(t, err)
		require.Nil(t, none)
		require.Equal(t, lease.Backend(), holder.PID)
		require.Contains(t, holder.Application, "concord writer host=")
		require.Equal(t, "127.0.0.1", holder.Client)
		require.False(t, holder.Since.IsZero())
		lease.Release()
		lease.Release()
		require.Eventually(t, func() bool {
			lease, _, err := two.Lead(t.Context(), one.home)
			if lease != nil {
				t.Cleanup(lease.Release)
			}
			return err == nil && lease != nil && !lease.Resumed
		}, 10*time.Second, 10*time.Millisecond)
	})

	t.Run("WhoLostItToAnotherWritesNothing", func(t *testing.T) {
		t.Parallel()
		one := setup(t)
		two := second(t, one)
		lead(t, one.db, one.home).Release()
		require.Eventually(t, func() bool {
			lease, _, err := two.Lead(t.Context(), one.home)
			return err == nil && lease != nil
		}, 10*time.Second, 10*time.Millisecond)
		ctx, good := t.Context(), []concord.Record{record("light.a", "on", 1, 1)}
		writes := map[string]func(db *postgres.DB) error{
			"events": func(db *postgres.DB) error { _, err := db.WriteEvents(ctx, one.home, good, 10); return err },
			"states": func(db *postgres.DB) error { _, err := db.WriteStates(ctx, one.home, good, 20); return err },
			"opened": func(db *postgres.DB) error { return db.OpenConnection(ctx, one.home, 30) },
			"passed": func(db *postgres.DB) error { return db.SetSpoolPosition(ctx, one.home, 40) },
			"synced": func(db *postgres.DB) error { return db.FinishSync(ctx, one.home, 50) },
			"stage": func(db *postgres.DB) error {
				_, err := db.SyncStage(ctx, concord.StageAreas, &concord.Snapshot{
					HomeID: one.home, Endpoint: "background_sync", Registry: &concord.RegistryParts{Areas: []concord.Area{{ID: "a", Name: "A"}}},
				})
				return err
			},
		}
		for name, write := range writes {
			require.Equal(t, concord.CodeUnavailable, concord.ErrorCode(write(one.db)), name)
		}
		require.Equal(t, "(none)", one.state(t, "light.a"))
		for name, write := range writes {
			require.NoError(t, write(two), name)
		}
	})

	t.Run("ItEndsWithItsConnectionAndCanBeResumed", func(t *testing.T) {
		t.Parallel()
		one := setup(t)
		lease := lead(t, one.db, one.home)
		_, err := one.conn.Exec(t.Context(), `select pg_terminate_backend($1)`, lease.Backend())
		require.NoError(t, err)
		<-lease.Lost()
		again := lead(t, one.db, one.home)
		require.True(t, again.Resumed)
		_, err = one.db.WriteEvents(t.Context(), one.home, []concord.Record{record("light.a", "on", 1, 1)}, 10)
		require.NoError(t, err)
	})
}
