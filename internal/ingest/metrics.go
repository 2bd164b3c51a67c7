package ingest

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/concord-home/concord"
)

// Metrics counts what writers do, of all homes together.
type Metrics struct {
	records     *prometheus.CounterVec // outcome
	stages      *prometheus.CounterVec // stage, outcome
	syncs       *prometheus.CounterVec // cause
	retries     prometheus.Counter
	backfilled  prometheus.Counter
	held        prometheus.Counter
	gaps        prometheus.Counter
	batch       prometheus.Histogram
	seconds     prometheus.Histogram
	lag         prometheus.Gauge
	syncSeconds prometheus.Histogram
}

// NewMetrics registers the metrics; a nil Registerer gives metrics that nobody reads.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		records: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "concord_ingest_records_total", Help: "State changes read from the spool, by what became of them.",
		}, []string{"outcome"}),
		stages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "concord_sync_records_total", Help: "Records of reconciliations, by stage and what became of them.",
		}, []string{"stage", "outcome"}),
		syncs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "concord_syncs_total", Help: "Finished reconciliations, by cause.",
		}, []string{"cause"}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "concord_ingest_waits_total", Help: "Times that a writer had to wait for the database or the spool and try again.",
		}),
		backfilled: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "concord_backfill_records_total", Help: "State changes that the homes' own history had, those known already included.",
		}),
		held: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "concord_backfill_held_total", Help: "Of those, kept out of the history by a deadband.",
		}),
		gaps: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "concord_gaps_total", Help: "Times of which neither Concord nor the home knows what happened.",
		}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "concord_ingest_batch_records", Help: "Records per write transaction.", Buckets: prometheus.ExponentialBuckets(1, 4, 8),
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "concord_ingest_write_seconds", Help: "Time of a write transaction, retries included.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}),
		lag: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "concord_ingest_lag_seconds", Help: "Age of the last written change by the home's clock when it was written.",
		}),
		syncSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "concord_sync_seconds", Help: "Time to write a reconciliation.", Buckets: prometheus.ExponentialBuckets(0.005, 2, 14),
		}),
	}
	if r != nil {
		r.MustRegister(m.records, m.stages, m.syncs, m.retries, m.backfilled, m.held, m.gaps, m.batch, m.seconds, m.lag, m.syncSeconds)
	}
	return m
}

func (m *Metrics) observeEvents(c concord.EventCounts, events []concord.Record, took time.Duration) {
	if len(events) == 0 || c.Skipped {
		return
	}
	m.records.WithLabelValues("applied").Add(float64(c.Applied))
	m.records.WithLabelValues("superseded").Add(float64(max(0, len(events)-c.Applied-c.Failed)))
	m.records.WithLabelValues("failed").Add(float64(c.Failed))
	m.records.WithLabelValues("stored").Add(float64(c.Stored))
	m.records.WithLabelValues("held").Add(float64(c.Held))
	m.batch.Observe(float64(len(events)))
	m.seconds.Observe(took.Seconds())
	if last := events[len(events)-1].State; !last.LastUpdated.IsZero() {
		m.lag.Set(time.Since(last.LastUpdated).Seconds())
	}
}

func (m *Metrics) observeStage(c concord.StageCounts) {
	for outcome, n := range map[string]int{
		"created": c.Created, "updated": c.Updated, "unchanged": c.Unchanged, "deleted": c.Deleted, "failed": c.Failed,
	} {
		m.stages.WithLabelValues(string(c.Stage), outcome).Add(float64(n))
	}
}
