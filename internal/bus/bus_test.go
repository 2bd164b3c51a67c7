package bus_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/bus"
)

func open(t *testing.T, dir string) *bus.Bus {
	t.Helper()
	b, err := bus.Open(t.Context(), bus.Options{Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

func state(id string, seq int64) *concord.State {
	at := time.Unix(1_700_000_000, 123_456_000).UTC()
	return &concord.State{
		EntityID: id, State: "on", Attributes: json.RawMessage(`{"a":1}`), LastChanged: at, LastUpdated: at.Add(time.Second),
		Context: concord.EventContext{ID: "01", ParentID: "02", UserID: "03"}, Position: concord.Position{Epoch: 7, Seq: seq},
	}
}

func next(t *testing.T, b *bus.Bus, after uint64, max int) []concord.Spooled {
	t.Helper()
	r, err := b.Consume(t.Context(), 1, after)
	require.NoError(t, err)
	defer r.Close()
	got, err := r.Next(t.Context(), max)
	require.NoError(t, err)
	return got
}

func TestSpool(t *testing.T) {
	t.Parallel()

	t.Run("GivesBackWhatWasPublishedAfterARestart", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		b := open(t, dir)
		sent := &concord.Batch{Kind: concord.BatchEvents, HomeID: 1, Epoch: 7, Records: []concord.Record{
			{State: state("light.a", 1)}, {State: &concord.State{EntityID: "light.b", Position: concord.Position{Epoch: 7, Seq: 2}}, Removed: true},
			{State: &concord.State{EntityID: "light.c", Position: concord.Position{Epoch: 7, Seq: 3}}, RenamedFrom: "light.b"},
		}}
		seq, err := b.Publish(t.Context(), sent)
		require.NoError(t, err)
		_, err = b.Publish(t.Context(), &concord.Batch{Kind: concord.BatchOpened, HomeID: 2})
		require.NoError(t, err)
		require.NoError(t, b.Close())

		got := next(t, open(t, dir), 0, 100)
		require.Equal(t, []concord.Spooled{{Batch: *sent, Seq: seq}}, got)
	})

	t.Run("GoesOnBehindASequence", func(t *testing.T) {
		t.Parallel()
		b := open(t, t.TempDir())
		first, err := b.Publish(t.Context(), &concord.Batch{Kind: concord.BatchOpened, HomeID: 1})
		require.NoError(t, err)
		second, err := b.Publish(t.Context(), &concord.Batch{Kind: concord.BatchOpened, HomeID: 1})
		require.NoError(t, err)
		require.Greater(t, second, first)
		require.Equal(t, second, next(t, b, first, 100)[0].Seq)
		require.NoError(t, b.Discard(t.Context(), 1, first))
		require.Equal(t, second, next(t, b, 0, 100)[0].Seq, "a position from another stream reads from the start")
	})

	t.Run("SplitsALargeSnapshotAndKeepsItWhole", func(t *testing.T) {
		t.Parallel()
		b := open(t, t.TempDir())
		batch := &concord.Batch{Kind: concord.BatchSnapshot, HomeID: 1, Epoch: 7, Snapshot: &concord.SnapshotInfo{
			Seq: 9, Registry: &concord.RegistryParts{Areas: []concord.Area{{ID: "kitchen"}}},
		}}
		for i := range 1200 {
			batch.Snapshot.Registry.Entities = append(batch.Snapshot.Registry.Entities, concord.Entity{EntityID: fmt.Sprint("sensor.", i)})
			s := state(fmt.Sprint("sensor.", i), 9)
			s.Attributes = json.RawMessage(`{"x":"` + strings.Repeat("y", 20_000) + `"}`)
			batch.Records = append(batch.Records, concord.Record{State: s})
		}
		_, err := b.Publish(t.Context(), batch)
		require.NoError(t, err)

		r, err := b.Consume(t.Context(), 1, 0)
		require.NoError(t, err)
		defer r.Close()
		var entities, records, parts int
		for last := false; !last; {
			got, err := r.Next(t.Context(), 1)
			require.NoError(t, err)
			for _, s := range got {
				require.Equal(t, parts, s.Snapshot.Part)
				parts++
				records += len(s.Records)
				if s.Snapshot.Registry != nil {
					entities += len(s.Snapshot.Registry.Entities)
				}
				last = s.Snapshot.Last
			}
		}
		require.Equal(t, 1200, entities)
		require.Equal(t, 1200, records)
		require.Greater(t, parts, 5)
	})

	t.Run("CutsARecordThatNoMessageHolds", func(t *testing.T) {
		t.Parallel()
		b := open(t, t.TempDir())
		huge := state("sensor.huge", 1)
		huge.Attributes = json.RawMessage(`{"x":"` + strings.Repeat("y", 9<<20) + `"}`)
		sent := []concord.Record{{State: state("sensor.before", 1)}, {State: huge}, {State: state("sensor.behind", 1)}}
		_, err := b.Publish(t.Context(), &concord.Batch{Kind: concord.BatchEvents, HomeID: 1, Epoch: 7, Records: sent})
		require.NoError(t, err)

		got := next(t, b, 0, 100)[0].Records
		require.Equal(t, []concord.Record{sent[0], sent[2]}, []concord.Record{got[0], got[2]})
		require.Equal(t, "sensor.huge", got[1].State.EntityID)
		require.False(t, json.Valid(got[1].State.Attributes), "it must not pass for whole")
		require.Len(t, huge.Attributes, 9<<20+8, "the live model shares it")
	})

	t.Run("BeginsBehindWhatAnotherSpoolBroughtToTheDatabase", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		b := open(t, dir)
		opened := &concord.Batch{Kind: concord.BatchOpened, HomeID: 1}
		first, err := b.Publish(t.Context(), opened)
		require.NoError(t, err)
		require.NoError(t, b.Advance(t.Context(), first))
		require.Equal(t, first, next(t, b, 0, 100)[0].Seq, "its own database's position changes nothing")

		written := first + 1_000_000
		require.NoError(t, b.Advance(t.Context(), written))
		seq, err := b.Publish(t.Context(), opened)
		require.NoError(t, err)
		require.Greater(t, seq, written)
		require.Equal(t, seq, next(t, b, written, 100)[0].Seq)
		require.NoError(t, b.Close())
		require.Equal(t, seq, next(t, open(t, dir), written, 100)[0].Seq)
	})

	t.Run("TakesAtMostWhatWasAskedFor", func(t *testing.T) {
		t.Parallel()
		b := open(t, t.TempDir())
		for range 3 {
			_, err := b.Publish(t.Context(), &concord.Batch{Kind: concord.BatchEvents, HomeID: 1, Records: []concord.Record{{State: state("a.b", 1)}, {State: state("a.b", 2)}}})
			require.NoError(t, err)
		}
		r, err := b.Consume(t.Context(), 1, 0)
		require.NoError(t, err)
		defer r.Close()
		for n := 0; n < 3; {
			got, err := r.Next(t.Context(), 3)
			require.NoError(t, err)
			require.Len(t, got, 1)
			n++
		}
	})
}

// external runs a NATS server of its own, and returns its address and what an
// administrator does there.
func external(t *testing.T) (string, jetstream.JetStream) {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	require.True(t, s.ReadyForConnections(10*time.Second))
	conn, err := nats.Connect(s.ClientURL())
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	return s.ClientURL(), js
}

func TestStream(t *testing.T) {
	t.Parallel()

	t.Run("IsMadeAnewWhenItIsDeleted", func(t *testing.T) {
		t.Parallel()
		url, admin := external(t)
		lost := make(chan struct{}, 1)
		b, err := bus.Open(t.Context(), bus.Options{URL: url, OnLost: func() { lost <- struct{}{} }})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, b.Close()) })
		opened := &concord.Batch{Kind: concord.BatchOpened, HomeID: 1}
		first, err := b.Publish(t.Context(), opened)
		require.NoError(t, err)
		r, err := b.Consume(t.Context(), 1, 0)
		require.NoError(t, err)
		defer r.Close()
		got, err := r.Next(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, first, got[0].Seq)

		require.NoError(t, admin.DeleteStream(t.Context(), "CONCORD"))
		_, err = b.Publish(t.Context(), opened)
		require.Equal(t, concord.CodeUnavailable, concord.ErrorCode(err), "who publishes tries again")
		<-lost
		second, err := b.Publish(t.Context(), opened)
		require.NoError(t, err)
		require.Greater(t, second, first)
		require.True(t, b.Status().Up)
		got, err = r.Next(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, second, got[0].Seq, "the reader goes on")
	})

	t.Run("FollowsTheSetting", func(t *testing.T) {
		t.Parallel()
		url, admin := external(t)
		size := func(max int64) int64 {
			b, err := bus.Open(t.Context(), bus.Options{URL: url, MaxBytes: max})
			require.NoError(t, err)
			defer b.Close()
			_, err = b.Publish(t.Context(), &concord.Batch{Kind: concord.BatchEvents, HomeID: 1, Records: []concord.Record{{State: state(strings.Repeat("a", 4000), 1)}}})
			require.NoError(t, err)
			stream, err := admin.Stream(t.Context(), "CONCORD")
			require.NoError(t, err)
			return stream.CachedInfo().Config.MaxBytes
		}
		require.EqualValues(t, 8<<30, size(0))
		require.EqualValues(t, 1<<30, size(1<<30))
		require.EqualValues(t, 1<<30, size(0), "what was set once stays")
		require.EqualValues(t, 2<<30, size(2<<30))
	})
}

func TestOpenNamesNoPassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"nats://u:hunter2@127.0.0.1:1", "nats://u:hunter2@127.0.0.1:bad", "nats://u:hunter2%zz@x"} {
		_, err := bus.Open(t.Context(), bus.Options{URL: url})
		require.Error(t, err)
		require.NotContains(t, err.Error(), "hunter2")
	}
}
