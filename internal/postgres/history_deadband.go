package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/concord-home/concord"
)

// holdLeast is how long a value that was held back waits for another before it
// is stored as the last one.
const holdLeast = time.Minute

// storedValue is what history last got of an entity.
type storedValue struct {
	value  float64
	number bool
	at     time.Time
	held   *concord.State // newer, and not stored
	heldAt time.Time      // Concord's time
	hold   time.Duration
}

// deadband filters one home's history. What it remembers is that of committed
// transactions.
type deadband struct {
	rules  []concord.DeadbandRule
	class  map[string]string // device classes, by entity id
	stored map[string]storedValue
}

func (d *deadband) rule(entityID string) *concord.DeadbandRule {
	for i := range d.rules {
		if d.rules[i].Matches(entityID, d.class[entityID]) {
			return &d.rules[i]
		}
	}
	return nil
}

// sift takes out of rows what is to be held back, and returns what is to be
// remembered after the commit.
func (p *pastHome) sift(records []concord.Record, rows *historyRows, index []int) (kept *historyRows, held int, remember func()) {
	if len(p.filter.rules) == 0 {
		return rows, 0, func() {}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	kept = &historyRows{}
	changed := make(map[string]storedValue)
	now := time.Now()
	for i := range records {
		if index[i] < 0 {
			continue
		}
		row := index[i]
		if p.filter.holds(changed, records[i].State, rows.values[row].Float64, rows.values[row].Valid, now) {
			index[i] = -1
			held++
			continue
		}
		index[i] = len(kept.ids)
		kept.take(rows, row)
	}
	return kept, held, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for id, v := range changed {
			p.filter.stored[id] = v
		}
	}
}

func (d *deadband) holds(changed map[string]storedValue, s *concord.State, value float64, number bool, now time.Time) bool {
	rule := d.rule(s.EntityID)
	if rule == nil {
		return false
	}
	last, known := changed[s.EntityID]
	if !known {
		last, known = d.stored[s.EntityID]
	}
	if known && last.number && number && !rule.Keeps(last.value, last.at, value, s.LastUpdated) {
		last.held, last.heldAt, last.hold = s, now, max(rule.Interval, holdLeast)
		changed[s.EntityID] = last
		return true
	}
	changed[s.EntityID] = storedValue{value: value, number: number, at: s.LastUpdated}
	return false
}

// siftMissing takes out of missing, which are places in rows, what is to be held
// back. Rows are answers of the home, each one entity's in the order of time; the
// last of an answer is never held back.
func (p *pastHome) siftMissing(rows *historyRows, missing []int) []int {
	if len(p.filter.rules) == 0 {
		return missing
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	absent := make(map[int]bool, len(missing))
	for _, i := range missing {
		absent[i] = true
	}
	begins := func(i int) bool {
		return i == 0 || i == len(rows.ids) || rows.ids[i] != rows.ids[i-1] || rows.updated[i].Before(rows.updated[i-1])
	}
	var kept []int
	var last storedValue
	for i, id := range rows.ids {
		if begins(i) {
			last = storedValue{}
		}
		value, number, at := rows.values[i].Float64, rows.values[i].Valid, rows.updated[i]
		if absent[i] {
			rule := p.filter.rule(id)
			if rule != nil && !begins(i+1) && last.number && number && !rule.Keeps(last.value, last.at, value, at) {
				continue
			}
			kept = append(kept, i)
		}
		last = storedValue{value: value, number: number, at: at}
	}
	return kept
}

// loadDeadband reads what was stored last, and what was held back when Concord
// stopped: a state whose change is not in history.
func (db *DB) loadDeadband(ctx context.Context, home int64) (deadband, error) {
	d := deadband{rules: db.deadband, class: make(map[string]string), stored: make(map[string]storedValue)}
	if len(d.rules) == 0 {
		return d, nil
	}
	rows, err := db.pool.Query(ctx, `select entity_id, device_class from entity where home_id = $1 and device_class <> ''`, home)
	if err != nil {
		return d, err
	}
	var id, class string
	if _, err = pgx.ForEachRow(rows, []any{&id, &class}, func() error { d.class[id] = class; return nil }); err != nil {
		return d, err
	}
	rows, err = db.pool.Query(ctx, `
		select o.entity_id, o.state, o.attributes, o.last_changed, o.last_updated, o.context_id, h.value, h.last_updated
		from entity_state o
		cross join lateral (
			select h.value, h.last_updated
			from history_entity e join history h using (home_id, entity_key)
			where e.home_id = o.home_id and e.entity_id = o.entity_id and h.last_updated <= o.last_updated
			order by h.last_updated desc limit 1) h
		where o.home_id = $1`, home)
	if err != nil {
		return d, err
	}
	var s concord.State
	var value *float64
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&s.EntityID, &s.State, &s.Attributes, &s.LastChanged, &s.LastUpdated, &s.Context.ID, &value, &at}, func() error {
		rule := d.rule(s.EntityID)
		if rule == nil {
			return nil
		}
		v := storedValue{at: at, number: value != nil}
		if value != nil {
			v.value = *value
		}
		if at.Before(s.LastUpdated) {
			held := s
			v.held, v.heldAt, v.hold = &held, time.Now(), max(rule.Interval, holdLeast)
		}
		d.stored[s.EntityID] = v
		return nil
	})
	return d, err
}

// StoreHeld stores the values that were held back and stayed the last.
func (db *DB) StoreHeld(ctx context.Context, home int64, now time.Time) (int, error) {
	if len(db.deadband) == 0 {
		return 0, nil
	}
	p := db.past(home)
	if err := p.load(ctx, db, home); err != nil {
		return 0, classify(err)
	}
	var records []concord.Record
	p.mu.Lock()
	for _, v := range p.filter.stored {
		if v.held != nil && now.Sub(v.heldAt) >= v.hold {
			records = append(records, concord.Record{State: v.held})
		}
	}
	p.mu.Unlock()
	if len(records) == 0 {
		return 0, nil
	}
	rows, _ := p.historyOf(records)
	remember := func() {}
	err := db.write(ctx, "background_sync", func(ctx context.Context, tx pgx.Tx) error {
		at, err := awayOf(ctx, tx, home)
		if err != nil {
			return err
		}
		for i := range rows.clocks {
			rows.clocks[i] = at.epoch
		}
		_, remember, err = p.insertHistory(ctx, tx, home, rows, sourceLive)
		return err
	})
	if err != nil {
		return 0, err
	}
	remember()
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, r := range records {
		if v := p.filter.stored[r.State.EntityID]; v.held == r.State {
			p.filter.stored[r.State.EntityID] = storedValue{value: rows.values[i].Float64, number: rows.values[i].Valid, at: r.State.LastUpdated}
		}
	}
	return len(records), nil
}
