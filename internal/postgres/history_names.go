package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/concord-home/concord"
)

// WriteNames implements [concord.Store]. A message that is repeated after what
// followed it says nothing of now.
func (db *DB) WriteNames(ctx context.Context, home int64, entities []concord.Entity, at concord.Position, seq uint64) error {
	if err := db.storeAllHeld(ctx, home); err != nil { // before names change hands
		return err
	}
	registry := concord.NewRegistry(nil, nil, nil, entities, nil, true)
	err := db.write(ctx, "state_changed", func(ctx context.Context, tx pgx.Tx) error {
		now, err := positionOf(ctx, tx, home)
		if err != nil {
			return err
		}
		if err := db.deposed(home, now.term); err != nil {
			return err
		}
		if now.heard.Epoch < at.Epoch {
			if err := moveStates(ctx, tx, home, registry); err != nil {
				return err
			}
			if err := syncKeys(ctx, tx, home, registry, at, db.days.keep); err != nil {
				return err
			}
		}
		return setPosition(ctx, tx, home, seq)
	})
	past := db.past(home)
	past.forgetKeys()
	past.doubtStored()
	return err
}

// moveStates gives the rows of entities that were renamed unheard their new names,
// so that what was heard last is known of the right ones. Names may have been
// exchanged: no two rows may have one in between.
func moveStates(ctx context.Context, tx pgx.Tx, home int64, registry *concord.Registry) error {
	keys, ids, _ := numbers(registry)
	moved, err := tx.Exec(ctx, `
		update entity_state s
		set entity_id = chr(1) || g.id
		from unnest($2::bigint[], $3::text[]) as g (key, id), history_entity r
		where r.home_id = $1 and r.entity_key = g.key and r.entity_id <> g.id and s.home_id = $1 and s.entity_id = r.entity_id`, home, keys, ids)
	if err != nil || moved.RowsAffected() == 0 {
		return err
	}
	if _, err = tx.Exec(ctx, `
		delete from entity_state s
		using entity_state n
		where s.home_id = $1 and n.home_id = $1 and n.entity_id = chr(1) || s.entity_id`, home); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `update entity_state set entity_id = substr(entity_id, 2) where home_id = $1 and left(entity_id, 1) = chr(1)`, home)
	return err
}

// naming is a change of whose a name is, as the database follows it: from was
// removed, or its entity is called to now.
type naming struct {
	record   int // that says so
	at       concord.Position
	from, to string // to is "" when from was removed
	moved    int64  // the number of the entity that is called to now
	key      int64  // the number of whoever is called from next
}

// follow changes whose names are whose; the result is to be written with what
// is around it. p is locked.
func (p *pastHome) follow(r *concord.Record) (n naming, follows bool) {
	if r.Removed {
		return p.release(r.State)
	}
	return p.rename(r.RenamedFrom, r.State.EntityID, r.State.Position), true
}

// release is called when an entity is removed. It may have been renamed: what
// follows under its name may be another entity, and gets another number until
// the home says what became of the first. Entities without a registry entry
// cannot be renamed and keep theirs. The last removal of a message may be told again.
func (p *pastHome) release(gone *concord.State) (n naming, released bool) {
	former := p.keys[gone.EntityID]
	if !former.registered && !former.open || former.after != nil && *former.after == gone.Position {
		return n, false
	}
	key := p.begin(gone.EntityID, gone.Position, entityNumber{open: true, vacant: true, before: &former})
	return naming{at: gone.Position, from: gone.EntityID, key: key}, true
}

// begin has a name stand for a new number. The place in the stream makes it, so
// that it is the same should that be handled again.
func (p *pastHome) begin(entityID string, at concord.Position, n entityNumber) int64 {
	n.key, n.after = hashName(fmt.Sprintf("%s\x00%d.%d", entityID, at.Epoch, at.Seq)), &at
	p.keys[entityID], p.owners[n.key] = n, true
	return n.key
}

// rename is called when the home says that an entity has another name, which is
// after the name was removed or before.
func (p *pastHome) rename(from, to string, at concord.Position) naming {
	p.key(from)
	next := p.keys[from]
	moved := next
	if next.vacant {
		moved, next.open, next.vacant = *next.before, false, false
		p.keys[from] = next
	} else {
		next.key = p.begin(from, at, entityNumber{before: &moved})
	}
	var former *entityNumber
	if n, known := p.keys[to]; known {
		former = &n
	}
	p.keys[to] = entityNumber{key: moved.key, registered: true, after: &at, before: former}
	return naming{at: at, from: from, to: to, moved: moved.key, key: next.key}
}

// write is called when the numbers of the rows around it are stored.
func (n *naming) write(ctx context.Context, tx pgx.Tx, home int64, days int) error {
	var after *concord.Position
	if n.to == "" {
		after = &n.at
	} else if err := n.move(ctx, tx, home, days); err != nil {
		return err
	}
	var u unstored
	u.add(n.from, n.key, after)
	return u.insertEntities(ctx, tx, home)
}

// move gives the entity's numbers the new name: all that the name stood for but
// the one that it stands for now.
func (n *naming) move(ctx context.Context, tx pgx.Tx, home int64, days int) error {
	if err := remakeStatistics(ctx, tx, home, []int64{n.moved}, []string{n.to}, n.at, days); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `
		update history_entity
		set entity_id = case when entity_id = $2 and entity_key <> $4 then $3 else entity_id end, after_epoch = null, after_seq = null
		where home_id = $1 and entity_id in ($2, $3) and (after_epoch is null or (after_epoch, after_seq) <= ($5, $6))`,
		home, n.from, n.to, n.key, n.at.Epoch, n.at.Seq)
	if err != nil {
		return err
	}
	// A connection may begin, or end, between the two: nobody removes the former name then.
	if _, err = tx.Exec(ctx, `
		delete from entity_state where home_id = $1 and entity_id = $2 and (epoch, seq) < ($3, $4)`, home, n.from, n.at.Epoch, n.at.Seq); err != nil {
		return err
	}
	if _, err = tx.Exec(ctx, `delete from entity where home_id = $1 and entity_id = $2`, home, n.to); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `update entity set entity_id = $3 where home_id = $1 and entity_id = $2`, home, n.from, n.to)
	return err
}
