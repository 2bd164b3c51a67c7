package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/hass"
	"github.com/concord-home/concord/hass/simhome"
	"github.com/concord-home/concord/internal/ingest"
	"github.com/concord-home/concord/internal/link"
)

// openHomes makes the link and the writer of each home.
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
	written, err := a.db.SpoolPosition(ctx, home.ID)
	if err != nil {
		return fmt.Errorf("read what is written: %w", err)
	}
	if err := a.bus.Advance(ctx, written); err != nil {
		return fmt.Errorf("NATS_URL: %w", err)
	}
	home.URL = dial
	a.live.SetHome(home, token != "")
	linkMetrics, ingestMetrics := link.NewMetrics(a.registry), ingest.NewMetrics(a.registry)
	runner := &homeRunner{
		log: a.log.With("home", home.ID), again: make(chan struct{}, 1),
		open: func() (*link.Owner, error) {
			return link.New(link.Options{
				Home: home, Token: token, Feed: a.live, Spool: a.bus, Period: a.config.ReconcilePeriod, Logger: a.log, Metrics: linkMetrics,
			})
		},
		writer: ingest.New(ingest.Options{
			Home: home.ID, Store: a.db, Spool: a.bus, Syncs: a.syncs, Logger: a.log, Metrics: ingestMetrics,
			OnSync: func(id int64, at time.Time) {
				a.live.UpdateStatus(id, func(s *concord.HomeStatus) { s.LastSync = at })
			},
		}),
	}
	runner.past = ingest.NewBackfiller(ingest.BackfillOptions{Home: home.ID, Store: a.db, Link: a, Logger: a.log, Metrics: ingestMetrics})
	if runner.owner, err = runner.open(); err != nil {
		return fmt.Errorf("HA_URL: %w", err)
	}
	a.homes[home.ID] = runner
	return nil
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

// homeRunner keeps one home's link, and makes it anew when asked.
type homeRunner struct {
	log    *slog.Logger
	open   func() (*link.Owner, error)
	again  chan struct{}
	writer *ingest.Writer
	past   *ingest.Backfiller

	mu    sync.Mutex
	owner *link.Owner
}

func (h *homeRunner) current() *link.Owner {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.owner
}

func (h *homeRunner) run(ctx context.Context) {
	for ctx.Err() == nil {
		linked, unlink := context.WithCancel(ctx)
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			if err := h.current().Run(linked); errors.Is(err, hass.ErrAuthInvalid) {
				h.log.Error("the home rejects HA_TOKEN: make a new long-lived access token in Home Assistant", "error", err)
			}
		}()
		select {
		case <-ctx.Done():
		case <-h.again:
		}
		unlink()
		<-stopped
		if ctx.Err() == nil {
			h.renew()
		}
	}
}

func (h *homeRunner) renew() {
	owner, err := h.open()
	if err != nil { // the same settings were fine at the start
		h.log.Error("the link cannot be made anew", "error", err)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.owner = owner
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
	seq, err := h.current().Snapshot(ctx, "get_areas")
	if err != nil {
		return nil, err
	}
	counts, err := a.syncs.Wait(ctx, home, seq)
	if errors.Is(err, context.DeadlineExceeded) {
		return counts, &concord.Error{Code: concord.CodeTimeout, Message: "The reconciliation takes too long and goes on", Err: err}
	}
	return counts, err
}
