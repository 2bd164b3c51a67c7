package bus_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/bus"
)

func publish(t *testing.T, b *bus.Bus) error {
	t.Helper()
	s := state("sensor.large", 1)
	s.Attributes = json.RawMessage(`{"x":"` + strings.Repeat("y", 100_000) + `"}`)
	_, err := b.Publish(t.Context(), &concord.Batch{Kind: concord.BatchEvents, HomeID: 1, Epoch: 7, Records: []concord.Record{{State: s}}})
	return err
}

// smallDisk is a file system of that size. It leaves the tree at once, and ends
// with the last file that is open: the server goes on removing what a purge left,
// the one that gives a new stream its first sequence too, after it was shut down.
func smallDisk(t *testing.T, size string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skip("may not mount a small disk:", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	return dir
}

func TestTrouble(t *testing.T) {
	t.Parallel()

	t.Run("AFullSpoolIsDownUntilThereIsRoom", func(t *testing.T) {
		t.Parallel()
		b, err := bus.Open(t.Context(), bus.Options{Dir: t.TempDir(), MaxBytes: 1 << 20})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, b.Close()) })
		for err == nil {
			require.True(t, b.Status().Up)
			err = publish(t, b)
		}
		require.False(t, b.Status().Up)
		require.Equal(t, "the spool is full", b.Status().Error)
		require.NoError(t, b.Discard(t.Context(), 1, next(t, b, 0, 1)[0].Seq))
		require.NoError(t, publish(t, b))
		require.True(t, b.Status().Up)
	})

	t.Run("AFullDiskIsSurvived", func(t *testing.T) {
		t.Parallel()
		if testing.Short() {
			t.Skip("fills a disk")
		}
		dir := smallDisk(t, "12m")
		ballast := filepath.Join(dir, "ballast")
		require.NoError(t, os.WriteFile(ballast, make([]byte, 8<<20), 0o600))
		b := open(t, filepath.Join(dir, "spool"))
		r, err := b.Consume(t.Context(), 1, 0)
		require.NoError(t, err)
		defer r.Close()
		taken := 0
		for publish(t, b) == nil {
			taken++
		}
		require.False(t, b.Status().Up)
		require.NoError(t, os.Remove(ballast))
		require.Eventually(t, func() bool { return publish(t, b) == nil }, 30*time.Second, 100*time.Millisecond)
		require.True(t, b.Status().Up)
		for read := 0; read <= taken; { // what was taken, and what came behind it
			got, err := r.Next(t.Context(), 1000)
			require.NoError(t, err)
			read += len(got)
		}
	})

	t.Run("ASmallDiskHasASmallSpool", func(t *testing.T) {
		t.Parallel()
		dir := smallDisk(t, "400m")
		b := open(t, filepath.Join(dir, "spool"))
		max, err := b.MaxBytes(t.Context())
		require.NoError(t, err)
		require.InDelta(t, 100<<20, max, 2<<20)
	})
}
