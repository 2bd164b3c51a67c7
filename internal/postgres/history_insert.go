package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

const insertHistorySQL = `
	insert into history (home_id, entity_key, last_updated, last_changed, value, attributes_id, clock_epoch, source, state,
	                     context_id, context_parent_id, context_user_id)
	select $1, h.entity_key, h.last_updated, h.last_changed, h.value, h.attributes_id, h.clock_epoch, $2, h.state,
	       nullif(h.context_id, ''), nullif(h.parent_id, ''), nullif(h.user_id, '')
	from unnest($3::bigint[], $4::timestamptz[], $5::timestamptz[], $6::double precision[], $7::bigint[], $8::integer[],
	            $9::text[], $10::text[], $11::text[], $12::text[])
	  as h (entity_key, last_updated, last_changed, value, attributes_id, clock_epoch, state, context_id, parent_id, user_id)
	on conflict do nothing`

// insertHistory stores rows that are not there yet, with the entities and the
// attributes they refer to, and returns how many were stored. remember must be
// called after the commit.
func (p *pastHome) insertHistory(ctx context.Context, tx pgx.Tx, home int64, rows *historyRows, source int16) (stored int, remember func(), err error) {
	newest, _ := p.newestOf(rows)
	return p.storeHistory(ctx, tx, home, rows, newest, func() (int, error) {
		tag, err := tx.Exec(ctx, insertHistorySQL,
			home, source, rows.keys, rows.updated, rows.changed, rows.values, rows.attributes, rows.clocks,
			rows.states, rows.contexts, rows.parents, rows.users)
		return int(tag.RowsAffected()), err
	})
}

// appendHistory is insertHistory for changes just heard. When all are newer than
// what is known of their entities they are copied, which costs PostgreSQL half as
// much as looking for each first. Should one be there nevertheless, the error
// is 23505: the caller goes on with doubt.
func (p *pastHome) appendHistory(ctx context.Context, tx pgx.Tx, home int64, rows *historyRows) (stored int, remember func(), err error) {
	newest, isNew := p.newestOf(rows)
	if !isNew {
		return p.insertHistory(ctx, tx, home, rows, sourceLive)
	}
	return p.storeHistory(ctx, tx, home, rows, newest, func() (int, error) {
		return CopyHistory(ctx, tx, home, sourceLive, rows.history())
	})
}

func (p *pastHome) storeHistory(ctx context.Context, tx pgx.Tx, home int64, rows *historyRows, newest map[int64]int64, store func() (int, error)) (stored int, remember func(), err error) {
	remember = func() {}
	if len(rows.ids) == 0 {
		return 0, remember, nil
	}
	needed := p.unstored(rows)
	if err := needed.insert(ctx, tx, home); err != nil {
		if errors.Is(err, errNumberTaken) {
			p.forgetKeys()
		}
		return 0, remember, err
	}
	if stored, err = store(); err != nil {
		return 0, remember, err
	}
	return stored, func() { p.remember(needed, newest) }, p.moveRollUpBack(ctx, tx, home, rows)
}

// newestOf returns the times of the newest rows by entity, and whether every row
// is newer than what was stored of its entity before. An entity of which nothing
// is remembered is in doubt.
func (p *pastHome) newestOf(rows *historyRows) (newest map[int64]int64, isNew bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	newest, isNew = make(map[int64]int64, min(len(rows.keys), 1024)), true
	for i, key := range rows.keys {
		at := rows.updated[i].UnixMicro()
		last, known := newest[key]
		if !known {
			last, known = p.newest[key]
		}
		isNew = isNew && known && at > last
		if !known || at > last {
			newest[key] = at
		}
	}
	return newest, isNew
}

// doubt forgets which rows are the newest.
func (p *pastHome) doubt() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.newest)
}

func isDuplicate(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pgErr.Code == "23505"
}

// HistoryColumns are changes of one home as parallel slices, in the order of
// the columns of the table history. Empty contexts are stored as null.
type HistoryColumns struct {
	Keys             []int64
	Updated, Changed []time.Time
	Values           []pgtype.Float8
	Attributes       []int64
	Clocks           []int32
	States           []string
	Contexts         []string
	Parents, Users   []string
}

func (r *historyRows) history() *HistoryColumns {
	return &HistoryColumns{
		Keys: r.keys, Updated: r.updated, Changed: r.changed, Values: r.values, Attributes: r.attributes, Clocks: r.clocks,
		States: r.states, Contexts: r.contexts, Parents: r.parents, Users: r.users,
	}
}

var historyColumns = []string{
	"home_id", "entity_key", "last_updated", "last_changed", "value", "attributes_id", "clock_epoch", "source", "state",
	"context_id", "context_parent_id", "context_user_id",
}

// CopyHistory stores changes of which none is stored yet, else the error is
// 23505. Benchmarks call it by hand, to tell the cost of everything around it.
func CopyHistory(ctx context.Context, tx pgx.Tx, home int64, source int16, c *HistoryColumns) (int, error) {
	row := make([]any, len(historyColumns))
	row[0], row[7] = home, source
	n, err := tx.CopyFrom(ctx, pgx.Identifier{"history"}, historyColumns, pgx.CopyFromSlice(len(c.Keys), func(i int) ([]any, error) {
		row[1], row[2], row[3], row[4], row[5], row[6] = c.Keys[i], c.Updated[i], c.Changed[i], c.Values[i], c.Attributes[i], c.Clocks[i]
		row[8], row[9], row[10], row[11] = c.States[i], orNull(c.Contexts[i]), orNull(c.Parents[i]), orNull(c.Users[i])
		return row, nil
	}))
	return int(n), err
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}
