package postgres_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/postgres"
)

const second = int64(time.Second / time.Microsecond)

// openAgain is another process on the same database.
func openAgain(t *testing.T, url string) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), postgres.Options{URL: url})
	require.NoError(t, err)
	t.Cleanup(db.Close)
	return db
}

func TestARepeatedMessageIsWrittenOnce(t *testing.T) {
	t.Parallel()
	// Longer than what is taken for disorder: by its times the clock would have been set back.
	long := func(b *bundle) (batch []concord.Record) {
		for i := range int64(11) {
			batch = append(batch, b.at("sensor.a", string(rune('a'+i)), i*second, i+1))
		}
		return append(batch, b.at("sensor.b", "1", 10*second, 11))
	}
	once := func(t *testing.T, b *bundle) {
		t.Helper()
		require.Equal(t, 12, b.count(t, `select count(*) from history`))
		require.Zero(t, b.count(t, `select clock_epoch from spool_position`))
	}

	t.Run("InAMessageOfItsOwn", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		batch := long(b)
		_, err := b.db.WriteEvents(t.Context(), b.home, batch, 100)
		require.NoError(t, err)
		counts, err := b.db.WriteEvents(t.Context(), b.home, batch, 101)
		require.NoError(t, err)
		require.Equal(t, concord.EventCounts{Stale: 12}, counts)
		once(t, b)
	})

	t.Run("WithinOneTransaction", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		_, err := b.db.WriteEvents(t.Context(), b.home, append(long(b), long(b)...), 100)
		require.NoError(t, err)
		once(t, b)
	})

	t.Run("AfterARestart", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		_, err := b.db.WriteEvents(t.Context(), b.home, long(b), 100)
		require.NoError(t, err)
		_, err = openAgain(t, b.conn.Config().ConnString()).WriteEvents(t.Context(), b.home, long(b), 101)
		require.NoError(t, err)
		once(t, b)
	})

	t.Run("AfterAMessageThatEndsWithinAnEvent", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		batch := long(b)
		for i, part := range [][]concord.Record{batch[:11], batch[:11], batch[11:], batch[:11], batch[11:]} {
			_, err := b.db.WriteEvents(t.Context(), b.home, part, uint64(100+i))
			require.NoError(t, err)
		}
		once(t, b)
		require.Equal(t, "1", b.state(t, "sensor.b"))
	})

	t.Run("OfRemovals", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		gone := []concord.Record{b.at("sensor.a", "1", 0, 1), b.at("sensor.a", "", 0, 2)}
		gone[1].Removed = true
		for i := range 2 {
			_, err := b.db.WriteEvents(t.Context(), b.home, gone, uint64(100+i))
			require.NoError(t, err)
		}
		require.Equal(t, "(none)", b.state(t, "sensor.a"))
		require.Equal(t, 1, b.count(t, `select count(*) from history`))
	})

	t.Run("OfStates", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		states := []concord.Record{b.at("sensor.a", "1", 0, 1)}
		gone := b.at("sensor.a", "", 0, 2)
		gone.Removed = true
		_, err := b.db.WriteStates(t.Context(), b.home, states, 100)
		require.NoError(t, err)
		_, err = b.db.WriteEvents(t.Context(), b.home, []concord.Record{gone}, 101)
		require.NoError(t, err)
		_, err = b.db.WriteStates(t.Context(), b.home, states, 102)
		require.NoError(t, err)
		require.Equal(t, "(none)", b.state(t, "sensor.a"), "it went away after them")
		position, err := b.db.SpoolPosition(t.Context(), b.home)
		require.NoError(t, err)
		require.EqualValues(t, 102, position)
	})
}

func TestAnotherWriterBehindThisOne(t *testing.T) {
	t.Parallel()
	b := setup(t)
	write := func(db *postgres.DB, n int64) error {
		_, err := db.WriteEvents(t.Context(), b.home, []concord.Record{b.at("sensor.a", "1", n*second, n)}, uint64(100+n))
		return err
	}
	require.NoError(t, write(b.db, 1))
	require.NoError(t, write(openAgain(t, b.conn.Config().ConnString()), 2)) // both behind a pooler: no lease
	require.Equal(t, concord.CodeUnavailable, concord.ErrorCode(write(b.db, 3)), "it remembers another place")
	require.NoError(t, write(b.db, 3), "it looked again")
	require.Equal(t, 3, b.count(t, `select count(*) from history`))
}

// refuse has PostgreSQL refuse statements of several changes as a conflict does,
// and that state as a full disk does.
func (b *bundle) refuse(t *testing.T, state string) (mend func()) {
	t.Helper()
	_, err := b.conn.Exec(t.Context(), `
		create function refuse() returns trigger language plpgsql as $$
		begin
			if (select count(*) from stored) > 1 then
				raise exception 'a conflict' using errcode = '40001';
			elsif exists (select from stored where state = '`+state+`') then
				raise exception 'full' using errcode = '53100';
			end if;
			return null;
		end
		$$;
		create trigger refuse after insert on history referencing new table as stored for each statement execute function refuse()`)
	require.NoError(t, err)
	return func() {
		_, err := b.conn.Exec(t.Context(), `drop trigger refuse on history`)
		require.NoError(t, err)
	}
}

// Concord ends when one half of a message is written: what comes under a name
// after its removal is another's, what came before is not, and is not written
// again.
func TestAMessageThatIsHalfWritten(t *testing.T) {
	t.Parallel()
	for name, restart := range map[string]bool{"ByTheSameConcord": false, "ByTheNext": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.write(t, 100, b.at("sensor.x", "1", 1, 1))
			b.syncRegistry(t, 2, map[string]string{"sensor.x": "r1"}, b.at("sensor.x", "1", 1, 2))
			mend := b.refuse(t, "3")
			bad := b.at("sensor.b", "\x00", 2, 3)
			message := []concord.Record{bad, b.at("sensor.x", "2", 3, 3), b.gone("sensor.x", 4), b.at("sensor.old", "3", 5, 5), b.at("sensor.x", "100", 6, 6)}
			_, err := b.db.WriteEvents(t.Context(), b.home, message, 102)
			require.Error(t, err)
			require.Equal(t, 1, b.count(t, `select count(*) from history where state = '2'`), "the first half is written")
			mend()
			if restart {
				b.db = openAgain(t, b.conn.Config().ConnString())
			}
			b.write(t, 102, message...)
			b.syncRegistry(t, 8, map[string]string{"sensor.old": "r1", "sensor.x": "r2"}, b.at("sensor.old", "3", 5, 8), b.at("sensor.x", "100", 6, 8))
			require.Equal(t, []string{"1", "2", "3"}, b.statesOf(t, "sensor.old"))
			require.Equal(t, []string{"100"}, b.statesOf(t, "sensor.x"))
			require.Equal(t, 1, b.count(t, `select count(*) from quarantine where count = 1`))
		})
	}
}
