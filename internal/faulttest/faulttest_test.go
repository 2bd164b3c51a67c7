package faulttest_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/faulttest"
)

func concord(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("runs a whole Concord and kills it")
	}
	path := filepath.Join(t.TempDir(), "concord")
	out, err := exec.Command("go", "build", "-o", path, "github.com/concord-home/concord/cmd/concord").CombinedOutput()
	require.NoError(t, err, string(out))
	return path
}

// number reads a setting of the long form: CONCORD_FAULTS, CONCORD_FAULT_SEED.
// CONCORD_FAULT leaves the faults whose names have one of its parts, with commas
// between them.
func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, name)
	return n
}

func run(t *testing.T, o faulttest.Options) faulttest.Result {
	t.Helper()
	o.Log, o.Only = t.Logf, os.Getenv("CONCORD_FAULT")
	r, err := faulttest.Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	require.NoError(t, r.Break(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	result, err := r.Settle(ctx)
	require.NoError(t, err)
	t.Logf("%+v", result)
	if len(r.LeftOut) > 0 {
		t.Logf("left out: %s", strings.Join(r.LeftOut, "; "))
		require.NotEqual(t, "true", os.Getenv("CI"), "CI leaves nothing out")
	}
	require.Empty(t, r.Unmet())
	require.True(t, result.Exact(), "seed %d: %v", o.Seed, result.Examples)
	require.NotZero(t, result.Sent)
	return result
}

func TestHistoryIsWhatTheHomeSent(t *testing.T) {
	path := concord(t)
	seed := uint64(number(t, "CONCORD_FAULT_SEED", 1)) //nolint:gosec // not negative
	faults := number(t, "CONCORD_FAULTS", faulttest.Kinds())

	t.Run("ExactlyOnceWhenTheHomeRemembers", func(t *testing.T) {
		result := run(t, faulttest.Options{Binary: path, Seed: seed, Faults: faults})
		require.Zero(t, result.InGaps)
		require.Equal(t, result.Sent, result.Stored)
		require.NotZero(t, result.Buckets)
	})

	t.Run("WithGapsWhereTheHomeForgot", func(t *testing.T) {
		run(t, faulttest.Options{Binary: path, Seed: seed + 1, Faults: faults / 3, Remembers: 4, Rate: 500})
	})
}

// PostgreSQL is away for as many changes as a home of 100 a second makes in an
// hour, or fewer unless CONCORD_OUTAGE says so. Pages follow all the time.
func TestAnOutageIsCaughtUpWith(t *testing.T) {
	r, err := faulttest.Start(t.Context(), faulttest.Options{Binary: concord(t), Log: t.Logf})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	changes := number(t, "CONCORD_OUTAGE", 18_000)
	o, err := r.Outage(t.Context(), changes)
	require.NoError(t, err)
	t.Logf("%d changes heard in %v while PostgreSQL was away, written in %v: %.0f/s, with %d/s live", o.Heard, o.Hearing, o.CatchUp, o.Rate(), faulttest.LiveRate)
	t.Logf("slowest change to the live model: %v while PostgreSQL was away, %v of %d while the old ones were written", o.Before, o.During, o.Marks)
	require.True(t, o.Exact(), o.Examples)
	require.Equal(t, o.Sent, o.Stored)
	require.GreaterOrEqual(t, o.Sent, changes)
	require.Zero(t, o.Gaps)
	require.NotZero(t, o.Marks, "a change reached the live model before the old ones were written")
}
