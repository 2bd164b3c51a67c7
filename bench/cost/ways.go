package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/concord-home/concord/bench/internal/line"
	"github.com/concord-home/concord/internal/app"
	"github.com/concord-home/concord/internal/ingest"
	"github.com/concord-home/concord/internal/ledger"
	"github.com/concord-home/concord/internal/link"
	"github.com/concord-home/concord/internal/postgres"
	"github.com/concord-home/concord/pgretry"
)

const (
	attempts    = 10
	scrapeEvery = time.Second // Prometheus does it every 15 s
)

// bench is what the ways share.
type bench struct {
	*line.Ground
	registry             *prometheus.Registry
	plain, watched, same *way
	entities             int
	scrapes, log         atomic.Int64
	profiles             []bytes.Buffer // of the watched way's turns
}

// way is a line, and what counts its changes that are on their way.
type way struct {
	*line.Line
	missing func() int64
}

func setUp(ctx context.Context, entities int) (*bench, error) {
	ground, err := line.Open(ctx, "cost", nil)
	if err != nil {
		return nil, err
	}
	b := &bench{Ground: ground, entities: entities, registry: prometheus.NewRegistry()}
	if err := b.open(ctx); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func (b *bench) open(ctx context.Context) (err error) {
	if err := b.OpenSpool(ctx); err != nil {
		return err
	}
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
	o := line.Options{Name: name, Entities: b.entities, Period: time.Hour, Logger: slog.New(slog.DiscardHandler)}
	retry := []pgretry.Option{pgretry.WithMaxAttempts(attempts)}
	if name == "watched" {
		observer, err := b.watch(ctx, &o)
		if err != nil {
			return nil, err
		}
		retry = append(retry, pgretry.WithObserver(observer))
	}
	var err error
	if o.DB, err = b.database(ctx, o.Logger, retry); err != nil {
		return nil, err
	}
	l, err := b.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	return &way{Line: l, missing: l.Lag()}, nil
}

func (b *bench) database(ctx context.Context, log *slog.Logger, retry []pgretry.Option) (*postgres.DB, error) {
	db, err := postgres.Open(ctx, postgres.Options{URL: b.Server.URL(), Logger: log, Retry: retry})
	if err == nil {
		b.OnClose(db.Close)
	}
	return db, err
}

// watch sets what watches a line, and returns what watches its transactions. Its
// ledger runs until b is closed.
func (b *bench) watch(ctx context.Context, o *line.Options) (pgretry.Observer, error) {
	f, err := os.Create(filepath.Join(b.Dir, "log"))
	if err != nil {
		return nil, err
	}
	b.OnClose(func() { f.Close() })
	o.Logger = slog.New(slog.NewJSONHandler(io.MultiWriter(f, counter{&b.log}), nil))
	o.Link, o.Ingest = link.NewMetrics(b.registry), ingest.NewMetrics(b.registry)
	store, err := b.database(ctx, nil, []pgretry.Option{pgretry.WithMaxAttempts(attempts)})
	if err != nil {
		return nil, err
	}
	l := ledger.New(ledger.Options{Store: store, Logger: o.Logger})
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { l.Run(work) })
	b.OnClose(func() { cancel(); wg.Wait() })
	return app.ObserveRetries(b.registry, o.Logger, attempts, l), nil
}

// counter counts bytes.
type counter struct{ n *atomic.Int64 }

// Write implements [io.Writer].
func (c counter) Write(p []byte) (int, error) { c.n.Add(int64(len(p))); return len(p), nil }

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
	warm, scrape := time.Now().Add(length/4), time.Now()
	var began time.Time
	var first int64
	var used time.Duration
	err := w.Push(length, w.missing, func(now time.Time) error {
		if w == b.watched && now.After(scrape) {
			if _, err := b.registry.Gather(); err != nil {
				return err
			}
			b.scrapes.Add(1)
			scrape = now.Add(scrapeEvery)
		}
		if began.IsZero() && now.After(warm) {
			began, first, used = now, w.Store.Written(), line.ProcessorTime()
		}
		return nil
	})
	if err != nil {
		return err
	}
	n := float64(w.Store.Written() - first)
	to.Micros = append(to.Micros, 1e6*(line.ProcessorTime()-used).Seconds()/n)
	to.PerSecond = append(to.PerSecond, n/time.Since(began).Seconds())
	return line.Drain(ctx, w.missing)
}
