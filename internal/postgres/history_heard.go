package postgres

import (
	"context"
	"maps"

	"github.com/jackc/pgx/v5"

	"github.com/concord-home/concord"
)

// heardUntil is how far the changes of a home are written. The spool may hold a
// message twice, when its acknowledgement was lost. Its changes must not be
// followed again: by their times the clock would seem to have been set back, and
// they would be stored once more, in an epoch of their own.
type heardUntil struct {
	concord.Position
	there map[string]bool // entities that changed at that very place: a message may end within it
}

// fresh leaves out the changes that are written, and returns how far those that
// remain lead. Records without a place, which no home sends, remain.
func (h heardUntil) fresh(records []concord.Record) (fresh []concord.Record, next heardUntil) {
	next = heardUntil{Position: h.Position, there: maps.Clone(h.there)}
	if next.there == nil {
		next.there = make(map[string]bool)
	}
	fresh = records
	dropped := false
	for i, r := range records {
		if next.takes(&records[i]) {
			if dropped {
				fresh = append(fresh, r)
			}
		} else if !dropped {
			fresh, dropped = append(make([]concord.Record, 0, len(records)), records[:i]...), true
		}
	}
	return fresh, next
}

// takes reports whether a change was not there before, and remembers it. A new name
// has a place of its own.
func (h *heardUntil) takes(r *concord.Record) bool {
	s := r.State
	switch {
	case s.Position.Seq == 0:
		return true
	case s.Position.Before(h.Position), s.Position == h.Position && (h.there[s.EntityID] || r.RenamedFrom != ""):
		return false
	case s.Position != h.Position:
		h.Position = s.Position
		clear(h.there)
	}
	h.there[s.EntityID] = true
	return true
}

// heardUntil returns how far the home's changes are written: what is remembered
// of the last commit, else what the database says.
func (p *pastHome) heardUntil(ctx context.Context, db *DB, home int64) (heardUntil, error) {
	p.mu.Lock()
	heard := p.heard
	p.mu.Unlock()
	if heard.there != nil {
		return heard, nil
	}
	at, err := positionOf(ctx, db.pool, home)
	if err != nil {
		return heard, err
	}
	heard = heardUntil{Position: at.heard, there: make(map[string]bool)}
	rows, err := db.pool.Query(ctx, `select entity_id from entity_state where home_id = $1 and epoch = $2 and seq = $3`, home, at.heard.Epoch, at.heard.Seq)
	if err != nil {
		return heard, err
	}
	var id string
	_, err = pgx.ForEachRow(rows, []any{&id}, func() error { heard.there[id] = true; return nil })
	return heard, err
}

func (p *pastHome) setHeard(heard heardUntil) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard = heard
}
