package pgretry_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/internal/pgtest"
)

func TestBatch(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	type bundle struct {
		pool  *pgxpool.Pool
		batch *pgretry.Batch
	}
	setup := func(t *testing.T) bundle {
		t.Helper()
		pool := pgtest.Pool(t, 4)
		pgtest.Exec(t, pool,
			`create table room (id int primary key)`, `insert into room values (1), (2)`,
			`create type mood as enum ('good', 'bad')`,
			`create table thing (id bigint primary key, name varchar(5) not null, n int check (n >= 0), room int references room,
				mood mood, at timestamptz not null)`)
		return bundle{pool, &pgretry.Batch{
			Table: pgx.Identifier{"thing"}, Columns: []string{"id", "name", "n", "room", "mood", "at"}, Key: []string{"id"}, Newer: "at",
		}}
	}
	record := func(id int) []any { return []any{id, "name", id, 1 + id%2, "good", at} }
	many := func(n int) (records [][]any) {
		for i := range n {
			records = append(records, record(n-i))
		}
		return records
	}
	count := func(t *testing.T, pool *pgxpool.Pool) (n int) {
		t.Helper()
		require.NoError(t, pool.QueryRow(t.Context(), `select count(*) from thing`).Scan(&n))
		return n
	}

	t.Run("CreatesUpdatesAndLeavesAlone", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		got, err := b.batch.Upsert(t.Context(), b.pool, many(10))
		require.NoError(t, err)
		require.Equal(t, 10, got.Created)
		newer := many(12)
		newer[0][5], newer[3][5] = at.Add(time.Second), at.Add(time.Second)
		newer[5][5] = at.Add(-time.Second)
		got, err = b.batch.Upsert(t.Context(), b.pool, newer)
		require.NoError(t, err)
		require.Equal(t, []int{2, 1, 9, 0}, []int{got.Created, got.Updated, got.Unchanged, got.Failed})
		require.Equal(t, pgretry.Created, got.Records[1].Outcome)
		require.Equal(t, pgretry.Updated, got.Records[3].Outcome)
		require.Equal(t, pgretry.Unchanged, got.Records[5].Outcome)
	})
	t.Run("ReportsEachBadRecordAndWritesTheOthers", func(t *testing.T) {
		t.Parallel()
		for name, size := range map[string]int{"Array": 100, "Copy": pgretry.CopyFrom} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				records := many(size)
				records[0][1] = nil
				records[1][1] = "too long"
				records[2][2] = -1
				records[3][3] = 7
				records[4][2] = "twelve"
				records[5] = records[5][:2]
				got, err := b.batch.Upsert(t.Context(), b.pool, records)
				require.NoError(t, err)
				for i, code := range []string{"23502", "22001", "23514", "23503", "22000", "42601"} {
					require.Equal(t, pgretry.Failed, got.Records[i].Outcome, i)
					require.Equal(t, code, got.Records[i].Err.SQLSTATE, got.Records[i].Err)
				}
				require.Equal(t, 6, got.Failed)
				require.Equal(t, size-6, got.Created)
				require.Equal(t, size-6, count(t, b.pool))
			})
		}
	})
	t.Run("FindsWhatOnlyTheServerRefuses", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		pgtest.Exec(t, b.pool, `create unique index on thing (name, n)`)
		records := many(20)
		records[3][2] = records[4][2]
		records[9][4] = "indifferent"
		got, err := b.batch.Upsert(t.Context(), b.pool, records)
		require.NoError(t, err)
		require.Equal(t, 2, got.Failed)
		require.Equal(t, "23505", got.Records[3].Err.SQLSTATE)
		require.Equal(t, "thing_name_n_idx", got.Records[3].Err.Constraint)
		require.Equal(t, "22P02", got.Records[9].Err.SQLSTATE)
		require.Equal(t, 18, count(t, b.pool))
	})
	t.Run("LetsATriggerMendARecord", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		pgtest.Exec(t, b.pool,
			`create function mend() returns trigger language plpgsql as $$ begin
				new.name := coalesce(new.name, '?'); return new; end $$`,
			`create trigger mend before insert on thing for each row execute function mend()`)
		records := many(3)
		records[0][1] = nil
		got, err := b.batch.Upsert(t.Context(), b.pool, records)
		require.NoError(t, err)
		require.Equal(t, 3, got.Created)
	})
	t.Run("TakesTheLastOfAKey", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		records := [][]any{record(1), record(2), record(1)}
		records[2][1] = "last"
		got, err := b.batch.Upsert(t.Context(), b.pool, records)
		require.NoError(t, err)
		require.Equal(t, pgretry.Superseded, got.Records[0].Outcome)
		var name string
		require.NoError(t, b.pool.QueryRow(t.Context(), `select name from thing where id = 1`).Scan(&name))
		require.Equal(t, "last", name)
	})
	t.Run("CommitsInPieces", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.batch.Chunk, b.batch.Commit = 10, 20
		commits := &recorded{}
		records := many(55)
		records[7][2] = -1
		got, err := b.batch.Upsert(t.Context(), b.pool, records, pgretry.WithObserver(commits))
		require.NoError(t, err)
		require.Equal(t, 54, got.Created)
		require.Equal(t, 3, commits.finished())
	})
	t.Run("ManyAtOnceDoNotDeadlock", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		seen := &recorded{}
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for round := range 5 {
					records := many(200)
					for _, r := range records {
						r[5] = at.Add(time.Duration(round*10+w) * time.Second)
					}
					if w%2 == 0 {
						for i := range records[:100] {
							records[i], records[199-i] = records[199-i], records[i]
						}
					}
					_, err := b.batch.Upsert(context.Background(), b.pool, records, pgretry.WithObserver(seen))
					if err != nil {
						panic(err)
					}
				}
			})
		}
		wg.Wait()
		require.Zero(t, seen.failedWith("40P01"))
		require.Equal(t, 200, count(t, b.pool))
	})
	t.Run("TellsOfEachRowWhateverTheTable", func(t *testing.T) {
		t.Parallel()
		const columns = `(a int, b text, v int check (v < 100), up int, primary key (a, b))`
		for name, statements := range map[string][]string{
			"Plain": {`create table thing2 ` + columns},
			"AfterTrigger": {
				`create table thing2 ` + columns,
				`create function again() returns trigger language plpgsql as $$ begin
					update thing2 set up = 1 where (a, b) = (new.a, new.b) and up is null; return null; end $$`,
				`create trigger again after insert or update on thing2 for each row execute function again()`,
			},
			"SelfReference": {
				// Each new row refers to the first, which is new itself and gets locked.
				`create table thing2 (a int, b text, v int check (v < 100), up int default 0, primary key (a, b), unique (a),
					foreign key (up) references thing2 (a))`,
			},
		} {
			for kind, size := range map[string]int{"Array": 20, "Copy": pgretry.CopyFrom} {
				t.Run(name+kind, func(t *testing.T) {
					t.Parallel()
					pool := pgtest.Pool(t, 2)
					pgtest.Exec(t, pool, statements...)
					batch := &pgretry.Batch{Table: pgx.Identifier{"thing2"}, Columns: []string{"a", "b", "v"}, Key: []string{"a", "b"}, Newer: "v"}
					var records [][]any
					want := make([]pgretry.RecordOutcome, size)
					// Of four records one is new, one newer, one as old as the table's and one bad.
					pgtest.Exec(t, pool, fmt.Sprintf(`insert into thing2 select i, 'b', 3 + i %% 4, null from generate_series(0, %d) i
						where i %% 4 in (1, 2)`, size-1))
					kinds := []pgretry.RecordOutcome{pgretry.Created, pgretry.Updated, pgretry.Unchanged, pgretry.Failed}
					for i := range size {
						want[i] = kinds[i%4]
						records = append(records, []any{i, "b", 5 + i%4/3*95})
					}
					got, err := batch.Upsert(t.Context(), pool, records)
					require.NoError(t, err)
					for i, w := range want {
						require.Equal(t, w, got.Records[i].Outcome, i)
					}
				})
			}
		}
	})
	t.Run("RefusesWhatItCannotDo", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		for _, bad := range []*pgretry.Batch{
			{Table: pgx.Identifier{"thing"}},
			{Table: pgx.Identifier{"thing"}, Columns: []string{"id"}, Key: []string{"name"}},
			{Table: pgx.Identifier{"thing"}, Columns: []string{"id", "absent"}, Key: []string{"id"}},
			{Table: pgx.Identifier{"absent"}, Columns: []string{"id"}, Key: []string{"id"}},
		} {
			got, err := bad.Upsert(t.Context(), b.pool, [][]any{{1}})
			require.Error(t, err)
			require.Equal(t, 1, got.Unwritten)
		}
	})
}

// What is wrong with a batch itself is told before the database is asked.
func TestBatchThatCannotBe(t *testing.T) {
	t.Parallel()
	table, columns, key := pgx.Identifier{"thing"}, []string{"id", "at"}, []string{"id"}
	for message, batch := range map[string]*pgretry.Batch{
		"a batch needs Table, Columns and Key":                 {Table: table, Columns: columns},
		"a batch's Chunk and Commit must not be negative":      {Table: table, Columns: columns, Key: key, Chunk: -1},
		`names "name", which is not among its Columns`:         {Table: table, Columns: columns, Key: []string{"name"}},
		`a batch's Newer, "id", is part of its Key`:            {Table: table, Columns: columns, Key: key, Newer: "id"},
		`a batch's Key or Newer names "n", which is not among`: {Table: table, Columns: columns, Key: key, Newer: "n"},
	} {
		_, err := batch.Upsert(t.Context(), nil, [][]any{{1, nil}})
		require.ErrorContains(t, err, message)
	}
}
