// Package pgretryprom counts what pgretry does, for Prometheus.
package pgretryprom

import (
	"context"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/concord-home/concord/pgretry"
)

// Observer counts transactions. Its labels come from fixed sets, if the names of transactions do.
type Observer struct {
	calls    *prometheus.CounterVec
	failures *prometheus.CounterVec
	attempts *prometheus.HistogramVec
	elapsed  *prometheus.HistogramVec
	queued   *prometheus.HistogramVec
	notices  *prometheus.CounterVec
}

var (
	_ pgretry.Observer = (*Observer)(nil)
	_ pgretry.Noticer  = (*Observer)(nil)
)

// Options of [New]. The zero value works.
type Options struct {
	// Namespace begins each name; empty means "pgretry".
	Namespace string
}

// New registers the metrics with reg; nil means that they are kept but not registered. The error is the registerer's.
//
//   - pgretry_transactions_total{name,outcome}: calls; outcome is committed, retried (committed after a retry),
//     exhausted, unknown, or failed.
//   - pgretry_attempt_failures_total{name,stage,sqlstate,attempt}: failed attempts; attempt counts from 1, "10+" from
//     the tenth.
//   - pgretry_attempts{name}, pgretry_duration_seconds{name}, pgretry_queued_seconds{name}: per call.
//   - pgretry_notices_total{kind}
func New(reg prometheus.Registerer, opts Options) (*Observer, error) {
	if opts.Namespace == "" {
		opts.Namespace = "pgretry"
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: opts.Namespace, Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: opts.Namespace, Name: name, Help: help, Buckets: buckets,
		}, []string{"name"})
	}
	seconds := prometheus.ExponentialBucketsRange(0.001, 60, 14)
	o := &Observer{
		calls:    counter("transactions_total", "Transactions by outcome.", "name", "outcome"),
		failures: counter("attempt_failures_total", "Failed attempts.", "name", "stage", "sqlstate", "attempt"),
		attempts: histogram("attempts", "Attempts per transaction.", []float64{1, 2, 3, 5, 10, 20, 50}),
		elapsed:  histogram("duration_seconds", "Time per transaction, waiting and retries included.", seconds),
		queued:   histogram("queued_seconds", "Time per transaction in the queue of its conflict key.", seconds),
		notices:  counter("notices_total", "Changes in how transactions run.", "kind"),
	}
	if reg == nil {
		return o, nil
	}
	for _, c := range []prometheus.Collector{o.calls, o.failures, o.attempts, o.elapsed, o.queued, o.notices} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// AttemptFailed counts a failed attempt.
func (o *Observer) AttemptFailed(_ context.Context, a pgretry.Attempt) {
	number := strconv.Itoa(a.Number)
	if a.Number >= 10 {
		number = "10+"
	}
	o.failures.WithLabelValues(a.Name, string(a.Stage), a.SQLSTATE, number).Inc()
}

// Finished counts a call.
func (o *Observer) Finished(_ context.Context, out pgretry.Outcome) {
	o.calls.WithLabelValues(out.Name, string(out.Kind())).Inc()
	o.attempts.WithLabelValues(out.Name).Observe(float64(out.Attempts))
	o.elapsed.WithLabelValues(out.Name).Observe(out.Elapsed.Seconds())
	o.queued.WithLabelValues(out.Name).Observe(out.Queued.Seconds())
}

// Noticed counts a notice.
func (o *Observer) Noticed(_ context.Context, n pgretry.Notice) {
	o.notices.WithLabelValues(string(n.Kind)).Inc()
}
