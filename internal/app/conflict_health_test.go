package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/hass/simhome"
	"github.com/concord-home/concord/internal/app"
	"github.com/concord-home/concord/internal/lab"
	"github.com/concord-home/concord/internal/trial"
)

// sum adds up every series of a metric.
func sum(t *testing.T, c *trial.Trial, name string) float64 {
	t.Helper()
	resp, err := c.HTTP.Get(c.URL + "/metrics")
	require.NoError(t, err)
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	require.NoError(t, err)
	require.Contains(t, families, name)
	var total float64
	for _, m := range families[name].GetMetric() {
		total += m.GetCounter().GetValue()
	}
	return total
}

type conflicts struct {
	Status  string
	Metrics *struct {
		Failures    int     `json:"serialization_failures"`
		Rate        float64 `json:"failure_rate"`
		Retries     float64 `json:"avg_retries"`
		LastFailure string  `json:"last_failure"`
		Lost        int
	}
}

func conflictHealth(t *testing.T, client *http.Client, c *trial.Trial) conflicts {
	t.Helper()
	resp, err := client.Get(c.URL + "/health/serialization")
	require.NoError(t, err)
	defer resp.Body.Close()
	var h conflicts
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&h))
	return h
}

// rival is a session that writes the rows that Concord writes.
type rival struct {
	*pgx.Conn
	look *pgx.Conn
}

func newRival(t *testing.T, c *trial.Trial) rival {
	t.Helper()
	var r rival
	for _, conn := range []**pgx.Conn{&r.Conn, &r.look} {
		var err error
		*conn, err = pgx.Connect(t.Context(), c.DB)
		require.NoError(t, err)
		t.Cleanup(func() { (*conn).Close(context.Background()) })
	}
	return r
}

// holds runs do while the rival holds what sql wrote, and commits when who, a
// pattern of application_name, waits for it: Concord's transaction then meets a conflict, for certain.
func (r rival) holds(t *testing.T, sql, who string, do func()) (application string) {
	t.Helper()
	for _, s := range []string{`begin`, sql} {
		_, err := r.Exec(t.Context(), s)
		require.NoError(t, err)
	}
	do()
	require.Eventually(t, func() bool {
		err := r.look.QueryRow(t.Context(), `
			select application_name from pg_stat_activity
			where wait_event_type = 'Lock' and application_name like $1`, who).Scan(&application)
		return err == nil
	}, 20*time.Second, 2*time.Millisecond)
	_, err := r.Exec(t.Context(), `commit`)
	require.NoError(t, err)
	return application
}

// TestConflictHealth walks health up and down again with conflicts that are
// certain, and counts what everybody saw of them.
func TestConflictHealth(t *testing.T) {
	t.Parallel()
	messages := make(chan string, 100)
	slack := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m struct{ Text string }
		_ = json.NewDecoder(r.Body).Decode(&m) // the test sees that the text is missing
		messages <- m.Text
	}))
	t.Cleanup(slack.Close)
	var log logText
	logger := slog.New(slog.NewTextHandler(&log, nil))
	c := start(t, trial.Options{Config: func(o *app.Config) {
		o.NotifyURLs, o.Logger, o.HealthDegraded, o.HealthUnhealthy, o.NotifyAt = []string{slack.URL}, logger, 0.2, 0.4, 0.35
	}})
	r := newRival(t, c)

	const entity = "sensor.contested"
	n := 0
	set := func() { n++; c.Home.Set(entity, fmt.Sprint(n), nil) }
	written := func() {
		require.Eventually(t, func() bool {
			var state string
			err := r.look.QueryRow(t.Context(), `select state from entity_state where entity_id = $1`, entity).Scan(&state)
			return err == nil && state == fmt.Sprint(n)
		}, 20*time.Second, 2*time.Millisecond)
	}
	conflict := func() {
		r.holds(t, `update entity_state set state = state where entity_id = '`+entity+`'`, `concord`, set)
		written()
	}
	clean := func() { set(); written() }
	until := func(status string, step func()) {
		for range 1500 {
			if conflictHealth(t, c.HTTP, c).Status == status {
				return
			}
			step()
		}
		require.FailNow(t, "health never becomes "+status)
	}

	message := func() string {
		select {
		case m := <-messages:
			return m
		case <-time.After(60 * time.Second):
			require.FailNow(t, "nobody was told")
			return ""
		}
	}

	clean()
	require.Equal(t, "healthy", conflictHealth(t, c.HTTP, c).Status)
	until("degraded", conflict)
	until("unhealthy", conflict)
	require.Equal(t, "Concord: database conflicts disturb writing", strings.TrimSuffix(message(), " badly"))
	seen := conflictHealth(t, c.HTTP, c)
	require.Equal(t, 1.0, seen.Metrics.Retries)
	require.Zero(t, seen.Metrics.Lost)
	require.NotEmpty(t, seen.Metrics.LastFailure)
	require.Nil(t, conflictHealth(t, http.DefaultClient, c).Metrics, "without a session there is the status only")

	require.EqualValues(t, seen.Metrics.Failures, sum(t, c, "odoo_ha_serialization_failures_total"))
	require.NoError(t, c.StopConcord())
	require.NoError(t, c.StartConcord(t.Context()))
	require.Eventually(t, func() bool {
		return conflictHealth(t, c.HTTP, c).Metrics.Failures == seen.Metrics.Failures
	}, 20*time.Second, 20*time.Millisecond, "a restart forgets nothing")
	require.NotEqual(t, "healthy", conflictHealth(t, c.HTTP, c).Status)
	r = newRival(t, c)
	var inView int
	require.NoError(t, r.look.QueryRow(t.Context(), `select serialization_failures from serialization_conflict_stats`).Scan(&inView))
	require.Equal(t, seen.Metrics.Failures, inView)
	require.NoError(t, c.AwaitEqual(t.Context()))

	until("healthy", clean)
	for conflictHealth(t, c.HTTP, c).Metrics.Rate >= 0.35/2 { // an incident ends at half of where it begins
		clean()
	}
	require.Equal(t, "Concord: database conflicts are over", message())
	require.Empty(t, messages, "one message for the incident and one for its end")

	inLog, in25P02 := c.ServerLog()
	require.Equal(t, inLog, conflictHealth(t, c.HTTP, c).Metrics.Failures, "the server's log has exactly these")
	require.Zero(t, in25P02)
	require.NoError(t, c.StopConcord())
	require.Equal(t, inLog, strings.Count(log.String(), `msg="Serialization conflict`))
	require.Contains(t, log.String(), `msg="Serialization conflict (attempt 1/10)"`)
	require.NotContains(t, log.String(), "level=ERROR", "a conflict that a retry cured is no error")
}

func TestFailuresCountedAreThoseOfTheServersLog(t *testing.T) {
	t.Parallel()
	c := start(t, trial.Options{Home: simhome.Options{Entities: 70, Areas: 6, Rate: 100}})
	fight, end := context.WithCancel(t.Context())
	fought := make(chan error, 1)
	go func() {
		_, err := lab.Adversary{URL: c.DB, Home: c.HomeID, Rows: 70}.Run(fight)
		fought <- err
	}()
	require.Eventually(t, func() bool {
		require.NoError(t, c.Areas(true))
		return sum(t, c, "odoo_ha_serialization_failures_total") >= 10
	}, 3*time.Minute, 50*time.Millisecond)
	c.Home.SetRate(0)
	end()
	require.NoError(t, <-fought)
	require.NoError(t, c.AwaitEqual(t.Context()))
	inLog, in25P02 := c.ServerLog()
	require.EqualValues(t, inLog, sum(t, c, "odoo_ha_serialization_failures_total"))
	require.Zero(t, in25P02)
	t.Logf("%d failures", inLog)
}

func TestCorrelation(t *testing.T) {
	t.Parallel()
	var log logText
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	c := start(t, trial.Options{Config: func(o *app.Config) { o.Logger = logger }})
	r := newRival(t, c)
	require.NoError(t, c.Areas(true), "the reconciliation of the start is over")
	answered := make(chan *http.Response, 1)
	application := r.holds(t, `update home set name = name`, `concord/%`, func() {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.URL+"/odoo_ha_addon/areas", strings.NewReader(`{"params":{"sync":true}}`))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("X-Request-ID", "tell-me-apart")
		go func() {
			resp, err := c.HTTP.Do(request)
			if err != nil {
				t.Error(err)
			}
			answered <- resp
		}()
	})
	require.Equal(t, "concord/tell-me-apart", application, "pg_stat_activity names the request")
	resp := <-answered
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Contains(t, string(body), `"success":true`)
	require.Equal(t, "tell-me-apart", resp.Header.Get("X-Request-Id"))
	own, _ := c.ServerLog()
	require.Equal(t, 1, own, "the server's log has the line, with the id in it")
	require.NoError(t, c.StopConcord())
	var line struct {
		Message string `json:"msg"`
		ID      string `json:"correlation_id"`
	}
	for text := range strings.Lines(log.String()) {
		if strings.Contains(text, "Serialization conflict") {
			require.NoError(t, json.Unmarshal([]byte(text), &line))
		}
	}
	require.Equal(t, "tell-me-apart", line.ID)
}
