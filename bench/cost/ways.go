package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/hass/simhome"
	"github.com/concord-home/concord/internal/app"
	"github.com/concord-home/concord/internal/bus"
	"github.com/concord-home/concord/internal/ingest"
	"github.com/concord-home/concord/internal/ledger"
	"github.com/concord-home/concord/internal/link"
	"github.com/concord-home/concord/internal/live"
	"github.com/concord-home/concord/internal/pgembed"
	"github.com/concord-home/concord/internal/postgres"
	"github.com/concord-home/concord/pgretry"
)

const (
	// outstanding is how many changes may be on their way.
	outstanding = 40_000
	attempts    = 10
	scrapeEvery = time.Second // Prometheus does it every 15 s
)

// bench is what the ways share.
type bench struct {
	server               *pgembed.Server
	bus                  *bus.Bus
	registry             *prometheus.Registry
	plain, watched, same *way
	entities             int
	dir                  string
	scrapes, log         atomic.Int64
	profiles             []bytes.Buffer // of the watched way's turns
	closers              []func()
}

// way is a home and the parts of Concord that its changes pass.
type way struct {
	home    *simhome.Home
	store   *store
	already int64 // changes before the first turn
}

// store counts what is committed.
type store struct {
	*postgres.DB
	written atomic.Int64
}

// WriteEvents implements [concord.Store].
func (s *store) WriteEvents(ctx context.Context, home int64, records []concord.Record, seq uint64) (concord.EventCounts, error) {
	counts, err := s.DB.WriteEvents(ctx, home, records, seq)
	if err == nil {
		s.written.Add(int64(len(records)))
	}
	return counts, err
}

func (w *way) missing() int64 { return w.home.Emitted() - w.already - w.store.written.Load() }

func setUp(ctx context.Context, entities int) (*bench, error) {
	b := &bench{entities: entities, registry: prometheus.NewRegistry()}
	if err := b.open(ctx); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bench) close() {
	for _, f := range slices.Backward(b.closers) {
		f()
	}
}

func (b *bench) onClose(f func()) { b.closers = append(b.closers, f) }

func (b *bench) open(ctx context.Context) (err error) {
	if b.dir, err = os.MkdirTemp("", "concord-bench-cost-"); err != nil {
		return err
	}
	b.onClose(func() { os.RemoveAll(b.dir) })
	if err := os.Chmod(b.dir, 0o711); err != nil { // PostgreSQL runs as another user
		return err
	}
	if b.server, err = pgembed.Start(ctx, pgembed.Options{Dir: b.dir}); err != nil {
		return err
	}
	b.onClose(func() { _ = b.server.Stop() })
	if b.bus, err = bus.Open(ctx, bus.Options{Dir: filepath.Join(b.dir, "spool")}); err != nil {
		return err
	}
	b.onClose(func() { _ = b.bus.Close() })
	if b.plain, err = b.way(ctx, "plain"); err != nil {
		return err
	}
	if b.same, err = b.way(ctx, "same"); err != nil {
		return err
	}
	b.watched, err = b.way(ctx, "watched")
	return err
}

// way opens a way of its own. The one named watched is watched as in a running
// Concord.
func (b *bench) way(ctx context.Context, name string) (*way, error) {
	var linkMetrics *link.Metrics
	var ingestMetrics *ingest.Metrics
	var l *ledger.Ledger
	log, options := slog.New(slog.DiscardHandler), postgres.Options{URL: b.server.URL(), Retry: []pgretry.Option{pgretry.WithMaxAttempts(attempts)}}
	if name == "watched" {
		f, err := os.Create(filepath.Join(b.dir, "log"))
		if err != nil {
			return nil, err
		}
		b.onClose(func() { f.Close() })
		log = slog.New(slog.NewJSONHandler(io.MultiWriter(f, counter{&b.log}), nil))
		linkMetrics, ingestMetrics = link.NewMetrics(b.registry), ingest.NewMetrics(b.registry)
		ledgers, err := postgres.Open(ctx, options)
		if err != nil {
			return nil, err
		}
		b.onClose(ledgers.Close)
		l = ledger.New(ledger.Options{Store: ledgers, Logger: log})
		options.Retry = append(options.Retry, pgretry.WithObserver(app.ObserveRetries(b.registry, log, attempts, l)))
	}
	options.Logger = log
	db, err := postgres.Open(ctx, options)
	if err != nil {
		return nil, err
	}
	b.onClose(db.Close)
	w := &way{store: &store{DB: db}}
	if w.home, err = simhome.New(simhome.Options{Entities: b.entities, Seed: 1, MaxPending: 1 << 20, HistoryPerEntity: 10}); err != nil {
		return nil, err
	}
	return w, b.connect(ctx, w, name, log, linkMetrics, ingestMetrics, l)
}

// counter counts bytes.
type counter struct{ n *atomic.Int64 }

// Write implements [io.Writer].
func (c counter) Write(p []byte) (int, error) { c.n.Add(int64(len(p))); return len(p), nil }

// connect lets the home, the link and the writer of a way run.
func (b *bench) connect(ctx context.Context, w *way, name string, log *slog.Logger, lm *link.Metrics, im *ingest.Metrics, l *ledger.Ledger) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: w.home, ReadHeaderTimeout: 10 * time.Second}
	home, err := w.store.EnsureHome(ctx, name, "ws://"+listener.Addr().String()+"/api/websocket")
	if err != nil {
		return err
	}
	model := live.New()
	model.SetHome(home, true)
	owner, err := link.New(link.Options{Home: home, Token: w.home.Token(), Feed: model, Spool: b.bus, Period: time.Hour, Logger: log, Metrics: lm})
	if err != nil {
		return err
	}
	synced := make(chan struct{}, 16)
	writer := ingest.New(ingest.Options{Home: home.ID, Store: w.store, Spool: b.bus, Logger: log, Metrics: im, OnSync: func(int64, time.Time) {
		select {
		case synced <- struct{}{}:
		default:
		}
	}})
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(listener) })
	wg.Go(func() { _ = w.home.Run(work) })
	wg.Go(func() { _ = owner.Run(work) })
	wg.Go(func() { writer.Run(work) })
	if l != nil {
		wg.Go(func() { l.Run(work) })
	}
	b.onClose(func() { cancel(); server.Close(); w.home.Close(); wg.Wait() })
	select {
	case <-synced:
		w.already = w.home.Emitted()
		return nil
	case <-time.After(time.Minute):
		return errors.New("the first reconciliation did not come")
	}
}

// turn keeps a bounded number of changes on the way for that long and notes what
// a change cost. The watched way is scraped meanwhile.
func (b *bench) turn(ctx context.Context, w *way, to *side, length time.Duration) error {
	if w == b.watched {
		b.profiles = append(b.profiles, bytes.Buffer{})
		if err := pprof.StartCPUProfile(&b.profiles[len(b.profiles)-1]); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	warm, end, scrape := time.Now().Add(length/4), time.Now().Add(length), time.Now()
	var began time.Time
	var first int64
	var used time.Duration
	for now := time.Now(); now.Before(end); now = <-tick.C {
		if n := w.missing(); n < outstanding {
			w.home.Emit(int(min(500, outstanding-n)))
		}
		if w == b.watched && now.After(scrape) {
			if _, err := b.registry.Gather(); err != nil {
				return err
			}
			b.scrapes.Add(1)
			scrape = now.Add(scrapeEvery)
		}
		if began.IsZero() && now.After(warm) {
			began, first, used = now, w.store.written.Load(), processorTime()
		}
	}
	n := float64(w.store.written.Load() - first)
	to.Micros = append(to.Micros, 1e6*(processorTime()-used).Seconds()/n)
	to.PerSecond = append(to.PerSecond, n/time.Since(began).Seconds())
	late := time.After(time.Minute)
	for w.missing() > 0 {
		select {
		case <-tick.C:
		case <-late:
			return nil // counted as missing
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// processorTime is what this process has used so far.
func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
