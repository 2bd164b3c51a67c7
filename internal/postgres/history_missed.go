package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/concord-home/concord"
)

const (
	// askMargin is how far before the last change that was heard the home's own
	// history is asked: homes send a little out of order.
	askMargin = time.Minute
	// historyEnds is added to the end of a question, because homes leave the end out.
	historyEnds = time.Microsecond
	// askUnnamed is how long a question waits for the registry, which says what was
	// renamed meanwhile: see dueBackfills. A home may refuse to show it.
	askUnnamed = time.Minute
)

// WriteStates implements [concord.Store].
func (db *DB) WriteStates(ctx context.Context, home int64, records []concord.Record, seq uint64) (concord.EventCounts, error) {
	good, bad := db.past(home).separate(records)
	w := &eventsWrite{db: db, home: home, seq: seq, bad: bad, records: good, past: db.past(home), states: true}
	if err := w.past.load(ctx, db, home); err != nil {
		return concord.EventCounts{}, classify(err)
	}
	heard, err := w.past.heardUntil(ctx, db, home)
	if err != nil {
		return concord.EventCounts{}, classify(err)
	}
	if len(good) > 0 && !heard.Before(good[0].State.Position) { // a repeated message: what came after them is written
		return concord.EventCounts{Stale: len(good)}, db.SetSpoolPosition(ctx, home, seq)
	}
	if err := db.followClock(ctx, home, good); err != nil {
		return concord.EventCounts{}, err
	}
	counts, err := w.write(ctx, 0, len(good), true)
	if err != nil || counts.Skipped {
		w.past.doubtStored()
	}
	return counts, err
}

// followClock begins an epoch of the home's clock when a state that was not heard
// lies before what was: it was set back in between. What the home's history answers
// and what is heard next are then of one epoch. Old states that are known prove
// nothing: a message may hold no others, and the entity that was heard last may be
// gone. The states of a connection may come in several messages: one epoch begins.
func (db *DB) followClock(ctx context.Context, home int64, states []concord.Record) error {
	c := columnsOf(states)
	return db.write(ctx, "state_changed", func(ctx context.Context, tx pgx.Tx) error {
		if err := db.leads(ctx, tx, home); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			with stepped as (
				select max(g.last_updated) as last_updated
				from unnest($2::text[], $3::timestamptz[], $4::bigint[], $5::bigint[]) as g (entity_id, last_updated, epoch, seq)
				join entity_state o on o.home_id = $1 and o.entity_id = g.entity_id
				where g.last_updated < (select away_from - make_interval(secs => $6) from spool_position where home_id = $1)
				  and o.last_updated <> g.last_updated and (o.epoch, o.seq) < (g.epoch, g.seq))
			update spool_position p
			set clock_epoch = clock_epoch + 1, clock_time = s.last_updated
			from stepped s
			where p.home_id = $1 and s.last_updated is not null and p.clock_time >= p.away_from`,
			home, c.ids, c.updated, c.epochs, c.seqs, clockSlack.Seconds())
		return err
	})
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// OpenConnection implements [concord.Store]. The time away goes on when the
// connection before ended before its reconciliation: not all was asked of it yet.
func (db *DB) OpenConnection(ctx context.Context, home int64, seq uint64) error {
	return db.write(ctx, "state_changed", func(ctx context.Context, tx pgx.Tx) error {
		if err := db.leads(ctx, tx, home); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			insert into spool_position as p (home_id, seq, away_open)
			values ($1, $2, true)
			on conflict (home_id) do update
			set seq = excluded.seq, updated_at = now(), away_open = true, lost_from = null,
			    away_since = case when p.away_open then p.away_since when p.seq > 0 then p.updated_at end,
			    away_from = coalesce(case when p.away_open then p.away_from end, p.lost_from, p.clock_time),
			    away_lost = p.lost_from is not null or p.away_open and p.away_lost
			where p.seq < excluded.seq`, home, int64(seq)) //nolint:gosec // JetStream counts from the clock in µs
		return err
	})
}

// closeAway notes that all that was missed before a connection is to be asked. Its
// states, of which a home that is starting has some later than others change, do not
// say so.
func closeAway(ctx context.Context, tx pgx.Tx, home int64) error {
	_, err := tx.Exec(ctx, `update spool_position set away_open = false where home_id = $1 and away_open`, home)
	return err
}

// LoseMessage implements [concord.Store].
func (db *DB) LoseMessage(ctx context.Context, home int64, message concord.BadRecord, seq uint64) error {
	return db.write(ctx, "state_changed", func(ctx context.Context, tx pgx.Tx) error {
		if err := db.leads(ctx, tx, home); err != nil {
			return err
		}
		if err := quarantine(ctx, tx, home, message); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			insert into spool_position as p (home_id, seq)
			values ($1, $2)
			on conflict (home_id) do update
			set seq = excluded.seq, updated_at = now(),
			    lost_from = coalesce(p.lost_from, p.clock_time, (select max(last_updated) from entity_state where home_id = $1))
			where p.seq < excluded.seq`, home, int64(seq)) //nolint:gosec // JetStream counts from the clock in µs
		return err
	})
}

// missedWrite stores what a snapshot proves, and notes what has to be asked of
// the home's own history.
type missedWrite struct {
	home    int64
	past    *pastHome
	opening bool // the states are those that a connection begins with
}

type missedState struct {
	Index int
	Known bool       // the entity has history
	Old   *time.Time // its last change in the database; nil when it is not there
}

// write stores the states that the database has not seen. The rows of
// entity_state are written afterwards, by the caller.
func (m *missedWrite) write(ctx context.Context, tx pgx.Tx, records []concord.Record) (remember func(), err error) {
	if m.opening {
		if err := m.askLost(ctx, tx, records); err != nil {
			return nil, err
		}
	}
	missed, err := findMissed(ctx, tx, m.home, records)
	if err != nil || len(missed) == 0 {
		return func() {}, err
	}
	states := make([]concord.Record, len(missed))
	for i, s := range missed {
		states[i] = records[s.Index]
	}
	rows, _ := m.past.historyOf(states)
	at, err := awayOf(ctx, tx, m.home)
	if err != nil {
		return nil, err
	}
	rows.setEpoch(at.epoch)
	_, stored, err := m.past.insertHistory(ctx, tx, m.home, rows, sourceSnapshot)
	if err != nil {
		return nil, err
	}
	return func() { stored(); m.past.note(rows, true) }, at.ask(ctx, tx, m.home, rows, missed)
}

// askLost notes what is to be asked after a message was lost: of entities that are
// as they were heard last, what they did between the loss and that. Of the others
// it is asked in any case.
func (m *missedWrite) askLost(ctx context.Context, tx pgx.Tx, records []concord.Record) error {
	c := columnsOf(records)
	rows, err := tx.Query(ctx, `
		select o.entity_id, o.last_updated, p.away_from
		from spool_position p
		join entity_state o on o.home_id = p.home_id and o.last_updated > p.away_from
		join unnest($2::text[], $3::timestamptz[]) as g (entity_id, last_updated) on g.entity_id = o.entity_id and g.last_updated = o.last_updated
		where p.home_id = $1 and p.away_lost
		order by o.entity_id`, m.home, c.ids, c.updated)
	if err != nil {
		return err
	}
	var all []question
	var id string
	var last, from time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &last, &from}, func() error {
		at := last
		all = append(all, question{id: id, key: m.past.keyOf(id), from: from.Add(-askMargin), to: at.Add(historyEnds), known: true, last: &at})
		return nil
	})
	if err != nil || len(all) == 0 {
		return err
	}
	return noteQuestions(ctx, tx, m.home, all)
}

// findMissed compares states with the rows of the entities.
func findMissed(ctx context.Context, tx pgx.Tx, home int64, records []concord.Record) ([]missedState, error) {
	c := columnsOf(records)
	rows, err := tx.Query(ctx, `
		select g.i - 1, exists (
		           select from history_entity e
		           cross join lateral (select from history where home_id = $1 and entity_key = e.entity_key limit 1) h
		           where e.home_id = $1 and e.entity_id = g.entity_id),
		       o.last_updated
		from unnest($2::text[], $3::timestamptz[], $4::bigint[], $5::bigint[]) with ordinality as g (entity_id, last_updated, epoch, seq, i)
		left join entity_state o on o.home_id = $1 and o.entity_id = g.entity_id
		where o.entity_id is null or o.last_updated <> g.last_updated and (o.epoch, o.seq) < (g.epoch, g.seq)
		order by g.i`, home, c.ids, c.updated, c.epochs, c.seqs)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[missedState])
}

// away is the time that was missed.
type away struct {
	epoch int32
	from  *time.Time // nil when the home was never heard before; without a change yet, the newest state counts
	long  time.Duration
	now   time.Time // Concord's
}

func awayOf(ctx context.Context, tx pgx.Tx, home int64) (away, error) {
	var a away
	var seconds float64
	rows, err := tx.Query(ctx, `
		select clock_epoch, coalesce(away_from, (select max(last_updated) from entity_state where home_id = $1)),
		       coalesce(extract(epoch from now() - away_since), 0)::double precision, now()
		from spool_position
		where home_id = $1`, home)
	if err != nil {
		return a, err
	}
	_, err = pgx.ForEachRow(rows, []any{&a.epoch, &a.from, &seconds, &a.now}, func() error { return nil })
	a.long = time.Duration(seconds * float64(time.Second))
	return a, err
}

// until is the latest that the home's clock can have shown in the time away, had
// it not been set back.
func (a away) until() time.Time { return later(a.from.Add(a.long), a.now) }

// follows tells whether the time away came after a change that was heard, by the
// home's clock too. It does not when that was set back since, or when the time away
// begins with a lost message.
func (a away) follows(heard time.Time) bool { return !heard.After(*a.from) }

// question is a time that the home's history is asked for.
type question struct {
	id       string
	key      int64
	from, to time.Time
	known    bool // the entity was known before
	heard    *time.Time
	last     *time.Time
}

// ask notes that the home's history is to be asked for what lies between the
// last change that was heard and the states.
func (a away) ask(ctx context.Context, tx pgx.Tx, home int64, rows *historyRows, missed []missedState) error {
	if a.from == nil {
		return nil
	}
	var newest time.Time
	for _, at := range rows.updated {
		newest = later(newest, at)
	}
	// When the states lie behind what the clock must show by now, either little
	// happened or it was set back meanwhile.
	behind := newest.Before(a.until().Add(-clockSlack))
	from := a.from.Add(-askMargin)
	if back := newest.Add(-a.long - askMargin); behind && back.Before(from) {
		from = back
	}
	var all []question
	for i, m := range missed {
		q := question{id: rows.ids[i], key: rows.keys[i], from: from, to: rows.updated[i].Add(historyEnds), known: m.Known || m.Old != nil, heard: m.Old, last: &rows.updated[i]}
		if at := rows.updated[i]; at.Before(from) {
			q.from = at.Add(-askMargin)
		} else if m.Old != nil && m.Old.After(from) && a.follows(*m.Old) && m.Old.Before(q.to) && !behind {
			q.from = m.Old.Add(historyEnds)
		}
		all = append(all, q)
		if behind && q.to.Before(a.until()) {
			all = append(all, question{id: q.id, key: q.key, from: q.last.Add(-historyEnds), to: a.until(), known: true, heard: m.Old, last: q.last})
		}
	}
	return noteQuestions(ctx, tx, home, all)
}

func noteQuestions(ctx context.Context, tx pgx.Tx, home int64, all []question) error {
	var ids []string
	var keys []int64
	var froms, tos []time.Time
	var known []bool
	var heard, last []*time.Time
	for _, q := range all {
		ids, keys, froms, tos = append(ids, q.id), append(keys, q.key), append(froms, q.from), append(tos, q.to)
		known, heard, last = append(known, q.known), append(heard, q.heard), append(last, q.last)
	}
	_, err := tx.Exec(ctx, `
		insert into backfill (home_id, entity_id, entity_key, from_time, to_time, known, heard_time, last_time, due_at)
		select $1, g.*, now() + make_interval(secs => $9)
		from unnest($2::text[], $3::bigint[], $4::timestamptz[], $5::timestamptz[], $6::boolean[], $7::timestamptz[], $8::timestamptz[]) as g`,
		home, ids, keys, froms, tos, known, heard, last, askUnnamed.Seconds())
	return err
}

// dueBackfills has the home asked: after a registry was written, entities have
// the numbers and the names that they have in the home. Before that the past of
// one that was renamed unheard would be stored twice, under its number from
// before and under that of its new name.
func dueBackfills(ctx context.Context, tx pgx.Tx, home int64) error {
	if err := recognize(ctx, tx, home); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `update backfill set due_at = now() where home_id = $1 and attempts = 0 and due_at > now()`, home)
	return err
}

// recognize completes the questions of entities that were renamed unheard: by their
// new names they were not known.
func recognize(ctx context.Context, tx pgx.Tx, home int64) error {
	_, err := tx.Exec(ctx, `
		with heard as (
			select distinct on (b.backfill_id) b.backfill_id, h.last_updated
			from backfill b
			join spool_position p on p.home_id = $1
			join history_entity e on e.home_id = $1 and e.entity_id = `+askedAs+`
			cross join lateral (
				select clock_epoch, last_updated from history
				where home_id = $1 and entity_key = e.entity_key and (clock_epoch, last_updated) < (p.clock_epoch, b.last_time)
				order by clock_epoch desc, last_updated desc
				limit 1) h
			where b.home_id = $1 and b.heard_time is null and b.attempts = 0 and b.due_at > now()
			order by b.backfill_id, h.clock_epoch desc, h.last_updated desc)
		update backfill b
		set known = true, heard_time = h.last_updated
		from heard h
		where b.home_id = $1 and b.backfill_id = h.backfill_id`, home)
	return err
}

type goneEntity struct {
	ID      string
	Updated time.Time
}

// writeGone notes that entities went away unheard: what they did since Concord
// stopped listening is asked, though most homes forget them. What a deadband held
// back of them is stored.
func (m *missedWrite) writeGone(ctx context.Context, tx pgx.Tx, gone []goneEntity) (remember func(), err error) {
	if len(gone) == 0 {
		return func() {}, nil
	}
	at, err := awayOf(ctx, tx, m.home)
	if err != nil {
		return nil, err
	}
	held, forget := m.past.heldOf(gone)
	rows, _ := m.past.historyOf(held)
	rows.setEpoch(at.epoch)
	_, stored, err := m.past.insertHistory(ctx, tx, m.home, rows, sourceLive)
	if err != nil {
		return nil, err
	}
	remember = func() { stored(); forget() }
	if at.from == nil {
		return remember, nil
	}
	var all []question
	for _, g := range gone {
		if !m.past.has(g.ID) { // it has another name, by which it is asked
			continue
		}
		from := at.from.Add(-askMargin)
		if at.follows(g.Updated) {
			from = later(from, g.Updated.Add(historyEnds))
		}
		// What was heard last may have been written late, so that the time away seems shorter than it was.
		all = append(all, question{id: g.ID, key: m.past.keyOf(g.ID), from: from, to: at.until().Add(askMargin), known: true, heard: &g.Updated})
	}
	return remember, noteQuestions(ctx, tx, m.home, all)
}
