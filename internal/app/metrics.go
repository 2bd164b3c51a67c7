package app

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/concord-home/concord"
)

// registerParts registers the metrics of what Concord stands on.
func (a *App) registerParts() {
	gauge := func(name, help string, value func() float64) {
		a.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	counter := func(name, help string, value func() float64) {
		a.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, value))
	}
	pool := a.db.Pool
	gauge("concord_pool_connections", "Connections to the database.", func() float64 { return float64(pool().TotalConns()) })
	gauge("concord_pool_acquired_connections", "Connections to the database that are in use.", func() float64 { return float64(pool().AcquiredConns()) })
	gauge("concord_pool_max_connections", "Connections to the database that are allowed.", func() float64 { return float64(pool().MaxConns()) })
	counter("concord_pool_waits_total", "Times that work waited for a connection to the database.", func() float64 { return float64(pool().EmptyAcquireCount()) })
	counter("concord_pool_wait_seconds_total", "Time that work waited for connections to the database.", func() float64 {
		return pool().EmptyAcquireWaitTime().Seconds()
	})
	counter("concord_pool_canceled_waits_total", "Times that work gave up waiting for a connection to the database.", func() float64 {
		return float64(pool().CanceledAcquireCount())
	})
	gauge("concord_database_up", "1 when the database answers.", func() float64 { return number(a.db.Status().Up) })
	gauge("concord_standby", "1 while other Concords write the homes and this one waits for their end.", func() float64 { return number(a.standsBy()) })
	gauge("concord_spool_up", "1 when the spool can be reached.", func() float64 { return number(a.bus.Status().Up) })
	gauge("concord_spool_messages", "Messages in the spool that wait to be written.", func() float64 { return float64(a.health.depth().Messages) })
	gauge("concord_spool_bytes", "Size of the messages in the spool.", func() float64 { return float64(a.health.depth().Bytes) })
	gauge("concord_spool_max_bytes", "Size that the messages in the spool may reach.", func() float64 { return float64(a.health.depth().MaxBytes) })
	gauge("concord_spool_full_ratio", "Part of the spool that is used, that the disk does not have, or of SPOOL_MAX_AGE that its oldest change has waited; at 1 it takes no changes.", func() float64 { return a.health.depth().Full() })
	gauge("concord_spool_age_seconds", "Age of the oldest message in the spool; written messages are removed within some seconds.", func() float64 {
		if oldest := a.health.depth().Oldest; !oldest.IsZero() {
			return max(time.Since(oldest).Seconds(), 0)
		}
		return 0
	})
	a.registry.MustRegister(newConflictCollector(a.ledger), newHomeCollector(a.live, a.lastHeard), newEntityCollector(a.live, a.config.MetricsEntities), a.server)
}

// lastHeard is when a home last said something, heartbeats included.
func (a *App) lastHeard(home int64) time.Time {
	h, err := a.home(home)
	if err != nil {
		return time.Time{}
	}
	return h.current().LastMessage()
}

func number(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// conflictCollector shows what health says.
type conflictCollector struct {
	ledger       concord.Ledger
	health, rate *prometheus.Desc
}

func newConflictCollector(l concord.Ledger) *conflictCollector {
	return &conflictCollector{
		ledger: l,
		health: prometheus.NewDesc("concord_conflict_health", "How much conflicts disturb: 0 healthy, 1 degraded, 2 unhealthy.", nil, nil),
		rate:   prometheus.NewDesc("concord_conflict_ratio", "Share of write transactions in the health window that met a conflict.", nil, nil),
	}
}

// Describe implements [prometheus.Collector].
func (c *conflictCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.health; ch <- c.rate }

var healthNumber = map[concord.ConflictStatus]float64{
	concord.ConflictsHealthy: 0, concord.ConflictsDegraded: 1, concord.ConflictsUnhealthy: 2,
}

// Collect implements [prometheus.Collector].
func (c *conflictCollector) Collect(ch chan<- prometheus.Metric) {
	h := c.ledger.Health()
	ch <- prometheus.MustNewConstMetric(c.health, prometheus.GaugeValue, healthNumber[h.Status])
	ch <- prometheus.MustNewConstMetric(c.rate, prometheus.GaugeValue, h.FailureRate)
}
