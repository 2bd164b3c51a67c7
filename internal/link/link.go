// Package link owns the connection to a home.
//
// One Owner holds one home's only connection, however many screens watch. What
// the home says goes two ways at once: into the live model, on the goroutine
// that reads the connection, and into the spool, through a queue of its own.
// Neither waits for the other, and neither waits for the database.
//
// Order: everything in the spool carries the epoch of its connection and its
// place in that connection's stream. The queue keeps the order of the stream;
// a snapshot taken with get_states has the place of the home's answer, so it
// never overwrites an event that came later.
//
// Back-pressure: the live model is updated at once. While the spool does not
// take messages the queue grows, to maxQueued records; beyond that it is
// dropped, counted, and made good for the rows by a new snapshot.
package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/hass"
	"github.com/concord-home/concord/internal/spans"
)

const (
	defaultPeriod  = 5 * time.Minute
	commandTimeout = 10 * time.Second
	fetchTimeout   = 60 * time.Second
	fetchAgain     = 5 * time.Second
	registryQuiet  = 250 * time.Millisecond // registry events come in bursts
)

// Feed takes what the owner hears; *live.Model is one.
type Feed interface {
	Apply(home int64, changes []concord.Change)
	Replace(home int64, states []*concord.State)
	SetRegistry(home int64, r *concord.Registry)
	UpdateStatus(home int64, change func(*concord.HomeStatus))
}

// Options of an [Owner]. Home, Token, Feed and Spool are required.
type Options struct {
	Home    concord.Home
	Token   string
	Feed    Feed
	Spool   concord.Spool
	Period  time.Duration // between reconciliations that nothing else asked for; 0 means 5 minutes
	Logger  *slog.Logger
	Metrics *Metrics // nil counts nothing
	Tracer  *spans.Tracer
}

// Owner holds the connection to one home. Run it; its other methods are safe
// for concurrent use while it runs.
type Owner struct {
	home    concord.Home
	feed    Feed
	log     *slog.Logger
	metrics *Metrics
	tracer  *spans.Tracer
	period  time.Duration
	client  *hass.Client
	table   *table
	queue   *queue
	syncs   *syncRequests
	feeding sync.Mutex // held over table, feed and queue, so that these have the table's order
	renames []renaming // since the registry was read; guarded by feeding
	entries *hass.Subscription
	naming  int64 // the connection of which the first names are being read; guarded by feeding
}

// New checks the options. Nothing is dialled before Run.
func New(o Options) (*Owner, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Period == 0 {
		o.Period = defaultPeriod
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	log := o.Logger.With("home", o.Home.ID)
	owner := &Owner{
		home: o.Home, feed: o.Feed, log: log, metrics: o.Metrics, tracer: o.Tracer, period: o.Period,
		table: newTable(), syncs: newSyncRequests(),
	}
	owner.queue = newQueue(o.Home.ID, o.Spool, log, o.Metrics, o.Tracer, func() []concord.Record {
		states, _ := owner.table.all()
		return records(states)
	})
	var err error
	owner.client, err = hass.NewClient(hass.Options{
		URL: o.Home.URL, Token: o.Token, Logger: log,
		OnConnect: owner.connected, OnStatus: owner.statusChanged,
		OnSlow: func(hass.Status) { o.Metrics.slow.Inc() },
	})
	if err != nil {
		return nil, &concord.Error{Code: concord.CodeInvalid, Message: "The home's address is not usable", Err: err}
	}
	owner.client.Subscribe(hass.Command{"type": "subscribe_entities"}, owner.entitiesChanged)
	for _, event := range []string{
		hass.EventAreaRegistryUpdated, hass.EventFloorRegistryUpdated, hass.EventDeviceRegistryUpdated, hass.EventLabelRegistryUpdated,
	} {
		owner.client.Subscribe(hass.Command{"type": "subscribe_events", "event_type": event}, func(hass.Event) {
			owner.syncs.ask("registry", "background_sync", nil)
		})
	}
	owner.entries = owner.client.Subscribe(hass.Command{"type": "subscribe_events", "event_type": hass.EventEntityRegistryUpdated}, owner.entryChanged)
	return owner, nil
}

// Run holds the connection until ctx ends, or until the home rejects the
// token: then the error is [hass.ErrAuthInvalid].
func (o *Owner) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{}, 2)
	go func() { o.queue.run(ctx); done <- struct{}{} }()
	go func() { o.reconcile(ctx); done <- struct{}{} }()
	err := o.client.Run(ctx)
	cancel()
	<-done
	<-done
	o.feed.UpdateStatus(o.home.ID, func(s *concord.HomeStatus) {
		if s.Link != concord.LinkAuthFailed {
			s.Link = concord.LinkDisconnected
		}
	})
	return err
}

// connected runs before anything is subscribed to.
func (o *Owner) connected(ctx context.Context, conn *hass.Conn) error {
	o.queue.open(conn.Number())
	conn.Restore(o.entries)
	o.askNames(ctx, conn)
	o.feed.UpdateStatus(o.home.ID, func(s *concord.HomeStatus) { s.Version = conn.HAVersion() })
	return nil
}

func (o *Owner) statusChanged(status hass.Status) {
	o.feed.UpdateStatus(o.home.ID, func(s *concord.HomeStatus) {
		s.Error, s.LastMessage = status.LastError, later(s.LastMessage, status.LastMessage)
		switch status.State {
		case hass.StateAuthFailed:
			s.Link = concord.LinkAuthFailed
		case hass.StateConnected: // becomes connected with the first snapshot
			s.Error = ""
		default:
			s.Link = concord.LinkConnecting
		}
	})
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// entitiesChanged takes one event of the entities subscription. It runs on the
// goroutine that reads the connection.
func (o *Owner) entitiesChanged(e hass.Event) {
	o.feeding.Lock()
	defer o.feeding.Unlock()
	update, err := o.table.apply(e)
	if err != nil {
		o.metrics.undecodable.Inc()
		o.log.Warn("the home sent an event that cannot be read", "error", err)
		o.syncs.ask("unreadable", "background_sync", nil)
		return
	}
	o.metrics.events.Add(float64(len(update.changes)))
	if e.First {
		o.feed.Replace(o.home.ID, update.all)
		o.queue.states(e.Position.Connection, update.all)
		o.syncs.ask("connect", "background_sync", nil)
	} else {
		if len(update.late) > 0 {
			o.queue.states(e.Position.Connection, update.late)
		}
		o.passOn(e.Position.Connection, update)
	}
	for i := range update.invalid {
		o.metrics.badRecords.Inc()
		o.queue.bad(e.Position.Connection, update.invalid[i])
	}
	if update.backwards > 0 {
		o.metrics.backwards.Add(float64(update.backwards))
		o.syncs.ask("clock", "background_sync", nil)
	}
}

// passOn hands changes to the screens and to the rows. A trace begins here:
// what Concord does about a message of the home.
func (o *Owner) passOn(connection int64, u update) {
	ctx, span := o.tracer.Start(context.Background(), "home message", spans.Consumer)
	defer span.End(nil, "")
	trace := o.tracer.Parent(ctx)
	if trace != "" {
		span.SetNumber("concord.home", int(o.home.ID))
		span.SetNumber("concord.changes", len(u.changes))
		for i := range u.changes {
			u.changes[i].Trace = trace
		}
	}
	o.feed.Apply(o.home.ID, u.changes)
	o.queue.records(connection, u.records, trace)
}

// CallService has the home carry out a call: see [concord.Link].
func (o *Owner) CallService(ctx context.Context, call concord.ServiceCall) (json.RawMessage, error) {
	cmd := hass.Command{"type": "call_service", "domain": call.Domain, "service": call.Service}
	if len(call.Data) > 0 {
		cmd["service_data"] = call.Data
	}
	if len(call.Target) > 0 {
		cmd["target"] = call.Target
	}
	if call.ReturnResponse {
		cmd["return_response"] = true
	}
	return o.call(ctx, cmd)
}

// Command sends any other command: see [concord.Link].
func (o *Owner) Command(ctx context.Context, command json.RawMessage) (json.RawMessage, error) {
	var members map[string]json.RawMessage // numbers stay as they were written
	if err := json.Unmarshal(command, &members); err != nil {
		return nil, &concord.Error{Code: concord.CodeInvalid, Message: "The command is not a JSON object", Err: err}
	}
	delete(members, "id")
	cmd := make(hass.Command, len(members))
	for name, value := range members {
		cmd[name] = value
	}
	return o.call(ctx, cmd)
}

func (o *Owner) call(ctx context.Context, cmd hass.Command) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	var answer json.RawMessage
	if _, err := o.client.Call(ctx, cmd, &answer); err != nil {
		return nil, explain(err)
	}
	return answer, nil
}

// explain gives the client's errors the codes that people and programs see.
func explain(err error) error {
	refusal, refused := errors.AsType[*hass.CommandError](err)
	switch {
	case refused && refusal.Code == hass.CodeNotFound:
		return &concord.Error{Code: concord.CodeNotFound, Message: refusal.Message, Err: err}
	case refused && refusal.Code == hass.CodeUnauthorized:
		return &concord.Error{Code: concord.CodeForbidden, Message: "The home does not allow this with its token", Err: err}
	case refused:
		return &concord.Error{Code: concord.CodeInvalid, Message: refusal.Message, Err: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &concord.Error{Code: concord.CodeTimeout, Message: "The home did not answer in time", Err: err}
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("ask the home: %w", err)
	}
	return &concord.Error{Code: concord.CodeUnavailable, Message: "The home cannot be reached", Err: err}
}
