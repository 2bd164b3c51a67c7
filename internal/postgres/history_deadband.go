package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
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
	gone   bool // the entity was removed: whatever is called that next is another
}

// deadband filters one home's history. What it remembers is that of committed
// transactions.
type deadband struct {
	rules   []concord.DeadbandRule
	byClass bool              // a rule is about a device class
	class   map[string]string // device classes that the registry has, by entity id
	named   map[uint64]string // and that attributes name, by the hash of the attributes
	stored  map[string]storedValue
	doubted bool // stored lacks what the database knows
}

func (d *deadband) rule(entityID string, attributes []byte, hash uint64) *concord.DeadbandRule {
	class := ""
	if d.byClass {
		class = d.classOf(entityID, attributes, hash)
	}
	for i := range d.rules {
		if d.rules[i].Matches(entityID, class) {
			return &d.rules[i]
		}
	}
	return nil
}

// classOf returns the device class of an entity. Homes list their registry
// without it, so mostly the attributes say it.
func (d *deadband) classOf(entityID string, attributes []byte, hash uint64) string {
	if class := d.class[entityID]; class != "" {
		return class
	}
	class, known := d.named[hash]
	if known {
		return class
	}
	var a struct {
		DeviceClass string `json:"device_class"`
	}
	if json.Unmarshal(attributes, &a) == nil {
		class = a.DeviceClass
	}
	if len(d.named) >= maxKnownAttributes {
		clear(d.named)
	}
	d.named[hash] = class
	return class
}

// sift takes out of rows what is to be held back, and returns what is to be
// remembered after the commit.
func (p *pastHome) sift(records []concord.Record, rows *historyRows, index []int) (kept *historyRows, held int, remember func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.filter.rules) == 0 {
		return rows, 0, func() {}
	}
	kept = &historyRows{}
	changed := make(map[string]storedValue)
	now := time.Now()
	for i := range records {
		if !records[i].HasState() {
			givenUp := cmp.Or(records[i].RenamedFrom, records[i].State.EntityID)
			if last := p.filter.remove(changed, givenUp); last != nil {
				index[i] = len(kept.ids)
				kept.appendLate(p, last)
			}
			continue
		}
		row := index[i]
		if p.filter.holds(changed, records[i].State, rows, row, now) {
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
			if v.gone {
				delete(p.filter.stored, id)
			} else {
				p.filter.stored[id] = v
			}
		}
	}
}

// last returns what is remembered of an entity, with the changes that are not
// committed yet.
func (d *deadband) last(changed map[string]storedValue, entityID string) (v storedValue, known bool) {
	v, known = changed[entityID]
	if !known {
		v, known = d.stored[entityID]
	}
	return v, known && !v.gone
}

// remove forgets an entity, and returns the value that was held back: it stayed
// the last.
func (d *deadband) remove(changed map[string]storedValue, entityID string) *concord.State {
	v, known := d.last(changed, entityID)
	if known {
		changed[entityID] = storedValue{gone: true}
	}
	return v.held
}

// note remembers what was stored beside the changes that are heard: the states
// that a connection begins with are the last that an entity had, an answer of the
// home's history may be older than what was heard since.
func (p *pastHome) note(rows *historyRows, last bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.filter.rules) == 0 {
		return
	}
	for i, id := range rows.ids {
		if p.filter.rule(id, rows.raw[i], rows.hashes[i]) == nil {
			continue
		}
		before, known := p.filter.stored[id]
		at := rows.updated[i]
		if !last && (!known || !at.After(before.at)) {
			continue
		}
		now := storedValue{value: rows.values[i].Float64, number: rows.values[i].Valid, at: at}
		if !last && before.held != nil && before.held.LastUpdated.After(at) {
			now.held, now.heldAt, now.hold = before.held, before.heldAt, before.hold
		}
		p.filter.stored[id] = now
	}
}

// heldOf returns the values that were held back of entities that are gone, and
// what forgets those entities after the commit.
func (p *pastHome) heldOf(gone []goneEntity) (held []concord.Record, forget func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range gone {
		if v := p.filter.stored[g.ID]; v.held != nil {
			held = append(held, concord.Record{State: v.held})
		}
	}
	return held, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, g := range gone {
			delete(p.filter.stored, g.ID)
		}
	}
}

func (d *deadband) holds(changed map[string]storedValue, s *concord.State, rows *historyRows, row int, now time.Time) bool {
	rule := d.rule(s.EntityID, rows.raw[row], rows.hashes[row])
	if rule == nil {
		return false
	}
	value, number := rows.values[row].Float64, rows.values[row].Valid
	last, known := d.last(changed, s.EntityID)
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
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.filter.rules) == 0 {
		return missing
	}
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
			rule := p.filter.rule(id, rows.raw[i], rows.hashes[i])
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
func (db *DB) loadDeadband(ctx context.Context, home int64, hash func([]byte) uint64) (deadband, error) {
	d := deadband{rules: db.deadband, class: make(map[string]string), named: make(map[uint64]string), stored: make(map[string]storedValue)}
	d.byClass = slices.ContainsFunc(d.rules, func(r concord.DeadbandRule) bool { return r.DeviceClass != "" })
	if len(d.rules) == 0 {
		return d, nil
	}
	err := db.loadClasses(ctx, home, &d)
	if err == nil {
		err = db.loadStored(ctx, home, &d, hash)
	}
	return d, err
}

func (db *DB) loadClasses(ctx context.Context, home int64, d *deadband) error {
	rows, err := db.pool.Query(ctx, `select entity_id, device_class from entity where home_id = $1 and device_class <> ''`, home)
	if err != nil {
		return err
	}
	var id, class string
	_, err = pgx.ForEachRow(rows, []any{&id, &class}, func() error { d.class[id] = class; return nil })
	return err
}

func (db *DB) loadStored(ctx context.Context, home int64, d *deadband, hash func([]byte) uint64) error {
	rows, err := db.pool.Query(ctx, `
		select o.entity_id, o.state, o.attributes, o.last_changed, o.last_updated, o.context_id, o.epoch, o.seq, h.value, h.last_updated
		from entity_state o
		cross join lateral (
			select h.value, h.last_updated
			from history_entity e join history h using (home_id, entity_key)
			where e.home_id = o.home_id and e.entity_id = o.entity_id and h.last_updated <= o.last_updated
			order by h.last_updated desc limit 1) h
		where o.home_id = $1`, home)
	if err != nil {
		return err
	}
	var s concord.State
	var value *float64
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&s.EntityID, &s.State, &s.Attributes, &s.LastChanged, &s.LastUpdated, &s.Context.ID, &s.Position.Epoch, &s.Position.Seq, &value, &at}, func() error {
		rule := d.rule(s.EntityID, s.Attributes, hash(s.Attributes))
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
	return err
}

// doubtStored forgets what was stored last and held back: a transaction that may
// have been committed is in nobody's memory, but in the database.
func (p *pastHome) doubtStored() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.filter.stored)
	p.filter.doubted = true
	p.turn++
}

// follow takes what the database knows; what was remembered since is newer. The
// home is locked.
func (d *deadband) follow(known deadband) {
	switch {
	case d.doubted:
		maps.Copy(known.stored, d.stored)
	case len(d.stored) > 0:
		known.stored = d.stored
	}
	*d = known
}

// storeAllHeld stores all values that were held back.
func (db *DB) storeAllHeld(ctx context.Context, home int64) error {
	_, err := db.StoreHeld(ctx, home, time.Now().AddDate(100, 0, 0)) // later than any rule holds
	return err
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
	records := p.heldLongEnough(now)
	if len(records) == 0 {
		return 0, nil
	}
	rows, _ := p.historyOf(records)
	remember := func() {}
	err := db.write(ctx, "background_sync", func(ctx context.Context, tx pgx.Tx) error {
		at, err := positionOf(ctx, tx, home)
		if err != nil {
			return err
		}
		rows.setEpoch(at.clock.epoch)
		_, remember, err = p.insertHistory(ctx, tx, home, rows, sourceLive)
		return err
	})
	if err != nil {
		return 0, err
	}
	remember()
	p.noteHeld(records, rows)
	return len(records), nil
}

// heldLongEnough returns the values that were held back for as long as they had to be.
func (p *pastHome) heldLongEnough(now time.Time) (records []concord.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, v := range p.filter.stored {
		if v.held != nil && now.Sub(v.heldAt) >= v.hold {
			records = append(records, concord.Record{State: v.held})
		}
	}
	return records
}

// noteHeld remembers that values that were held back are stored, unless something
// else came meanwhile.
func (p *pastHome) noteHeld(records []concord.Record, rows *historyRows) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, r := range records {
		if v := p.filter.stored[r.State.EntityID]; v.held == r.State {
			p.filter.stored[r.State.EntityID] = storedValue{value: rows.values[i].Float64, number: rows.values[i].Valid, at: r.State.LastUpdated}
		}
	}
}
