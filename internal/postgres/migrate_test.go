package postgres_test

import (
	"database/sql"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/pgtest"
	"github.com/concord-home/concord/internal/postgres"
)

// before30 is a database of the Concord before migration 30, with a home.
type before30 struct {
	url   string
	conn  *pgx.Conn
	other *pgx.Conn // looks on
}

func openBefore30(t *testing.T) before30 {
	t.Helper()
	b := before30{url: pgtest.URL(t)}
	pool, err := sql.Open("pgx", b.url)
	require.NoError(t, err)
	defer pool.Close()
	require.NoError(t, postgres.MigrateTo(t.Context(), pool, 29))
	// Who begins to wait first finds the deadlock, and is its victim.
	_, err = pool.ExecContext(t.Context(), `
		do $$ begin execute format('alter database %I set deadlock_timeout = ''3s''', current_database()); end $$;
		insert into home (name, url) values ('Home', 'ws://home')`)
	require.NoError(t, err)
	for _, conn := range []**pgx.Conn{&b.conn, &b.other} {
		*conn, err = pgx.Connect(t.Context(), b.url)
		require.NoError(t, err)
		t.Cleanup(func() { (*conn).Close(t.Context()) })
	}
	_, err = b.conn.Exec(t.Context(), `set statement_timeout = '10s'`)
	require.NoError(t, err)
	return b
}

const (
	oldChange = `
		with e as (insert into history_entity (home_id, entity_key, entity_id) values (1, 7, 'sensor.a') on conflict do nothing)
		insert into history (home_id, entity_key, last_updated, last_changed, attributes_id, state) values (1, 7, $1, $1, 0, 'on')`
	oldQuarantine = `insert into quarantine (home_id, entity_id, reason, record) values (1, 'sensor.b', 'bad', '')`
)

// migrating opens the database with this Concord, and returns when that waits.
func (b before30) migrating(t *testing.T) (done chan error) {
	t.Helper()
	done = make(chan error, 1)
	go func() {
		db, err := postgres.Open(t.Context(), postgres.Options{URL: b.url})
		if err == nil {
			db.Close()
		}
		done <- err
	}()
	require.Eventually(t, func() bool {
		var waits bool
		err := b.other.QueryRow(t.Context(), `
			select exists (select from pg_locks where not granted and database = (select oid from pg_database where datname = current_database()))`).Scan(&waits)
		return err == nil && waits
	}, 20*time.Second, time.Millisecond)
	return done
}

func TestMigration30(t *testing.T) {
	t.Parallel()

	t.Run("LetsAWriterOfTheVersionBeforeGoOn", func(t *testing.T) {
		t.Parallel()
		b := openBefore30(t)
		tx, err := b.conn.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), `set local deadlock_timeout = '1min'`)
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), oldChange, time.Now())
		require.NoError(t, err)
		done := b.migrating(t)
		_, err = tx.Exec(t.Context(), oldQuarantine)
		require.NoError(t, err)
		require.NoError(t, tx.Commit(t.Context()))
		require.NoError(t, <-done)
		_, err = b.conn.Exec(t.Context(), oldChange, time.Now())
		require.NoError(t, err, "the version before still writes")
		_, err = b.conn.Exec(t.Context(), oldQuarantine)
		require.NoError(t, err)
	})

	t.Run("HasNobodyWaitForLongBehindABackup", func(t *testing.T) {
		t.Parallel()
		b := openBefore30(t)
		backup, err := pgx.Connect(t.Context(), b.url)
		require.NoError(t, err)
		t.Cleanup(func() { backup.Close(t.Context()) })
		tx, err := backup.Begin(t.Context())
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), `select count(*) from history`)
		require.NoError(t, err)
		done := b.migrating(t)
		_, err = b.conn.Exec(t.Context(), oldChange, time.Now())
		require.NoError(t, err)
		require.NoError(t, tx.Rollback(t.Context()))
		require.NoError(t, <-done)
	})

	t.Run("RewritesNoRowOfAnOddClock", func(t *testing.T) {
		t.Parallel()
		b := openBefore30(t)
		_, err := b.conn.Exec(t.Context(), oldChange, time.Unix(30, 0))
		require.NoError(t, err)
		var before, after uint32
		require.NoError(t, b.conn.QueryRow(t.Context(), `select xmin::text::bigint from history_other`).Scan(&before))
		db, err := postgres.Open(t.Context(), postgres.Options{URL: b.url})
		require.NoError(t, err)
		db.Close()
		require.NoError(t, b.conn.QueryRow(t.Context(), `select xmin::text::bigint from history_other where stored_at between now() - interval '1 minute' and now()`).Scan(&after))
		require.Equal(t, before, after)
	})
}
