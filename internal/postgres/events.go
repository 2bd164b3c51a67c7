package postgres

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/pgretry"
)

// SpoolPosition implements [concord.Store].
func (db *DB) SpoolPosition(ctx context.Context, home int64) (uint64, error) {
	position, err := positionOf(ctx, db.pool, home)
	if err != nil {
		return 0, classify(err)
	}
	return position.seq, nil
}

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// position is how far a home is written.
type position struct {
	seq   uint64
	clock homeClock
	term  int64
	heard concord.Position // of the last change that is written
}

func positionOf(ctx context.Context, q querier, home int64) (position, error) {
	var p position
	var seq int64
	var at *time.Time
	err := q.QueryRow(ctx, `
		select seq, clock_epoch, clock_time, term, heard_epoch, heard_seq
		from spool_position
		where home_id = $1`, home).Scan(&seq, &p.clock.epoch, &at, &p.term, &p.heard.Epoch, &p.heard.Seq)
	if errors.Is(err, pgx.ErrNoRows) {
		return p, nil
	}
	p.seq = uint64(seq) //nolint:gosec // written by setPosition
	if at != nil {
		p.clock.time = *at
	}
	return p, err
}

// SetSpoolPosition implements [concord.Store].
func (db *DB) SetSpoolPosition(ctx context.Context, home int64, seq uint64) error {
	return db.write(ctx, "state_changed", func(ctx context.Context, tx pgx.Tx) error {
		if err := db.leads(ctx, tx, home); err != nil {
			return err
		}
		return setPosition(ctx, tx, home, seq)
	})
}

func setPosition(ctx context.Context, tx pgx.Tx, home int64, seq uint64) error {
	_, err := tx.Exec(ctx, `
		insert into spool_position as p (home_id, seq)
		values ($1, $2)
		on conflict (home_id) do update set seq = excluded.seq, updated_at = now()
		where p.seq < excluded.seq`, home, int64(seq)) //nolint:gosec // JetStream counts from the clock in µs
	return err
}

// setPositionAndClock follows changes, or the states that a connection begins with.
func setPositionAndClock(ctx context.Context, tx pgx.Tx, home int64, to position) error {
	var clock *time.Time // nil until the first change
	if !to.clock.time.IsZero() {
		clock = &to.clock.time
	}
	_, err := tx.Exec(ctx, `
		insert into spool_position as p (home_id, seq, clock_epoch, clock_time, heard_epoch, heard_seq)
		values ($1, $2, $3, $4, $5, $6)
		on conflict (home_id) do update
		set seq = excluded.seq, updated_at = now(), clock_epoch = excluded.clock_epoch, clock_time = excluded.clock_time,
		    heard_epoch = excluded.heard_epoch, heard_seq = excluded.heard_seq
		where p.seq <= excluded.seq`, home, int64(to.seq), to.clock.epoch, clock, to.heard.Epoch, to.heard.Seq) //nolint:gosec // as above
	return err
}

// WriteEvents implements [concord.Store]. All good records go in a few
// statements; when PostgreSQL refuses one for a reason that lies in the data, the
// transaction runs again with a savepoint a record, so that only the bad ones
// are left out. When conflicts outlive the first attempts the batch is halved:
// a transaction of one row holds no lock that another could wait for, so even a
// storm of deadlocks lets it through.
func (db *DB) WriteEvents(ctx context.Context, home int64, records []concord.Record, seq uint64) (concord.EventCounts, error) {
	w := eventsWrite{db: db, home: home, seq: seq, past: db.past(home)}
	if err := w.past.load(ctx, db, home); err != nil {
		return concord.EventCounts{}, classify(err)
	}
	before, err := w.past.heardUntil(ctx, db, home)
	if err != nil {
		return concord.EventCounts{}, classify(err)
	}
	fresh, heard := before.fresh(records)
	w.heard, w.until = before.Position, heard.Position
	w.records, w.bad = w.past.separate(fresh)
	rows, index := w.past.historyOf(w.records)
	kept, held, remember := w.past.sift(w.records, rows, index)
	w.rows, w.index, w.names = kept, index, rows.names
	db.ensurePartitions(ctx, w.rows.updated)
	counts, err := w.write(ctx, 0, len(w.records), true)
	if err != nil || counts.Skipped {
		w.past.doubtStored()
		w.past.forgetKeys() // names that are followed again must not be known
		return counts, err
	}
	if len(w.names) > 0 { // others, that did not know, may have loaded meanwhile
		w.past.forgetKeys()
	}
	remember()
	w.past.setHeard(heard)
	counts.Held = held
	counts.Stale += len(records) - len(fresh)
	return counts, nil
}

// splitAfter is how many attempts several rows get together.
const splitAfter = 3

// attempts of a transaction of n rows.
func attempts(n int) []pgretry.Option {
	if n <= 1 {
		return nil
	}
	return []pgretry.Option{pgretry.WithMaxAttempts(splitAfter)}
}

type eventsWrite struct {
	db      *DB
	home    int64
	seq     uint64
	bad     []concord.BadRecord
	records []concord.Record
	rows    *historyRows
	index   []int // of each record in rows; -1 for none
	names   []naming
	past    *pastHome
	states  bool             // records are states that the home has, not changes
	heard   concord.Position // of the last change that is written
	until   concord.Position // of the last change that was given
}

// write commits records [from, to). Each part takes along how far the changes
// are then written, so that none is written again should Concord end between
// two; the first takes the bad records, the final one the position in the spool.
func (w *eventsWrite) write(ctx context.Context, from, to int, final bool) (concord.EventCounts, error) {
	together := w.applyTogether
	if w.states {
		together = w.applyStates
	}
	counts, err := w.transact(ctx, from, to, final, together)
	if isDuplicate(err) { // copied: now each row is looked for
		counts, err = w.transact(ctx, from, to, final, together)
	}
	if refusesData(err) {
		counts, err = w.transact(ctx, from, to, final, oneByOne(w, together))
	}
	if concord.ErrorCode(err) != concord.CodeConflict || to-from < 2 {
		return counts, err
	}
	half := from + (to-from)/2
	if counts, err = w.write(ctx, from, half, false); err != nil {
		return counts, err
	}
	rest, err := w.write(ctx, half, to, final)
	rest.Add(counts)
	return rest, err
}

type applyFunc func(ctx context.Context, tx pgx.Tx, from, to int) (counts concord.EventCounts, remember func(), err error)

func (w *eventsWrite) transact(ctx context.Context, from, to int, final bool, apply applyFunc) (concord.EventCounts, error) {
	var counts concord.EventCounts
	until := w.until
	if !final {
		until = w.heardIn(to)
	}
	remember := func() {}
	err := w.db.write(ctx, "state_changed", func(ctx context.Context, tx pgx.Tx) error {
		counts, remember = concord.EventCounts{}, func() {}
		at, err := positionOf(ctx, tx, w.home)
		if err != nil {
			return err
		}
		if err := w.db.deposed(w.home, at.term); err != nil {
			return err
		}
		if at.seq >= w.seq { // another instance, or an earlier try whose answer was lost
			counts.Skipped = true
			return nil
		}
		if !w.states {
			if at.heard != w.heard {
				return errWritesToo
			}
			at.heard = until
			at.clock.follow(w.rowsOf(from, to))
		}
		if counts, remember, err = apply(ctx, tx, from, to); err != nil {
			return err
		}
		if from == 0 {
			counts.Failed += len(w.bad)
			if err := quarantineAll(ctx, tx, w.home, w.bad); err != nil {
				return err
			}
		}
		if final {
			at.seq = w.seq
		}
		return setPositionAndClock(ctx, tx, w.home, at)
	}, attempts(to-from)...)
	if err != nil || counts.Skipped { // what is stored, is not known
		w.past.doubt()
		w.past.setHeard(heardUntil{})
		return counts, err
	}
	w.heard = until
	remember()
	return counts, nil
}

// heardIn is the place of the last of records [0, to) that has one.
func (w *eventsWrite) heardIn(to int) concord.Position {
	at := w.heard
	for _, r := range w.records[:to] {
		if r.State.Position.Seq > 0 {
			at = r.State.Position
		}
	}
	return at
}

// errWritesToo says that somebody wrote the home's changes since this process
// looked how far they are written. It looks again.
var errWritesToo = concord.Errorf(concord.CodeUnavailable, "another Concord writes this home, too")

// rowsOf returns the history rows of records [from, to).
func (w *eventsWrite) rowsOf(from, to int) *historyRows {
	first, last := -1, -1
	for i := from; i < to; i++ {
		if w.index[i] < 0 {
			continue
		}
		if first < 0 {
			first = w.index[i]
		}
		last = w.index[i]
	}
	if first < 0 {
		return &historyRows{}
	}
	return w.rows.part(first, last+1)
}

func (w *eventsWrite) applyTogether(ctx context.Context, tx pgx.Tx, from, to int) (concord.EventCounts, func(), error) {
	counts, err := applyRecords(ctx, tx, w.home, w.records[from:to])
	if err != nil {
		return counts, nil, err
	}
	stored, remember, err := w.past.appendHistory(ctx, tx, w.home, w.rowsOf(from, to))
	counts.Stored = stored
	if err != nil {
		return counts, nil, err
	}
	for _, n := range w.names {
		if n.record < from || n.record >= to {
			continue
		}
		if err := n.write(ctx, tx, w.home, w.db.days.keep); err != nil {
			return counts, nil, err
		}
	}
	return counts, remember, nil
}

// applyStates stores the states that the database has not seen, and notes what
// was missed before them.
func (w *eventsWrite) applyStates(ctx context.Context, tx pgx.Tx, from, to int) (concord.EventCounts, func(), error) {
	m := &missedWrite{home: w.home, past: w.past, opening: true}
	remember, err := m.write(ctx, tx, w.records[from:to])
	if err != nil {
		return concord.EventCounts{}, nil, err
	}
	var c concord.StageCounts
	if err := syncStates(ctx, tx, w.home, w.records[from:to], &c); err != nil {
		return concord.EventCounts{}, nil, err
	}
	return concord.EventCounts{Applied: c.Created + c.Updated, Stale: c.Unchanged}, remember, nil
}

func oneByOne(w *eventsWrite, apply applyFunc) applyFunc {
	return func(ctx context.Context, tx pgx.Tx, from, to int) (concord.EventCounts, func(), error) {
		return w.applyOneByOne(ctx, tx, from, to, apply)
	}
}

// applyOneByOne is the slow way for data that PostgreSQL refused and
// [whyBad] did not foresee. A savepoint isolates the refused record; a conflict
// is not cured by one and goes up.
func (w *eventsWrite) applyOneByOne(ctx context.Context, tx pgx.Tx, from, to int, apply applyFunc) (concord.EventCounts, func(), error) {
	var total concord.EventCounts
	var commits []func()
	for i := from; i < to; i++ {
		var counts concord.EventCounts
		err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) (err error) {
			var remember func()
			if counts, remember, err = apply(ctx, tx, i, i+1); err == nil {
				commits = append(commits, remember)
			}
			return err
		})
		if refusesData(err) {
			pgErr, _ := errors.AsType[*pgconn.PgError](err)
			err = quarantine(ctx, tx, w.home, badRecord(w.records[i], pgErr.Message, pgErr.Code))
			counts = concord.EventCounts{Failed: 1}
		}
		if err != nil {
			return total, nil, err
		}
		total.Add(counts)
	}
	return total, func() {
		for _, remember := range commits {
			remember()
		}
	}, nil
}

// separate takes out the records that can never be written. Attributes that are
// in the database already need no look: they cost more than all else of a record.
func (p *pastHome) separate(records []concord.Record) (good []concord.Record, bad []concord.BadRecord) {
	good = records
	for i, r := range records {
		reason := whyBadText(r)
		if reason == "" && r.HasState() && !p.stores(r.State.Attributes) {
			reason = whyBadJSON(r.State.Attributes)
		}
		if reason == "" {
			if len(bad) > 0 {
				good = append(good, r)
			}
			continue
		}
		if len(bad) == 0 {
			good = append(make([]concord.Record, 0, len(records)), records[:i]...)
		}
		bad = append(bad, badRecord(r, reason, ""))
	}
	return good, bad
}

// refusesData tells a data exception (class 22) or a violated constraint (23)
// from everything that is not the fault of a record.
func refusesData(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pgErr.Code[:2] == "22" || pgErr.Code[:2] == "23")
}

// applyRecords brings each row to the last of its records.
func applyRecords(ctx context.Context, tx pgx.Tx, home int64, records []concord.Record) (concord.EventCounts, error) {
	last := make(map[string]int, len(records))
	for i, r := range records {
		if r.RenamedFrom == "" {
			last[r.State.EntityID] = i
		}
	}
	var changed columns
	var removed []concord.Record
	for i, r := range records {
		switch {
		case r.RenamedFrom != "":
		case last[r.State.EntityID] != i:
		case r.Removed:
			removed = append(removed, r)
		default:
			changed.append(r.State)
		}
	}
	counts := concord.EventCounts{}
	written, err := upsertStates(ctx, tx, home, &changed)
	if err != nil {
		return counts, err
	}
	gone, err := deleteStates(ctx, tx, home, removed)
	counts.Applied = written + gone
	counts.Stale = len(last) - counts.Applied
	return counts, err
}

// columns are states as the arrays that unnest wants.
type columns struct {
	ids, states, attributes, contexts []string
	changed, updated                  []time.Time
	epochs, seqs                      []int64
}

func columnsOf(records []concord.Record) *columns {
	var c columns
	for _, r := range records {
		c.append(r.State)
	}
	return &c
}

func (c *columns) append(s *concord.State) {
	c.ids = append(c.ids, s.EntityID)
	c.states = append(c.states, s.State)
	c.attributes = append(c.attributes, string(s.Attributes))
	c.contexts = append(c.contexts, s.Context.ID)
	c.changed = append(c.changed, s.LastChanged)
	c.updated = append(c.updated, s.LastUpdated)
	c.epochs = append(c.epochs, s.Position.Epoch)
	c.seqs = append(c.seqs, s.Position.Seq)
}

// UpsertStatesSQL brings rows up to date that are older than what is given.
// Benchmarks run it by hand, as [CopyHistory].
const UpsertStatesSQL = `
	insert into entity_state as s
	       (home_id, entity_id, state, attributes, last_changed, last_updated, context_id, epoch, seq)
	select $1, e.*
	from unnest($2::text[], $3::text[], $4::jsonb[], $5::timestamptz[], $6::timestamptz[], $7::text[], $8::bigint[], $9::bigint[])
	  as e (entity_id, state, attributes, last_changed, last_updated, context_id, epoch, seq)
	order by e.entity_id
	on conflict (home_id, entity_id) do update
	set state = excluded.state, attributes = excluded.attributes, last_changed = excluded.last_changed,
	    last_updated = excluded.last_updated, context_id = excluded.context_id,
	    epoch = excluded.epoch, seq = excluded.seq
	where (s.epoch, s.seq) < (excluded.epoch, excluded.seq)`

// upsertStates writes the rows that are older than what is given, ordered by
// entity id so that two writers take the locks in the same order.
func upsertStates(ctx context.Context, tx pgx.Tx, home int64, c *columns) (int, error) {
	if len(c.ids) == 0 {
		return 0, nil
	}
	tag, err := tx.Exec(ctx, UpsertStatesSQL,
		home, c.ids, c.states, c.attributes, c.changed, c.updated, c.contexts, c.epochs, c.seqs)
	return int(tag.RowsAffected()), err
}

func deleteStates(ctx context.Context, tx pgx.Tx, home int64, removed []concord.Record) (int, error) {
	if len(removed) == 0 {
		return 0, nil
	}
	c := columnsOf(removed)
	tag, err := tx.Exec(ctx, `
		delete from entity_state s
		using unnest($2::text[], $3::bigint[], $4::bigint[]) as e (entity_id, epoch, seq)
		where s.home_id = $1 and s.entity_id = e.entity_id and (s.epoch, s.seq) < (e.epoch, e.seq)`,
		home, c.ids, c.epochs, c.seqs)
	return int(tag.RowsAffected()), err
}

// cutID is what the record keeps of an over-long entity id, in bytes.
const cutID = 4096

// badRecord keeps a record as text that a person can read and a program can
// replay. An entity id that no table takes is named by what resembles it; the
// record has the true one.
func badRecord(r concord.Record, reason, sqlstate string) concord.BadRecord {
	id := r.State.EntityID
	if badText(id) {
		id = "\\x" + hex.EncodeToString([]byte(id))
	}
	if len(id) > maxID {
		id = id[:maxID]
	}
	s := r.State
	record := fmt.Appendf(nil, "state=%q attributes=%q last_changed=%s last_updated=%s context=%q",
		s.State, s.Attributes, s.LastChanged.Format(time.RFC3339Nano), s.LastUpdated.Format(time.RFC3339Nano), s.Context.ID)
	identity := len(record) // without the position, which each reconciliation gives anew
	record = fmt.Appendf(record, " epoch=%d seq=%d removed=%t", s.Position.Epoch, s.Position.Seq, r.Removed)
	record = fmt.Appendf(record, " entity=%q parent=%q user=%q", s.EntityID[:min(len(s.EntityID), cutID)], s.Context.ParentID, s.Context.UserID)
	return concord.BadRecord{EntityID: id, Reason: reason, SQLState: sqlstate, Record: record, Identity: record[:identity]}
}
