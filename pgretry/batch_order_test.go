package pgretry_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/pgretry"
	"github.com/concord-home/concord/pgretry/internal/pgtest"
)

func TestBatchCommitsWithoutChunk(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t, 2)
	pgtest.Exec(t, pool, `create table x (id int primary key)`)
	batch := &pgretry.Batch{Table: pgx.Identifier{"x"}, Columns: []string{"id"}, Key: []string{"id"}, Commit: 10}
	var records [][]any
	for i := range 25 {
		records = append(records, []any{i})
	}
	commits := &recorded{}
	_, err := batch.Upsert(t.Context(), pool, records, pgretry.WithObserver(commits))
	require.NoError(t, err)
	require.Equal(t, 3, commits.finished())
}

// A record whose successor is not stored is not superseded.
func TestBatchSupersedesWhenItCommits(t *testing.T) {
	t.Parallel()
	for name, newer := range map[string]string{"Last": "", "Newest": "n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := pgtest.Pool(t, 2)
			pgtest.Exec(t, pool, `create table x (id int primary key, n int)`,
				`create function stop() returns trigger language plpgsql as $$ begin
					if new.id = 2 then raise exception 'stop' using errcode = '57014'; end if; return new; end $$`,
				`create trigger stop before insert on x for each row execute function stop()`)
			batch := &pgretry.Batch{Table: pgx.Identifier{"x"}, Columns: []string{"id", "n"}, Key: []string{"id"}, Newer: newer, Commit: 1}
			got, err := batch.Upsert(t.Context(), pool, [][]any{{1, 1}, {1, 2}, {1, 3}, {2, 1}, {2, 2}, {2, 3}})
			require.Equal(t, "57014", pgretry.SQLSTATE(err))
			require.Equal(t, []pgretry.RecordOutcome{
				pgretry.Superseded, pgretry.Superseded, pgretry.Created, pgretry.Unwritten, pgretry.Unwritten, pgretry.Unwritten,
			}, outcomesOf(got))
			require.Equal(t, []int{1, 2, 3}, []int{got.Created, got.Superseded, got.Unwritten})
		})
	}
}

// Records that are written after all, for a later one of their key was refused, are written in the order of the keys too.
func TestBatchGivesRecordsBackInOrder(t *testing.T) {
	t.Parallel()
	for name, check := range map[string]string{"Statement": `check (n < 9)`, "RecordByRecord": `unique`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := pgtest.Pool(t, 2)
			pgtest.Exec(t, pool, `create table x (id int primary key, n int `+check+`, m jsonb)`, `insert into x values (0, 8)`)
			if name == "RecordByRecord" {
				pgtest.Exec(t, pool, `insert into x values (-1, 9)`)
			}
			batch := &pgretry.Batch{Table: pgx.Identifier{"x"}, Columns: []string{"id", "n", "m"}, Key: []string{"id"}, Commit: 3}
			var records [][]any
			for i := range 10 {
				records = append(records, []any{10 + i, -i, "{}"}, []any{10 + i, 9, "{}"})
			}
			records[3][1], records[3][2] = -100, "{" // the server cannot read it
			records = append(records, []any{20, -20, "{}"})
			got, err := batch.Upsert(t.Context(), pool, records)
			require.NoError(t, err)
			require.Equal(t, []int{11, 10}, []int{got.Created, got.Failed})
			require.Equal(t, "0", text(t, pool, `select count(*)::text from x a join x b on a.xmin = b.xmin and a.ctid < b.ctid and a.id > b.id
				where b.id > 0`))
		})
	}
}
