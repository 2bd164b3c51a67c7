package link_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
)

// kinds are those of the batches, each once for several in a row.
func kinds(all []concord.Batch) (kinds []concord.BatchKind) {
	for _, b := range all {
		kinds = append(kinds, b.Kind)
	}
	return slices.Compact(kinds)
}

// place is that of the first batch of which ok says yes, -1 when there is none.
func place(all []concord.Batch, ok func(concord.Record) bool) int {
	return slices.IndexFunc(all, func(b concord.Batch) bool { return slices.ContainsFunc(b.Records, ok) })
}

// named is the name that an entry of the registry has in a batch.
func named(b concord.Batch, registryID string) string {
	i := slices.IndexFunc(b.Snapshot.Registry.Entities, func(e concord.Entity) bool { return e.RegistryID == registryID })
	return b.Snapshot.Registry.Entities[i].EntityID
}

// sensor is an entity that is in the registry, and its entry.
func sensor(t *testing.T, names concord.Batch) (id, entry string) {
	t.Helper()
	require.Equal(t, concord.BatchNames, names.Kind)
	i := slices.IndexFunc(names.Snapshot.Registry.Entities, func(e concord.Entity) bool { return concord.Domain(e.EntityID) == "sensor" })
	return names.Snapshot.Registry.Entities[i].EntityID, names.Snapshot.Registry.Entities[i].RegistryID
}

func TestNames(t *testing.T) {
	t.Parallel()

	t.Run("ComeBeforeTheStatesOfEachConnection", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		all := b.spool.await(t, snapshots(1))
		once := []concord.BatchKind{concord.BatchOpened, concord.BatchNames, concord.BatchStates, concord.BatchSnapshot}
		require.Equal(t, once, kinds(all))
		id, entry := sensor(t, all[1])
		n := len(all)
		b.home.Disconnect()
		require.True(t, b.home.Rename(id, "sensor.renamed"))
		all = b.spool.await(t, func(all []concord.Batch) bool { return len(all) > n && snapshots(1)(all[n:]) })[n:]
		require.Equal(t, once, kinds(all))
		require.Equal(t, "sensor.renamed", named(all[1], entry))
	})

	t.Run("KeepTheirPlaceAmongTheChanges", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		id, _ := sensor(t, b.spool.await(t, snapshots(1))[1])
		require.True(t, b.home.Rename(id, "sensor.between"))
		require.True(t, b.home.Rename("sensor.between", "sensor.last"))
		b.home.Set("sensor.last", "behind", nil)
		var records []concord.Record
		for _, batch := range b.spool.await(t, spooled("sensor.last", "behind")) {
			if batch.Kind == concord.BatchEvents {
				records = append(records, batch.Records...)
			}
		}
		first := slices.IndexFunc(records, func(r concord.Record) bool { return r.RenamedFrom == id && r.State.EntityID == "sensor.between" })
		second := slices.IndexFunc(records, func(r concord.Record) bool {
			return r.RenamedFrom == "sensor.between" && r.State.EntityID == "sensor.last"
		})
		removed := slices.IndexFunc(records, func(r concord.Record) bool { return r.Removed && r.State.EntityID == "sensor.between" })
		require.Positive(t, first)
		require.Less(t, first, removed)
		require.Less(t, removed, second)
		require.True(t, records[first].State.Position.Before(records[second].State.Position))
	})

	t.Run("OutliveAnOverflow", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		id, _ := sensor(t, b.spool.await(t, snapshots(1))[1])
		b.spool.setClosed(true)
		b.owner.QueueAtMost(50)
		b.home.Set("sensor.tried", "1", nil)
		b.awaitLive(t, "sensor.tried", "1")
		require.True(t, b.home.Rename(id, "sensor.renamed"))
		b.home.Emit(500)
		b.home.Set("sensor.behind", "1", nil)
		b.awaitLive(t, "sensor.behind", "1")
		b.spool.setClosed(false)
		all := b.spool.await(t, spooled("sensor.behind", "1"))
		again := 1 + slices.IndexFunc(all[1:], func(b concord.Batch) bool { return b.Kind == concord.BatchOpened })
		require.Positive(t, again, "changes were dropped")
		renamed := place(all, func(r concord.Record) bool { return r.RenamedFrom == id })
		require.Positive(t, renamed)
		require.Less(t, renamed, again)
	})

	t.Run("GivenWhileASnapshotIsMadeAreInIt", func(t *testing.T) {
		t.Parallel()
		var once sync.Once
		var id, entry string
		b := setupWith(t, func(b *bundle) {
			once.Do(func() {
				id, entry = sensor(t, b.spool.await(t, func(all []concord.Batch) bool { return len(all) > 2 })[1])
				require.True(t, b.home.Rename(id, "sensor.renamed"))
				b.home.Set("sensor.behind", "1", nil)
				b.awaitLive(t, "sensor.behind", "1")
			})
		})
		all := b.spool.await(t, snapshots(1))
		snapshot := slices.IndexFunc(all, func(b concord.Batch) bool { return b.Kind == concord.BatchSnapshot })
		require.Less(t, place(all, func(r concord.Record) bool { return r.RenamedFrom != "" }), snapshot)
		require.Equal(t, "sensor.renamed", named(all[snapshot], entry))
		require.Negative(t, place(all[snapshot:snapshot+1], func(r concord.Record) bool { return r.State.EntityID == id }), "nobody is called that")
	})

	t.Run("GivenWhileTheHomeIsAskedStay", func(t *testing.T) {
		t.Parallel()
		var id string
		ask := make(chan bool, 1)
		b := setupWith(t, func(b *bundle) {
			select {
			case <-ask:
				require.True(t, b.home.Rename(id, "sensor.renamed"))
				require.Eventually(t, func() bool { return b.live.State(1, id) == nil && b.live.State(1, "sensor.renamed") != nil }, 20*time.Second, time.Millisecond)
			default:
			}
		})
		id, _ = sensor(t, b.spool.await(t, snapshots(1))[1])
		ask <- true
		seq, err := b.owner.Snapshot(t.Context(), "get_areas")
		require.NoError(t, err)
		require.Nil(t, b.live.State(1, id))
		all := b.spool.await(t, func(all []concord.Batch) bool { return uint64(len(all)) >= seq-100 })
		snapshot := all[seq-101 : seq-100]
		require.Equal(t, concord.BatchSnapshot, snapshot[0].Kind)
		require.Negative(t, place(snapshot, func(r concord.Record) bool { return r.State.EntityID == id }))
	})
}
