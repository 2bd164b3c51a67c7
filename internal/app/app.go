// Package app wires Concord together. It and cmd/concord are the only places
// that see more than one adapter.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/bus"
	"github.com/concord-home/concord/internal/ingest"
	"github.com/concord-home/concord/internal/ledger"
	"github.com/concord-home/concord/internal/live"
	"github.com/concord-home/concord/internal/notify"
	"github.com/concord-home/concord/internal/pgembed"
	"github.com/concord-home/concord/internal/postgres"
	"github.com/concord-home/concord/internal/web"
	"github.com/concord-home/concord/internal/web/page"
	"github.com/concord-home/concord/internal/web/signin"
	"github.com/concord-home/concord/pgretry"
)

// stopTimeout bounds the wait for requests under way.
const stopTimeout = 5 * time.Second

// App is a whole Concord. New opens it, Run runs it.
type App struct {
	config   Config
	log      *slog.Logger
	registry *prometheus.Registry
	closers  []func() error // in order of opening

	listener net.Listener
	embedded *pgembed.Server // nil with a given database
	db       *postgres.DB
	bus      *bus.Bus
	live     *live.Model
	syncs    *ingest.Syncs
	homes    map[int64]*homeRunner
	web      *web.Server
	http     *http.Server
	health   *health
	ledger   *ledger.Ledger
	server   *serverStats
	notifier *notify.Notifier // nil when nobody is to be told
	traces   traces
}

// New opens everything that Run needs, and closes it again when a later step
// fails. An error is one line that says what to change.
func New(ctx context.Context, config Config) (*App, error) {
	a := &App{
		config: config.withDefaults(), registry: prometheus.NewRegistry(), live: live.New(), syncs: ingest.NewSyncs(),
		homes: make(map[int64]*homeRunner),
	}
	a.log = slog.New(correlated{a.config.Logger.Handler()})
	a.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	steps := []func(context.Context) error{a.claim, a.openTraces, a.openDatabase, a.openSpool, a.openHomes, a.openWeb, a.openNotifier}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, a.close())
		}
	}
	return a, nil
}

func (a *App) onClose(f func() error) { a.closers = append(a.closers, f) }

// close undoes what was opened, last first.
func (a *App) close() error {
	var errs []error
	for i := len(a.closers) - 1; i >= 0; i-- {
		errs = append(errs, a.closers[i]())
	}
	a.closers = nil
	return errors.Join(errs...)
}

// claim checks the settings and takes what only one process can have: the data
// directory and the port.
func (a *App) claim(ctx context.Context) error {
	if err := a.config.validate(); err != nil {
		return err
	}
	unlock, err := pgembed.Lock(a.config.DataDir)
	if err != nil {
		return fmt.Errorf("CONCORD_DATA: %w", err)
	}
	a.onClose(unlock)
	var listen net.ListenConfig
	if a.listener, err = listen.Listen(ctx, "tcp", a.config.Listen); err != nil {
		return fmt.Errorf("LISTEN: %w", err)
	}
	a.onClose(func() error { a.listener.Close(); return nil }) // the HTTP server may have closed it
	return nil
}

func (a *App) openDatabase(ctx context.Context) error {
	url := a.config.DatabaseURL
	if url == "" {
		var err error
		a.embedded, err = pgembed.Start(ctx, pgembed.Options{Dir: a.config.DataDir, Logger: a.log})
		if err != nil {
			return err
		}
		a.onClose(a.embedded.Stop)
		url = a.embedded.URL()
	}
	observer := newRetryObserver(a.registry, a.log, a.config.Attempts)
	var err error
	a.db, err = postgres.Open(ctx, postgres.Options{
		URL: url, MaxConns: a.config.MaxConns, Chunk: a.config.Chunk, Commit: a.config.Commit, Wait: a.config.DatabaseWait,
		HistoryDays: a.config.HistoryDays, Deadband: a.config.Deadband, Logger: a.log,
		Tracer: a.traces.tracer, Statements: a.traces.statements, Retry: append([]pgretry.Option{
			pgretry.WithMaxAttempts(a.config.Attempts), pgretry.WithBackoff(a.config.FirstWait, a.config.LongestWait),
			pgretry.WithObserver(observer),
		}, a.traces.retry...),
	})
	if err != nil {
		return fmt.Errorf("DATABASE_URL: %w", err)
	}
	a.onClose(func() error { a.db.Close(); return nil })
	a.openLedger(observer)
	return os.WriteFile(databaseURLFile(a.config.DataDir), []byte(url), 0o600)
}

func (a *App) openSpool(ctx context.Context) error {
	var err error
	a.bus, err = bus.Open(ctx, bus.Options{
		URL: a.config.NATSURL, Dir: filepath.Join(a.config.DataDir, "spool"), MaxBytes: a.config.SpoolMaxBytes, MaxAge: a.config.SpoolMaxAge,
		SyncEvery: a.config.SpoolSync, Replicas: a.config.SpoolReplicas, Logger: a.log,
		OnLost: a.hearAgain,
	})
	if err != nil {
		return fmt.Errorf("NATS_URL: %w", err)
	}
	a.onClose(a.bus.Close)
	a.health = &health{db: a.db, bus: a.bus, server: a.server, log: a.log}
	a.registerParts()
	return nil
}

func (a *App) openWeb(ctx context.Context) error {
	generated, err := signin.EnsureAdmin(ctx, a.db, a.config.AdminPassword)
	if err != nil {
		return fmt.Errorf("create the first user: %w", err)
	}
	a.web, err = web.New(web.Options{
		AllowedHosts: a.config.AllowedHosts, Live: a.live, Link: a, Users: a.db, Sessions: a.db, Reconciler: a, Reconnector: a, Health: a.health, History: a.db, Ledger: a.ledger,
		Page: page.Handler(), Registerer: a.registry, Gatherer: a.registry, MetricsToken: a.config.MetricsToken,
		Logger: a.log, Tracer: a.traces.tracer, Version: a.config.Version, Standby: a.standsBy, TrustProxy: a.config.TrustProxy,
	})
	if err != nil {
		return err
	}
	a.http = web.NewHTTPServer(a.web.Handler(), a.log)
	a.config.Announce("http://"+friendly(a.listener.Addr()), signin.AdminLogin, generated)
	return nil
}

// friendly shows loopback addresses as people type them.
func friendly(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	if ip := net.ParseIP(host); ip != nil && (ip.IsLoopback() || ip.IsUnspecified()) {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// Addr is where the web server listens.
func (a *App) Addr() string { return a.listener.Addr().String() }

// Run serves until ctx ends, then stops everything in order: no more requests,
// no more events, what was heard made safe, the database last.
func (a *App) Run(ctx context.Context) error {
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	for _, h := range a.homes {
		wg.Go(func() { h.run(work, a.db.RunUpkeep) })
	}
	wg.Go(func() { a.health.run(work) })
	wg.Go(func() { boundMemory(work) })
	a.runWatchers(work, &wg)
	a.web.Start()
	served := make(chan error, 1)
	go func() { served <- a.http.Serve(a.listener) }()

	var err error
	select {
	case <-ctx.Done():
	case err = <-served:
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	a.web.Stop()
	if shutdownErr := a.http.Shutdown(stop); shutdownErr != nil {
		a.log.Warn("requests under way were cut", "error", shutdownErr)
	}
	stopWork()
	wg.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, a.close())
}

var (
	_ concord.Link        = (*App)(nil)
	_ concord.Reconciler  = (*App)(nil)
	_ concord.Reconnector = (*App)(nil)
)
