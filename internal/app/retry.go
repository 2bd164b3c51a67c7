package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/concord-home/concord/internal/postgres"
	"github.com/concord-home/concord/pgretry"
)

// retryObserver turns what pgretry reports into the metrics and log lines that
// existing rules and log watchers know.
type retryObserver struct {
	log      *slog.Logger
	attempts int
	failures *prometheus.CounterVec
	duration *prometheus.HistogramVec
	outcomes *prometheus.CounterVec
	retries  *prometheus.HistogramVec
}

func newRetryObserver(r prometheus.Registerer, log *slog.Logger, attempts int) *retryObserver {
	o := &retryObserver{
		log: log, attempts: attempts,
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "odoo_ha_serialization_failures_total",
			Help: "Attempts that PostgreSQL ended with a serialization failure or a deadlock; attempt counts from 0, 9+ from the tenth on.",
		}, []string{"endpoint", "attempt"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "odoo_ha_retry_duration_seconds", Help: "Time of a write transaction, all attempts and waits together.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 5, 10, 30, 60},
		}, []string{"endpoint"}),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "concord_transactions_total", Help: "Write transactions, by how they ended.",
		}, []string{"endpoint", "outcome"}),
		retries: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "concord_transaction_attempts", Help: "Attempts that write transactions took.", Buckets: []float64{1, 2, 3, 5, 8, 13, 21},
		}, []string{"endpoint"}),
	}
	r.MustRegister(o.failures, o.duration, o.outcomes, o.retries)
	return o
}

func isConflict(sqlstate string) bool { return sqlstate == "40001" || sqlstate == "40P01" }

// AttemptFailed implements [pgretry.Observer].
func (o *retryObserver) AttemptFailed(ctx context.Context, a pgretry.Attempt) {
	if !isConflict(a.SQLSTATE) {
		return
	}
	attempt := strconv.Itoa(a.Number - 1)
	if a.Number >= 10 {
		attempt = "9+"
	}
	o.failures.WithLabelValues(a.Name, attempt).Inc()
	message := "Serialization conflict"
	if a.Name == "get_areas" || a.Name == "background_sync" {
		message += " on entity sync"
	}
	o.log.WarnContext(ctx, fmt.Sprintf("%s (attempt %d/%d)", message, a.Number, o.attempts),
		"endpoint", a.Name, "sqlstate", a.SQLSTATE, "wait", a.Wait, "error", a.Err)
}

// Finished implements [pgretry.Observer].
func (o *retryObserver) Finished(ctx context.Context, out pgretry.Outcome) {
	o.duration.WithLabelValues(out.Name).Observe(out.Elapsed.Seconds())
	o.retries.WithLabelValues(out.Name).Observe(float64(out.Attempts))
	o.outcomes.WithLabelValues(out.Name, outcome(out)).Inc()
	if failed, ok := errors.AsType[*pgretry.Error](out.Err); ok && isConflict(failed.SQLSTATE) {
		o.log.ErrorContext(ctx, fmt.Sprintf("Failed after %d attempts due to serialization conflicts: SerializationFailure: %v /odoo_ha_addon/%s",
			failed.Attempts, failed.Err, route(out.Name)), "endpoint", out.Name, "sqlstate", failed.SQLSTATE, "elapsed", failed.Elapsed)
	}
}

func outcome(out pgretry.Outcome) string {
	failed, ok := errors.AsType[*pgretry.Error](out.Err)
	switch {
	case out.Err == nil && out.Attempts > 1:
		return "committed_after_retry"
	case out.Err == nil:
		return "committed"
	case ok && isConflict(failed.SQLSTATE):
		return "lost_to_conflicts"
	}
	return "failed"
}

// route is the add-on's route that an endpoint label stands for.
func route(endpoint string) string {
	if endpoint == "get_areas" {
		return "areas"
	}
	return endpoint
}

func registerPool(r prometheus.Registerer, db *postgres.DB) {
	gauge := func(name, help string, value func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("concord_pool_connections", "Connections to the database.", func() float64 { return float64(db.Pool().TotalConns()) })
	gauge("concord_pool_acquired_connections", "Connections to the database that are in use.", func() float64 { return float64(db.Pool().AcquiredConns()) })
	gauge("concord_pool_max_connections", "Connections to the database that are allowed.", func() float64 { return float64(db.Pool().MaxConns()) })
	gauge("concord_database_up", "1 when the database answers.", func() float64 {
		if db.Status().Up {
			return 1
		}
		return 0
	})
}
