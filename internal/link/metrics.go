package link

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts what links hear and hand on, of all homes together.
type Metrics struct {
	events, badRecords, undecodable, backwards, drift, slow prometheus.Counter
	published, publishErrors, dropped                       prometheus.Counter
	queued                                                  prometheus.Gauge
	publish                                                 prometheus.Observer
}

// none counts nothing.
type none struct{ prometheus.Counter }

func (none) Inc()            {}
func (none) Add(float64)     {}
func (none) Observe(float64) {}

type noGauge struct{ prometheus.Gauge }

func (noGauge) Set(float64) {}

// NewMetrics registers the metrics; a nil Registerer gives some that count nothing.
func NewMetrics(r prometheus.Registerer) *Metrics {
	if r == nil {
		return &Metrics{none{}, none{}, none{}, none{}, none{}, none{}, none{}, none{}, none{}, noGauge{}, none{}}
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	publish := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "concord_spool_publish_seconds", Help: "Time to make a message safe in the spool.",
		Buckets: prometheus.ExponentialBuckets(0.0001, 2, 15),
	})
	m := &Metrics{
		events:        counter("concord_link_events_total", "State changes heard from homes."),
		badRecords:    counter("concord_link_bad_records_total", "Records from homes that could not be read."),
		undecodable:   counter("concord_link_undecodable_messages_total", "Messages from homes that could not be read at all."),
		backwards:     counter("concord_link_backwards_total", "State changes whose time is before that of the state they replace."),
		drift:         counter("concord_link_drift_total", "Entities whose state was wrong in memory and was corrected by a reconciliation."),
		slow:          counter("concord_link_slow_total", "Times that handling fell behind a home."),
		published:     counter("concord_spool_published_records_total", "Records made safe in the spool."),
		publishErrors: counter("concord_spool_publish_errors_total", "Publishes that the spool did not take."),
		dropped:       counter("concord_spool_dropped_records_total", "Records lost because the spool took none for too long."),
		queued:        prometheus.NewGauge(prometheus.GaugeOpts{Name: "concord_spool_queued_records", Help: "Records that wait in memory for the spool."}),
		publish:       publish,
	}
	r.MustRegister(m.events, m.badRecords, m.undecodable, m.backwards, m.drift, m.slow, m.published, m.publishErrors,
		m.dropped, m.queued, publish)
	return m
}
