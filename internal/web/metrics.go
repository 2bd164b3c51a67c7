package web

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics are what web counts. Without a Registerer they are kept nowhere.
type metrics struct {
	requests *prometheus.CounterVec   // by route and status class
	duration *prometheus.HistogramVec // by route
	inFlight prometheus.Gauge
	errors   *prometheus.CounterVec // by code
	panics   prometheus.Counter
	signIns  *prometheus.CounterVec // by outcome
	rpc      *prometheus.CounterVec // by endpoint and outcome
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "concord_http_requests_total", Help: "Requests answered, by route and class of status.",
		}, []string{"route", "class"}),
		duration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "concord_http_request_duration_seconds", Help: "Time from a request's header to the end of its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"route"}),
		inFlight: f.NewGauge(prometheus.GaugeOpts{
			Name: "concord_http_in_flight_requests", Help: "Requests under way, WebSocket connections apart.",
		}),
		errors: f.NewCounterVec(prometheus.CounterOpts{
			Name: "concord_http_errors_total", Help: "Requests that failed, by code of the error, whatever their status.",
		}, []string{"code"}),
		panics: f.NewCounter(prometheus.CounterOpts{
			Name: "concord_http_panics_total", Help: "Handlers that panicked. Each is a defect.",
		}),
		signIns: f.NewCounterVec(prometheus.CounterOpts{
			Name: "concord_sign_ins_total", Help: "Attempts to sign in, by outcome.",
		}, []string{"outcome"}),
		rpc: f.NewCounterVec(prometheus.CounterOpts{
			Name: "concord_jsonrpc_calls_total", Help: "JSON-RPC calls, by endpoint and outcome (ok or an error's code).",
		}, []string{"endpoint", "outcome"}),
	}
}
