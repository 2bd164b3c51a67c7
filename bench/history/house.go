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
	looked   int // entities whose charts were read already
}

func setUp(ctx context.Context, entities int) (*house, error) {
	// Loading without a log saves most of its time; reading is the same.
	ground, err := line.Open(ctx, "history", map[string]string{"wal_level": "minimal", "max_wal_senders": "0"})
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

// load fills the tables in the order of time, as a running Concord does. Only
// the index of the year is built afterwards, which is faster and the same.
func (h *house) load(ctx context.Context, r *report) error {
	for back := 9; back >= 0; back -= 3 { // makes the partitions of that day and the three after it
		if err := h.db.Upkeep(ctx, h.now.Add(-time.Duration(back)*day)); err != nil {
			return err
		}
	}
	if err := h.exec(ctx, nil, `
		set maintenance_work_mem = '4GB';
		set session_replication_role = replica`); err != nil {
		return err
	}
	if err := h.exec(ctx, nil, `begin; truncate history, statistics_5m, statistics_1h`); err != nil {
		return err
	}
	if err := h.exec(ctx, nil, fmt.Sprintf(`
		insert into history_entity (home_id, entity_key, entity_id) select %d, n, 'sensor.e' || n from generate_series(1, %d) n;
		insert into attributes (home_id, attributes_id, attributes, seen_on)
		select %[1]d, n, jsonb_build_object('unit_of_measurement', '°C', 'friendly_name', 'Sensor ' || n), current_date from generate_series(1, %[2]d) n;
		insert into rollup (home_id, done) values (%[1]d, '%[3]s')`, h.home, h.entities, h.now.Format(time.RFC3339))); err != nil {
		return err
	}
	from := h.now.Truncate(day).Add(-9 * day)
	if err := h.exec(ctx, &r.Raw, `
		insert into history (home_id, entity_key, last_updated, last_changed, value, attributes_id, state, context_id)
		select $1, n, t + n * interval '50 ms', t + n * interval '50 ms', v, n, v::text, '01J00000000000000000000000'
		from generate_series($2::timestamptz, $3::timestamptz - interval '5 min', '5 min') t,
		     generate_series(1, $4::int) n, lateral (select mod(n * 7 + extract(epoch from t)::bigint / 300 * 13, 40) + 0.5 as v) x`,
		h.home, from, h.now, h.entities); err != nil {
		return err
	}
	const sums = `
		select $1, n, t, 12, v - 1, v, v + 1, v, v::text
		from generate_series($2::timestamptz, $3::timestamptz - interval '%s', '%s') t,
		     generate_series(1, $4::int) n, lateral (select mod(n * 7 + extract(epoch from t)::bigint / 300 * 13, 40) + 0.5 as v) x`
	const columns = `(home_id, entity_key, bucket, count, min, mean, max, last, last_state)`
	if err := h.exec(ctx, &r.Five, `insert into statistics_5m `+columns+fmt.Sprintf(sums, "5 min", "5 min"), h.home, from, h.now, h.entities); err != nil {
		return err
	}
	return h.year(ctx, r, `insert into statistics_1h `+columns+fmt.Sprintf(sums, "1 hour", "1 hour"))
}

// year loads the hourly statistics, whose index it takes away meanwhile.
func (h *house) year(ctx context.Context, r *report, insert string) error {
	var index, definition string
	if err := h.conn.QueryRow(ctx, `
		select conname, pg_get_constraintdef(oid) from pg_constraint where conrelid = 'statistics_1h'::regclass and contype = 'p'`).
		Scan(&index, &definition); err != nil {
		return err
	}
	if err := h.exec(ctx, nil, `alter table statistics_1h drop constraint `+index); err != nil {
		return err
	}
	if err := h.exec(ctx, &r.Hourly, insert, h.home, h.now.AddDate(-1, 0, 0), h.now, h.entities); err != nil {
		return err
	}
	if err := h.exec(ctx, nil, `alter table statistics_1h add constraint `+index+` `+definition); err != nil {
		return err
	}
	if err := h.exec(ctx, nil, `commit`); err != nil {
		return err
	}
	// What autovacuum does in the course of a year.
	for _, table := range []string{"statistics_1h", "statistics_5m", "history", "history_entity"} {
		if err := h.exec(ctx, nil, `vacuum analyze `+table); err != nil {
			return err
		}
	}
	return h.exec(ctx, nil, `checkpoint`)
}

func (h *house) exec(ctx context.Context, rows *int64, sql string, args ...any) error {
	tag, err := h.conn.Exec(ctx, sql, args...)
	if err == nil && rows != nil {
		*rows = tag.RowsAffected()
	}
	return err
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
	oldest := h.now.Truncate(day).Add(-9 * day)
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
