// Package ledger counts how write transactions fared, by the minute, for people
// without a monitoring system: health, the status page and messages answer from
// it.
//
// Counting takes a lock for some nanoseconds and never waits for the database.
// A goroutine adds what is new to the database every few seconds; a process that
// is killed loses what it counted since, at most [saveEvery]. While the database
// is away the counts wait in memory. Other instances' minutes, and those from
// before a restart, are read back.
//
// The ledger's own transactions are not in it: it would never rest.
package ledger

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"sync"
	"time"

	"github.com/concord-home/concord"
)

const (
	saveEvery   = 5 * time.Second
	readEvery   = 30 * time.Second
	pruneEvery  = time.Hour
	saveTimeout = 10 * time.Second
	// reach is how far back memory holds minutes; the database keeps them for keep.
	reach = 24 * time.Hour
	keep  = 8 * 24 * time.Hour
	// overlap is how long after its end a minute of another instance may still grow.
	overlap = 2 * time.Minute
)

// Options of a [Ledger]; Store is required.
type Options struct {
	Store concord.LedgerStore
	// Window is what health looks at; 0 means an hour, and a day is the most.
	Window time.Duration
	// Degraded and Unhealthy are the failure rates above which health is no longer
	// better; 0 means 0.05 and 0.20.
	Degraded, Unhealthy float64
	// Minimum is the number of transactions in the window below which health is
	// always healthy; 0 means 20.
	Minimum int64
	Logger  *slog.Logger
	Now     func() time.Time // nil means time.Now
}

// Ledger implements [concord.Ledger]. Run it.
type Ledger struct {
	Options
	instance string

	mu      sync.Mutex
	own     counts    // of this process
	unsaved counts    // of own, what the database does not have
	others  counts    // of other processes, as last read
	latest  time.Time // latest minute in others
	failed  bool      // the last save failed, and that was logged
}

type key struct {
	minute   int64 // Unix seconds
	endpoint string
}

type counts map[key]concord.LedgerMinute

func (c counts) add(m concord.LedgerMinute) {
	k := key{m.Minute.Unix(), m.Endpoint}
	sum := c[k]
	sum.Minute, sum.Endpoint = m.Minute, m.Endpoint
	sum.Add(m)
	c[k] = sum
}

func (c counts) forgetBefore(t time.Time) {
	for k := range c {
		if k.minute < t.Unix() {
			delete(c, k)
		}
	}
}

// New returns an empty ledger.
func New(o Options) *Ledger {
	o.Window = min(cmp.Or(o.Window, time.Hour), reach)
	o.Degraded, o.Unhealthy, o.Minimum = cmp.Or(o.Degraded, 0.05), cmp.Or(o.Unhealthy, 0.20), cmp.Or(o.Minimum, 20)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	id := make([]byte, 8)
	rand.Read(id) // never fails
	return &Ledger{Options: o, instance: hex.EncodeToString(id), own: counts{}, unsaved: counts{}, others: counts{}}
}

// Failure counts an attempt that a conflict ended.
func (l *Ledger) Failure(endpoint string, deadlock bool) {
	m := concord.LedgerMinute{Endpoint: endpoint, Failures: 1, LastFailure: l.Now()}
	if deadlock {
		m.Deadlocks = 1
	}
	l.count(m)
}

// Transaction counts a transaction that ended: one with Transactions 1.
func (l *Ledger) Transaction(m concord.LedgerMinute) { l.count(m) }

func (l *Ledger) count(m concord.LedgerMinute) {
	m.Minute = l.Now().UTC().Truncate(time.Minute)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.own.add(m)
	l.unsaved.add(m)
}

// Minutes implements [concord.Ledger].
func (l *Ledger) Minutes(since time.Time) []concord.LedgerMinute {
	from := since.Truncate(time.Minute).Unix()
	sum := counts{}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range []counts{l.own, l.others} {
		for k, m := range c {
			if k.minute >= from {
				sum.add(m)
			}
		}
	}
	list := make([]concord.LedgerMinute, 0, len(sum))
	for _, m := range sum {
		list = append(list, m)
	}
	return list
}

// Health implements [concord.Ledger].
func (l *Ledger) Health() concord.ConflictHealth {
	h := concord.ConflictHealth{Window: l.Window}
	byEndpoint := map[string]int64{}
	for _, m := range l.Minutes(l.Now().Add(-l.Window)) {
		h.Add(m)
		byEndpoint[m.Endpoint] += m.Conflicted
		if n := byEndpoint[m.Endpoint]; n > byEndpoint[h.WorstEndpoint] || h.WorstEndpoint == "" && n > 0 {
			h.WorstEndpoint = m.Endpoint
		}
	}
	if h.Transactions > 0 {
		h.FailureRate = float64(h.Conflicted) / float64(h.Transactions)
	}
	if h.Conflicted > 0 {
		h.AverageRetries = float64(h.Retries) / float64(h.Conflicted)
	}
	h.Status = l.judge(h.FailureRate, h.Transactions)
	return h
}

func (l *Ledger) judge(rate float64, transactions int64) concord.ConflictStatus {
	switch {
	case transactions < l.Minimum || rate <= l.Degraded:
		return concord.ConflictsHealthy
	case rate <= l.Unhealthy:
		return concord.ConflictsDegraded
	}
	return concord.ConflictsUnhealthy
}

var _ concord.Ledger = (*Ledger)(nil)
