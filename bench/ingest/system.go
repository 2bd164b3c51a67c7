package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/bench/internal/line"
	"github.com/concord-home/concord/internal/postgres"
)

// system is a line of its own ground, and what is noted of its commits.
type system struct {
	*line.Ground
	*line.Line
	conn *pgx.Conn // looks at the database, beside everything else

	mu    sync.Mutex
	waits []float64 // ms from a change to its commit; nil when nobody measures
}

// committed notes how long changes took.
func (s *system) committed(records []concord.Record, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waits != nil {
		for _, r := range records {
			s.waits = append(s.waits, at.Sub(r.State.LastUpdated).Seconds()*1e3)
		}
	}
}

func setUp(ctx context.Context, entities int) (*system, error) {
	ground, err := line.Open(ctx, "ingest", nil)
	if err != nil {
		return nil, err
	}
	s := &system{Ground: ground}
	if err := s.open(ctx, entities); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *system) open(ctx context.Context, entities int) error {
	db, err := postgres.Open(ctx, postgres.Options{URL: s.Server.URL()})
	if err != nil {
		return err
	}
	s.OnClose(db.Close)
	if err := s.OpenSpool(ctx); err != nil {
		return err
	}
	if s.conn, err = pgx.Connect(ctx, s.Server.URL()); err != nil {
		return err
	}
	s.OnClose(func() { _ = s.conn.Close(context.WithoutCancel(ctx)) })
	s.Line, err = s.Start(ctx, line.Options{Name: "bench", Entities: entities, DB: db, OnCommit: s.committed})
	return err
}

type sustained struct {
	PerSecond float64 `json:"per_second"`
	LagLow    int64   `json:"lag_low"`
	LagHigh   int64   `json:"lag_high"`
	Sent      int64   `json:"changes_sent"`
	Missing   int64   `json:"missing"` // in history, of those
	// Processor time of a change: of this process, the simulated home included,
	// and of PostgreSQL.
	OwnMicros      float64 `json:"cpu_us_own"`
	DatabaseMicros float64 `json:"cpu_us_postgresql"`
}

// sustain keeps a bounded number of changes on their way for that long.
func (s *system) sustain(ctx context.Context, length time.Duration) (sustained, error) {
	r := sustained{LagLow: 1 << 60}
	before, err := s.countHistory(ctx)
	if err != nil {
		return r, err
	}
	sent, lag := s.Home.Emitted(), s.Lag()
	warm := time.Now().Add(length / 5)
	var counted time.Time
	var first int64
	var used cpu
	err = s.Push(length, lag, func(now time.Time) error {
		if now.After(warm) {
			if counted.IsZero() {
				counted, first, used = time.Now(), s.Store.Written(), s.cpu()
			}
			r.LagLow, r.LagHigh = min(r.LagLow, lag()), max(r.LagHigh, lag())
		}
		return nil
	})
	if err != nil {
		return r, err
	}
	n, now := float64(s.Store.Written()-first), s.cpu()
	r.PerSecond = n / time.Since(counted).Seconds()
	r.OwnMicros, r.DatabaseMicros = 1e6*(now.own-used.own).Seconds()/n, 1e6*(now.database-used.database).Seconds()/n
	if err := line.Drain(ctx, lag); err != nil {
		return r, err
	}
	stored, err := s.countHistory(ctx)
	r.Sent = s.Home.Emitted() - sent
	r.Missing = r.Sent - (stored - before)
	return r, err
}

type latency struct {
	Rate    float64 `json:"rate"`
	Changes int     `json:"changes"`
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	Longest float64 `json:"longest_ms"`
	Which   int     `json:"longest_change"` // the place of the longest, from 1
	// Checkpoint tells that PostgreSQL ended one meanwhile: it flushes what was
	// written before, and commits wait for the same disk.
	Checkpoint bool `json:"checkpoint"`
}

// latency measures at a steady rate.
func (s *system) latency(ctx context.Context, rate float64, length time.Duration) (latency, error) {
	s.mu.Lock()
	s.waits = make([]float64, 0, int(rate*length.Seconds())+1000)
	s.mu.Unlock()
	last, err := s.lastCheckpoint(ctx)
	if err != nil {
		return latency{}, err
	}
	lag := s.Lag()
	s.Home.SetRate(rate)
	select {
	case <-time.After(length):
	case <-ctx.Done():
		return latency{}, ctx.Err()
	}
	s.Home.SetRate(0)
	if err := line.Drain(ctx, lag); err != nil {
		return latency{}, err
	}
	now, err := s.lastCheckpoint(ctx)
	if err != nil {
		return latency{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	waits := s.waits
	s.waits = nil
	which := 1 + slices.Index(waits, slices.Max(waits))
	slices.Sort(waits)
	return latency{
		Rate: rate, Changes: len(waits), P50: waits[len(waits)/2], P99: waits[len(waits)*99/100], Longest: waits[len(waits)-1], Which: which,
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
