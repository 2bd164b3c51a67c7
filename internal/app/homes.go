package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/hass/simhome"
	"github.com/concord-home/concord/internal/ingest"
	"github.com/concord-home/concord/internal/link"
)

// openHomes makes the link and the writer of each home, and takes the lease of
// those that no other Concord writes.
func (a *App) openHomes(ctx context.Context) error {
	dial, key, name, token := a.config.HAURL, a.config.HAURL, "Home", a.config.HAToken
	if dial == "" {
		sim, err := a.startSimulatedHome()
		if err != nil {
			return err
		}
		dial, key, name, token = sim.url, simulatedURL, "Simulated home", sim.token
	}
	home, err := a.db.EnsureHome(ctx, name, key)
	if err != nil {
		return fmt.Errorf("store the home: %w", err)
	}
	home.URL = dial
	a.live.SetHome(home, token != "")
	runner := a.newRunner(home, token)
	if runner.owner, err = runner.open(); err != nil {
		return fmt.Errorf("HA_URL: %w", err)
	}
	if err := runner.tryLead(ctx); err != nil {
		return err
	}
	a.onClose(func() error { runner.release(); return nil })
	a.homes[home.ID] = runner
	return nil
}

func (a *App) newRunner(home concord.Home, token string) *homeRunner {
	linkMetrics, ingestMetrics := link.NewMetrics(a.registry), ingest.NewMetrics(a.registry)
	h := &homeRunner{
		id: home.ID, log: a.log.With("home", home.ID), again: make(chan struct{}, 1), db: a.db, bus: a.bus, live: a.live,
		open: func() (*link.Owner, error) {
			return link.New(link.Options{
				Home: home, Token: token, Feed: a.live, Spool: a.bus, Period: a.config.ReconcilePeriod, Logger: a.log, Metrics: linkMetrics, Tracer: a.traces.tracer,
			})
		},
		writer: ingest.New(ingest.Options{
			Home: home.ID, Store: a.db, Spool: a.bus, Syncs: a.syncs, Logger: a.log, Metrics: ingestMetrics, Tracer: a.traces.tracer,
			OnLost: func(id int64) { _ = a.Reconnect(context.Background(), id) }, // it is there
			OnSync: func(id int64, at time.Time) {
				a.live.UpdateStatus(id, func(s *concord.HomeStatus) { s.LastSync = at })
			},
		}),
		past: ingest.NewBackfiller(ingest.BackfillOptions{
			Home: home.ID, Store: a.db, Link: a, Logger: a.log, Metrics: ingestMetrics,
			Patience: a.config.BackfillPatience, Reach: time.Duration(a.config.BackfillDays) * 24 * time.Hour,
		}),
	}
	h.rounds = &rounds{run: func(ctx context.Context) ([]concord.StageCounts, error) {
		seq, err := h.current().Snapshot(ctx, "get_areas")
		if err != nil {
			return nil, err
		}
		return a.syncs.Wait(ctx, home.ID, seq)
	}}
	return h
}

type simulated struct{ url, token string }

// startSimulatedHome serves a simulated home on a loopback port of its own, so
// that all of Concord, the client included, works as with a real one.
func (a *App) startSimulatedHome() (simulated, error) {
	home, err := simhome.New(simhome.Options{Rate: a.config.SimulatedRate, Entities: a.config.SimulatedEntites, Logger: a.log})
	if err != nil {
		return simulated{}, fmt.Errorf("simulated home: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return simulated{}, fmt.Errorf("simulated home: %w", err)
	}
	server := &http.Server{Handler: home, ReadHeaderTimeout: 10 * time.Second}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { home.Run(ctx) })          //nolint:errcheck // it returns ctx's error
	wg.Go(func() { server.Serve(listener) }) //nolint:errcheck // it returns when closed
	a.onClose(func() error {
		cancel()
		home.Close()
		err := server.Close()
		wg.Wait()
		return err
	})
	return simulated{url: "ws://" + listener.Addr().String() + "/api/websocket", token: home.Token()}, nil
}

func (a *App) home(id int64) (*homeRunner, error) {
	if h := a.homes[id]; h != nil {
		return h, nil
	}
	return nil, concord.Errorf(concord.CodeNotFound, "Home %d not found", id)
}

// CallService implements [concord.Link].
func (a *App) CallService(ctx context.Context, home int64, call concord.ServiceCall) (json.RawMessage, error) {
	h, err := a.home(home)
	if err != nil {
		return nil, err
	}
	return h.current().CallService(ctx, call)
}

// Command implements [concord.Link].
func (a *App) Command(ctx context.Context, home int64, command json.RawMessage) (json.RawMessage, error) {
	h, err := a.home(home)
	if err != nil {
		return nil, err
	}
	return h.current().Command(ctx, command)
}

// Reconnect implements [concord.Reconnector].
func (a *App) Reconnect(_ context.Context, home int64) error {
	h, err := a.home(home)
	if err != nil {
		return err
	}
	select {
	case h.again <- struct{}{}:
	default: // one is on its way
	}
	return nil
}

// Reconcile implements [concord.Reconciler].
func (a *App) Reconcile(ctx context.Context, home int64) ([]concord.StageCounts, error) {
	h, err := a.home(home)
	if err != nil {
		return nil, err
	}
	if !a.db.Status().Up {
		return nil, concord.Errorf(concord.CodeUnavailable, "The database is not available")
	}
	if h.standsBy() {
		return nil, concord.Errorf(concord.CodeUnavailable, "Another Concord writes this home")
	}
	counts, err := h.rounds.join(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return counts, &concord.Error{Code: concord.CodeTimeout, Message: "The reconciliation takes too long and goes on", Err: err}
	}
	return counts, err
}
