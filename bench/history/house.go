package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/bench/internal/line"
	"github.com/concord-home/concord/internal/postgres"
)

const (
	day    = 24 * time.Hour
	points = 400
	looks  = 60 // charts of each span
)

// house is a database with a long past.
type house struct {
	*line.Ground
	entities int
	now      time.Time // full hour
	home     int64
	db       *postgres.DB
	conn     *pgx.Conn
	loading  time.Duration
	looked   int // entities whose charts were read already
}

// setUp starts a database, in a directory that is kept when one is named.
func setUp(ctx context.Context, entities int, dir string) (*house, error) {
	// Loading without a log saves most of its time; reading is the same.
	settings := map[string]string{"wal_level": "minimal", "max_wal_senders": "0"}
	open := func() (*line.Ground, error) { return line.Open(ctx, "history", settings) }
	if dir != "" {
		open = func() (*line.Ground, error) { return line.OpenAt(ctx, dir, settings) }
	}
	ground, err := open()
	if err != nil {
		return nil, err
	}
	h := &house{Ground: ground, entities: entities, now: time.Now().UTC().Truncate(time.Hour)}
	if err := h.open(ctx); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

func (h *house) open(ctx context.Context) (err error) {
	if h.db, err = postgres.Open(ctx, postgres.Options{URL: h.Server.URL(), HistoryDays: 10}); err != nil {
		return err
	}
	h.OnClose(h.db.Close)
	home, err := h.db.EnsureHome(ctx, "bench", "ws://bench")
	if err != nil {
		return err
	}
	h.home = home.ID
	if h.conn, err = pgx.Connect(ctx, h.Server.URL()); err != nil {
		return err
	}
	h.OnClose(func() { h.conn.Close(context.WithoutCancel(ctx)) })
	return nil
}

// charts reads charts of entities that were not looked at before, and again.
func (h *house) charts(ctx context.Context, name string, span time.Duration) (chart, error) {
	c := chart{Span: name, Points: points}
	var first, again []float64
	for range looks {
		h.looked++
		id := fmt.Sprintf("sensor.e%d", h.looked*61%h.entities+1)
		for _, times := range []*[]float64{&first, &again} {
			begin := time.Now()
			got, err := h.db.Chart(ctx, h.home, id, h.now.Add(-span), h.now, points)
			if err != nil {
				return c, err
			}
			*times = append(*times, time.Since(begin).Seconds()*1e3)
			if c.Rows = got.Rows; !got.Numeric || len(got.Points) < points/4 {
				return c, fmt.Errorf("%s has %d points", id, len(got.Points))
			}
		}
	}
	slices.Sort(first)
	slices.Sort(again)
	c.First, c.Slow, c.Again = first[looks/2], first[looks*99/100], again[looks/2]
	return c, nil
}

// retain drops the oldest day while another writes changes as fast as it can.
func (h *house) retain(ctx context.Context) (retention, error) {
	var r retention
	var oldest time.Time
	if err := h.conn.QueryRow(ctx, `select date_trunc('day', min(last_updated)) from history`).Scan(&oldest); err != nil {
		return r, err
	}
	if err := h.conn.QueryRow(ctx, `select count(*) from history where last_updated < $1`, oldest.Add(day)).Scan(&r.Rows); err != nil {
		return r, err
	}
	stop, stopped := make(chan struct{}), make(chan error, 1)
	begun := make(chan struct{})
	go func() { stopped <- h.write(ctx, &r, begun, stop) }()
	<-begun
	begin := time.Now()
	dropped, err := h.db.DropHistory(ctx, oldest.Add(day))
	r.Took = time.Since(begin).Seconds() * 1e3
	close(stop)
	if werr := <-stopped; err == nil {
		err = werr
	}
	if err == nil && len(dropped) != 2 {
		err = fmt.Errorf("retention dropped %v, want a day of history and of statistics", dropped)
	}
	return r, err
}

func (h *house) write(ctx context.Context, r *retention, begun chan<- struct{}, stop <-chan struct{}) error {
	for seq := int64(1); ; seq++ {
		at := time.Now().UTC().Truncate(time.Microsecond)
		records := []concord.Record{{State: &concord.State{
			EntityID: "sensor.live", State: fmt.Sprint(seq), Attributes: []byte(`{}`), LastChanged: at, LastUpdated: at,
			Position: concord.Position{Epoch: 1, Seq: seq},
		}}}
		if _, err := h.db.WriteEvents(ctx, h.home, records, uint64(seq)); err != nil { //nolint:gosec // positive
			return err
		}
		if seq == 1 {
			close(begun)
		}
		r.Writes++
		r.Slowest = max(r.Slowest, time.Since(at).Seconds()*1e3)
		select {
		case <-stop:
			return nil
		default:
		}
	}
}
