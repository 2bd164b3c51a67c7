package pgretryprom_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/pgretryprom"
)

func TestObserver(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	o, err := pgretryprom.New(reg, pgretryprom.Options{})
	require.NoError(t, err)
	o.AttemptFailed(t.Context(), pgretry.Attempt{Name: "pay", Number: 12, Stage: pgretry.StageCommit, SQLSTATE: "40001"})
	o.Finished(t.Context(), pgretry.Outcome{Name: "pay", Attempts: 13})
	o.Finished(t.Context(), pgretry.Outcome{Name: "pay", Attempts: 50, Err: pgretry.ErrExhausted})
	o.Noticed(t.Context(), pgretry.Notice{Kind: pgretry.NoticeQueued})
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP pgretry_attempt_failures_total Failed attempts.
# TYPE pgretry_attempt_failures_total counter
pgretry_attempt_failures_total{attempt="10+",name="pay",sqlstate="40001",stage="commit"} 1
# HELP pgretry_transactions_total Transactions by outcome.
# TYPE pgretry_transactions_total counter
pgretry_transactions_total{name="pay",outcome="exhausted"} 1
pgretry_transactions_total{name="pay",outcome="retried"} 1
`), "pgretry_attempt_failures_total", "pgretry_transactions_total"))
	_, err = pgretryprom.New(reg, pgretryprom.Options{})
	require.Error(t, err)
	_, err = pgretryprom.New(nil, pgretryprom.Options{})
	require.NoError(t, err)
}
