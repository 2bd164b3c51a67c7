package app

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/concord-home/concord"
)

const (
	askServerEvery = 15 * time.Second
	askServerTime  = 5 * time.Second
)

// serverStats asks the database's server about itself now and then, so that a
// scrape waits for nothing. While it does not answer there are no series.
type serverStats struct {
	find    func(context.Context) (concord.ServerStats, error)
	metrics []serverMetric

	mu    sync.Mutex
	stats *concord.ServerStats // nil when the last question had no answer
}

type serverMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*concord.ServerStats) float64
}

func newServerStats(find func(context.Context) (concord.ServerStats, error)) *serverStats {
	s := &serverStats{find: find}
	add := func(kind prometheus.ValueType, name, help string, value func(*concord.ServerStats) float64) {
		s.metrics = append(s.metrics, serverMetric{prometheus.NewDesc(name, help, nil, nil), kind, value})
	}
	gauge, counter := prometheus.GaugeValue, prometheus.CounterValue
	type stats = *concord.ServerStats
	add(gauge, "concord_server_active_connections", "Sessions on the database that run a statement.", func(s stats) float64 { return float64(s.ActiveConnections) })
	add(gauge, "concord_server_connections", "Sessions on the database.", func(s stats) float64 { return float64(s.Connections) })
	add(gauge, "concord_server_max_connections", "Sessions that the server allows.", func(s stats) float64 { return float64(s.MaxConnections) })
	add(gauge, "concord_server_idle_in_transaction", "Sessions that hold a transaction open and do nothing.", func(s stats) float64 { return float64(s.IdleInTransaction) })
	add(gauge, "concord_server_blocked_sessions", "Sessions that wait for another's lock.", func(s stats) float64 { return float64(s.Blocked) })
	add(gauge, "concord_server_longest_transaction_seconds", "Age of the oldest open transaction.", func(s stats) float64 { return s.LongestTx.Seconds() })
	add(gauge, "concord_server_prepared_transactions", "Transactions that are prepared and neither committed nor rolled back.", func(s stats) float64 { return float64(s.Prepared) })
	add(gauge, "concord_server_oldest_prepared_transaction_seconds", "Age of the oldest prepared transaction.", func(s stats) float64 { return s.OldestPrepared.Seconds() })
	add(counter, "concord_server_deadlocks_total", "Deadlocks in the database, everybody's.", func(s stats) float64 { return float64(s.Deadlocks) })
	add(counter, "concord_server_recovery_conflicts_total", "Statements that a replica canceled.", func(s stats) float64 { return float64(s.RecoveryConflicts) })
	add(counter, "concord_server_commits_total", "Transactions committed in the database, everybody's.", func(s stats) float64 { return float64(s.Commits) })
	add(counter, "concord_server_rollbacks_total", "Transactions rolled back in the database, everybody's.", func(s stats) float64 { return float64(s.Rollbacks) })
	add(counter, "concord_server_temp_files_total", "Temporary files that statements wrote.", func(s stats) float64 { return float64(s.TempFiles) })
	add(counter, "concord_server_temp_bytes_total", "Bytes that statements wrote to temporary files.", func(s stats) float64 { return float64(s.TempBytes) })
	add(gauge, "concord_server_database_bytes", "Size of the database.", func(s stats) float64 { return float64(s.DatabaseBytes) })
	add(gauge, "concord_quarantine_records", "Records that could not be written and wait for a person.", func(s stats) float64 { return float64(s.Quarantined) })
	add(gauge, "concord_gaps", "Times in the history of which nobody knows what happened.", func(s stats) float64 { return float64(s.Gaps) })
	return s
}

// run asks until ctx ends.
func (s *serverStats) run(ctx context.Context) {
	tick := time.NewTicker(askServerEvery)
	defer tick.Stop()
	for {
		s.ask(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *serverStats) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askServerTime)
	defer cancel()
	stats, err := s.find(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats = &stats
	if err != nil { // concord_database_up and the log say why
		s.stats = nil
	}
}

// latest is what the server said last, nil when it did not answer.
func (s *serverStats) latest() *concord.ServerStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Describe implements [prometheus.Collector].
func (s *serverStats) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range s.metrics {
		ch <- m.desc
	}
}

// Collect implements [prometheus.Collector].
func (s *serverStats) Collect(ch chan<- prometheus.Metric) {
	stats := s.latest()
	if stats == nil {
		return
	}
	for _, m := range s.metrics {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(stats))
	}
}
