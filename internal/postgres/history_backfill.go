package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/concord-home/concord"
)

// askedAs is what the entity of a question is called now: homes know nothing of
// former names.
const askedAs = `coalesce((select e.entity_id from history_entity e where e.home_id = b.home_id and e.entity_key = b.entity_key), b.entity_id)`

// FindBackfills implements [concord.BackfillStore].
func (db *DB) FindBackfills(ctx context.Context, home int64, max int) ([]concord.Backfill, error) {
	rows, err := db.pool.Query(ctx, `
		select backfill_id, `+askedAs+`, from_time, to_time, known, heard_time, last_time, attempts
		from backfill b
		where home_id = $1 and due_at <= now()
		order by due_at, from_time, backfill_id
		limit $2`, home, max)
	if err != nil {
		return nil, classify(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[concord.Backfill])
	if err != nil {
		return nil, classify(err)
	}
	return found, nil
}

// FinishBackfills implements [concord.BackfillStore].
func (db *DB) FinishBackfills(ctx context.Context, home int64, results []concord.BackfillResult) (concord.EventCounts, error) {
	var counts concord.EventCounts
	past := db.past(home)
	if err := past.load(ctx, db, home); err != nil {
		return counts, classify(err)
	}
	rows, _ := past.historyOf(answered(results))
	db.ensurePartitions(ctx, rows.updated)
	remember := func() {}
	err := db.write(ctx, "background_sync", func(ctx context.Context, tx pgx.Tx) error {
		open, keys, err := findOpen(ctx, tx, home, results)
		if err != nil {
			return err
		}
		rows, _ := past.historyOf(answered(open))
		for i, id := range rows.ids { // a name that was given up since has another number
			if key, ok := keys[id]; ok {
				rows.keys[i] = key
			}
		}
		if counts, remember, err = past.mergeHistory(ctx, tx, home, rows, sourceBackfill); err != nil {
			return err
		}
		for _, r := range open {
			if err := finishBackfill(ctx, tx, home, keys, r); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		remember()
	}
	return counts, err
}

// answered are the states of all answers, each once.
func answered(results []concord.BackfillResult) []concord.Record {
	type change struct {
		entity string
		at     int64
	}
	var records []concord.Record
	seen := make(map[change]bool)
	for _, r := range results {
		for _, s := range r.States {
			c := change{s.EntityID, s.LastUpdated.UnixMicro()}
			if seen[c] {
				continue
			}
			seen[c] = true
			if whyBad(concord.Record{State: s}) == "" {
				records = append(records, concord.Record{State: s})
			}
		}
	}
	return records
}

// findOpen leaves out what another instance has finished, and what was asked of
// an entity that has another name by now: its question is still to be asked. It
// returns the numbers that the answers stand under, by name: that of the registry's
// entry, for what was heard and waits to be written comes under that; else that
// which the question is of.
func findOpen(ctx context.Context, tx pgx.Tx, home int64, results []concord.BackfillResult) ([]concord.BackfillResult, map[string]int64, error) {
	ids, names := make([]int64, len(results)), make([]string, len(results))
	for i, r := range results {
		ids[i], names[i] = r.ID, r.EntityID
	}
	rows, err := tx.Query(ctx, `
		select (g.i - 1)::integer, coalesce(r.entity_key, b.entity_key)
		from unnest($2::bigint[], $3::text[]) with ordinality as g (id, name, i)
		join backfill b on b.home_id = $1 and b.backfill_id = g.id
		left join lateral (
			select h.entity_key
			from entity e
			join history_entity h using (home_id, entity_id, registry_id)
			where e.home_id = $1 and e.entity_id = g.name and h.registry_id <> ''
			limit 1) r on true
		where `+askedAs+` = g.name
		order by g.i`, home, ids, names)
	if err != nil {
		return nil, nil, err
	}
	var open []concord.BackfillResult
	keys := make(map[string]int64)
	var i int
	var key int64
	_, err = pgx.ForEachRow(rows, []any{&i, &key}, func() error {
		open = append(open, results[i])
		keys[results[i].EntityID] = key
		return nil
	})
	return open, keys, err
}

// mergeHistory stores what ours has not, of what the home's history or the
// quarantine has, in whatever epoch of the clock and under whatever number of the entity.
func (p *pastHome) mergeHistory(ctx context.Context, tx pgx.Tx, home int64, rows *historyRows, source int16) (counts concord.EventCounts, remember func(), err error) {
	missing, err := findMissing(ctx, tx, home, rows)
	if err != nil || len(missing) == 0 {
		return counts, func() {}, err
	}
	at, err := positionOf(ctx, tx, home)
	if err != nil {
		return counts, nil, err
	}
	all := len(missing)
	missing = p.siftMissing(rows, missing)
	counts.Held = all - len(missing)
	fresh := &historyRows{}
	for _, i := range missing {
		fresh.take(rows, i)
	}
	fresh.setEpoch(at.clock.epoch)
	var stored func()
	counts.Stored, stored, err = p.insertHistory(ctx, tx, home, fresh, source)
	if err == nil && source == sourceBackfill {
		err = noteFilled(ctx, tx, home, fresh)
	}
	return counts, func() { stored(); p.note(fresh, false) }, err
}

// noteFilled has charts and the status page tell what came from the home's own
// history.
func noteFilled(ctx context.Context, tx pgx.Tx, home int64, rows *historyRows) error {
	_, err := tx.Exec(ctx, `
		insert into backfilled (home_id, entity_key, from_time, to_time, changes)
		select $1, g.entity_key, min(g.last_updated), max(g.last_updated), count(*)
		from unnest($2::bigint[], $3::timestamptz[]) as g (entity_key, last_updated)
		group by g.entity_key`, home, rows.keys, rows.updated)
	return err
}

// findMissingSQL looks each row up by its key. Joining whole partitions, as the
// planner might like to, would take longer with every day that is kept; and
// where it knows nothing of a partition yet it would rather read all of a home's
// rows than name several keys to the index, hence each key and a limit.
const findMissingSQL = `
	select (g.i - 1)::integer
	from unnest($2::text[], $3::bigint[], $4::timestamptz[]) with ordinality as g (entity_id, entity_key, last_updated, i)
	where not exists (
		select from (
			select g.entity_key
			union all
			select e.entity_key from history_entity e where e.home_id = $1 and e.entity_id = g.entity_id) k
		cross join lateral (
			select from history h
			where h.home_id = $1 and h.entity_key = k.entity_key and h.last_updated = g.last_updated
			limit 1) h)
	order by g.i`

func findMissing(ctx context.Context, tx pgx.Tx, home int64, rows *historyRows) ([]int, error) {
	if len(rows.ids) == 0 {
		return nil, nil
	}
	found, err := tx.Query(ctx, findMissingSQL, home, rows.ids, rows.keys, rows.updated)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(found, pgx.RowTo[int])
}

// take appends row i of another.
func (r *historyRows) take(o *historyRows, i int) {
	r.ids, r.keys = append(r.ids, o.ids[i]), append(r.keys, o.keys[i])
	r.updated, r.changed = append(r.updated, o.updated[i]), append(r.changed, o.changed[i])
	r.values, r.attributes = append(r.values, o.values[i]), append(r.attributes, o.attributes[i])
	r.clocks, r.states = append(r.clocks, o.clocks[i]), append(r.states, o.states[i])
	r.contexts, r.parents = append(r.contexts, o.contexts[i]), append(r.parents, o.parents[i])
	r.users, r.raw, r.hashes = append(r.users, o.users[i]), append(r.raw, o.raw[i]), append(r.hashes, o.hashes[i])
	r.late = append(r.late, o.late[i])
}

func finishBackfill(ctx context.Context, tx pgx.Tx, home int64, keys map[string]int64, r concord.BackfillResult) error {
	if r.Again > 0 {
		_, err := tx.Exec(ctx, `
			update backfill
			set attempts = attempts + 1, due_at = now() + make_interval(secs => $3)
			where home_id = $1 and backfill_id = $2`, home, r.ID, r.Again.Seconds())
		return err
	}
	tag, err := tx.Exec(ctx, `delete from backfill where home_id = $1 and backfill_id = $2`, home, r.ID)
	if err != nil || tag.RowsAffected() == 0 { // another instance was quicker
		return err
	}
	for _, g := range r.Gaps {
		if _, err := tx.Exec(ctx, `
			insert into gap (home_id, entity_key, from_time, to_time, reason)
			values ($1, $2, $3, $4, $5)`, home, keys[r.EntityID], g.From, g.To, g.Reason); err != nil {
			return err
		}
	}
	return nil
}

var _ concord.BackfillStore = (*DB)(nil)
