package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/hass/simhome"
	"github.com/concord-home/concord/internal/bus"
	"github.com/concord-home/concord/internal/ingest"
	"github.com/concord-home/concord/internal/link"
	"github.com/concord-home/concord/internal/live"
	"github.com/concord-home/concord/internal/pgembed"
	"github.com/concord-home/concord/internal/postgres"
)

// outstanding is how many changes may be on their way while the most is
// measured that is sustained.
const outstanding = 40_000

// system is a home and the parts of Concord that its changes pass.
type system struct {
	home    *simhome.Home
	server  *pgembed.Server
	db      *postgres.DB
	bus     *bus.Bus
	store   *store
	model   *live.Model
	owner   *link.Owner
	conn    *pgx.Conn // looks at the database, beside everything else
	homeID  int64
	closers []func()
}

// store is the database, which notes when changes were committed.
type store struct {
	*postgres.DB
	written atomic.Int64
	mu      sync.Mutex
	waits   []float64 // ms from a change to its commit; nil when nobody measures
}

// WriteEvents notes the time of the commit.
func (s *store) WriteEvents(ctx context.Context, home int64, records []concord.Record, seq uint64) (concord.EventCounts, error) {
	counts, err := s.DB.WriteEvents(ctx, home, records, seq)
	if err != nil {
		return counts, err
	}
	now := time.Now()
	s.written.Add(int64(len(records)))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waits != nil {
		for _, r := range records {
			s.waits = append(s.waits, now.Sub(r.State.LastUpdated).Seconds()*1e3)
		}
	}
	return counts, nil
}

func setUp(ctx context.Context, entities int) (*system, error) {
	s := &system{}
	if err := s.open(ctx, entities); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *system) close() {
	for _, f := range slices.Backward(s.closers) {
		f()
	}
}

func (s *system) open(ctx context.Context, entities int) error {
	dir, err := os.MkdirTemp("", "concord-bench-ingest-")
	if err != nil {
		return err
	}
	s.closers = append(s.closers, func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil { // PostgreSQL runs as another user
		return err
	}
	if s.server, err = pgembed.Start(ctx, pgembed.Options{Dir: dir}); err != nil {
		return err
	}
	s.closers = append(s.closers, func() { _ = s.server.Stop() })
	if s.db, err = postgres.Open(ctx, postgres.Options{URL: s.server.URL()}); err != nil {
		return err
	}
	s.closers = append(s.closers, s.db.Close)
	s.store = &store{DB: s.db}
	if s.bus, err = bus.Open(ctx, bus.Options{Dir: filepath.Join(dir, "spool")}); err != nil {
		return err
	}
	s.closers = append(s.closers, func() { _ = s.bus.Close() })
	if s.home, err = simhome.New(simhome.Options{Entities: entities, Seed: 1, MaxPending: 1 << 20, HistoryPerEntity: 10}); err != nil {
		return err
	}
	return s.connect(ctx)
}

// connect lets the home, the link and the writer run.
func (s *system) connect(ctx context.Context) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: s.home, ReadHeaderTimeout: 10 * time.Second}
	home, err := s.db.EnsureHome(ctx, "bench", "ws://"+listener.Addr().String()+"/api/websocket")
	if err != nil {
		return err
	}
	s.homeID = home.ID
	s.model = live.New()
	s.model.SetHome(home, true)
	if s.owner, err = link.New(link.Options{Home: home, Token: s.home.Token(), Feed: s.model, Spool: s.bus}); err != nil {
		return err
	}
	if s.conn, err = pgx.Connect(ctx, s.server.URL()); err != nil {
		return err
	}
	s.closers = append(s.closers, func() { _ = s.conn.Close(context.WithoutCancel(ctx)) })
	synced := make(chan struct{}, 16)
	writer := ingest.New(ingest.Options{Home: home.ID, Store: s.store, Spool: s.bus, OnSync: func(int64, time.Time) {
		select {
		case synced <- struct{}{}:
		default:
		}
	}})
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(listener) })
	wg.Go(func() { _ = s.home.Run(work) })
	wg.Go(func() { _ = s.owner.Run(work) })
	wg.Go(func() { writer.Run(work) })
	s.closers = append(s.closers, func() { cancel(); server.Close(); s.home.Close(); wg.Wait() })
	select {
	case <-synced:
		return nil
	case <-time.After(time.Minute):
		return errors.New("the first reconciliation did not come")
	}
}

type sustained struct {
	PerSecond float64 `json:"per_second"`
	LagLow    int64   `json:"lag_low"`
	LagHigh   int64   `json:"lag_high"`
	Missing   int64   `json:"missing"`
	// Processor time of a change: of this process, the simulated home included,
	// and of PostgreSQL.
	OwnMicros      float64 `json:"cpu_us_own"`
	DatabaseMicros float64 `json:"cpu_us_postgresql"`
}

// sustain keeps a bounded number of changes on their way for that long.
func (s *system) sustain(ctx context.Context, length time.Duration) (sustained, error) {
	r := sustained{LagLow: 1 << 60}
	already, before := s.home.Emitted(), s.store.written.Load()
	lag := func() int64 { return s.home.Emitted() - already - (s.store.written.Load() - before) }
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	warm, end := time.Now().Add(length/5), time.Now().Add(length)
	var counted time.Time
	var first int64
	var used cpu
	for now := time.Now(); now.Before(end); now = <-tick.C {
		if n := lag(); n < outstanding {
			s.home.Emit(int(min(500, outstanding-n)))
		}
		if now.After(warm) {
			if counted.IsZero() {
				counted, first, used = time.Now(), s.store.written.Load(), s.cpu()
			}
			r.LagLow, r.LagHigh = min(r.LagLow, lag()), max(r.LagHigh, lag())
		}
	}
	n, now := float64(s.store.written.Load()-first), s.cpu()
	r.PerSecond = n / time.Since(counted).Seconds()
	r.OwnMicros, r.DatabaseMicros = 1e6*(now.own-used.own).Seconds()/n, 1e6*(now.database-used.database).Seconds()/n
	err := s.drain(ctx, lag)
	r.Missing = lag()
	return r, err
}

// drain waits until nothing is on its way.
func (s *system) drain(ctx context.Context, lag func() int64) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for lag() > 0 {
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

type latency struct {
	Rate    float64 `json:"rate"`
	Changes int     `json:"changes"`
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	Longest float64 `json:"longest_ms"`
	// Checkpoint tells that PostgreSQL ended one meanwhile: it flushes what was
	// written before, and commits wait for the same disk.
	Checkpoint bool `json:"checkpoint"`
}

// latency measures at a steady rate.
func (s *system) latency(ctx context.Context, rate float64, length time.Duration) (latency, error) {
	s.store.mu.Lock()
	s.store.waits = make([]float64, 0, int(rate*length.Seconds())+1000)
	s.store.mu.Unlock()
	last, err := s.lastCheckpoint(ctx)
	if err != nil {
		return latency{}, err
	}
	already, before := s.home.Emitted(), s.store.written.Load()
	s.home.SetRate(rate)
	select {
	case <-time.After(length):
	case <-ctx.Done():
		return latency{}, ctx.Err()
	}
	s.home.SetRate(0)
	if err := s.drain(ctx, func() int64 { return s.home.Emitted() - already - (s.store.written.Load() - before) }); err != nil {
		return latency{}, err
	}
	now, err := s.lastCheckpoint(ctx)
	if err != nil {
		return latency{}, err
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	waits := s.store.waits
	s.store.waits = nil
	slices.Sort(waits)
	return latency{
		Rate: rate, Changes: len(waits), P50: waits[len(waits)/2], P99: waits[len(waits)*99/100], Longest: waits[len(waits)-1],
		Checkpoint: now != last,
	}, nil
}

func (s *system) lastCheckpoint(ctx context.Context) (lsn string, err error) {
	return lsn, s.conn.QueryRow(ctx, `select checkpoint_lsn::text from pg_control_checkpoint()`).Scan(&lsn)
}

// settle has PostgreSQL flush what the measurement before has left.
func (s *system) settle(ctx context.Context) error {
	_, err := s.conn.Exec(ctx, `checkpoint`)
	return err
}
