package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
)

// on is a change at a time of the clock.
func (b *bundle) on(id, state string, at time.Time, seq int64) concord.Record {
	r := b.at(id, state, 0, seq)
	r.State.LastUpdated, r.State.LastChanged = at, at
	return r
}

func (b *bundle) done(t *testing.T) time.Time {
	t.Helper()
	var done time.Time
	require.NoError(t, b.conn.QueryRow(t.Context(), `select done from rollup where home_id = $1`, b.home).Scan(&done))
	return done
}

func TestStatisticsHaveOneRowABucket(t *testing.T) {
	t.Parallel()

	t.Run("InTheHourInWhichAnEntityGetsItsEntry", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		hour := time.Now().UTC().Add(-3 * time.Hour).Truncate(time.Hour)
		first := b.on("light.k", "on", hour, 1)
		b.write(t, 100, first)
		b.syncRegistry(t, 2, map[string]string{"light.k": "r1"}, first)
		b.write(t, 101, b.on("light.k", "off", hour.Add(10*time.Minute), 3), b.on("light.k", "on", hour.Add(50*time.Minute), 4))
		require.NoError(t, b.db.Upkeep(t.Context(), time.Now()))
		require.Equal(t, 1, b.count(t, `select count(*) from statistics_1h`))
		require.Equal(t, 3, b.count(t, `select count from statistics_named where width = '1 hour' and entity_id = 'light.k' and last_state = 'on'`))
		require.Equal(t, 3, b.count(t, `select count(*) from statistics_5m`))
		var seconds float64
		require.NoError(t, b.conn.QueryRow(t.Context(), `select seconds from time_in_state($1, 'light.k', 'on', $2, $3, '1 hour')`, b.home, hour, hour.Add(time.Hour)).Scan(&seconds))
		require.InDelta(t, 1200, seconds, 1e-6)
	})

	t.Run("WhenABucketIsMadeAgainUnderAnotherNumber", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		hour := time.Now().UTC().Add(-3 * time.Hour).Truncate(time.Hour)
		first := b.on("light.k", "on", hour, 1)
		b.write(t, 100, first)
		require.NoError(t, b.db.Upkeep(t.Context(), time.Now()))
		b.syncRegistry(t, 2, map[string]string{"light.k": "r1"}, first)
		b.write(t, 101, b.on("light.k", "off", hour.Add(time.Minute), 3))
		require.NoError(t, b.db.Upkeep(t.Context(), time.Now()))
		require.Equal(t, 1, b.count(t, `select count(*) from statistics_1h`))
		require.Equal(t, 1, b.count(t, `select count(*) from statistics_5m`))
		require.Equal(t, 2, b.count(t, `select count from statistics_named where width = '1 hour'`))
	})

	t.Run("WhenTheRegistrySaysTooLateWhoseTheChangesAre", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		hour := time.Now().UTC().Add(-3 * time.Hour).Truncate(time.Hour)
		first := b.on("light.k", "on", hour, 1)
		b.write(t, 100, first)
		b.syncRegistry(t, 2, map[string]string{"light.k": "r1"}, first)
		b.write(t, 101, b.gone("light.k", 3), b.on("light.l", "on", hour.Add(time.Minute), 4), b.on("light.k", "off", hour.Add(2*time.Minute), 5))
		require.NoError(t, b.db.Upkeep(t.Context(), time.Now()))
		b.syncRegistry(t, 6, map[string]string{"light.l": "r1"}, b.on("light.l", "on", hour.Add(time.Minute), 6), b.on("light.k", "off", hour.Add(2*time.Minute), 6))
		require.NoError(t, b.db.Upkeep(t.Context(), time.Now()))
		require.Equal(t, 2, b.count(t, `select count from statistics_named where width = '1 hour' and entity_id = 'light.l'`))
		require.Equal(t, 1, b.count(t, `select count from statistics_named where width = '1 hour' and entity_id = 'light.k'`))
		require.Equal(t, 2, b.count(t, `select count(*) from statistics_1h`))
	})
}

func TestStatisticsOutliveAnOddClock(t *testing.T) {
	t.Parallel()

	t.Run("Of1970", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.write(t, 100, b.on("sensor.a", "1", time.Now().Add(-3*time.Hour), 1))
		require.NoError(t, b.db.Upkeep(t.Context(), time.Now()))
		before := b.done(t)
		b.write(t, 101, b.on("sensor.b", "1", time.Unix(30, 0), 2))
		require.Equal(t, before, b.done(t))
	})

	t.Run("AfterRetention", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		hour := time.Now().UTC().AddDate(0, 0, -9).Truncate(time.Hour)
		b.write(t, 100, b.on("sensor.a", "20", hour, 1), b.on("sensor.a", "21", hour.Add(time.Minute), 2))
		require.NoError(t, b.db.Upkeep(t.Context(), time.Now()))
		later := time.Now().AddDate(0, 0, 3)
		require.NoError(t, b.db.Upkeep(t.Context(), later))
		require.Zero(t, b.count(t, `select count(*) from history`))
		b.write(t, 101, b.on("sensor.a", "99", hour.Add(59*time.Minute), 3))
		require.NoError(t, b.db.Upkeep(t.Context(), later))
		require.Equal(t, 2, b.count(t, `select count from statistics_1h where bucket = $1`, hour))
	})

	t.Run("OrAStateThatIsOlderThanWhatIsKept", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.write(t, 100, b.on("light.l", "on", time.Now().AddDate(0, 0, -40), 1), b.on("sensor.a", "1", time.Now().Add(-3*time.Hour), 2))
		require.NoError(t, b.db.Upkeep(t.Context(), time.Now().Add(10*time.Minute)))
		require.True(t, b.done(t).After(time.Now().Add(-time.Hour)))
		to := time.Now().UTC().Truncate(24 * time.Hour)
		var seconds float64
		require.NoError(t, b.conn.QueryRow(t.Context(), `select sum(seconds) from time_in_state($1, 'light.l', 'on', $2, $3)`, b.home, to.AddDate(0, 0, -5), to).Scan(&seconds))
		require.InDelta(t, 5*24*3600, seconds, 1e-6)
		require.NoError(t, b.db.Upkeep(t.Context(), time.Now()))
		require.Equal(t, 2, b.count(t, `select count(*) from statistics_1h`))
	})

	t.Run("ThatIsWeeksBehind", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		hour, later := time.Now().UTC().AddDate(0, 0, -40).Truncate(time.Hour), time.Now()
		change := func(seq int64) concord.Record {
			return b.on("sensor.a", fmt.Sprint(seq), hour.Add(time.Duration(seq)*time.Minute), seq)
		}
		upkeep := func() {
			t.Helper()
			later = later.Add(10 * time.Minute)
			require.NoError(t, b.db.Upkeep(t.Context(), later))
		}
		b.write(t, 100, change(1))
		upkeep()
		b.write(t, 101, change(2))
		b.write(t, 102, change(3))
		upkeep()
		require.Equal(t, 3, b.count(t, `select count from statistics_1h where bucket = $1 and last = 3`, hour), "what comes later is in it")
		require.Zero(t, b.count(t, `select count(*) from rollup_old`))

		later = later.AddDate(0, 0, 12)
		upkeep()
		require.Zero(t, b.count(t, `select count(*) from history_other`))
		b.write(t, 103, change(4))
		upkeep()
		require.Equal(t, 1, b.count(t, `select count(*) from statistics_1h where count = 3`), "the clock begins there again, and what it said is gone")
	})

	t.Run("RowsOfItAreKeptAsLongAsOthers", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.write(t, 100, b.on("sensor.a", "1", time.Unix(30, 0), 1), b.on("sensor.a", "2", time.Now().AddDate(50, 0, 0), 2))
		require.NoError(t, b.db.Upkeep(t.Context(), time.Now()))
		require.Equal(t, 2, b.count(t, `select count(*) from history_other`))
		require.NoError(t, b.db.Upkeep(t.Context(), time.Now().AddDate(0, 0, 12)))
		require.Zero(t, b.count(t, `select count(*) from history_other`))
	})
}

func TestStatisticsTakeAnyNumber(t *testing.T) {
	t.Parallel()
	b := setup(t)
	at := time.Now().UTC().Add(-90 * time.Minute)
	states := []string{"1.797e308", "-1.7e308", "1e300", "1e200", "0", "5e-324", "-2e-310", "7"}
	for i, state := range states {
		b.write(t, uint64(100+i), b.on("sensor.a", state, at.Add(time.Duration(i)*time.Microsecond), int64(i+1))) //nolint:gosec // small
	}
	require.Equal(t, 2, b.count(t, `select count(*) from history where value is null`))
	_, err := b.conn.Exec(t.Context(), `update history set value = state::double precision`) // as an older Concord wrote
	require.NoError(t, err)
	require.NoError(t, b.db.Upkeep(t.Context(), time.Now()))
	require.Equal(t, len(states), b.count(t, `select count from statistics_1h where last = 7 and max = 1e300 and min = 0`))
}

func TestRetentionKeepsWhatIsNotSummedUp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.write(t, 100, b.on("sensor.a", "1", time.Now().Add(-90*time.Minute), 1))
	_, err := b.conn.Exec(t.Context(), `alter table statistics_1h add constraint broken check (count < 0)`)
	require.NoError(t, err)
	later := time.Now().AddDate(0, 0, 12)
	require.Error(t, b.db.Upkeep(t.Context(), later))
	require.Equal(t, 1, b.count(t, `select count(*) from history`))
	_, err = b.conn.Exec(t.Context(), `alter table statistics_1h drop constraint broken`)
	require.NoError(t, err)
	require.NoError(t, b.db.Upkeep(t.Context(), later))
	require.Zero(t, b.count(t, `select count(*) from history`))
	require.Equal(t, 1, b.count(t, `select count(*) from statistics_1h`))
}

// Who waits for the table has all writers wait behind.
func TestRetentionDoesNotWaitForReadersAtTheTable(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.write(t, 100, b.on("sensor.a", "1", time.Now().AddDate(0, 0, -2), 1))
	reader, err := pgx.Connect(t.Context(), b.conn.Config().ConnString())
	require.NoError(t, err)
	t.Cleanup(func() { reader.Close(t.Context()) })
	tx, err := reader.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `select count(*) from history`)
	require.NoError(t, err)
	done := make(chan error)
	go func() {
		_, err := b.db.DropHistory(t.Context(), time.Now())
		done <- err
	}()
	waiting := 0
	for dropping := true; dropping; {
		select {
		case err = <-done:
			dropping = false
		default:
			waiting += b.count(t, `select count(*) from pg_locks where not granted and relation in ('history'::regclass, 'statistics_5m'::regclass)`)
		}
	}
	require.Error(t, err)
	require.Zero(t, waiting)
	require.NoError(t, tx.Rollback(t.Context()))
	dropped, err := b.db.DropHistory(t.Context(), time.Now())
	require.NoError(t, err)
	require.NotEmpty(t, dropped)
}

func TestAChangeThatIsCommittedLateIsSummedUp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	now := time.Now()
	at := now.Add(-10 * time.Second).Truncate(5 * time.Minute).Add(-time.Minute)
	b.write(t, 100, b.on("sensor.a", "1", at, 1))
	var key int64
	require.NoError(t, b.conn.QueryRow(t.Context(), `select entity_key from history_entity`).Scan(&key))
	slow, err := pgx.Connect(t.Context(), b.conn.Config().ConnString())
	require.NoError(t, err)
	t.Cleanup(func() { slow.Close(t.Context()) })
	tx, err := slow.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `
		insert into history (home_id, entity_key, last_updated, last_changed, attributes_id, state)
		values ($1, $2, $3, $3, 0, 'late')`, b.home, key, at.Add(time.Second))
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- b.db.Upkeep(t.Context(), now) }()
	asked := func() bool {
		return len(done) > 0 || b.count(t, `select count(*) from pg_stat_activity where query like '%from pg_locks%' and pid <> pg_backend_pid()`) > 0
	}
	require.Eventually(t, asked, 10*time.Second, time.Millisecond)
	require.NoError(t, tx.Commit(t.Context()))
	require.NoError(t, <-done)
	require.Equal(t, 2, b.count(t, `select count from statistics_5m where last_state = 'late'`))
}

// A change that is not committed yet when its hour is summed up is in no sum.
func TestAnOldHourWaitsForWhoNotesIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	hour := time.Now().UTC().AddDate(0, 0, -40).Truncate(time.Hour)
	b.write(t, 100, b.on("sensor.a", "1", hour.Add(time.Minute), 1))
	db, found := paused(t, b, "rollup_old where home_id = $1 and noted_at")
	upkeep, written := make(chan error, 1), make(chan error, 1)
	go func() { upkeep <- db.Upkeep(t.Context(), time.Now().Add(10*time.Minute)) }()
	<-found.read
	writer, noted := paused(t, b, "unnest($2::timestamptz[]) t")
	go func() {
		_, err := writer.WriteEvents(t.Context(), b.home, []concord.Record{b.on("sensor.a", "2", hour.Add(2*time.Minute), 2)}, 101)
		written <- err
	}()
	<-noted.read
	close(found.goOn)
	waits := func() bool {
		return len(upkeep) > 0 || b.count(t, `
			select count(*) from pg_locks where not granted and locktype = 'transactionid' and pid in (select pid from pg_stat_activity where datname = current_database())`) > 0
	}
	require.Eventually(t, waits, 10*time.Second, time.Millisecond)
	close(noted.goOn)
	require.NoError(t, <-upkeep)
	require.NoError(t, <-written)
	require.NoError(t, b.db.Upkeep(t.Context(), time.Now().Add(20*time.Minute)))
	require.Equal(t, 2, b.count(t, `select count from statistics_1h where bucket = $1`, hour))
}

func TestHistoryThatCameLateIsSummedUpFirst(t *testing.T) {
	t.Parallel()
	b := setup(t)
	hour := time.Now().UTC().Add(-3 * time.Hour).Truncate(time.Hour)
	b.write(t, 100, b.on("sensor.a", "1", hour.Add(time.Hour), 1))
	require.NoError(t, b.db.Upkeep(t.Context(), time.Now()))
	b.write(t, 101, b.on("sensor.a", "2", hour, 2))
	require.Equal(t, hour, b.done(t).UTC())
}

func TestStatisticsBeginWithTheFirstChange(t *testing.T) {
	t.Parallel()
	b := setup(t)
	now := time.Now().UTC()
	b.write(t, 100, b.on("sensor.a", "1", now.Add(-20*time.Minute), 1))
	_, err := b.conn.Exec(t.Context(), `delete from rollup`) // as if it had come at once: nothing is late yet
	require.NoError(t, err)
	b.write(t, 101, b.on("sensor.a", "2", now.Add(-10*time.Minute), 2))
	require.NoError(t, b.db.Upkeep(t.Context(), now))
	require.Equal(t, 2, b.count(t, `select count(*) from statistics_5m`))
}
