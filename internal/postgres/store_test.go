package postgres_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/pgtest"
	"github.com/concord-home/concord/internal/postgres"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

type bundle struct {
	db   *postgres.DB
	conn *pgx.Conn
	home int64
}

func setup(t *testing.T) *bundle {
	t.Helper()
	url := pgtest.URL(t)
	db, err := postgres.Open(t.Context(), postgres.Options{URL: url})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	home, err := db.EnsureHome(t.Context(), "Home", "ws://home/api/websocket")
	require.NoError(t, err)
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close(t.Context()) })
	return &bundle{db: db, conn: conn, home: home.ID}
}

func (b *bundle) state(t *testing.T, id string) string {
	t.Helper()
	var s string
	err := b.conn.QueryRow(t.Context(), `select coalesce((select state from entity_state where home_id = $1 and entity_id = $2), '(none)')`, b.home, id).Scan(&s)
	require.NoError(t, err)
	return s
}

func (b *bundle) quarantined(t *testing.T) int {
	t.Helper()
	var n int
	require.NoError(t, b.conn.QueryRow(t.Context(), `select count(*) from quarantine`).Scan(&n))
	return n
}

func record(id, state string, epoch, seq int64) concord.Record {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)
	return concord.Record{State: &concord.State{
		EntityID: id, State: state, Attributes: json.RawMessage(`{"friendly_name":"x"}`),
		LastChanged: at, LastUpdated: at, Position: concord.Position{Epoch: epoch, Seq: seq},
	}}
}

func removed(id string, epoch, seq int64) concord.Record {
	return concord.Record{State: &concord.State{EntityID: id, Position: concord.Position{Epoch: epoch, Seq: seq}}, Removed: true}
}

func TestWriteEvents(t *testing.T) {
	t.Parallel()

	t.Run("LastRecordOfABatchWins", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		counts, err := b.db.WriteEvents(t.Context(), b.home, []concord.Record{record("a.a", "1", 5, 1), record("a.b", "1", 5, 2), record("a.a", "2", 5, 3)}, 100)
		require.NoError(t, err)
		require.Equal(t, concord.EventCounts{Applied: 2, Stored: 2}, counts)
		require.Equal(t, "2", b.state(t, "a.a"))
		position, err := b.db.SpoolPosition(t.Context(), b.home)
		require.NoError(t, err)
		require.EqualValues(t, 100, position)
	})

	t.Run("OlderPositionNeverOverwrites", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		for i, r := range []concord.Record{record("a.a", "new", 6, 1), record("a.a", "old connection", 5, 999), record("a.a", "same", 6, 1)} {
			_, err := b.db.WriteEvents(t.Context(), b.home, []concord.Record{r}, uint64(100+i))
			require.NoError(t, err)
		}
		require.Equal(t, "new", b.state(t, "a.a"))
	})

	t.Run("ABatchIsAppliedOnce", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		_, err := b.db.WriteEvents(t.Context(), b.home, []concord.Record{record("a.a", "1", 5, 1)}, 100)
		require.NoError(t, err)
		counts, err := b.db.WriteEvents(t.Context(), b.home, []concord.Record{record("a.a", "2", 5, 2)}, 100)
		require.NoError(t, err)
		require.True(t, counts.Skipped)
		require.Equal(t, "1", b.state(t, "a.a"))
	})

	t.Run("RemovedEntityLosesItsRow", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		_, err := b.db.WriteEvents(t.Context(), b.home, []concord.Record{record("a.a", "1", 5, 1), removed("a.a", 5, 2)}, 100)
		require.NoError(t, err)
		require.Equal(t, "(none)", b.state(t, "a.a"))
	})

	t.Run("BadRecordsCostThemselvesOnly", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		nul := record("a.nul", "1", 5, 1)
		nul.State.Attributes = json.RawMessage(`{"x":"a\u0000b"}`)
		escaped := record("a.escaped", "1", 5, 1)
		escaped.State.Attributes = json.RawMessage(`{"x":"a\\u0000b"}`)
		broken := record("a.broken", "1", 5, 1)
		broken.State.Attributes = json.RawMessage(`{"x":`)
		late := record("a.late", "1", 5, 1)
		late.State.LastUpdated = time.Date(9999999, 1, 1, 0, 0, 0, 0, time.UTC)
		// PostgreSQL refuses a lone surrogate, which is valid JSON text.
		surrogate := record("a.surrogate", "1", 5, 1)
		surrogate.State.Attributes = json.RawMessage(`{"x":"\ud800"}`)
		records := []concord.Record{
			record("a.good", "1", 5, 1), nul, escaped, broken, late, surrogate, record("a.\xff", "1", 5, 1),
			record(fmt.Sprintf("a.%0300d", 1), "1", 5, 1), record("a.state", "\x00", 5, 1), record("a.good2", "2", 5, 2),
		}
		counts, err := b.db.WriteEvents(t.Context(), b.home, records, 100)
		require.NoError(t, err)
		require.Equal(t, concord.EventCounts{Applied: 3, Failed: 7, Stored: 3}, counts)
		require.Equal(t, 7, b.quarantined(t))
		require.Equal(t, "1", b.state(t, "a.good"))
		require.Equal(t, "1", b.state(t, "a.escaped"))
		require.Equal(t, "2", b.state(t, "a.good2"))
	})

	t.Run("TheSameBadRecordIsCountedNotKeptAgain", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		bad := func(state string, seq int64) concord.Record {
			r := record("a.bad", state, 5, seq)
			r.State.Attributes = json.RawMessage(`{"x":"\u0000"}`)
			return r
		}
		_, err := b.db.WriteEvents(t.Context(), b.home, []concord.Record{bad("1", 1), bad("2", 2)}, 100)
		require.NoError(t, err)
		for seq := range int64(3) { // each reconciliation finds it again, at another position
			_, err := b.db.SyncStage(t.Context(), concord.StageEntities, snapshot(b.home, 5, 10+seq, bad("2", 10+seq)))
			require.NoError(t, err)
		}
		found, err := b.db.FindQuarantined(t.Context(), b.home, 10)
		require.NoError(t, err)
		require.Len(t, found, 2)
		require.EqualValues(t, 4, found[0].Count)
		require.True(t, found[0].First.Before(found[0].Last))
		require.EqualValues(t, 1, found[1].Count)

		_, err = b.db.DropHistory(t.Context(), found[1].Last.Add(time.Microsecond))
		require.NoError(t, err)
		require.Equal(t, 1, b.quarantined(t), "what came again since is kept")
	})

	t.Run("ConflictRunsTheTransactionAgain", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		_, err := b.db.WriteEvents(t.Context(), b.home, []concord.Record{record("a.a", "1", 5, 1)}, 100)
		require.NoError(t, err)
		rival, err := b.conn.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
		require.NoError(t, err)
		_, err = rival.Exec(t.Context(), `update entity_state set state = state`)
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() {
			_, err := b.db.WriteEvents(t.Context(), b.home, []concord.Record{record("a.a", "2", 5, 2)}, 101)
			done <- err
		}()
		// The writer has its snapshot and waits for the rival's row lock: now it must lose.
		require.Eventually(t, func() bool { return waitsForLock(t, b) }, 10*time.Second, 5*time.Millisecond)
		require.NoError(t, rival.Commit(t.Context()))
		require.NoError(t, <-done)
		require.Equal(t, "2", b.state(t, "a.a"))
	})
}

func waitsForLock(t *testing.T, b *bundle) bool {
	t.Helper()
	conn, err := pgx.ConnectConfig(t.Context(), b.conn.Config())
	require.NoError(t, err)
	defer conn.Close(t.Context())
	var waiting bool
	require.NoError(t, conn.QueryRow(t.Context(), `
		select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')`).Scan(&waiting))
	return waiting
}

func snapshot(home int64, epoch, seq int64, records ...concord.Record) *concord.Snapshot {
	return &concord.Snapshot{
		HomeID: home, Position: concord.Position{Epoch: epoch, Seq: seq}, Endpoint: "get_areas", States: records,
		Registry: &concord.RegistryParts{
			Floors:   []concord.Floor{{ID: "ground", Name: "Ground"}},
			Areas:    []concord.Area{{ID: "kitchen", Name: "Kitchen", FloorID: "ground"}, {ID: "hall", Name: "Hall"}},
			Devices:  []concord.Device{{ID: "d1", Name: "Lamp", AreaID: "kitchen"}},
			Entities: []concord.Entity{{EntityID: "a.a", RegistryID: "r1", DeviceID: "d1"}, {EntityID: "a.b", AreaID: "hall"}},
		},
	}
}

func TestSyncStage(t *testing.T) {
	t.Parallel()

	t.Run("MakesTheTablesEqualToTheHomeAndCounts", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		first := snapshot(b.home, 5, 1, record("a.a", "1", 5, 1), record("a.b", "1", 5, 1))
		require.Equal(t, "areas +3 ~0 =0 -0", b.sync(t, concord.StageAreas, first))
		require.Equal(t, "entities +4 ~0 =0 -0", b.sync(t, concord.StageEntities, first))
		require.Equal(t, "relations +1 ~2 =0 -0", b.sync(t, concord.StageRelations, first))

		second := snapshot(b.home, 5, 9, record("a.a", "2", 5, 9))
		second.Registry.Areas = second.Registry.Areas[:1]
		second.Registry.Areas[0].Name = "Cuisine"
		require.Equal(t, "areas +0 ~1 =1 -1", b.sync(t, concord.StageAreas, second))
		require.Equal(t, "entities +0 ~1 =2 -1", b.sync(t, concord.StageEntities, second))
		require.Equal(t, "relations +0 ~0 =3 -0", b.sync(t, concord.StageRelations, second))
		require.Equal(t, "2", b.state(t, "a.a"))
		require.Equal(t, "(none)", b.state(t, "a.b"))
	})

	t.Run("OldSnapshotKeepsNewerEvents", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		_, err := b.db.WriteEvents(t.Context(), b.home, []concord.Record{record("a.a", "event", 5, 10), record("a.new", "event", 5, 11)}, 100)
		require.NoError(t, err)
		b.sync(t, concord.StageEntities, snapshot(b.home, 5, 9, record("a.a", "snapshot", 5, 9)))
		require.Equal(t, "event", b.state(t, "a.a"))
		require.Equal(t, "event", b.state(t, "a.new"))
	})

	t.Run("WhatOnlyPostgreSQLRefusesCostsItselfOnly", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		s := snapshot(b.home, 5, 1)
		level := 99_999_999_999
		s.Registry.Floors = append(s.Registry.Floors, concord.Floor{ID: "moon", Name: "Moon", Level: &level})
		counts, err := b.db.SyncStage(t.Context(), concord.StageAreas, s)
		require.NoError(t, err)
		require.Equal(t, 1, counts.Failed)
		require.Equal(t, 3, counts.Created)
		require.Equal(t, 1, b.quarantined(t))
	})

	t.Run("BadAreaCostsItselfOnly", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		s := snapshot(b.home, 5, 1)
		s.Registry.Areas = append(s.Registry.Areas, concord.Area{ID: "bad", Name: "a\x00b"}, concord.Area{ID: "kitchen", Name: "Twice"})
		counts, err := b.db.SyncStage(t.Context(), concord.StageAreas, s)
		require.NoError(t, err)
		require.Equal(t, 2, counts.Failed)
		require.Equal(t, 3, counts.Created)
		require.Equal(t, 2, b.quarantined(t))
	})
}

func (b *bundle) sync(t *testing.T, stage concord.Stage, s *concord.Snapshot) string {
	t.Helper()
	c, err := b.db.SyncStage(t.Context(), stage, s)
	require.NoError(t, err)
	require.Zero(t, c.Failed)
	return fmt.Sprintf("%s +%d ~%d =%d -%d", c.Stage, c.Created, c.Updated, c.Unchanged, c.Deleted)
}

func TestOpen(t *testing.T) {
	t.Parallel()

	t.Run("NamesNoPassword", func(t *testing.T) {
		t.Parallel()
		for _, url := range []string{"postgres://u:hunter2@127.0.0.1:1/x", "postgres://u:hunter2@[bad/x"} {
			_, err := postgres.Open(t.Context(), postgres.Options{URL: url})
			require.Error(t, err)
			require.NotContains(t, err.Error(), "hunter2")
		}
	})

	t.Run("OutlastsTheDeadlocksOfOthers", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		var others int
		require.NoError(t, b.conn.QueryRow(t.Context(), `select setting::int from pg_settings where name = 'deadlock_timeout'`).Scan(&others))
		own, err := b.db.Setting(t.Context(), "deadlock_timeout")
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("%dms", others+200), own)
	})

	t.Run("TakesTheDeadlocksAsTheyComeWithoutThePrivilege", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		name := b.conn.Config().Database
		_, err := b.conn.Exec(t.Context(), `create role plain_`+name+` login password 'x'; grant all on database `+name+` to plain_`+name)
		require.NoError(t, err)
		config := b.conn.Config()
		url := fmt.Sprintf("postgres://plain_%s:x@%s:%d/%s?search_path=own", name, config.Host, config.Port, name)
		_, err = b.conn.Exec(t.Context(), `create schema own authorization plain_`+name)
		require.NoError(t, err)
		db, err := postgres.Open(t.Context(), postgres.Options{URL: url})
		require.NoError(t, err)
		defer db.Close()
		own, err := db.Setting(t.Context(), "deadlock_timeout")
		require.NoError(t, err)
		require.Equal(t, "10ms", own)
	})

	t.Run("StatusFollowsTheServer", func(t *testing.T) {
		t.Parallel()
		require.True(t, setup(t).db.Status().Up)
	})
}
