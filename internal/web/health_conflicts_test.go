package web_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/web"
)

// ledger has counted what a test says.
type ledger struct {
	health  concord.ConflictHealth
	minutes []concord.LedgerMinute
}

func (l *ledger) Health() concord.ConflictHealth { return l.health }

func (l *ledger) Minutes(time.Time) []concord.LedgerMinute { return l.minutes }

// withLedger gives the server a day of two endpoints, a conflict ten minutes ago
// and a slow one at the beginning of the day.
func withLedger(b *bundle, o *web.Options) {
	recent, early := time.Now().Add(-10*time.Minute).Truncate(time.Minute), time.Now().Add(-23*time.Hour).Truncate(time.Minute)
	o.Ledger = &ledger{
		health: concord.ConflictHealth{
			Status: concord.ConflictsDegraded, Window: time.Hour, FailureRate: 0.1, AverageRetries: 1.5, WorstEndpoint: "state_changed",
			LedgerMinute: concord.LedgerMinute{Transactions: 40, Conflicted: 4, Retried: 3, Lost: 1, Failures: 6, LastFailure: recent},
		},
		minutes: []concord.LedgerMinute{
			{Minute: recent, Endpoint: "state_changed", Transactions: 40, Conflicted: 4, Retried: 3, Lost: 1, Retries: 6, Failures: 6, Seconds: 0.8, Slowest: 0.3},
			{Minute: recent.Add(time.Minute), Endpoint: "state_changed", Transactions: 10, Seconds: 0.2, Slowest: 0.1},
			{Minute: early, Endpoint: "get_areas", Transactions: 2, Seconds: 3, Slowest: 2},
			{Minute: recent.Add(-48 * time.Hour), Endpoint: "get_areas", Conflicted: 1000}, // the clock was set
		},
	}
	b.health.stats = &concord.ServerStats{Version: "15.4", Gaps: 2, Asking: 4, Filled: 5, Quarantined: 3}
	o.Health = b.health
}

func TestConflictHealthInTheEnvelope(t *testing.T) {
	t.Parallel()
	b := setup(t, withLedger)

	refused := b.rpc(t, "/health/serialization", map[string]any{})
	require.NotContains(t, refused, "result", "without a session")
	require.EqualValues(t, 100, refused["error"].(map[string]any)["code"])
	resp, text := b.do(t, http.MethodGet, "/health/serialization", "", nil)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.JSONEq(t, `{"status":"degraded"}`, text, "without a session there is the status only")

	b.signIn(t)
	answer := b.rpc(t, "/health/serialization", map[string]any{})
	require.Equal(t, "2.0", answer["jsonrpc"])
	require.EqualValues(t, 1, answer["id"])
	result := answer["result"].(map[string]any)
	require.Equal(t, "degraded", result["status"])
	metrics := result["metrics"].(map[string]any)
	require.NotEmpty(t, metrics["last_failure"])
	delete(metrics, "last_failure")
	require.Equal(t, map[string]any{"serialization_failures": 6.0, "failure_rate": 0.1, "avg_retries": 1.5, "lost": 1.0}, metrics)

	plain, text := b.do(t, http.MethodPost, "/health/serialization", `{"params":{}}`, http.Header{"Content-Type": {"text/plain"}})
	require.NotContains(t, text, "failure_rate", "a form of another site cannot ask: %s", plain.Status)
}

func TestStatusOfADay(t *testing.T) {
	t.Parallel()
	b := setup(t, withLedger)
	c := b.screen(t)
	m := c.call("concord/health", nil)
	require.True(t, m.Success, "%v", m.Error)
	var h struct {
		Now       map[string]any
		StepMS    int64 `json:"step_ms"`
		Day       []map[string]int64
		Endpoints []struct {
			Name         string
			Transactions int64
			Retries      int64
			MeanMS       float64 `json:"mean_ms"`
			SlowestMS    float64 `json:"slowest_ms"`
		}
		Homes  []map[string]any
		Server map[string]any
	}
	require.NoError(t, json.Unmarshal(m.Result, &h))
	require.Equal(t, "degraded", h.Now["status"])
	require.Equal(t, "state_changed", h.Now["worst_endpoint"])

	require.Len(t, h.Day, 145)
	var transactions, conflicted int64
	for i, p := range h.Day {
		transactions, conflicted = transactions+p["transactions"], conflicted+p["conflicted"]
		if i > 0 {
			require.Equal(t, h.StepMS, p["at"]-h.Day[i-1]["at"], "no holes")
		}
	}
	require.EqualValues(t, 52, transactions)
	require.EqualValues(t, 4, conflicted, "minutes of another day do not count")

	require.Len(t, h.Endpoints, 2)
	require.Equal(t, "get_areas", h.Endpoints[0].Name, "the slowest comes first")
	require.InDelta(t, 1500, h.Endpoints[0].MeanMS, 1e-6)
	require.EqualValues(t, 50, h.Endpoints[1].Transactions)
	require.EqualValues(t, 6, h.Endpoints[1].Retries)
	require.InDelta(t, 20, h.Endpoints[1].MeanMS, 1e-6)
	require.InDelta(t, 300, h.Endpoints[1].SlowestMS, 1e-6)

	require.Len(t, h.Homes, 1)
	require.Equal(t, "connected", h.Homes[0]["link"])
	require.Equal(t, map[string]any{"version": "15.4", "gaps": 2.0, "asking": 4.0, "filled": 5.0, "quarantined": 3.0}, h.Server)
}

func TestStatusWhileTheDatabaseDoesNotAnswer(t *testing.T) {
	t.Parallel()
	b := setup(t, withLedger, func(b *bundle, _ *web.Options) {
		b.health.stats, b.health.database = nil, concord.PartStatus{Error: "the database cannot be reached"}
	})
	var h map[string]any
	require.NoError(t, json.Unmarshal(b.screen(t).call("concord/health", nil).Result, &h))
	require.Nil(t, h["server"])
	require.Equal(t, "the database cannot be reached", h["database"].(map[string]any)["error"])
}

func TestStatusWithoutALedger(t *testing.T) {
	t.Parallel()
	m := setup(t).screen(t).call("concord/health", nil)
	require.False(t, m.Success)
	require.Equal(t, "home_unreachable", m.Error.Code)
}
