package line

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/hass/simhome"
	"github.com/concord-home/concord/internal/ingest"
	"github.com/concord-home/concord/internal/link"
	"github.com/concord-home/concord/internal/live"
	"github.com/concord-home/concord/internal/postgres"
)

// Outstanding is how many changes [Line.Push] keeps on their way.
const Outstanding = 40_000

// Options of a line. Entities and DB must be given.
type Options struct {
	Name     string // of the home
	Entities int
	DB       *postgres.DB
	Period   time.Duration // between reconciliations; 0 means Concord's own
	Logger   *slog.Logger
	Link     *link.Metrics
	Ingest   *ingest.Metrics
	// OnCommit is told of the changes of a commit; nil tells nobody.
	OnCommit func(records []concord.Record, at time.Time)
}

// Line is a simulated home and the parts of Concord that its changes pass.
type Line struct {
	Home  *simhome.Home
	Model *live.Model
	Owner *link.Owner
	Store *Store
	ID    int64 // of the home
}

// Store is the database, which counts and tells what is committed.
type Store struct {
	*postgres.DB
	onCommit func(records []concord.Record, at time.Time)
	written  atomic.Int64
}

// WriteEvents implements [concord.Store].
func (s *Store) WriteEvents(ctx context.Context, home int64, records []concord.Record, seq uint64) (concord.EventCounts, error) {
	counts, err := s.DB.WriteEvents(ctx, home, records, seq)
	if err != nil {
		return counts, err
	}
	now := time.Now()
	s.written.Add(int64(len(records)))
	if s.onCommit != nil {
		s.onCommit(records, now)
	}
	return counts, nil
}

// Written is how many changes were committed.
func (s *Store) Written() int64 { return s.written.Load() }

// Start lets a home, its link and its writer run until g is closed, and returns
// when the first reconciliation is written. g must have a spool.
func (g *Ground) Start(ctx context.Context, o Options) (*Line, error) {
	home, err := simhome.New(simhome.Options{Entities: o.Entities, Seed: 1, MaxPending: 1 << 20, HistoryPerEntity: 10})
	if err != nil {
		return nil, err
	}
	l := &Line{Home: home, Model: live.New(), Store: &Store{DB: o.DB, onCommit: o.OnCommit}}
	return l, g.run(ctx, l, o)
}

func (g *Ground) run(ctx context.Context, l *Line, o Options) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: l.Home, ReadHeaderTimeout: 10 * time.Second}
	home, err := o.DB.EnsureHome(ctx, o.Name, "ws://"+listener.Addr().String()+"/api/websocket")
	if err != nil {
		return err
	}
	l.ID = home.ID
	l.Model.SetHome(home, true)
	l.Owner, err = link.New(link.Options{
		Home: home, Token: l.Home.Token(), Feed: l.Model, Spool: g.Bus, Period: o.Period, Logger: o.Logger, Metrics: o.Link,
	})
	if err != nil {
		return err
	}
	synced := make(chan struct{}, 16)
	writer := ingest.New(ingest.Options{Home: home.ID, Store: l.Store, Spool: g.Bus, Logger: o.Logger, Metrics: o.Ingest, OnSync: func(int64, time.Time) {
		select {
		case synced <- struct{}{}:
		default:
		}
	}})
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(listener) })
	wg.Go(func() { _ = l.Home.Run(work) })
	wg.Go(func() { _ = l.Owner.Run(work) })
	wg.Go(func() { writer.Run(work) })
	g.OnClose(func() { cancel(); server.Close(); l.Home.Close(); wg.Wait() })
	select {
	case <-synced:
		return nil
	case <-time.After(time.Minute):
		return errors.New("the first reconciliation did not come")
	}
}

// Lag returns what counts the changes from now on that are on their way.
func (l *Line) Lag() func() int64 {
	already, before := l.Home.Emitted(), l.Store.Written()
	return func() int64 { return l.Home.Emitted() - already - (l.Store.Written() - before) }
}

// Push keeps [Outstanding] changes on their way for that long, and calls each
// every 2 ms.
func (l *Line) Push(length time.Duration, lag func() int64, each func(now time.Time) error) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	end := time.Now().Add(length)
	for now := time.Now(); now.Before(end); now = <-tick.C {
		if n := lag(); n < Outstanding {
			l.Home.Emit(int(min(500, Outstanding-n)))
		}
		if err := each(now); err != nil {
			return err
		}
	}
	return nil
}

// Drain waits until nothing is on its way; what is after a minute is missing.
func Drain(ctx context.Context, lag func() int64) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for lag() > 0 {
		select {
		case <-tick.C:
		case <-late:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// ProcessorTime is what this process has used so far.
func ProcessorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
