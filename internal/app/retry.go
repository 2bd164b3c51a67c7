package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/ledger"
	"github.com/concord-home/concord/pgretry"
)

// endpoints are the names of write transactions, and the values of the label
// endpoint: the add-on's handlers that write, then Concord's own work. Any other
// name counts as other.
var endpoints = []string{
	"get_areas", "background_sync", "state_changed", "sessions", "users", "homes", "history", "settings", ownWrites, otherEndpoint,
}

const (
	ownWrites     = "ledger" // what Concord notes about itself
	otherEndpoint = "other"
)

// outcomes are how a write transaction ends.
const (
	outcomeCommitted = "committed"
	outcomeRetried   = "retried" // committed, not at the first attempt
	outcomeSplit     = "split"   // given up after a few attempts; its halves go on
	outcomeLost      = "lost"    // conflicts outlived every attempt
	outcomeUnknown   = "unknown" // the answer to COMMIT was lost and nothing tells
	outcomeFailed    = "failed"  // for a reason that is no conflict
)

var outcomes = []string{outcomeCommitted, outcomeRetried, outcomeSplit, outcomeLost, outcomeUnknown, outcomeFailed}

// lastAttempt is the label of all attempts from the tenth on.
const lastAttempt = "9+"

// retryObserver turns what pgretry reports into the metrics and log lines that
// existing rules and log watchers know, and into the ledger.
type retryObserver struct {
	log      *slog.Logger
	ledger   *ledger.Ledger
	attempts int
	known    map[string]bool
	failures *prometheus.CounterVec
	duration *prometheus.HistogramVec
	outcomes *prometheus.CounterVec
	tries    *prometheus.HistogramVec
	errors   *prometheus.CounterVec
	queued   *prometheus.HistogramVec
	notices  *prometheus.CounterVec
}

func newRetryObserver(r prometheus.Registerer, log *slog.Logger, attempts int) *retryObserver {
	seconds := []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 5, 10, 30, 60}
	o := &retryObserver{
		log: log, attempts: attempts, known: map[string]bool{},
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "odoo_ha_serialization_failures_total",
			Help: "Attempts that PostgreSQL ended with a serialization failure or a deadlock; attempt counts from 0, 9+ from the tenth on.",
		}, []string{"endpoint", "attempt"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "odoo_ha_retry_duration_seconds", Help: "Time of a write transaction, all attempts and waits together.", Buckets: seconds,
		}, []string{"endpoint"}),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "concord_transactions_total", Help: "Write transactions, by how they ended.",
		}, []string{"endpoint", "outcome"}),
		tries: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "concord_transaction_attempts", Help: "Attempts that write transactions took.", Buckets: []float64{1, 2, 3, 5, 8, 13, 21},
		}, []string{"endpoint"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "concord_sql_errors_total", Help: "Attempts that an error ended, by SQLSTATE; rare codes by class, none when the server sent no code.",
		}, []string{"sqlstate"}),
		queued: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "concord_transaction_queue_seconds", Help: "Time that write transactions waited for others that want the same rows.", Buckets: seconds,
		}, []string{"endpoint"}),
		notices: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "concord_transaction_notices_total", Help: "Changes in how conflicting transactions run, by kind.",
		}, []string{"kind"}),
	}
	r.MustRegister(o.failures, o.duration, o.outcomes, o.tries, o.errors, o.queued, o.notices)
	o.begin()
	return o
}

// ObserveRetries returns what counts and logs the transactions of a running
// Concord, for benchmarks that ask what that costs.
func ObserveRetries(r prometheus.Registerer, log *slog.Logger, attempts int, l *ledger.Ledger) pgretry.Observer {
	o := newRetryObserver(r, log, attempts)
	o.ledger = l
	return o
}

// begin makes the series that rules ask for: a counter whose first value is 1
// has no increase.
func (o *retryObserver) begin() {
	for _, endpoint := range endpoints {
		o.known[endpoint] = true
		o.duration.WithLabelValues(endpoint)
		o.tries.WithLabelValues(endpoint)
		o.queued.WithLabelValues(endpoint)
		for _, outcome := range outcomes {
			o.outcomes.WithLabelValues(endpoint, outcome)
		}
		for i := range 9 {
			o.failures.WithLabelValues(endpoint, strconv.Itoa(i))
		}
		o.failures.WithLabelValues(endpoint, lastAttempt)
	}
	for state := range namedStates {
		o.errors.WithLabelValues(state)
	}
	for kind := range noticeKinds {
		o.notices.WithLabelValues(noticeKinds[kind])
	}
}

// endpoint keeps the label's values to the list.
func (o *retryObserver) endpoint(name string) string {
	if o.known[name] {
		return name
	}
	return otherEndpoint
}

func isConflict(sqlstate string) bool { return sqlstate == "40001" || sqlstate == "40P01" }

// AttemptFailed implements [pgretry.Observer].
func (o *retryObserver) AttemptFailed(ctx context.Context, a pgretry.Attempt) {
	o.errors.WithLabelValues(stateLabel(a.SQLSTATE)).Inc()
	if !isConflict(a.SQLSTATE) {
		return
	}
	endpoint := o.endpoint(a.Name)
	attempt := strconv.Itoa(a.Number - 1)
	if a.Number >= 10 {
		attempt = lastAttempt
	}
	o.failures.WithLabelValues(endpoint, attempt).Inc()
	if endpoint != ownWrites && o.ledger != nil {
		o.ledger.Failure(endpoint, a.SQLSTATE == "40P01")
	}
	message := "Serialization conflict"
	if endpoint == "get_areas" || endpoint == "background_sync" {
		message += " on entity sync"
	}
	o.log.WarnContext(ctx, fmt.Sprintf("%s (attempt %d/%d)", message, a.Number, o.attempts),
		"endpoint", endpoint, "sqlstate", a.SQLSTATE, "wait", a.Wait, "error", a.Err)
}

// Finished implements [pgretry.Observer].
func (o *retryObserver) Finished(ctx context.Context, out pgretry.Outcome) {
	endpoint, outcome := o.endpoint(out.Name), o.outcome(out)
	o.duration.WithLabelValues(endpoint).Observe(out.Elapsed.Seconds())
	o.tries.WithLabelValues(endpoint).Observe(float64(out.Attempts))
	o.outcomes.WithLabelValues(endpoint, outcome).Inc()
	if out.Queued > 0 {
		o.queued.WithLabelValues(endpoint).Observe(out.Queued.Seconds())
	}
	if endpoint != ownWrites && o.ledger != nil {
		o.ledger.Transaction(entry(endpoint, outcome, out))
	}
	if failed, ok := errors.AsType[*pgretry.Error](out.Err); ok && outcome == outcomeLost {
		o.log.ErrorContext(ctx, fmt.Sprintf("Failed after %d attempts due to serialization conflicts: SerializationFailure: %v /odoo_ha_addon/%s",
			failed.Attempts, failed.Err, route(endpoint)), "endpoint", endpoint, "sqlstate", failed.SQLSTATE, "elapsed", failed.Elapsed)
	}
}

// Noticed implements [pgretry.Noticer].
func (o *retryObserver) Noticed(ctx context.Context, n pgretry.Notice) {
	kind, known := noticeKinds[n.Kind]
	if !known {
		kind = "other"
	}
	o.notices.WithLabelValues(kind).Inc()
	attrs := []any{"endpoint", o.endpoint(n.Name), "key", n.Key}
	for _, b := range n.Blockers {
		attrs = append(attrs, "blocker", b.String())
	}
	if kind == "blocked" {
		o.log.WarnContext(ctx, "a transaction waits for another", attrs...)
		return
	}
	o.log.DebugContext(ctx, "conflicting transactions run differently now: "+string(n.Kind), attrs...)
}

var noticeKinds = map[pgretry.NoticeKind]string{
	pgretry.NoticeQueued: "queued", pgretry.NoticeLocked: "locked", pgretry.NoticeBlocked: "blocked", pgretry.NoticePooled: "pooled",
}

// entry is what the ledger keeps of a transaction.
func entry(endpoint, outcome string, out pgretry.Outcome) concord.LedgerMinute {
	m := concord.LedgerMinute{Endpoint: endpoint, Transactions: 1, Seconds: out.Elapsed.Seconds(), Slowest: out.Elapsed.Seconds()}
	if !isConflict(out.Failed.SQLSTATE) {
		return m
	}
	m.Conflicted, m.Retries = 1, int64(max(out.Attempts-1, 0))
	switch outcome {
	case outcomeRetried:
		m.Retried = 1
	case outcomeLost:
		m.Lost = 1
	}
	return m
}

func (o *retryObserver) outcome(out pgretry.Outcome) string {
	failed, ok := errors.AsType[*pgretry.Error](out.Err)
	switch {
	case out.Err == nil && out.Attempts > 1:
		return outcomeRetried
	case out.Err == nil:
		return outcomeCommitted
	case errors.Is(out.Err, pgretry.ErrCommitUnknown):
		return outcomeUnknown
	case ok && isConflict(failed.SQLSTATE) && o.splits(out):
		return outcomeSplit
	case ok && isConflict(failed.SQLSTATE):
		return outcomeLost
	}
	return outcomeFailed
}

// splits tells a batch that was given fewer attempts than a transaction has:
// the store goes on with its halves, so nothing is lost.
func (o *retryObserver) splits(out pgretry.Outcome) bool {
	return errors.Is(out.Err, pgretry.ErrExhausted) && out.Attempts < o.attempts && out.Elapsed < pgretry.DefaultMaxElapsed/2
}

// namedStates are the SQLSTATEs that have a series of their own.
var namedStates = map[string]bool{
	"40001": true, "40P01": true, "25P02": true, "23505": true, "23503": true, "23514": true, "23P01": true, "22021": true, "22P05": true,
	"25006": true, "53100": true, "53200": true, "53300": true, "55P03": true, "57014": true, "57P01": true, "57P03": true, "none": true,
}

// classes are those of PostgreSQL's manual, appendix A.
var classes = map[string]bool{
	"03": true, "08": true, "09": true, "0A": true, "0B": true, "0F": true, "0L": true, "0P": true, "0Z": true, "20": true, "21": true,
	"22": true, "23": true, "24": true, "25": true, "26": true, "27": true, "28": true, "2B": true, "2D": true, "2F": true, "34": true,
	"38": true, "39": true, "3B": true, "3D": true, "3F": true, "40": true, "42": true, "44": true, "53": true, "54": true, "55": true,
	"57": true, "58": true, "72": true, "F0": true, "HV": true, "P0": true, "XX": true,
}

// stateLabel keeps the label sqlstate to a fixed set, whatever a server sends.
func stateLabel(sqlstate string) string {
	switch {
	case sqlstate == "":
		return "none"
	case namedStates[sqlstate]:
		return sqlstate
	case len(sqlstate) == 5 && classes[sqlstate[:2]]:
		return sqlstate[:2] + "xxx"
	}
	return "other"
}

// route is the add-on's route that an endpoint label stands for.
func route(endpoint string) string {
	if endpoint == "get_areas" {
		return "areas"
	}
	return endpoint
}

var (
	_ pgretry.Observer = (*retryObserver)(nil)
	_ pgretry.Noticer  = (*retryObserver)(nil)
)
