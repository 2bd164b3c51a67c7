// Package notify tells people of conflicts who do not watch a monitoring
// system: one message when an incident begins, one when it is over.
//
// An incident begins when the failure rate of the health window reaches a
// limit, and ends when it has fallen below half of it, so that a rate that
// swings about the limit is one incident. Which incident is open stands in the
// database: a restart tells nobody twice, and of several instances one speaks.
//
// Everything happens on goroutines of this package. Nothing that Concord does
// waits for a message, or fails because one could not be delivered.
package notify

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/concord-home/concord"
)

const (
	// quiet is the shortest time from the end of an incident to the next message.
	quiet        = 10 * time.Minute
	storeTimeout = 10 * time.Second
	kindConflict = "conflicts"
	// grace is what messages under way get when Concord stops.
	grace = 3 * time.Second
)

// Options of a [Notifier]. URLs, Health and Incidents are required.
type Options struct {
	// URLs name whom to tell. An http or https address is a webhook that takes
	// Slack's messages; everything else is a service of the library shoutrrr, such
	// as telegram://token@telegram?chats=…, smtp://…, ntfy://ntfy.sh/topic or
	// generic+https://…. They hold secrets.
	URLs      []string
	Health    func() concord.ConflictHealth
	Incidents concord.IncidentStore
	// At is the failure rate from which an incident begins; 0 means 0.10.
	At float64
	// Minimum is the number of transactions in the window below which there is no
	// incident; 0 means 20.
	Minimum int64
	// Server is the name of this machine, for the messages; may be empty.
	Server string
	// Every is the time between two looks; 0 means 10 s.
	Every time.Duration
	// Quiet is the shortest time from an incident's end to the next one; 0 means 10
	// minutes, below 0 none.
	Quiet      time.Duration
	Registerer prometheus.Registerer
	Logger     *slog.Logger
}

// Notifier watches health and tells people. Run it.
type Notifier struct {
	Options
	targets []target
	sent    *prometheus.CounterVec
	sending sync.WaitGroup
	life    context.Context // of messages under way
	end     context.CancelFunc
	ended   time.Time // of the last incident
	failed  bool      // the store failed last time, and that was logged
}

// New checks the addresses. The error names the one that is wrong by its
// number, and holds no secret.
func New(o Options) (*Notifier, error) {
	o.At, o.Minimum, o.Every = cmp.Or(o.At, 0.10), cmp.Or(o.Minimum, 20), cmp.Or(o.Every, 10*time.Second)
	if o.Quiet = cmp.Or(o.Quiet, quiet); o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	n := &Notifier{Options: o, sent: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "concord_notifications_total", Help: "Messages to people, by service and whether they were delivered.",
	}, []string{"service", "outcome"})}
	n.life, n.end = context.WithCancel(context.Background())
	for i, address := range o.URLs {
		t, err := newTarget(address)
		if err != nil {
			return nil, fmt.Errorf("address %d: %w", i+1, err)
		}
		n.targets = append(n.targets, t)
		n.sent.WithLabelValues(t.service(), "delivered")
		n.sent.WithLabelValues(t.service(), "failed")
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(n.sent)
	}
	return n, nil
}

// Run looks at health until ctx ends, and gives the messages under way some
// seconds. It may be called once.
func (n *Notifier) Run(ctx context.Context) {
	defer func() {
		stop := time.AfterFunc(grace, n.end)
		n.sending.Wait()
		stop.Stop()
		n.end()
	}()
	tick := time.NewTicker(n.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			n.Look(ctx)
		}
	}
}

// Look decides once whether an incident begins or ends. It does not wait for
// messages to be delivered.
func (n *Notifier) Look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	err := n.look(ctx, n.Health())
	if err != nil && !n.failed {
		n.Logger.Warn("nobody is told of incidents for now", "error", err)
	}
	n.failed = err != nil
}

func (n *Notifier) look(ctx context.Context, h concord.ConflictHealth) error {
	switch enough := h.Transactions >= n.Minimum; {
	case enough && h.FailureRate >= n.At && time.Since(n.ended) >= n.Quiet:
		opened, err := n.Incidents.OpenIncident(ctx, kindConflict)
		if err == nil && opened {
			n.tell(begun(h, n.Server))
		}
		return err
	case !enough || h.FailureRate < n.At/2:
		closed, since, err := n.Incidents.CloseIncident(ctx, kindConflict)
		if err == nil && closed {
			n.ended = time.Now()
			n.tell(over(h, since, n.Server))
		}
		return err
	}
	return nil
}

// tell sends to every target on goroutines of their own.
func (n *Notifier) tell(m message) {
	for _, t := range n.targets {
		n.sending.Go(func() {
			err := deliver(n.life, t, m)
			outcome := "delivered"
			if err != nil {
				outcome = "failed"
				n.Logger.Error("a message could not be delivered", "service", t.service(), "title", m.title, "error", err)
			}
			n.sent.WithLabelValues(t.service(), outcome).Inc()
		})
	}
}
