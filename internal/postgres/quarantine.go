package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/concord-home/concord"
)

const (
	maxReason = 1000 // bytes
	// maxQuarantined bounds the records that are kept of a home.
	maxQuarantined = 10_000
)

// Quarantine implements [concord.Store].
func (db *DB) Quarantine(ctx context.Context, home int64, bad concord.BadRecord) error {
	return db.write(ctx, "state_changed", func(ctx context.Context, tx pgx.Tx) error {
		return quarantine(ctx, tx, home, bad)
	})
}

func quarantine(ctx context.Context, tx pgx.Tx, home int64, bad concord.BadRecord) error {
	if bad.Record == nil {
		bad.Record = []byte{}
	}
	reason := strings.ToValidUTF8(bad.Reason[:min(len(bad.Reason), maxReason)], "")
	_, err := tx.Exec(ctx, `
		insert into quarantine as q (home_id, entity_id, reason, sqlstate, record, digest)
		values ($1, $2, $3, $4, $5, $6)
		on conflict (home_id, digest) do update
		set count = q.count + 1, last_seen = now(), record = excluded.record`,
		home, bad.EntityID, reason, bad.SQLState, bad.Record, digest(bad))
	return err
}

func quarantineAll(ctx context.Context, tx pgx.Tx, home int64, all []concord.BadRecord) error {
	for _, bad := range all {
		if err := quarantine(ctx, tx, home, bad); err != nil {
			return err
		}
	}
	return nil
}

func digest(bad concord.BadRecord) []byte {
	identity := bad.Identity
	if identity == nil {
		identity = bad.Record
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00", bad.EntityID, bad.Reason, bad.SQLState)
	h.Write(identity)
	return h.Sum(nil)
}

// dropQuarantined forgets the records that did not come again for long, and the
// oldest of a home that has too many.
func dropQuarantined(ctx context.Context, tx pgx.Tx, before time.Time) error {
	if _, err := tx.Exec(ctx, `delete from quarantine where last_seen < $1`, before); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `
		delete from quarantine where quarantine_id in (
			select quarantine_id
			from (select quarantine_id, row_number() over (partition by home_id order by last_seen desc) as n from quarantine) r
			where n > $1)`, maxQuarantined)
	return err
}

// Quarantined is a record that could not be written.
type Quarantined struct {
	ID       int64
	HomeID   int64
	EntityID string
	Reason   string
	SQLState string
	Record   []byte // as it came last
	Count    int64  // how often it came
	First    time.Time
	Last     time.Time
}

// FindQuarantined returns the max records of a home that were seen last, of all
// homes when home is 0, and only those with one of the ids when some are given.
func (db *DB) FindQuarantined(ctx context.Context, home int64, max int, ids ...int64) ([]Quarantined, error) {
	rows, err := db.pool.Query(ctx, `
		select quarantine_id, home_id, entity_id, reason, sqlstate, record, count, first_seen, last_seen
		from quarantine
		where $1::bigint in (0, home_id) and (cardinality($3::bigint[]) = 0 or quarantine_id = any($3))
		order by last_seen desc, quarantine_id desc
		limit $2`, home, max, append([]int64{}, ids...)) // none is not null
	if err != nil {
		return nil, classify(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Quarantined])
	if err != nil {
		return nil, classify(err)
	}
	return found, nil
}

// ErrStillBad says that a record can still not be written.
var ErrStillBad = errors.New("the record can still not be written")

// Replay writes a record from quarantine and takes it out, in one transaction:
// its history, unless that is known by now, in the present epoch of the home's
// clock, and its row unless that is newer. The error is [ErrStillBad] with the
// reason when it cannot be written.
func (db *DB) Replay(ctx context.Context, q Quarantined) error {
	record, err := parseRecord(q)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStillBad, err)
	}
	if id := record.State.EntityID; id != q.EntityID {
		return fmt.Errorf("%w: its entity id is %.300q, which no entity can have; %q only stands for it", ErrStillBad, id, q.EntityID)
	}
	if why := whyBad(record); why != "" {
		return fmt.Errorf("%w: %s", ErrStillBad, why)
	}
	past := db.past(q.HomeID)
	if err := past.load(ctx, db, q.HomeID); err != nil {
		return classify(err)
	}
	records := []concord.Record{record}
	rows, _ := past.historyOf(records)
	db.ensurePartitions(ctx, rows.updated)
	remember := func() {}
	err = db.write(ctx, "state_changed", func(ctx context.Context, tx pgx.Tx) (err error) {
		if _, err = applyRecords(ctx, tx, q.HomeID, records); err != nil {
			return err
		}
		if _, remember, err = past.mergeHistory(ctx, tx, q.HomeID, rows, sourceLive); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `delete from quarantine where quarantine_id = $1`, q.ID)
		return err
	})
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && refusesData(err) {
		return fmt.Errorf("%w: %s (SQLSTATE %s)", ErrStillBad, pgErr.Message, pgErr.Code)
	}
	if err == nil {
		remember()
	}
	return err
}

// parseRecord reads what badRecord wrote.
func parseRecord(q Quarantined) (concord.Record, error) {
	s := &concord.State{EntityID: q.EntityID}
	var attributes, changed, updated string
	r := concord.Record{State: s}
	text := strings.NewReader(string(q.Record))
	_, err := fmt.Fscanf(text,
		"state=%q attributes=%q last_changed=%s last_updated=%s context=%q epoch=%d seq=%d removed=%t",
		&s.State, &attributes, &changed, &updated, &s.Context.ID, &s.Position.Epoch, &s.Position.Seq, &r.Removed)
	if err != nil {
		return r, fmt.Errorf("not a record of a state: %w", err)
	}
	if text.Len() > 0 {
		_, err = fmt.Fscanf(text, " entity=%q parent=%q user=%q", &s.EntityID, &s.Context.ParentID, &s.Context.UserID)
	} else if strings.HasPrefix(q.Reason, "entity id") { // before there was more
		err = errors.New("an earlier Concord kept it without the entity id that it came with")
	}
	if err != nil {
		return r, err
	}
	s.Attributes = json.RawMessage(attributes)
	if s.LastChanged, err = time.Parse(time.RFC3339Nano, changed); err != nil {
		return r, err
	}
	s.LastUpdated, err = time.Parse(time.RFC3339Nano, updated)
	return r, err
}
