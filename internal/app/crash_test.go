package app_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/hass/simhome"
	"github.com/concord-home/concord/internal/pgtest"
	"github.com/concord-home/concord/internal/trial"
)

// stopProcess and continueProcess freeze and thaw PostgreSQL with all its
// backends: it neither answers nor closes connections.
func stopProcess(t *testing.T, pid int)     { signalTree(t, pid, syscall.SIGSTOP) }
func continueProcess(t *testing.T, pid int) { signalTree(t, pid, syscall.SIGCONT) }

func signalTree(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	require.NoError(t, syscall.Kill(-pid, sig)) // PostgreSQL leads a process group of its own
}

var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "concord-bin-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "concord")
	out, err := exec.Command("go", "build", "-o", path, "github.com/concord-home/concord/cmd/concord").CombinedOutput()
	if err != nil {
		return "", &buildError{string(out)}
	}
	return path, nil
})

type buildError struct{ output string }

func (e *buildError) Error() string { return "go build: " + e.output }

func startBinary(t *testing.T, home simhome.Options) *trial.Trial {
	t.Helper()
	if testing.Short() {
		t.Skip("runs a whole Concord, PostgreSQL included")
	}
	path, err := binary()
	require.NoError(t, err)
	return start(t, trial.Options{Binary: path, Home: home})
}

func TestMain(m *testing.M) {
	pgtest.Main(m, func() {
		if path, err := binary(); err == nil && !testing.Short() {
			os.RemoveAll(filepath.Dir(path))
		}
	})
}

func TestCrashes(t *testing.T) {
	t.Parallel()

	t.Run("SIGKILLOfConcordUnderLoadLosesNothing", func(t *testing.T) {
		t.Parallel()
		c := startBinary(t, simhome.Options{Entities: 200})
		c.Home.SetRate(500)
		for range 10 {
			awaitProgress(t, c)
			require.NoError(t, c.KillConcord())
			require.NoError(t, c.StartConcord(t.Context()))
		}
		c.Home.SetRate(0)
		require.NoError(t, c.AwaitEqual(t.Context()))
	})

	t.Run("SIGKILLOfPostgreSQLUnderLoadLosesNothing", func(t *testing.T) {
		t.Parallel()
		c := startBinary(t, simhome.Options{Entities: 200})
		c.Home.SetRate(500)
		for range 10 {
			awaitProgress(t, c)
			pid, err := c.ServerPID()
			require.NoError(t, err)
			require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
			require.NoError(t, c.Areas(false), "the page works from memory")
			awaitProgress(t, c)
		}
		c.Home.SetRate(0)
		require.NoError(t, c.AwaitEqual(t.Context()))
	})

	t.Run("WhatWasSpooledIsWrittenWithoutTheHome", func(t *testing.T) {
		t.Parallel()
		c := startBinary(t, simhome.Options{Entities: 200})
		pid, err := c.ServerPID()
		require.NoError(t, err)
		stopProcess(t, pid)
		c.Home.Emit(10_000)
		sent := c.Home.Emitted()
		require.Eventually(t, func() bool { return published(t, c) >= sent }, 30*time.Second, 20*time.Millisecond)
		require.NoError(t, c.KillConcord())
		require.NoError(t, syscall.Kill(-pid, syscall.SIGKILL))
		c.HomeOff()
		require.NoError(t, c.StartConcord(t.Context()))
		require.NoError(t, c.AwaitEqual(t.Context()))
	})
}

// awaitProgress returns when a transaction has moved the position in the spool.
func awaitProgress(t *testing.T, c *trial.Trial) {
	t.Helper()
	position := func() int64 {
		conn, err := pgx.Connect(t.Context(), c.DB)
		if err != nil {
			return -1
		}
		defer conn.Close(t.Context())
		var seq int64
		if conn.QueryRow(t.Context(), `select seq from spool_position`).Scan(&seq) != nil {
			return -1
		}
		return seq
	}
	first := int64(-1)
	require.Eventually(t, func() bool {
		now := position()
		if first < 0 {
			first = now
		}
		return first >= 0 && now > first
	}, 60*time.Second, 20*time.Millisecond)
}

// published reads from Concord's metrics how many records are safe in the spool.
func published(t *testing.T, c *trial.Trial) int64 {
	t.Helper()
	return int64(metric(t, c, "concord_spool_published_records_total"))
}
