package pgretry

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// MarkerMigration creates the table that lets [Do] find out whether a COMMIT took effect whose answer was lost. Run it
// once, in a schema of the search_path; it may run again. Roles that use pgretry need SELECT, INSERT and UPDATE on it.
//
// Where the table exists, every transaction that writes leaves a row in it, sent together with COMMIT, so that it costs
// no round trip. [PurgeMarkers] removes old rows.
const MarkerMigration = `create table if not exists pgretry_commit (
	id uuid primary key,
	-- True in a row that says "rolled back": its transaction can no longer commit.
	void boolean not null default false,
	at timestamptz not null default now()
)`

// MarkerMigrationDown removes what [MarkerMigration] made.
const MarkerMigrationDown = `drop table if exists pgretry_commit`

// PurgeMarkers deletes markers older than age and returns how many there were. An age of an hour is ample: a marker is
// needed for as long as [Policy.MaxElapsed] and [Policy.Grace] at most. A database without the table has none.
func PurgeMarkers(ctx context.Context, db DB, age time.Duration) (n int64, err error) {
	err = Do(ctx, db, func(ctx context.Context, tx pgx.Tx) error {
		n = 0
		table, err := markerTable(ctx, tx)
		if err != nil || table == "" {
			return err
		}
		tag, err := tx.Exec(ctx, `delete from `+table+` where at < now() - $1::interval`, age)
		n = tag.RowsAffected()
		return err
	}, WithName("pgretry: purge markers"), WithIsolation(pgx.ReadCommitted))
	return n, err
}

// absentFor is how long a database is taken to have no marker table before looking again.
const absentFor = time.Minute

// markers is what is known of one role's marker table.
type markers struct {
	table string // qualified and quoted; empty when absent
	found time.Time
}

// markerTables remembers which databases have a marker table.
type markerTables struct {
	mu    sync.Mutex
	known map[roleID]*markerEntry
	last  atomic.Pointer[markerEntry] // the one asked for last: most Runners know one database
}

// markerEntry is what is known of one database.
type markerEntry struct {
	id     *roleID
	latest atomic.Pointer[markers]

	anyRefused atomic.Bool
	mu         sync.Mutex
	refused    map[string]time.Time // when transactions of a name could last not write it
}

// mostRefused names are remembered.
const mostRefused = 1000

// refuse notes that transactions of this name cannot write the marker, such as those that switch to another role.
func (e *markerEntry) refuse(name string) {
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
	m := e.latest.Load()
	if m.fresh() {
		return m.table, nil
	}
	meanwhile := &markers{found: time.Now()}
	if m != nil && !e.latest.CompareAndSwap(m, meanwhile) {
		return "", nil
	}
	found, err := findMarkers(ctx, base(db))
	if err != nil {
		e.latest.CompareAndSwap(meanwhile, m)
		return "", err
	}
	e.latest.Store(&found)
	return found.table, nil
}

func (m *markers) fresh() bool {
	return m != nil && (m.table != "" || time.Since(m.found) < absentFor)
}

func (mt *markerTables) forget(db DB) { mt.entry(identify(db)).latest.Store(nil) }

func findMarkers(ctx context.Context, db DB) (m markers, err error) {
	m.found = time.Now()
	err = pgx.BeginTxFunc(ctx, db, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) (err error) {
		m.table, err = markerTable(ctx, tx)
		return err
	})
	return m, err
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

// marker is the row that one attempt leaves behind when it commits.
type marker struct {
	table, id string
}

// newMarker returns nil where none is wanted or the table is absent. It looks on the attempt's db: a call that holds a
// connection already must not wait for a second one.
func (c *call) newMarker(ctx context.Context, db DB) (*marker, error) {
	if c.policy.NoMarker || c.policy.AccessMode == pgx.ReadOnly {
		return nil, nil
	}
	table, err := c.runner.markers.of(ctx, c.id, db)
	if table == "" {
		return nil, err
	}
	if e := c.runner.markers.entry(c.id); e.anyRefused.Load() && e.refuses(c.laneName()) {
		return nil, nil
	}
	var b [16]byte
	_, _ = rand.Read(b[:])
	return &marker{table: table, id: fmt.Sprintf("%x", b)}, nil
}

// on returns tx with a COMMIT that writes m, if m is not nil.
func (m *marker) on(tx pgx.Tx) pgx.Tx {
	if m == nil {
		return tx
	}
	return &markedTx{Tx: tx, commit: m.commitQuery()}
}

// markedTx commits with a marker. pgx's own Commit would close the connection when the marker's insert fails, as it
// does for every other conflict at SERIALIZABLE.
type markedTx struct {
	pgx.Tx
	commit string
}

func (t *markedTx) Commit(ctx context.Context) error {
	tag, err := t.Exec(ctx, t.commit)
	switch status := t.Conn().PgConn().TxStatus(); {
	case err == nil && tag.String() == "ROLLBACK":
		return pgx.ErrTxCommitRollback
	case err == nil || status == transactionStatusIdle || t.Conn().IsClosed():
	case status == transactionStatusFail:
		_ = t.Tx.Rollback(ctx) // which closes a connection that cannot roll back
	default:
		_ = t.Conn().Close(ctx)
	}
	return err
}

// want makes the transaction leave the marker even if it wrote nothing: it may have sent a notification, which gives it no
// transaction id before COMMIT.
func (c *call) want(ctx context.Context, tx pgx.Tx, m *marker) error {
	if m == nil || !c.rec.notifies {
		return nil
	}
	ctx, cancel := c.patient(ctx)
	defer cancel()
	_, err := tx.Exec(ctx, `select pg_current_xact_id()`)
	if err != nil {
		c.rollback(ctx, tx)
	}
	return err
}

// commitQuery inserts the marker and commits, in one message. A transaction that wrote nothing leaves no marker: there
// is nothing to apply twice, and its COMMIT need not wait for the disk. The marker's age counts from here: were it that
// of the transaction, PurgeMarkers could delete the marker of a long one before anybody has looked for it.
func (m *marker) commitQuery() string {
	return fmt.Sprintf(`insert into %s (id, at) select '%s', clock_timestamp() where pg_current_xact_id_if_assigned() is not null; commit`, m.table, m.id)
}

// outcome tells whether the transaction committed. It waits while that is open. When it says no, the transaction can
// no longer commit, even if the server has yet to read the COMMIT: the marker's id is taken.
func (m *marker) outcome(ctx context.Context, db DB) (committed bool, err error) {
	err = pgx.BeginTxFunc(ctx, db, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}, func(tx pgx.Tx) error {
		var void bool
		err := tx.QueryRow(ctx, fmt.Sprintf(`insert into %s as m (id, void, at) values ('%s', true, clock_timestamp())
			on conflict (id) do update set void = m.void returning void`, m.table, m.id)).Scan(&void)
		committed = !void
		return err
	})
	return committed, err
}
