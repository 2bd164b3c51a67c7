package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/pgretry"
)

// SyncStage implements [concord.Store]. Records go in statements of db.chunk
// and transactions of db.commit; the stage's counts are those of the
// transactions that were committed.
func (db *DB) SyncStage(ctx context.Context, stage concord.Stage, s *concord.Snapshot) (concord.StageCounts, error) {
	run := &stageRun{db: db, snapshot: s, counts: concord.StageCounts{Stage: stage}}
	begin := time.Now()
	var err error
	switch stage {
	case concord.StageAreas:
		err = run.areas(ctx)
	case concord.StageEntities:
		err = run.entities(ctx)
	case concord.StageRelations:
		err = run.relations(ctx)
	default:
		err = concord.Errorf(concord.CodeInvalid, "no such stage: %s", stage)
	}
	run.counts.Took = time.Since(begin)
	if err != nil {
		return run.counts, fmt.Errorf("sync %s of home %d: %w", stage, s.HomeID, err)
	}
	return run.counts, nil
}

// FinishSync implements [concord.Store].
func (db *DB) FinishSync(ctx context.Context, home int64, seq uint64) error {
	return db.write(ctx, "background_sync", func(ctx context.Context, tx pgx.Tx) error {
		if err := db.leads(ctx, tx, home); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `update home set last_sync_at = now() where home_id = $1`, home); err != nil {
			return err
		}
		if err := closeAway(ctx, tx, home); err != nil {
			return err
		}
		return setPosition(ctx, tx, home, seq)
	})
}

// stageRun is one stage of one reconciliation.
type stageRun struct {
	db       *DB
	snapshot *concord.Snapshot
	counts   concord.StageCounts
	missed   *missedWrite // in the stage of the entities
}

// transact runs one transaction of the stage and adds its counts after the
// commit. fn may run several times.
func (r *stageRun) transact(ctx context.Context, fn func(ctx context.Context, tx pgx.Tx, c *concord.StageCounts) error, opts ...pgretry.Option) error {
	var counts concord.StageCounts
	err := r.db.write(ctx, r.snapshot.Endpoint, func(ctx context.Context, tx pgx.Tx) error {
		counts = concord.StageCounts{Attempts: counts.Attempts + 1}
		if err := r.db.leads(ctx, tx, r.snapshot.HomeID); err != nil {
			return err
		}
		return fn(ctx, tx, &counts)
	}, opts...)
	r.counts.Attempts += counts.Attempts
	if err != nil {
		return err
	}
	r.counts.Created += counts.Created
	r.counts.Updated += counts.Updated
	r.counts.Unchanged += counts.Unchanged
	r.counts.Deleted += counts.Deleted
	r.counts.Failed += counts.Failed
	return nil
}

// table describes how rows of a registry table are kept equal to the home.
type table struct {
	name string
	id   string // the key column beside home_id
	cols []string
	typ  []string
}

func (t table) recordset() string {
	s := t.id + " text"
	for i, c := range t.cols {
		s += ", " + c + " " + t.typ[i]
	}
	return s
}

func (t table) list(prefix string) string {
	s := ""
	for i, c := range t.cols {
		if i > 0 {
			s += ", "
		}
		s += prefix + c
	}
	return s
}

func (t table) set() string {
	s := ""
	for i, c := range t.cols {
		if i > 0 {
			s += ", "
		}
		s += c + " = excluded." + c
	}
	return s
}

// upsertSQL writes the rows that differ, and only those: a row that is equal is
// read, not locked, so it conflicts with nobody.
func (t table) upsertSQL() string {
	return `
		with given as (
			select * from jsonb_to_recordset($2::jsonb) as r (` + t.recordset() + `)
		), written as (
			insert into ` + t.name + ` as s (home_id, ` + t.id + `, ` + t.list("") + `)
			select $1, g.` + t.id + `, ` + t.list("g.") + `
			from given g
			left join lateral (
				select * from ` + t.name + ` o where o.home_id = $1 and o.` + t.id + ` = g.` + t.id + ` offset 0
			) o on true
			where o.` + t.id + ` is null or (` + t.list("o.") + `) is distinct from (` + t.list("g.") + `)
			order by g.` + t.id + `
			on conflict (home_id, ` + t.id + `) do update set ` + t.set() + `
			returning (xmax = 0) as created
		)
		select count(*) filter (where created), count(*) filter (where not created) from written`
}

func (t table) deleteSQL() string {
	return `delete from ` + t.name + ` where home_id = $1 and ` + t.id + ` <> all($2::text[])`
}

// row is one record of a registry table, by column.
type row map[string]any

// syncTable makes a table equal to rows: chunk by chunk, then without those
// that the home no longer has.
func (r *stageRun) syncTable(ctx context.Context, t table, rows []row) error {
	rows = r.sift(ctx, t, rows)
	for batch := range slices.Chunk(rows, r.db.commit) {
		err := r.transact(ctx, func(ctx context.Context, tx pgx.Tx, c *concord.StageCounts) error {
			for chunk := range slices.Chunk(batch, r.db.chunk) {
				if err := upsertRows(ctx, tx, r.snapshot.HomeID, t, chunk, c); err != nil {
					return err
				}
			}
			return nil
		})
		if refusesData(err) {
			err = r.rowsOneByOne(ctx, t, batch)
		}
		if err != nil {
			return err
		}
	}
	ids := make([]string, len(rows))
	for i := range rows {
		ids[i], _ = rows[i][t.id].(string)
	}
	return r.transact(ctx, func(ctx context.Context, tx pgx.Tx, c *concord.StageCounts) error {
		tag, err := tx.Exec(ctx, t.deleteSQL(), r.snapshot.HomeID, ids)
		c.Deleted = int(tag.RowsAffected())
		return err
	})
}

// rowsOneByOne is the slow way for a batch that PostgreSQL refused: a savepoint
// a row isolates those that it does not take.
func (r *stageRun) rowsOneByOne(ctx context.Context, t table, batch []row) error {
	return r.transact(ctx, func(ctx context.Context, tx pgx.Tx, c *concord.StageCounts) error {
		for i := range batch {
			err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
				return upsertRows(ctx, tx, r.snapshot.HomeID, t, batch[i:i+1], c)
			})
			if refusesData(err) {
				pgErr, _ := errors.AsType[*pgconn.PgError](err)
				id, _ := batch[i][t.id].(string)
				bad := concord.BadRecord{EntityID: id, Reason: t.name + ": " + pgErr.Message, SQLState: pgErr.Code}
				if bad.Record, err = json.Marshal(batch[i]); err == nil {
					err = quarantine(ctx, tx, r.snapshot.HomeID, bad)
				}
				c.Failed++
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func upsertRows(ctx context.Context, tx pgx.Tx, home int64, t table, rows []row, c *concord.StageCounts) error {
	given, err := json.Marshal(rows)
	if err != nil {
		return fmt.Errorf("encode %s: %w", t.name, err)
	}
	var created, updated int
	if err := tx.QueryRow(ctx, t.upsertSQL(), home, given).Scan(&created, &updated); err != nil {
		return err
	}
	c.Created += created
	c.Updated += updated
	c.Unchanged += len(rows) - created - updated
	return nil
}

// sift takes out, and puts in quarantine, the rows that PostgreSQL would refuse.
func (r *stageRun) sift(ctx context.Context, t table, rows []row) []row {
	seen := make(map[string]bool, len(rows))
	return slices.DeleteFunc(rows, func(one row) bool {
		id, _ := one[t.id].(string)
		reason := ""
		raw, err := json.Marshal(one)
		switch {
		case err != nil:
			reason = "cannot be encoded"
		case id == "" || len(id) > maxID || badText(id):
			reason = "id is empty, not valid text or longer than 255 bytes"
		case seen[id]:
			reason = "id occurs twice"
		default:
			reason = whyBadJSON(raw)
		}
		seen[id] = true
		if reason == "" {
			return false
		}
		r.counts.Failed++
		bad := badRecord(concord.Record{State: &concord.State{EntityID: id}}, t.name+": "+reason, "")
		bad.Record = raw
		if err := r.db.Quarantine(ctx, r.snapshot.HomeID, bad); err != nil {
			r.db.log.Warn("a bad record could not be put in quarantine", "table", t.name, "error", err)
		}
		return true
	})
}
