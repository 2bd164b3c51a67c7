package postgres

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/concord-home/concord"
)

type attributesNumber struct {
	id  int64
	day int32 // on which it was last seen in the database, 0 for never
}

// today is a day number; the database's attributes.seen_on follows it.
func today() int32 { return int32(time.Now().Unix() / 86_400) } //nolint:gosec // until the year 5 million

// key returns the number of an entity: the one in the database, else one of its
// entity id, which is stored with the first row.
func (p *pastHome) key(entityID string) int64 {
	n, ok := p.keys[entityID]
	if !ok {
		n = entityNumber{key: p.unused(entityID)}
		p.keys[entityID], p.owners[n.key] = n, true
	}
	return n.key
}

// keyAt returns the number that the entity of a state had at the state's place in
// the stream: a message may be written again after its removals were followed, and
// what was held back of a removed entity comes late. What has no place is of now.
func (p *pastHome) keyAt(s *concord.State) int64 {
	key := p.key(s.EntityID)
	if s.Position.Seq == 0 {
		return key
	}
	n := p.keys[s.EntityID]
	if n.vacant && !s.Position.Before(*n.after) {
		n.vacant = false
		p.keys[s.EntityID] = n
	}
	for n.before != nil && s.Position.Before(*n.after) {
		n = *n.before
	}
	return n.key
}

// unused returns the first number of an entity id that stands for nothing yet:
// an entity that had the name before keeps the number that it began with.
func (p *pastHome) unused(entityID string) int64 {
	key := hashName(entityID)
	for n := 1; p.owners[key]; n++ {
		key = hashName(fmt.Sprintf("%s\x00%d", entityID, n))
	}
	return key
}

func hashName(name string) int64 { return (*concord.Registry)(nil).EntityKey(name) }

func (p *pastHome) keyOf(entityID string) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.key(entityID)
}

// has tells names that history is stored under.
func (p *pastHome) has(entityID string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stored[p.keys[entityID].key]
}

// attributesID returns the number of a set of attributes: 63 bits of a hash of
// its canonical text, so that it needs no look-up.
func (p *pastHome) attributesID(raw []byte) (id int64, hash uint64) {
	h := p.hash(raw)
	n, ok := p.known[h]
	if !ok {
		if len(p.known) >= maxKnownAttributes {
			clear(p.known)
		}
		n = attributesNumber{id: hashAttributes(raw)}
		p.known[h] = n
	}
	return n.id, h
}

func (p *pastHome) hash(raw []byte) uint64 { return maphash.Bytes(p.seed, raw) }

// stores tells attributes that were committed before.
func (p *pastHome) stores(raw []byte) bool {
	h := p.hash(raw)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[h].day != 0
}

func hashAttributes(raw []byte) int64 {
	sum := sha256.Sum256(canonical(raw))
	return int64(binary.BigEndian.Uint64(sum[:8]) >> 1) //nolint:gosec // 63 bits
}

// canonical writes an object with its members in order, so that the same
// attributes have the same number whatever order the home named them in.
func canonical(raw []byte) []byte {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return raw
	}
	sorted, err := json.Marshal(v)
	if err != nil {
		return raw
	}
	return sorted
}

// unstored are the entities and attributes that may not be in the database.
type unstored struct {
	entityIDs  []string
	entityKeys []int64
	afterEpoch []*int64 // see entityNumber
	afterSeq   []*int64
	hashes     []uint64
	ids        []int64
	texts      []string
	day        int32
}

func (p *pastHome) unstored(rows *historyRows) *unstored {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := &unstored{day: today()}
	var keys, hashes map[int64]bool
	for i, id := range rows.ids {
		if !p.stored[rows.keys[i]] && !keys[rows.keys[i]] {
			if keys == nil {
				keys = make(map[int64]bool)
			}
			keys[rows.keys[i]] = true
			n := p.keys[id]
			if n.key != rows.keys[i] || n.registered { // the number from before it was removed, or one that the registry names
				n.after = nil
			}
			u.add(id, rows.keys[i], n.after)
		}
		h := rows.hashes[i]
		if p.known[h].day == u.day || hashes[rows.attributes[i]] {
			continue
		}
		if hashes == nil {
			hashes = make(map[int64]bool)
		}
		hashes[rows.attributes[i]] = true
		u.hashes, u.ids, u.texts = append(u.hashes, h), append(u.ids, rows.attributes[i]), append(u.texts, string(rows.raw[i]))
	}
	return u
}

func (u *unstored) add(id string, key int64, after *concord.Position) {
	u.entityIDs, u.entityKeys = append(u.entityIDs, id), append(u.entityKeys, key)
	var epoch, seq *int64
	if after != nil {
		epoch, seq = &after.Epoch, &after.Seq
	}
	u.afterEpoch, u.afterSeq = append(u.afterEpoch, epoch), append(u.afterSeq, seq)
}

// errNumberTaken says that memory is behind the database: with what is there now
// another try gets another number.
var errNumberTaken = errors.New("the number of an entity belongs to another one")

func (u *unstored) insert(ctx context.Context, tx pgx.Tx, home int64) error {
	if err := u.insertAttributes(ctx, tx, home); err != nil {
		return err
	}
	return u.insertEntities(ctx, tx, home)
}

func (u *unstored) insertAttributes(ctx context.Context, tx pgx.Tx, home int64) error {
	if len(u.ids) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `
		insert into attributes as a (home_id, attributes_id, attributes, seen_on)
		select $1, g.id, g.attributes, date '1970-01-01' + $4::integer
		from unnest($2::bigint[], $3::jsonb[]) as g (id, attributes)
		order by g.id
		on conflict (home_id, attributes_id) do update set seen_on = excluded.seen_on
		where a.seen_on < excluded.seen_on`, home, u.ids, u.texts, u.day)
	return err
}

// insertEntities gives [errNumberTaken] when a number is there under another name.
func (u *unstored) insertEntities(ctx context.Context, tx pgx.Tx, home int64) error {
	if len(u.entityIDs) == 0 {
		return nil
	}
	var taken bool
	err := tx.QueryRow(ctx, `
		with given as (
			select * from unnest($2::bigint[], $3::text[], $4::bigint[], $5::bigint[]) as g (key, id, after_epoch, after_seq)
		), stored as (
			insert into history_entity (home_id, entity_key, entity_id, after_epoch, after_seq)
			select $1, g.* from given g order by g.key
			on conflict do nothing
		)
		select exists (
			select from given g join history_entity h on h.home_id = $1 and h.entity_key = g.key where h.entity_id <> g.id)`,
		home, u.entityKeys, u.entityIDs, u.afterEpoch, u.afterSeq).Scan(&taken)
	if err == nil && taken {
		err = errNumberTaken
	}
	return err
}

func (p *pastHome) remember(u *unstored, newest map[int64]int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, h := range u.hashes {
		p.known[h] = attributesNumber{id: u.ids[i], day: u.day}
	}
	for _, key := range u.entityKeys {
		p.stored[key] = true
	}
	for key, at := range newest {
		p.newest[key] = max(at, p.newest[key])
	}
}

// load reads what memory lacks: the numbers of the home's entities, once and after
// each change of the registry, and what was stored last when that is in doubt.
// Upkeep, backfill and writer load beside each other: what one read before another
// loaded, or before something came in doubt, is read again.
func (p *pastHome) load(ctx context.Context, db *DB, home int64) error {
	for {
		p.mu.Lock()
		loaded, doubted, turn := p.loaded, p.filter.doubted, p.turn
		p.mu.Unlock()
		if loaded && !doubted {
			return nil
		}
		var numbers *homeNumbers
		if !loaded {
			var err error
			if numbers, err = db.loadNumbers(ctx, home); err != nil {
				return err
			}
		}
		filter, err := db.loadDeadband(ctx, home, p.hash)
		if err != nil {
			return err
		}
		if p.take(numbers, filter, turn) {
			return nil
		}
	}
}

// take remembers what was read in a turn, unless that is over.
func (p *pastHome) take(numbers *homeNumbers, filter deadband, turn int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.turn != turn {
		return false
	}
	p.turn++
	p.filter.follow(filter)
	if numbers != nil {
		p.homeNumbers, p.loaded = *numbers, true
	}
	return true
}

// loadNumbers reads the numbers of the home's entities. Of several numbers of one
// entity that of its registry entry counts, unless the name was given up since:
// then one from after that.
func (db *DB) loadNumbers(ctx context.Context, home int64) (*homeNumbers, error) {
	rows, err := db.pool.Query(ctx, `
		select h.entity_id, h.entity_key, h.registry_id <> '', h.after_epoch, h.after_seq, o.entity_id is null
		from history_entity h
		left join entity e on e.home_id = h.home_id and e.entity_id = h.entity_id
		left join entity_state o on o.home_id = h.home_id and o.entity_id = h.entity_id
		where h.home_id = $1
		order by h.entity_id, h.after_epoch nulls first, h.after_seq,
		         h.registry_id <> '' and h.registry_id = e.registry_id, h.registry_id <> ''`, home)
	if err != nil {
		return nil, err
	}
	all := newHomeNumbers()
	var id string
	var key int64
	var registered, absent bool
	var epoch, seq *int64
	_, err = pgx.ForEachRow(rows, []any{&id, &key, &registered, &epoch, &seq, &absent}, func() error {
		n := entityNumber{key: key, registered: registered}
		if former, known := all.keys[id]; known && epoch != nil && seq != nil {
			n.open, n.vacant, n.after, n.before = true, absent, &concord.Position{Epoch: *epoch, Seq: *seq}, &former
		}
		all.keys[id], all.owners[key], all.stored[key] = n, true, true
		return nil
	})
	return &all, err
}

func (p *pastHome) forgetKeys() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loaded = false
	p.turn++
}

// syncKeys makes the numbers follow the registry, which knows all that was heard
// until at: a renamed entity keeps its own, with those from before its entry was
// known and those of entries that it had before it was removed and added again.
// Numbers from after it gave up its name stay with the name.
func syncKeys(ctx context.Context, tx pgx.Tx, home int64, all *concord.Registry, at concord.Position, days int) error {
	keys, ids, registry := numbers(all)
	if err := remakeStatistics(ctx, tx, home, keys, ids, at, days); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `
		update history_entity h
		set entity_id = g.id
		from unnest($2::bigint[], $3::text[]) as g (key, id), history_entity r
		where r.home_id = $1 and r.entity_key = g.key and r.entity_id <> g.id
		  and h.home_id = $1 and h.entity_id = r.entity_id and h.registry_id <> all($4::text[]) and h.after_epoch is null`,
		home, keys, ids, registry)
	if err != nil {
		return err
	}
	if _, err = tx.Exec(ctx, `
		update history_entity
		set after_epoch = null, after_seq = null
		where home_id = $1 and (after_epoch, after_seq) <= ($2, $3)`, home, at.Epoch, at.Seq); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		insert into history_entity as h (home_id, entity_key, entity_id, registry_id)
		select $1, g.*
		from unnest($2::bigint[], $3::text[], $4::text[]) as g (key, id, registry)
		order by g.key
		on conflict (home_id, entity_key) do update set entity_id = excluded.entity_id, registry_id = excluded.registry_id
		where (h.entity_id, h.registry_id) <> (excluded.entity_id, excluded.registry_id)`, home, keys, ids, registry)
	return err
}

// numbers are the entries of a registry that the database takes, each once: their
// numbers, names and ids.
func numbers(all *concord.Registry) (keys []int64, ids, registry []string) {
	seen := make(map[int64]bool, len(all.Entities))
	for i := range all.Entities {
		e := &all.Entities[i]
		key := all.EntityKey(e.EntityID)
		if seen[key] || e.RegistryID == "" || badText(e.EntityID) || badText(e.RegistryID) || len(e.EntityID) > maxID || len(e.RegistryID) > maxID {
			continue
		}
		seen[key] = true
		ids, registry, keys = append(ids, e.EntityID), append(registry, e.RegistryID), append(keys, key)
	}
	return keys, ids, registry
}

// remakeStatistics has statistics made again from when numbers were begun that
// turn out to be another entity's than their name said.
func remakeStatistics(ctx context.Context, tx pgx.Tx, home int64, keys []int64, ids []string, at concord.Position, days int) error {
	var first *time.Time
	err := tx.QueryRow(ctx, `
		with renamed as (
			select g.id
			from unnest($2::bigint[], $3::text[]) as g (key, id)
			join history_entity r on r.home_id = $1 and r.entity_key = g.key and r.entity_id <> g.id
		)
		select min(f.last_updated)
		from history_entity h
		cross join lateral (
			select last_updated from history
			where home_id = $1 and entity_key = h.entity_key
			order by last_updated limit 1) f
		where h.home_id = $1 and (h.entity_id in (select id from renamed) or (h.after_epoch, h.after_seq) <= ($4, $5))`,
		home, keys, ids, at.Epoch, at.Seq).Scan(&first)
	if err != nil || first == nil {
		return err
	}
	return moveRollUp(ctx, tx, home, later(*first, oldestDay(days)))
}
