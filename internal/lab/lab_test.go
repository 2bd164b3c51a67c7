package lab_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/lab"
	"github.com/concord-home/concord/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func strategy(t *testing.T, name string) lab.Strategy {
	t.Helper()
	for _, s := range lab.Strategies() {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no strategy %s", name)
	return lab.Strategy{}
}

func TestExperiment(t *testing.T) {
	t.Parallel()
	experiment := func(t *testing.T, name string) lab.Result {
		t.Helper()
		r, err := lab.Experiment{URL: pgtest.URL(t), Strategy: strategy(t, name), Events: 100, Readers: 10, Duration: 2 * time.Second}.Run(t.Context())
		require.NoError(t, err)
		require.Positive(t, r.Requests)
		return r
	}

	t.Run("WithoutRetryRequestsFail", func(t *testing.T) {
		t.Parallel()
		require.Less(t, experiment(t, "none").SuccessRate(), 1.0)
	})

	t.Run("ASavepointReportsSuccessAndLeavesRowsWrong", func(t *testing.T) {
		t.Parallel()
		r := experiment(t, "savepoint")
		require.Equal(t, 1.0, r.SuccessRate())
		require.Positive(t, r.WrongRows)
		require.Positive(t, r.Savepoints)
		require.Positive(t, r.ServerCPU, "the backends run here")
	})

	for _, name := range []string{"pgretry", "one-writer"} {
		t.Run("EveryRequestSucceedsAndNoRowIsWrongWith "+name, func(t *testing.T) {
			t.Parallel()
			r := experiment(t, name)
			require.Equal(t, 1.0, r.SuccessRate())
			require.Zero(t, r.WrongRows)
			require.Zero(t, r.EventsLost)
		})
	}
}

func TestHTMLIsOnePage(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	require.NoError(t, lab.Report{Machine: "<m>", Results: []lab.Result{
		{Strategy: "none", Events: 5, Readers: 1, Requests: 2, Succeeded: 1, P99: 3},
		{Strategy: "pgretry", Events: 5, Readers: 10, Requests: 2, Succeeded: 2, P99: 30},
	}}.WriteHTML(&b))
	require.Equal(t, 4, strings.Count(b.String(), "<figure>"))
	require.Contains(t, b.String(), "pgretry, 10 readers: 30 ms")
	require.NotContains(t, b.String(), "NaN")
	require.Contains(t, b.String(), "50.0 %")
	require.Contains(t, b.String(), "&lt;m&gt;")
	require.NotContains(t, b.String(), "http")
}
