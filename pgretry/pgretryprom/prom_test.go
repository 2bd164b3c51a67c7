package pgretryprom_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/internal/pgtest"
	"github.com/concord-home/concord/pgretry/pgretryprom"
	"github.com/concord-home/concord/pgretry/pgretrytest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// scrape is what Prometheus gets.
func scrape(t *testing.T, reg *prometheus.Registry) string {
	t.Helper()
	server := httptest.NewServer(promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	defer server.Close()
	response, err := http.Get(server.URL)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(body)
}

func TestScrape(t *testing.T) {
	t.Parallel()
	pool, reg := pgtest.Pool(t, 4), prometheus.NewRegistry()
	o, err := pgretryprom.New(reg, pgretryprom.Options{})
	require.NoError(t, err)
	runner := pgretry.New(pgretry.WithObserver(o), pgretry.WithBackoff(1, 1))
	look := func(ctx context.Context, tx pgx.Tx) error { _, err := tx.Exec(ctx, `select 1`); return err }
	force := func(sqlstate string, where pgretrytest.Where, attempts int) *pgretrytest.Force {
		db := pgretrytest.NewForce(pool)
		for n := range attempts {
			db.Fail(n+1, sqlstate, where)
		}
		return db
	}
	require.NoError(t, runner.Do(t.Context(), pool, look, pgretry.WithName("look")))
	require.NoError(t, runner.Do(t.Context(), force("40001", pgretrytest.AtCommit, 11), look, pgretry.WithName("pay")))
	require.Error(t, runner.Do(t.Context(), force("40P01", pgretrytest.AtStatement, 2), look, pgretry.WithName("pay"), pgretry.WithMaxAttempts(2)))
	require.Error(t, runner.Do(t.Context(), force("23505", pgretrytest.AtStatement, 1), look, pgretry.WithName("pay")))
	got := scrape(t, reg)
	for _, line := range []string{
		`pgretry_transactions_total{name="look",outcome="committed"} 1`,
		`pgretry_transactions_total{name="pay",outcome="retried"} 1`,
		`pgretry_transactions_total{name="pay",outcome="exhausted"} 1`,
		`pgretry_transactions_total{name="pay",outcome="failed"} 1`,
		`pgretry_attempt_failures_total{attempt="1",name="pay",sqlstate="40001",stage="commit"} 1`,
		`pgretry_attempt_failures_total{attempt="10+",name="pay",sqlstate="40001",stage="commit"} 2`,
		`pgretry_attempt_failures_total{attempt="2",name="pay",sqlstate="40P01",stage="closure"} 1`,
		`pgretry_attempt_failures_total{attempt="1",name="pay",sqlstate="23505",stage="closure"} 1`,
		`pgretry_attempts_sum{name="pay"} 15`,
		`pgretry_attempts_bucket{name="pay",le="2"} 2`,
		`pgretry_duration_seconds_count{name="look"} 1`,
		`pgretry_queued_seconds_count{name="pay"} 3`,
		`pgretry_notices_total{kind="queued"} 1`,
	} {
		require.Contains(t, got, line+"\n")
	}
	problems, err := testutil.GatherAndLint(reg)
	require.NoError(t, err)
	require.Empty(t, problems)
}

func TestNew(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	o, err := pgretryprom.New(reg, pgretryprom.Options{Namespace: "shop"})
	require.NoError(t, err)
	o.Finished(t.Context(), pgretry.Outcome{Name: "pay", Attempts: 1})
	require.True(t, strings.Contains(scrape(t, reg), `shop_transactions_total{name="pay",outcome="committed"} 1`))
	_, err = pgretryprom.New(reg, pgretryprom.Options{Namespace: "shop"})
	require.Error(t, err, "registered twice")
	_, err = pgretryprom.New(nil, pgretryprom.Options{})
	require.NoError(t, err)
}
