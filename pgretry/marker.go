package pgretry

import (
	"context"
	"crypto/rand"
	"fmt"
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
