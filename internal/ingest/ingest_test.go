package ingest_test

import (
	"bytes"
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/bus"
	"github.com/concord-home/concord/internal/ingest"
)

// store is a concord.Store that remembers what it was told, with one func field
// for each answer that a test wants to give.
type store struct {
	concord.Store
	writeEvents func(n int) error

	mu     sync.Mutex
	events []concord.Record
	calls  int
	stages []concord.Stage
	bad    []concord.BadRecord
	seq    uint64

	names   []concord.Entity
	namesAt concord.Position
}

func (s *store) LoseMessage(_ context.Context, _ int64, bad concord.BadRecord, seq uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bad, s.seq = append(s.bad, bad), seq
	s.events = append(s.events, concord.Record{State: &concord.State{EntityID: "(lost)"}})
	return nil
}

func (s *store) SpoolPosition(context.Context, int64) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seq, nil
}

func (s *store) WriteEvents(_ context.Context, _ int64, records []concord.Record, seq uint64) (concord.EventCounts, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.writeEvents != nil {
		if err := s.writeEvents(s.calls); err != nil {
			return concord.EventCounts{}, err
		}
	}
	s.events, s.seq = append(s.events, records...), seq
	return concord.EventCounts{Applied: len(records)}, nil
}

func (s *store) OpenConnection(_ context.Context, _ int64, seq uint64) error {
	return s.SetSpoolPosition(context.Background(), 0, seq)
}

func (s *store) WriteNames(_ context.Context, _ int64, entities []concord.Entity, at concord.Position, seq uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names, s.namesAt, s.seq = entities, at, seq
	return nil
}

func (s *store) SetSpoolPosition(_ context.Context, _ int64, seq uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq = seq
	return nil
}

func (s *store) SyncStage(_ context.Context, stage concord.Stage, _ *concord.Snapshot) (concord.StageCounts, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stages = append(s.stages, stage)
	return concord.StageCounts{Stage: stage}, nil
}

func (s *store) FinishSync(_ context.Context, _ int64, seq uint64) error {
	return s.SetSpoolPosition(context.Background(), 0, seq)
}

type bundle struct {
	store *store
	spool *bus.Bus
	syncs *ingest.Syncs
	lost  atomic.Int32
}

func setup(t *testing.T) *bundle {
	t.Helper()
	spool, err := bus.Open(t.Context(), bus.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, spool.Close()) })
	return &bundle{store: &store{}, spool: spool, syncs: ingest.NewSyncs()}
}

func (b *bundle) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	w := ingest.New(ingest.Options{Home: 1, Store: b.store, Spool: b.spool, Syncs: b.syncs, OnLost: func(int64) { b.lost.Add(1) }})
	go func() { defer close(done); w.Run(ctx) }()
	return func() { cancel(); <-done }
}

func (b *bundle) publish(t *testing.T, batch concord.Batch) uint64 {
	t.Helper()
	batch.HomeID, batch.Epoch = 1, 1
	seq, err := b.spool.Publish(t.Context(), &batch)
	require.NoError(t, err)
	return seq
}

func events(ids ...string) concord.Batch {
	b := concord.Batch{Kind: concord.BatchEvents}
	for _, id := range ids {
		b.Records = append(b.Records, concord.Record{State: &concord.State{EntityID: id}})
	}
	return b
}

func (b *bundle) snapshot(t *testing.T) uint64 {
	t.Helper()
	return b.publish(t, concord.Batch{Kind: concord.BatchSnapshot, Snapshot: &concord.SnapshotInfo{Seq: 9, Registry: &concord.RegistryParts{}}})
}

func (b *bundle) ids() []string {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	var ids []string
	for _, r := range b.store.events {
		ids = append(ids, r.State.EntityID)
	}
	return ids
}

func TestWriter(t *testing.T) {
	t.Parallel()

	t.Run("KeepsTheOrderAndReconcilesInStages", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.publish(t, events("a.1", "a.2"))
		b.publish(t, events("a.3"))
		seq := b.snapshot(t)
		stop := b.run(t)
		_, err := b.syncs.Wait(t.Context(), 1, seq)
		require.NoError(t, err)
		stop()
		require.Equal(t, []string{"a.1", "a.2", "a.3"}, b.ids())
		require.Equal(t, []concord.Stage{concord.StageAreas, concord.StageEntities, concord.StageRelations}, b.store.stages)
		require.Equal(t, seq, b.store.seq)
	})

	t.Run("GoesOnBehindWhatIsWritten", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.store.seq = b.publish(t, events("a.written"))
		b.publish(t, events("a.new"))
		seq := b.snapshot(t)
		stop := b.run(t)
		_, err := b.syncs.Wait(t.Context(), 1, seq)
		require.NoError(t, err)
		stop()
		require.Equal(t, []string{"a.new"}, b.ids())
	})

	t.Run("TriesAgainUntilTheDatabaseIsBack", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.store.writeEvents = func(n int) error {
			if n < 4 {
				return concord.Errorf(concord.CodeUnavailable, "away")
			}
			return nil
		}
		b.publish(t, events("a.1"))
		seq := b.snapshot(t)
		stop := b.run(t)
		_, err := b.syncs.Wait(t.Context(), 1, seq)
		require.NoError(t, err)
		stop()
		require.Equal(t, []string{"a.1"}, b.ids())
	})

	t.Run("WritesTheNamesOfAConnection", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		names := make([]concord.Entity, 1100) // in three parts
		for i := range names {
			names[i] = concord.Entity{EntityID: "a." + strconv.Itoa(i), RegistryID: strconv.Itoa(i)}
		}
		b.publish(t, concord.Batch{Kind: concord.BatchNames, Snapshot: &concord.SnapshotInfo{Seq: 2, RegistrySeq: 2, Registry: &concord.RegistryParts{Entities: names}}})
		seq := b.snapshot(t)
		stop := b.run(t)
		_, err := b.syncs.Wait(t.Context(), 1, seq)
		require.NoError(t, err)
		stop()
		require.Len(t, b.store.names, len(names))
		for i, n := range b.store.names {
			require.Equal(t, []string{names[i].EntityID, names[i].RegistryID}, []string{n.EntityID, n.RegistryID})
		}
		require.Equal(t, concord.Position{Epoch: 1, Seq: 2}, b.store.namesAt)
		require.Len(t, b.store.stages, 3, "they are no reconciliation")
	})

	t.Run("DropsASnapshotWithoutItsBeginning", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		large := concord.Batch{Kind: concord.BatchSnapshot, Snapshot: &concord.SnapshotInfo{Seq: 9, Registry: &concord.RegistryParts{
			Devices: make([]concord.Device, 10),
		}}}
		last := b.publish(t, large)
		b.store.seq = last - 1 // all parts but the last were written, then came a crash
		seq := b.snapshot(t)
		stop := b.run(t)
		_, err := b.syncs.Wait(t.Context(), 1, seq)
		require.NoError(t, err)
		stop()
		require.Len(t, b.store.stages, 3, "one reconciliation")
	})

	t.Run("KeepsTheBeginningOfAMessageThatCannotBeRead", func(t *testing.T) {
		t.Parallel()
		nc, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
		require.NoError(t, err)
		nc.Start()
		t.Cleanup(func() { nc.Shutdown(); nc.WaitForShutdown() })
		require.True(t, nc.ReadyForConnections(10*time.Second))
		spool, err := bus.Open(t.Context(), bus.Options{URL: nc.ClientURL()})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, spool.Close()) })
		conn, err := nats.Connect(nc.ClientURL())
		require.NoError(t, err)
		t.Cleanup(conn.Close)
		b := &bundle{store: &store{}, spool: spool, syncs: ingest.NewSyncs()}
		b.publish(t, events("a.before"))
		garbage := bytes.Repeat([]byte("\xffgarbage"), 20_000)
		_, err = conn.Request("concord.home.1", garbage, 10*time.Second)
		require.NoError(t, err)
		b.publish(t, events("a.behind"))
		stop := b.run(t)
		seq := b.snapshot(t)
		_, err = b.syncs.Wait(t.Context(), 1, seq)
		require.NoError(t, err)
		stop()
		require.Len(t, b.store.bad, 1)
		require.Equal(t, garbage[:64<<10], b.store.bad[0].Record)
		require.Contains(t, b.store.bad[0].Reason, "message format 255")
		require.Equal(t, []string{"a.before", "(lost)", "a.behind"}, b.ids(), "what is written says what is to be asked")
		require.EqualValues(t, 1, b.lost.Load(), "the home is connected to anew")
	})
}
