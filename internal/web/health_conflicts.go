package web

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/hass/server"
	"github.com/concord-home/concord/internal/web/hub"
)

var errNoLedger = concord.Errorf(concord.CodeUnavailable, "This server does not count conflicts")

type conflictMetrics struct {
	Failures       int64   `json:"serialization_failures"`
	FailureRate    float64 `json:"failure_rate"`
	AverageRetries float64 `json:"avg_retries"`
	LastFailure    any     `json:"last_failure"`
	Lost           int64   `json:"lost"`
}

type conflictHealth struct {
	Status  concord.ConflictStatus `json:"status"`
	Metrics conflictMetrics        `json:"metrics"`
}

func conflictHealthOf(h concord.ConflictHealth) conflictHealth {
	return conflictHealth{h.Status, conflictMetrics{
		h.Failures, h.FailureRate, h.AverageRetries, odooTime(h.LastFailure, time.RFC3339), h.Lost,
	}}
}

// serialization tells how much conflicts disturb: everything to whoever has a
// session, the status to all.
func (s *Server) serialization(w http.ResponseWriter, r *http.Request) error {
	if s.Ledger == nil {
		return errNoLedger
	}
	h := conflictHealthOf(s.Ledger.Health())
	if _, err := s.identify(r); err != nil {
		return writeJSON(w, http.StatusOK, map[string]any{"status": h.Status})
	}
	return writeJSON(w, http.StatusOK, h)
}

// serializationRPC is serialization in the envelope.
func (s *Server) serializationRPC(context.Context, *rpcCall) (any, error) {
	if s.Ledger == nil {
		return nil, errNoLedger
	}
	return conflictHealthOf(s.Ledger.Health()), nil
}

// healthSpan and healthStep shape the curve of the status page.
const (
	healthSpan = 24 * time.Hour
	healthStep = 10 * time.Minute
)

type healthPoint struct {
	At           int64 `json:"at"` // Unix ms of its beginning
	Transactions int64 `json:"transactions"`
	Conflicted   int64 `json:"conflicted"`
	Failures     int64 `json:"failures"`
	Lost         int64 `json:"lost"`
}

type healthEndpoint struct {
	Name         string  `json:"name"`
	Transactions int64   `json:"transactions"`
	Conflicted   int64   `json:"conflicted"`
	Retries      int64   `json:"retries"`
	Lost         int64   `json:"lost"`
	MeanMS       float64 `json:"mean_ms"`
	SlowestMS    float64 `json:"slowest_ms"`
}

type healthNow struct {
	Status         concord.ConflictStatus `json:"status"`
	WindowMS       int64                  `json:"window_ms"`
	Transactions   int64                  `json:"transactions"`
	Conflicted     int64                  `json:"conflicted"`
	Retried        int64                  `json:"retried"`
	Lost           int64                  `json:"lost"`
	Retries        int64                  `json:"retries"`
	Failures       int64                  `json:"failures"`
	FailureRate    float64                `json:"failure_rate"`
	AverageRetries float64                `json:"avg_retries"`
	LastFailure    int64                  `json:"last_failure,omitempty"` // Unix ms
	Worst          string                 `json:"worst_endpoint,omitempty"`
}

type healthHome struct {
	ID          int64             `json:"id"`
	Name        string            `json:"name"`
	Link        concord.LinkState `json:"link"`
	Since       int64             `json:"since"`
	LastMessage int64             `json:"last_message"`
	LastSync    int64             `json:"last_sync"`
	Version     string            `json:"ha_version"`
	Entities    int               `json:"entities"`
	Error       any               `json:"error"`
}

// healthServer is what the database's server keeps for people to look at.
type healthServer struct {
	Version     string `json:"version"`
	Gaps        int64  `json:"gaps"`
	Asking      int64  `json:"asking"`
	Filled      int64  `json:"filled"`
	Quarantined int64  `json:"quarantined"`
}

// wsHealth has all that the status page shows of the last 24 hours: how writes
// fared now and over the day, the slowest endpoints, and the parts. "server" is
// null while the database does not answer.
func (s *Server) wsHealth(_ context.Context, _ *screen, _ server.Request) (any, error) {
	if s.Ledger == nil {
		return nil, errNoLedger
	}
	spool := partOf(s.spool())
	var pending int64
	if s.Health != nil {
		pending = s.Health.SpoolPending()
	}
	spool.Pending = &pending
	now := time.Now()
	minutes := s.Ledger.Minutes(now.Add(-healthSpan))
	return map[string]any{
		"now": healthNowOf(s.Ledger.Health()), "step_ms": healthStep.Milliseconds(), "day": healthDay(minutes, now), "endpoints": slowest(minutes),
		"database": partOf(s.database()), "spool": spool, "homes": s.healthHomes(), "version": s.Version, "server": s.healthServer(),
	}, nil
}

func (s *Server) healthServer() *healthServer {
	if s.Health == nil {
		return nil
	}
	stats := s.Health.Server()
	if stats == nil {
		return nil
	}
	return &healthServer{Version: stats.Version, Gaps: stats.Gaps, Asking: stats.Asking, Filled: stats.Filled, Quarantined: stats.Quarantined}
}

func healthNowOf(h concord.ConflictHealth) healthNow {
	n := healthNow{
		Status: h.Status, WindowMS: h.Window.Milliseconds(), Transactions: h.Transactions, Conflicted: h.Conflicted, Retried: h.Retried,
		Lost: h.Lost, Retries: h.Retries, Failures: h.Failures, FailureRate: h.FailureRate, AverageRetries: h.AverageRetries, Worst: h.WorstEndpoint,
	}
	if !h.LastFailure.IsZero() {
		n.LastFailure = hub.Millis(h.LastFailure)
	}
	return n
}

// healthDay sums minutes up to points without holes, oldest first.
func healthDay(minutes []concord.LedgerMinute, now time.Time) []healthPoint {
	first := now.Add(-healthSpan).Truncate(healthStep)
	points := make([]healthPoint, healthSpan/healthStep+1)
	for i := range points {
		points[i].At = first.Add(time.Duration(i) * healthStep).UnixMilli()
	}
	for _, m := range minutes {
		i := int(m.Minute.Sub(first) / healthStep)
		if i < 0 || i >= len(points) { // the clock was set
			continue
		}
		points[i].Transactions += m.Transactions
		points[i].Conflicted += m.Conflicted
		points[i].Failures += m.Failures
		points[i].Lost += m.Lost
	}
	return points
}

// slowest sums minutes up by endpoint, the slowest mean first.
func slowest(minutes []concord.LedgerMinute) []healthEndpoint {
	sums := map[string]concord.LedgerMinute{}
	for _, m := range minutes {
		sum := sums[m.Endpoint]
		sum.Add(m)
		sums[m.Endpoint] = sum
	}
	list := []healthEndpoint{}
	for name, m := range sums {
		list = append(list, healthEndpoint{
			Name: name, Transactions: m.Transactions, Conflicted: m.Conflicted, Retries: m.Retries, Lost: m.Lost,
			MeanMS: 1000 * m.Seconds / float64(max(m.Transactions, 1)), SlowestMS: 1000 * m.Slowest,
		})
	}
	slices.SortFunc(list, func(a, b healthEndpoint) int {
		return cmp.Or(cmp.Compare(b.MeanMS, a.MeanMS), cmp.Compare(a.Name, b.Name))
	})
	return list
}

func (s *Server) healthHomes() []healthHome {
	list := []healthHome{}
	for _, h := range s.Live.Homes() {
		list = append(list, healthHome{
			ID: h.ID, Name: h.Name, Link: h.Link, Since: hub.Millis(h.Since), LastMessage: hub.Millis(h.LastMessage),
			LastSync: hub.Millis(h.LastSync), Version: h.Version, Entities: h.Entities, Error: orNull(h.Error),
		})
	}
	return list
}
