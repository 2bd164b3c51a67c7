package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/concord-home/concord"
)

// HistoryRow is one change of an export.
type HistoryRow struct {
	HomeID      int64           `json:"home_id"`
	EntityID    string          `json:"entity_id"`
	LastUpdated time.Time       `json:"last_updated"`
	LastChanged time.Time       `json:"last_changed"`
	State       string          `json:"state"`
	Attributes  json.RawMessage `json:"attributes"`
	Source      string          `json:"source"`
}

// Export calls fn for each change of the entities that match a glob ("" is all)
// in [from, to), in order of entity and time. It holds one row at a time.
func (db *DB) Export(ctx context.Context, home int64, glob string, from, to time.Time, fn func(HistoryRow) error) error {
	entities, err := db.pool.Query(ctx, `
		select distinct entity_id from history_entity where home_id = $1 order by entity_id`, home)
	if err != nil {
		return classify(err)
	}
	ids, err := pgx.CollectRows(entities, pgx.RowTo[string])
	if err != nil {
		return classify(err)
	}
	for _, id := range ids {
		if match, err := path.Match(glob, id); glob != "" && (err != nil || !match) {
			continue
		}
		if err := db.exportEntity(ctx, home, id, from, to, fn); err != nil {
			return fmt.Errorf("export %s: %w", id, err)
		}
	}
	return nil
}

func (db *DB) exportEntity(ctx context.Context, home int64, entityID string, from, to time.Time, fn func(HistoryRow) error) error {
	rows, err := db.pool.Query(ctx, `
		select h.home_id, $2::text, h.last_updated, h.last_changed, h.state, coalesce(a.attributes, '{}'),
		       (array['live', 'snapshot', 'backfill'])[h.source + 1]
		from history h
		left join attributes a using (home_id, attributes_id)
		where h.home_id = $1 and h.last_updated >= $3 and h.last_updated < $4
		  and h.entity_key = any(array(select entity_key from history_entity where home_id = $1 and entity_id = $2))
		order by h.last_updated, h.clock_epoch`, home, entityID, from, to)
	if err != nil {
		return err
	}
	var r HistoryRow
	_, err = pgx.ForEachRow(rows, []any{&r.HomeID, &r.EntityID, &r.LastUpdated, &r.LastChanged, &r.State, &r.Attributes, &r.Source}, func() error {
		r.LastUpdated, r.LastChanged = r.LastUpdated.UTC(), r.LastChanged.UTC()
		return fn(r)
	})
	return err
}

// Quarantined is a record that could not be written.
type Quarantined struct {
	ID       int64
	HomeID   int64
	EntityID string
	Reason   string
	SQLState string
	Record   []byte
	SeenAt   time.Time
}

// FindQuarantined returns the newest max records of a home, of all homes when home is 0.
func (db *DB) FindQuarantined(ctx context.Context, home int64, max int) ([]Quarantined, error) {
	rows, err := db.pool.Query(ctx, `
		select quarantine_id, home_id, entity_id, reason, sqlstate, record, seen_at
		from quarantine
		where $1::bigint in (0, home_id)
		order by quarantine_id desc
		limit $2`, home, max)
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
// its history, and its row unless that is newer by now. The error is
// [ErrStillBad] with the reason when it cannot be written.
func (db *DB) Replay(ctx context.Context, q Quarantined) error {
	record, err := parseRecord(q)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStillBad, err)
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
	remember := func() {}
	err = db.write(ctx, "state_changed", func(ctx context.Context, tx pgx.Tx) error {
		if _, err := applyRecords(ctx, tx, q.HomeID, records); err != nil {
			return err
		}
		if _, remember, err = past.insertHistory(ctx, tx, q.HomeID, rows, sourceLive); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `delete from quarantine where quarantine_id = $1`, q.ID)
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
	_, err := fmt.Fscanf(strings.NewReader(string(q.Record)),
		"state=%q attributes=%q last_changed=%s last_updated=%s context=%q epoch=%d seq=%d removed=%t",
		&s.State, &attributes, &changed, &updated, &s.Context.ID, &s.Position.Epoch, &s.Position.Seq, &r.Removed)
	if err != nil {
		return r, fmt.Errorf("not a record of a state: %w", err)
	}
	s.Attributes = json.RawMessage(attributes)
	if s.LastChanged, err = time.Parse(time.RFC3339Nano, changed); err != nil {
		return r, err
	}
	s.LastUpdated, err = time.Parse(time.RFC3339Nano, updated)
	return r, err
}
