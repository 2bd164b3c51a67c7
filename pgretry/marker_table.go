package pgretry

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// absentFor is how long a database is taken to have no marker table before looking again.
const absentFor = time.Minute

// markerTables remembers which databases have a marker table.
type markerTables struct {
	mu    sync.Mutex
	known map[roleID]*markerEntry
	last  atomic.Pointer[markerEntry] // the one asked for last: most Runners know one database
}

// markerEntry is what is known of one database, as one role sees it.
type markerEntry struct {
	id     *roleID
	latest atomic.Pointer[markerLook] // nil before the first

	anyRefused atomic.Bool
	mu         sync.Mutex
	refused    map[string]time.Time // when transactions of a name could last not write it
}

// markerLook is what a look for the table found.
type markerLook struct {
	table string // qualified and quoted; empty when absent
	at    time.Time
}

// mostRefused names are remembered.
const mostRefused = 1000

// refuse notes that a transaction of this name could not write the marker: the table is gone, which the next look shows, or
// those of this name cannot, such as where they switch to another role.
func (e *markerEntry) refuse(name string) {
	e.latest.Store(nil)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.refused == nil || len(e.refused) >= mostRefused {
		e.refused = map[string]time.Time{}
	}
	e.refused[name] = time.Now()
	e.anyRefused.Store(true)
}

func (e *markerEntry) refuses(name string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	at, ok := e.refused[name]
	return ok && time.Since(at) < absentFor
}

func (mt *markerTables) entry(id *roleID) *markerEntry {
	if e := mt.last.Load(); e != nil && e.id == id {
		return e
	}
	mt.mu.Lock()
	defer mt.mu.Unlock()
	e := mt.known[*id]
	if e == nil {
		if mt.known == nil {
			mt.known = map[roleID]*markerEntry{}
		}
		e = &markerEntry{id: id}
		mt.known[*id] = e
	}
	mt.last.Store(e)
	return e
}

// of returns the marker table of the database with the given id, "" for none. Every call looks that finds nothing known:
// were one to look for all, it could wait for a connection that another holds. Where an absence is old, one call looks.
func (mt *markerTables) of(ctx context.Context, id *roleID, db DB) (table string, err error) {
	e := mt.entry(id)
	last := e.latest.Load()
	if last.fresh() {
		return last.table, nil
	}
	meanwhile := &markerLook{at: time.Now()}
	if last != nil && !e.latest.CompareAndSwap(last, meanwhile) {
		return "", nil
	}
	look := &markerLook{at: time.Now()}
	err = pgx.BeginTxFunc(ctx, base(db), pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) (err error) {
		look.table, err = markerTable(ctx, tx)
		return err
	})
	if err != nil {
		e.latest.CompareAndSwap(meanwhile, last)
		return "", err
	}
	e.latest.Store(look)
	return look.table, nil
}

func (l *markerLook) fresh() bool {
	return l != nil && (l.table != "" || time.Since(l.at) < absentFor)
}

// markerTable is "" where there is none that the role may use.
func markerTable(ctx context.Context, tx pgx.Tx) (table string, err error) {
	err = tx.QueryRow(ctx, `select coalesce((
		select quote_ident(nspname) || '.' || quote_ident(relname)
		from pg_class c join pg_namespace n on n.oid = relnamespace
		where c.oid = to_regclass('pgretry_commit') and has_table_privilege(c.oid, 'select')
			and has_table_privilege(c.oid, 'insert') and has_table_privilege(c.oid, 'update')), '')`).Scan(&table)
	return table, err
}
