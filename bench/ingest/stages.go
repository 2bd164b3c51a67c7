package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/hass"
	"github.com/concord-home/concord/internal/postgres"
)

// batch is the changes of a transaction and of a message, as under load.
const batch = 5_000

type stage struct {
	Name      string  `json:"name"`
	PerSecond float64 `json:"per_second"`
}

// changes makes n changes of the home's entities, in order of time.
func (s *system) changes(n int, seq int64) []concord.Record {
	states := s.Home.States()
	at := time.Now().UTC().Truncate(time.Microsecond)
	records := make([]concord.Record, n)
	for i := range records {
		h := states[i%len(states)]
		t := at.Add(time.Duration(i-n) * time.Microsecond)
		records[i].State = &concord.State{
			EntityID: h.EntityID, State: fmt.Sprint(i % 997), Attributes: h.Attributes, LastChanged: t, LastUpdated: t,
			Context: concord.EventContext{ID: h.Context.ID}, Position: concord.Position{Epoch: 1 << 60, Seq: seq + int64(i)},
		}
	}
	return records
}

// stages measures each stage with nothing else running.
func (s *system) stages(ctx context.Context, length time.Duration) ([]stage, error) {
	other, err := s.Store.DB.EnsureHome(ctx, "stages", "ws://stages")
	if err != nil {
		return nil, err
	}
	decode, err := s.decode(length)
	if err != nil {
		return nil, err
	}
	var last uint64
	publish, err := rate(length, func(int) error {
		seq, err := s.Bus.Publish(ctx, &concord.Batch{Kind: concord.BatchEvents, HomeID: other.ID, Epoch: 1, Records: s.changes(batch, 0)})
		last = seq
		return err
	})
	if err != nil {
		return nil, err
	}
	consume, err := s.consume(ctx, length, other.ID, last)
	if err != nil {
		return nil, err
	}
	write, err := rate(length, func(n int) error {
		_, err := s.Store.DB.WriteEvents(ctx, other.ID, s.changes(batch, int64(n*batch)), uint64(n+1)) //nolint:gosec // small
		return err
	})
	return []stage{{"decode frames", decode}, {"publish, fsync", publish}, {"consume", consume}, {"write rows, fsync", write}}, err
}

// rate runs fn, which handles a batch, for that long.
func rate(length time.Duration, fn func(n int) error) (float64, error) {
	begin := time.Now()
	for n := 0; ; n++ {
		if took := time.Since(begin); took > length {
			return float64(n*batch) / took.Seconds(), nil
		}
		if err := fn(n); err != nil {
			return 0, err
		}
	}
}

// decode reads events of one change each, in the compressed form.
func (s *system) decode(length time.Duration) (float64, error) {
	var frames [][]byte
	for i, h := range s.Home.States() {
		frames = append(frames, fmt.Appendf(nil, `{"c":{%q:{"+":{"s":"%d","lc":%d.25,"c":"01J0000000000000000000000"}}}}`, h.EntityID, i, 1_700_000_000+i))
	}
	var table hass.Table
	for _, h := range s.Home.States() {
		table.Put(h)
	}
	var event hass.EntitiesEvent
	return rate(length, func(int) error {
		for i := range batch {
			if err := event.Decode(frames[i%len(frames)]); err != nil {
				return err
			}
			if err := table.Apply(&event, func(_, _ *hass.State) {}); err != nil {
				return err
			}
		}
		return nil
	})
}

// consume reads all that was published, for that long and three times at least,
// and returns the median: one reading takes a fraction of a second, which what
// publishing left to the garbage collector may multiply.
func (s *system) consume(ctx context.Context, length time.Duration, home int64, last uint64) (float64, error) {
	var rates []float64
	for begin := time.Now(); len(rates) < 3 || time.Since(begin) < length; {
		one, err := s.consumeOnce(ctx, home, last)
		if err != nil {
			return 0, err
		}
		rates = append(rates, one)
	}
	slices.Sort(rates)
	return rates[len(rates)/2], s.Bus.Discard(ctx, home, last)
}

func (s *system) consumeOnce(ctx context.Context, home int64, last uint64) (float64, error) {
	begin := time.Now()
	reader, err := s.Bus.Consume(ctx, home, 0)
	if err != nil {
		return 0, err
	}
	defer reader.Close()
	for n := 0; ; {
		batches, err := reader.Next(ctx, batch)
		if err != nil {
			return 0, err
		}
		for _, b := range batches {
			n += len(b.Records)
			if b.Seq == last {
				return float64(n) / time.Since(begin).Seconds(), nil
			}
		}
	}
}

// raw writes with one connection of plain pgx what the writer writes, with the
// same statements and batches, all values being in memory.
func (s *system) raw(ctx context.Context, length time.Duration) (float64, error) {
	home, err := s.Store.DB.EnsureHome(ctx, "raw", "ws://raw")
	if err != nil {
		return 0, err
	}
	conn, err := pgx.Connect(ctx, s.Server.URL())
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	// Once as the writer does it, so that entities and attributes are there.
	at := time.Now().UnixMicro()
	if _, err := s.Store.DB.WriteEvents(ctx, home.ID, s.changes(batch, 0), uint64(at)); err != nil { //nolint:gosec // after 1970
		return 0, err
	}
	rows := newRows(s.changes(batch, 0), len(s.Home.States()))
	return rate(length, func(n int) error {
		rows.next(batch)
		return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
			return rows.write(ctx, tx, home.ID, at+int64(n)+1)
		})
	})
}

// rows are the arguments of the statements.
type rows struct {
	ids, states, attributes, contexts, empty []string
	keys, hashes, epochs, seqs               []int64
	times                                    []time.Time
	values                                   []pgtype.Float8
	clocks                                   []int32
	last                                     int // the last so many are the last of each entity
}

func newRows(records []concord.Record, entities int) *rows {
	r := &rows{last: min(entities, len(records))}
	for _, c := range records {
		s := c.State
		v, ok := postgres.Number(s.State)
		r.ids, r.states, r.attributes = append(r.ids, s.EntityID), append(r.states, s.State), append(r.attributes, string(s.Attributes))
		r.contexts, r.empty = append(r.contexts, s.Context.ID), append(r.empty, "")
		r.keys = append(r.keys, (*concord.Registry)(nil).EntityKey(s.EntityID))
		r.hashes, r.epochs, r.seqs = append(r.hashes, 1), append(r.epochs, 1<<60), append(r.seqs, s.Position.Seq)
		r.times, r.values, r.clocks = append(r.times, s.LastUpdated), append(r.values, pgtype.Float8{Float64: v, Valid: ok}), append(r.clocks, 0)
	}
	return r
}

// next makes the rows later ones.
func (r *rows) next(by int) {
	for i := range r.times {
		r.times[i] = r.times[i].Add(time.Duration(by) * time.Microsecond)
		r.seqs[i] += int64(by)
	}
}

func (r *rows) write(ctx context.Context, tx pgx.Tx, home, seq int64) error {
	var position int64
	if err := tx.QueryRow(ctx, `select seq from spool_position where home_id = $1`, home).Scan(&position); err != nil {
		return err
	}
	l := len(r.ids) - r.last
	if _, err := tx.Exec(ctx, postgres.UpsertStatesSQL, home, r.ids[l:], r.states[l:], r.attributes[l:], r.times[l:], r.times[l:],
		r.contexts[l:], r.epochs[l:], r.seqs[l:]); err != nil {
		return err
	}
	if _, err := postgres.CopyHistory(ctx, tx, home, 0, &postgres.HistoryColumns{
		Keys: r.keys, Updated: r.times, Changed: r.times, Values: r.values, Attributes: r.hashes, Clocks: r.clocks,
		States: r.states, Contexts: r.contexts, Parents: r.empty, Users: r.empty,
	}); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `update spool_position set seq = $2, updated_at = now() where home_id = $1`, home, seq)
	return err
}
