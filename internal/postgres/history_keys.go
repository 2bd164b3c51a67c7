package postgres

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
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

// key returns the number of an entity: the one in the database, else that of
// its entity id, which is stored with the first row.
func (p *pastHome) key(entityID string) int64 {
	n, ok := p.keys[entityID]
	if !ok {
		n = entityNumber{key: (*concord.Registry)(nil).EntityKey(entityID)}
		p.keys[entityID] = n
	}
	return n.key
}

func (p *pastHome) keyOf(entityID string) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.key(entityID)
}

// attributesID returns the number of a set of attributes: 63 bits of a hash of
// its canonical text, so that it needs no look-up.
func (p *pastHome) attributesID(raw []byte) (id int64, hash uint64) {
	h := maphash.Bytes(p.seed, raw)
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

// freshRows are the entities and attributes that may not be in the database.
type freshRows struct {
	entityIDs  []string
	entityKeys []int64
	hashes     []uint64
	ids        []int64
	texts      []string
	day        int32
}

func (p *pastHome) fresh(rows *historyRows) *freshRows {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := &freshRows{day: today()}
	var keys, hashes map[int64]bool
	for i, id := range rows.ids {
		if !p.keys[id].stored && !keys[rows.keys[i]] {
			if keys == nil {
				keys = make(map[int64]bool)
			}
			keys[rows.keys[i]] = true
			f.entityIDs, f.entityKeys = append(f.entityIDs, id), append(f.entityKeys, rows.keys[i])
		}
		h := rows.hashes[i]
		if p.known[h].day == f.day || hashes[rows.attributes[i]] {
			continue
		}
		if hashes == nil {
			hashes = make(map[int64]bool)
		}
		hashes[rows.attributes[i]] = true
		f.hashes, f.ids, f.texts = append(f.hashes, h), append(f.ids, rows.attributes[i]), append(f.texts, string(rows.raw[i]))
	}
	return f
}

func (f *freshRows) insert(ctx context.Context, tx pgx.Tx, home int64) error {
	if len(f.ids) > 0 {
		_, err := tx.Exec(ctx, `
			insert into attributes as a (home_id, attributes_id, attributes, seen_on)
			select $1, g.id, g.attributes, date '1970-01-01' + $4::integer
			from unnest($2::bigint[], $3::jsonb[]) as g (id, attributes)
			order by g.id
			on conflict (home_id, attributes_id) do update set seen_on = excluded.seen_on
			where a.seen_on < excluded.seen_on`, home, f.ids, f.texts, f.day)
		if err != nil {
			return err
		}
	}
	if len(f.entityIDs) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `
		insert into history_entity (home_id, entity_key, entity_id)
		select $1, g.key, g.id
		from unnest($2::bigint[], $3::text[]) as g (key, id)
		order by g.key
		on conflict do nothing`, home, f.entityKeys, f.entityIDs)
	return err
}

func (p *pastHome) remember(f *freshRows, newest map[int64]int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, h := range f.hashes {
		p.known[h] = attributesNumber{id: f.ids[i], day: f.day}
	}
	for i, id := range f.entityIDs {
		if p.keys[id].key == f.entityKeys[i] {
			p.keys[id] = entityNumber{key: f.entityKeys[i], stored: true}
		}
	}
	for key, at := range newest {
		p.newest[key] = max(at, p.newest[key])
	}
}

// load reads the numbers of the home's entities, once and after each change of
// the registry. Of several numbers of one entity that of its registry entry counts.
func (p *pastHome) load(ctx context.Context, db *DB, home int64) error {
	p.mu.Lock()
	loaded := p.loaded
	p.mu.Unlock()
	if loaded {
		return nil
	}
	rows, err := db.pool.Query(ctx, `
		select h.entity_id, h.entity_key
		from history_entity h
		left join entity e on e.home_id = h.home_id and e.entity_id = h.entity_id
		where h.home_id = $1
		order by h.entity_id, h.registry_id <> '' and h.registry_id = e.registry_id, h.registry_id <> ''`, home)
	if err != nil {
		return err
	}
	keys := make(map[string]entityNumber)
	var id string
	var key int64
	_, err = pgx.ForEachRow(rows, []any{&id, &key}, func() error {
		keys[id] = entityNumber{key: key, stored: true}
		return nil
	})
	if err != nil {
		return err
	}
	filter, err := db.loadDeadband(ctx, home)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.filter.stored) > 0 { // newer than the database may say
		filter.stored = p.filter.stored
	}
	p.keys, p.filter, p.loaded = keys, filter, true
	return nil
}

func (p *pastHome) forgetKeys() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loaded = false
}

// syncKeys makes the numbers follow the registry: a renamed entity keeps its
// own, with those from before its entry was known and those of entries that it
// had before it was removed and added again.
func syncKeys(ctx context.Context, tx pgx.Tx, home int64, all *concord.Registry) error {
	var ids, registry []string
	var keys []int64
	for i := range all.Entities {
		e := &all.Entities[i]
		if e.RegistryID == "" || badText(e.EntityID) || badText(e.RegistryID) || len(e.EntityID) > maxID || len(e.RegistryID) > maxID {
			continue
		}
		ids, registry = append(ids, e.EntityID), append(registry, e.RegistryID)
		keys = append(keys, all.EntityKey(e.EntityID))
	}
	_, err := tx.Exec(ctx, `
		update history_entity h
		set entity_id = g.id
		from unnest($2::bigint[], $3::text[]) as g (key, id), history_entity r
		where r.home_id = $1 and r.entity_key = g.key and r.entity_id <> g.id
		  and h.home_id = $1 and h.entity_id = r.entity_id and h.registry_id <> all($4::text[])`, home, keys, ids, registry)
	if err != nil {
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
