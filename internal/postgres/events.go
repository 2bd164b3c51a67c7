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
	position, err := spoolPosition(ctx, db.pool, home)
	if err != nil {
		return 0, classify(err)
	}
	return position, nil
}

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func spoolPosition(ctx context.Context, q querier, home int64) (uint64, error) {
	var seq int64
	err := q.QueryRow(ctx, `select seq from spool_position where home_id = $1`, home).Scan(&seq)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	return uint64(seq), err //nolint:gosec // written by setPosition
}

// SetSpoolPosition implements [concord.Store].
func (db *DB) SetSpoolPosition(ctx context.Context, home int64, seq uint64) error {
	return db.write(ctx, "state_changed", func(ctx context.Context, tx pgx.Tx) error {
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

// WriteEvents implements [concord.Store]. All good records go in one
// statement; when PostgreSQL refuses it for a reason that lies in the data, the
// transaction runs again with a savepoint a record, so that only the bad ones
// are left out. When conflicts outlive the first attempts the batch is halved:
// a transaction of one row holds no lock that another could wait for, so even a
// storm of deadlocks lets it through.
func (db *DB) WriteEvents(ctx context.Context, home int64, records []concord.Record, seq uint64) (concord.EventCounts, error) {
	good, bad := sift(records)
	w := eventsWrite{db: db, home: home, seq: seq, bad: bad}
	return w.write(ctx, good, true)
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
	db   *DB
	home int64
	seq  uint64
	bad  []concord.BadRecord
}

// write commits records. The final part takes the bad records and the position
// along; parts before it may be written again after a crash, which the guard of
// the rows makes harmless.
func (w *eventsWrite) write(ctx context.Context, records []concord.Record, final bool) (concord.EventCounts, error) {
	counts, err := w.transact(ctx, records, final, applyRecords)
	if refusesData(err) {
		counts, err = w.transact(ctx, records, final, applyOneByOne)
	}
	if concord.ErrorCode(err) != concord.CodeConflict || len(records) < 2 {
		return counts, err
	}
	half := len(records) / 2
	if counts, err = w.write(ctx, records[:half], false); err != nil {
		return counts, err
	}
	rest, err := w.write(ctx, records[half:], final)
	rest.Applied += counts.Applied
	rest.Stale += counts.Stale
	rest.Failed += counts.Failed
	return rest, err
}

type applyFunc func(ctx context.Context, tx pgx.Tx, home int64, records []concord.Record) (concord.EventCounts, error)

func (w *eventsWrite) transact(ctx context.Context, records []concord.Record, final bool, apply applyFunc) (concord.EventCounts, error) {
	var counts concord.EventCounts
	err := w.db.write(ctx, "state_changed", func(ctx context.Context, tx pgx.Tx) error {
		counts = concord.EventCounts{}
		position, err := spoolPosition(ctx, tx, w.home)
		if err != nil {
			return err
		}
		if position >= w.seq { // another instance, or an earlier try whose answer was lost
			counts.Skipped = true
			return nil
		}
		if counts, err = apply(ctx, tx, w.home, records); err != nil || !final {
			return err
		}
		for _, b := range w.bad {
			if err := quarantine(ctx, tx, w.home, b); err != nil {
				return err
			}
		}
		counts.Failed += len(w.bad)
		return setPosition(ctx, tx, w.home, w.seq)
	}, attempts(len(records))...)
	return counts, err
}

// sift separates the records that can never be written.
func sift(records []concord.Record) (good []concord.Record, bad []concord.BadRecord) {
	good = records
	for i, r := range records {
		reason := whyBad(r)
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
		last[r.State.EntityID] = i
	}
	var changed columns
	var removed []concord.Record
	for i, r := range records {
		switch {
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

// upsertStates writes the rows that are older than what is given, ordered by
// entity id so that two writers take the locks in the same order.
func upsertStates(ctx context.Context, tx pgx.Tx, home int64, c *columns) (int, error) {
	if len(c.ids) == 0 {
		return 0, nil
	}
	tag, err := tx.Exec(ctx, `
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
		where (s.epoch, s.seq) < (excluded.epoch, excluded.seq)`,
		home, c.ids, c.states, c.attributes, c.changed, c.updated, c.contexts, c.epochs, c.seqs)
	return int(tag.RowsAffected()), err
}

func deleteStates(ctx context.Context, tx pgx.Tx, home int64, removed []concord.Record) (int, error) {
	if len(removed) == 0 {
		return 0, nil
	}
	var c columns
	for _, r := range removed {
		c.append(r.State)
	}
	tag, err := tx.Exec(ctx, `
		delete from entity_state s
		using unnest($2::text[], $3::bigint[], $4::bigint[]) as e (entity_id, epoch, seq)
		where s.home_id = $1 and s.entity_id = e.entity_id and (s.epoch, s.seq) < (e.epoch, e.seq)`,
		home, c.ids, c.epochs, c.seqs)
	return int(tag.RowsAffected()), err
}

// applyOneByOne is the slow way for data that PostgreSQL refused and
// [whyBad] did not foresee. A savepoint isolates the refused record; a conflict
// is not cured by one and goes up.
func applyOneByOne(ctx context.Context, tx pgx.Tx, home int64, records []concord.Record) (concord.EventCounts, error) {
	var total concord.EventCounts
	for _, r := range records {
		var counts concord.EventCounts
		err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) (err error) {
			counts, err = applyRecords(ctx, tx, home, []concord.Record{r})
			return err
		})
		if refusesData(err) {
			pgErr, _ := errors.AsType[*pgconn.PgError](err)
			err = quarantine(ctx, tx, home, badRecord(r, pgErr.Message, pgErr.Code))
			counts = concord.EventCounts{Failed: 1}
		}
		if err != nil {
			return total, err
		}
		total.Applied += counts.Applied
		total.Stale += counts.Stale
		total.Failed += counts.Failed
	}
	return total, nil
}

// badRecord keeps a record as text that a person can read and a program can
// replay; what is not valid text is shown in hexadecimal.
func badRecord(r concord.Record, reason, sqlstate string) concord.BadRecord {
	id := r.State.EntityID
	if badText(id) {
		id = "\\x" + hex.EncodeToString([]byte(id))
	}
	if len(id) > maxID {
		id = id[:maxID]
	}
	s := r.State
	record := fmt.Appendf(nil, "state=%q attributes=%q last_changed=%s last_updated=%s context=%q epoch=%d seq=%d removed=%t",
		s.State, s.Attributes, s.LastChanged.Format(time.RFC3339Nano), s.LastUpdated.Format(time.RFC3339Nano),
		s.Context.ID, s.Position.Epoch, s.Position.Seq, r.Removed)
	return concord.BadRecord{EntityID: id, Reason: reason, SQLState: sqlstate, Record: record}
}

// Quarantine implements [concord.Store].
func (db *DB) Quarantine(ctx context.Context, home int64, bad concord.BadRecord) error {
	return db.write(ctx, "state_changed", func(ctx context.Context, tx pgx.Tx) error {
		return quarantine(ctx, tx, home, bad)
	})
}

func quarantine(ctx context.Context, tx pgx.Tx, home int64, bad concord.BadRecord) error {
	_, err := tx.Exec(ctx, `
		insert into quarantine (home_id, entity_id, reason, sqlstate, record)
		values ($1, $2, $3, $4, $5)`, home, bad.EntityID, bad.Reason, bad.SQLState, bad.Record)
	return err
}
