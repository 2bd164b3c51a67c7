package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

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
// in [from, to), in order of entity and time. It holds one row at a time. A glob
// that is none is [concord.CodeInvalid], one that no entity matches
// [concord.CodeNotFound].
func (db *DB) Export(ctx context.Context, home int64, glob string, from, to time.Time, fn func(HistoryRow) error) error {
	if _, err := path.Match(glob, ""); err != nil {
		return concord.Errorf(concord.CodeInvalid, "%q is no pattern of entity ids: * stands for any text, ? for one character, [ab] for one of them", glob)
	}
	entities, err := db.pool.Query(ctx, `
		select distinct entity_id from history_entity where home_id = $1 order by entity_id`, home)
	if err != nil {
		return classify(err)
	}
	ids, err := pgx.CollectRows(entities, pgx.RowTo[string])
	if err != nil {
		return classify(err)
	}
	matched := slices.DeleteFunc(ids, func(id string) bool {
		match, _ := path.Match(glob, id) // it is a pattern
		return glob != "" && !match
	})
	if len(matched) == 0 && glob != "" {
		return concord.Errorf(concord.CodeNotFound, "the history has no entity %q", glob)
	}
	for _, id := range matched {
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
