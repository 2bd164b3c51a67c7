package pgretry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// target is a table as a batch needs to know it.
type target struct {
	batch   *Batch
	columns []column
	key     []int // positions in columns
	faults  []fault
	tested  bool // NULL and length before the statement; not where a trigger may mend a record
	settled bool // rows stay as the statement wrote them: nothing of the table changes or locks them after it
	plain   bool // a table of its own, whose rows tell by xmax what was created; neither partitioned nor a view
	secured bool // by row security, which refuses records
	// deferred: a constraint may be tested at COMMIT.
	deferred bool
	learned  time.Time
	sql      statements
}

// renewAfter is how long what was learned of a table holds: its constraints may change.
const renewAfter = time.Minute

type column struct {
	name, quoted string
	oid          uint32 // of its base type if it is a domain
	array        uint32 // 0 where values must travel by COPY: no array stands in another, and unnest takes rows apart
	typeName     string
	enum         bool
	notNull      bool
	maxLength    int
	rounded      bool   // the column may change a value that is stored in it, or compare it in its own way
	exact        bool   // equal values have equal bytes
	collation    string // that a key must be compared with; "" for its type's
	text         bool   // its binary format is its text
	utf8         bool   // takes valid UTF-8 alone
}

// fault is a reason to refuse a record that the statement itself can test.
type fault struct {
	test    string   // SQL over the columns; true refuses
	columns []string // that the test reads
	err     RecordError
}

// targetOn looks the table up, once per database.
func (b *Batch) targetOn(ctx context.Context, id roleID, tx pgx.Tx) (*target, error) {
	b.mu.Lock()
	t := b.tables[id]
	b.mu.Unlock()
	if t != nil && time.Since(t.learned) < renewAfter {
		return t, nil
	}
	t, err := b.describe(ctx, tx)
	if err != nil {
		return nil, fmt.Errorf("describe table: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tables == nil {
		b.tables = map[roleID]*target{}
	}
	b.tables[id] = t
	return t, nil
}

// forget has the next Upsert look the table up again: it may have changed, and this one failed for that.
func (b *Batch) forget(id roleID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.tables, id)
}

func (b *Batch) describe(ctx context.Context, tx pgx.Tx) (*target, error) {
	t := &target{batch: b, learned: time.Now()}
	table := b.Table.Sanitize()
	rows, err := tx.Query(ctx, describeColumns, table, b.Columns, b.Key)
	if err != nil {
		return nil, err
	}
	t.columns, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (c column, err error) {
		err = row.Scan(&c.name, &c.quoted, &c.oid, &c.array, &c.typeName, &c.enum, &c.notNull, &c.maxLength, &c.rounded, &c.exact,
			&c.collation, &c.text, &c.utf8)
		return c, err
	})
	if err != nil {
		return nil, err
	}
	if err := t.match(); err != nil {
		return nil, err
	}
	if err := t.findFaults(ctx, tx, table); err != nil {
		return nil, err
	}
	t.sql = t.compose()
	return t, nil
}

// describeColumns gives the columns with their base types, through any number of domains. Of a key the type tells its precision:
// values that the column rounds to one are one key. Names are quoted always, for PL/pgSQL reserves more words than SQL.
const describeColumns = `
	select a.attname, format('"%s"', replace(a.attname, '"', '""')), e.oid, case when e.typtype <> 'c' then e.typarray else 0 end,
		case when k.rounded then format_type(e.oid, greatest(a.atttypmod, d.mod)) else format('%I.%I', n.nspname, e.typname) end,
		e.typtype = 'e', a.attnotnull,
		case when e.oid in ('varchar'::regtype, 'bpchar'::regtype) and a.atttypmod > 0 then a.atttypmod - 4 else 0 end,
		greatest(a.atttypmod, d.mod) >= 0 and e.oid <> 'varchar'::regtype or a.attcollation <> e.typcollation,
		e.typtype = 'e' or not k.rounded and coalesce(co.collisdeterministic, true) and e.oid = any('{bool,int2,int4,int8,oid,uuid,bytea,date,time,timestamp,timestamptz,
			name,text,varchar}'::regtype[]),
		case when not co.collisdeterministic then format('%I.%I', cn.nspname, co.collname) else '' end,
		e.typcategory in ('S', 'E'), e.typcategory in ('S', 'E') and current_setting('server_encoding') = 'UTF8'
	from unnest($2::text[]) with ordinality c(name, n)
	join pg_attribute a on a.attrelid = $1::text::regclass and a.attname = c.name and a.attnum > 0 and not a.attisdropped
	cross join lateral (
		with recursive b (oid, base, mod) as (
			select oid, typbasetype, typtypmod from pg_type where oid = a.atttypid
			union all
			select t.oid, t.typbasetype, t.typtypmod from b join pg_type t on t.oid = b.base)
		select max(oid::bigint) filter (where base = 0) as oid, max(mod) as mod from b) d
	join pg_type e on e.oid = d.oid::oid
	join pg_namespace n on n.oid = e.typnamespace
	cross join lateral (select a.attname = any($3) and greatest(a.atttypmod, d.mod) >= 0
		and e.oid = any('{numeric,time,timetz,timestamp,timestamptz,interval}'::regtype[]) as rounded) k
	left join pg_collation co on co.oid = a.attcollation
	left join pg_namespace cn on cn.oid = co.collnamespace
	order by c.n`

// match checks that every column was found, in order, and finds those of the key.
func (t *target) match() error {
	for i, name := range t.batch.Columns {
		if i == len(t.columns) || t.columns[i].name != name {
			return fmt.Errorf("no column %q", name)
		}
	}
	for _, name := range t.batch.Key {
		t.key = append(t.key, slices.Index(t.batch.Columns, name))
	}
	return nil
}

// findFaults collects the tests for CHECK constraints and foreign keys, and whether NULL and length are tested here. A
// table with BEFORE ROW triggers gets none: a trigger may mend what would be refused here.
func (t *target) findFaults(ctx context.Context, tx pgx.Tx, table string) error {
	var triggers bool
	// tgtype: 1 is ROW, 2 is BEFORE, 4 INSERT, 16 UPDATE. A foreign key to the table itself locks rows of it.
	err := tx.QueryRow(ctx, `select exists (select from pg_trigger where (tgrelid = $1::text::regclass or tgrelid in (select relid from pg_partition_tree($1::text::regclass)))
			and not tgisinternal and tgtype & 3 = 3 and tgtype & 20 <> 0),
		relkind = 'r' and not exists (select from pg_trigger where tgrelid = $1::text::regclass and not tgisinternal)
			and not exists (select from pg_constraint where contype = 'f' and conrelid = $1::text::regclass and confrelid = conrelid),
		relkind = 'r', relrowsecurity, relkind = 'v' or exists (select from pg_constraint where $1::text::regclass in (conrelid, confrelid) and condeferred)
		from pg_class where oid = $1::text::regclass`, table).Scan(&triggers, &t.settled, &t.plain, &t.secured, &t.deferred)
	if err != nil || triggers {
		return err
	}
	t.tested = true
	rows, err := tx.Query(ctx, constraintTests, table, t.batch.Columns)
	if err != nil {
		return err
	}
	t.faults, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (f fault, err error) {
		err = row.Scan(&f.test, &f.columns, &f.err.SQLSTATE, &f.err.Constraint, &f.err.Message)
		return f, err
	})
	t.faults = slices.DeleteFunc(t.faults, t.readsRounded)
	return err
}

// readsRounded tells a test of a value that the column may change or compare otherwise: 10.04 passes `n <= 10` in a numeric(3,1),
// and A passes `k = 'a'` where the collation ignores case.
func (t *target) readsRounded(f fault) bool {
	return slices.ContainsFunc(t.columns, func(c column) bool { return c.rounded && slices.Contains(f.columns, c.name) })
}

// refuses tells that err may be the fault of single records.
func (t *target) refuses(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && t.secured && e.Code == insufficientPrivilege {
		return true
	}
	return refusesRecord(err)
}

// unreadable tells why the server cannot read a value, which would fail all of its statement; nil if it can.
func (c *column) unreadable(value []byte, null bool) *RecordError {
	if null || !c.utf8 || utf8.Valid(value) && bytes.IndexByte(value, 0) < 0 {
		return nil
	}
	return &RecordError{SQLSTATE: "22021", Column: c.name, Message: fmt.Sprintf("column %q takes valid UTF-8 without a zero byte", c.name)}
}

// fault tells why the column refuses a value; nil if it does not.
func (c *column) fault(value []byte, null bool) *RecordError {
	switch {
	case null && c.notNull:
		return &RecordError{SQLSTATE: "23502", Column: c.name, Message: fmt.Sprintf("column %q must not be null", c.name)}
	case c.maxLength > 0 && utf8.RuneCount(bytes.TrimRight(value, " ")) > c.maxLength:
		return &RecordError{SQLSTATE: "22001", Column: c.name, Message: fmt.Sprintf("column %q takes %d characters", c.name, c.maxLength)}
	}
	return nil
}

// enforced is true of every constraint before PostgreSQL 18.
const enforced = `coalesce((to_jsonb(pg_constraint) ->> 'conenforced')::bool, true)`

// timeless is false of a foreign key for a period, which PostgreSQL 18 has.
const timeless = `not coalesce((to_jsonb(pg_constraint) ->> 'conperiod')::bool, false)`

// constraintTests gives a test per CHECK constraint over the given columns alone, and per simple foreign key to another
// table that this role may read. The others are left to the server.
const constraintTests = `
	select format('not coalesce((%s), true)', pg_get_expr(conbin, conrelid)),
		(select array_agg(a.attname::text) from pg_attribute a where a.attrelid = conrelid and a.attnum = any(conkey)), '23514', conname::text,
		format('violates check constraint "%s"', conname)
	from pg_constraint
	where conrelid = $1::text::regclass and contype = 'c' and conkey is not null and 0 <> all(conkey) and ` + enforced + `
		and not exists (select from pg_attribute where attrelid = conrelid and attnum = any(conkey) and attname <> all($2::text[]))
	union all
	select format('not (%s) and not exists (select from %s pgretry_r where %s)',
			(select string_agg(format('i.%I is null', a.attname), ' or ') from pg_attribute a
				where a.attrelid = conrelid and a.attnum = any(conkey)),
			confrelid::regclass,
			(select string_agg(format('pgretry_r.%I = i.%I', r.attname, a.attname), ' and ')
				from unnest(conkey, confkey) k(mine, theirs)
				join pg_attribute a on a.attrelid = conrelid and a.attnum = mine
				join pg_attribute r on r.attrelid = confrelid and r.attnum = theirs)),
		(select array_agg(a.attname::text) from pg_attribute a where a.attrelid = conrelid and a.attnum = any(conkey)), '23503', conname::text, format('violates foreign key constraint "%s"', conname)
	from pg_constraint
	where conrelid = $1::text::regclass and contype = 'f' and confmatchtype = 's' and not condeferrable and ` + timeless + `
		and confrelid <> conrelid and has_table_privilege(confrelid, 'select') and not row_security_active(confrelid) and ` + enforced + `
		and not exists (select from pg_attribute where attrelid = conrelid and attnum = any(conkey) and attname <> all($2::text[]))`

// statements are the SQL of a target.
type statements struct {
	upsert string // from arrays
	merge  string // from the temporary table
	// What became of each row of the two above, where the rows of a chunk fared differently; of settled tables alone.
	upsertDetail, mergeDetail string
	create                    string // of the temporary table
	copy                      string // into it
	loop                      string // record by record from it
	report                    string // of the loop's outcomes
}

// stage is the temporary table; n is the row's position in its chunk.
const stage = "pg_temp.pgretry_stage"

func (t *target) compose() statements {
	var names, nulls []string
	for _, c := range t.columns {
		names = append(names, c.quoted)
		nulls = append(nulls, fmt.Sprintf("null::%s as %s", c.typeName, c.quoted))
	}
	list := strings.Join(names, ", ")
	all := t.positions(func(column) bool { return true })
	s := statements{
		upsert: t.setSQL(list, t.unnest(all, all), t.unnest(t.positions(t.isTested), all), "cardinality($1)"),
		merge:  t.setSQL(list, stage+" as i", stage+" as i", "(select count(*) from "+stage+")"),
		create: fmt.Sprintf(`create temporary table pgretry_stage on commit drop as select %s, null::bigint as pgretry_n limit 0;
			create temporary table pgretry_report (n bigint, created bool, sqlstate text, message text, col text, con text) on commit drop`,
			strings.Join(nulls, ", ")),
		copy:   fmt.Sprintf("copy %s (%s, pgretry_n) from stdin (format binary)", stage, list),
		loop:   t.loopSQL(names),
		report: `select n, created, sqlstate, message, col, con from pg_temp.pgretry_report`,
	}
	if t.settled {
		s.upsertDetail, s.mergeDetail = t.detailSQL(t.unnest(t.key, t.key)), t.detailSQL(stage+" as i")
	}
	return s
}

// detailSQL tells the rows that this transaction has written, as [target.setSQL] does. A row that ON CONFLICT updated
// was locked first, which its new version still shows in xmax.
func (t *target) detailSQL(source string) string {
	return fmt.Sprintf(`select i.pgretry_n, (case when t.xmax = 0 then -1 else -2 end)::bigint from %s join %s t using (%s)
		where t.xmin = pg_current_xact_id()::xid`, source, t.batch.Table.Sanitize(), t.keyList(""))
}

// unnest is a source of rows from the arrays of some columns. The parameters of the statement are the arrays of params.
// Both are positions of columns.
func (t *target) unnest(columns, params []int) string {
	var names, arrays []string
	for _, k := range columns {
		names = append(names, t.columns[k].quoted)
		arrays = append(arrays, fmt.Sprintf("$%d::%s[]", 1+slices.Index(params, k), t.columns[k].typeName))
	}
	return fmt.Sprintf("unnest(%s) with ordinality as i(%s, pgretry_n)", strings.Join(arrays, ", "), strings.Join(names, ", "))
}

// positions are those of the columns that are wanted.
func (t *target) positions(wanted func(column) bool) (list []int) {
	for k, c := range t.columns {
		if wanted(c) {
			list = append(list, k)
		}
	}
	return list
}

// isTested tells that a fault is looked for in the column.
func (t *target) isTested(c column) bool {
	return slices.ContainsFunc(t.faults, func(f fault) bool { return slices.Contains(f.columns, c.name) })
}

// setSQL is the statement that writes all good rows of a source at once and returns rows (n, what):
//   - n < 0: -1-n rows were written, what of them created;
//   - what > 0: row n is refused by the fault of that number, counted from 1;
//   - what = -1 or -2: row n was created or updated. These come only if rows of a chunk fared differently, and not of
//     settled tables, which are asked afterwards: to keep the keys of all rows costs more than the rare question.
//
// The faults are looked for only if some rows were not written, in a scan of its own over as few columns as it needs.
func (t *target) setSQL(list, source, faultSource, count string) string {
	var b strings.Builder
	good, faults, refused, number := t.faultSQL(faultSource, count)
	keys := ""
	if !t.settled {
		keys = t.keyList("t.") + ", "
	}
	fmt.Fprintf(&b, "with pgretry_w as (insert into %s as t (%s) select %[2]s from %s %s %s returning %s%s as pgretry_c), ",
		t.batch.Table.Sanitize(), list, source, good, t.onConflict(), keys, t.createdSQL())
	b.WriteString("pgretry_s as materialized (select count(*) as n, count(*) filter (where pgretry_c) as c from pgretry_w)" + faults)
	b.WriteString(" select -1 - n, c from pgretry_s " + refused)
	if !t.settled {
		fmt.Fprintf(&b, `union all select pgretry_n, case when pgretry_c then -1 else -2 end from %s join pgretry_w using (%s)
			where (select c > 0 and c < n or n%s < %s from pgretry_s)`, source, t.keyList(""), number, count)
	}
	return b.String()
}

// createdSQL tells of a row t that is returned whether it is new. A row of a partitioned table or a view has no xmax;
// there the statement's snapshot tells whether the key was there before.
func (t *target) createdSQL() string {
	if t.plain {
		return "t.xmax = 0"
	}
	var same []string
	for _, k := range t.key {
		same = append(same, fmt.Sprintf("pgretry_o.%s = t.%[1]s", t.columns[k].quoted))
	}
	return fmt.Sprintf("not exists (select from %s pgretry_o where %s)", t.batch.Table.Sanitize(), strings.Join(same, " and "))
}

// faultSQL is the parts of [target.setSQL] that deal with faults; empty where there are none to look for.
func (t *target) faultSQL(source, count string) (good, faults, refused, number string) {
	if len(t.faults) == 0 {
		return "", "", "", ""
	}
	var cases, tests []string
	for i, f := range t.faults {
		tests = append(tests, "("+f.test+")")
		cases = append(cases, fmt.Sprintf("when %s then %d", f.test, i+1))
	}
	bad := strings.Join(tests, " or ")
	faults = fmt.Sprintf(`, pgretry_f as materialized (select pgretry_n, case %s end as fault from %s
		where (select n < %s from pgretry_s) and (%s))`, strings.Join(cases, " "), source, count, bad)
	return "where not (" + bad + ")", faults, "union all select pgretry_n, fault from pgretry_f ", " + (select count(*) from pgretry_f)"
}

func (t *target) keyList(prefix string) string {
	var names []string
	for _, k := range t.key {
		names = append(names, prefix+t.columns[k].quoted)
	}
	return strings.Join(names, ", ")
}

// onConflict updates the columns outside the key. Where there are none, it writes the key again, so that the row is
// returned.
func (t *target) onConflict() string {
	var sets []string
	for i, c := range t.columns {
		if !slices.Contains(t.key, i) {
			sets = append(sets, fmt.Sprintf("%s = excluded.%[1]s", c.quoted))
		}
	}
	if len(sets) == 0 {
		c := t.columns[t.key[0]]
		sets = append(sets, fmt.Sprintf("%s = excluded.%[1]s", c.quoted))
	}
	clause := fmt.Sprintf("on conflict (%s) do update set %s", t.keyList(""), strings.Join(sets, ", "))
	if t.batch.Newer != "" {
		newer := pgx.Identifier{t.batch.Newer}.Sanitize()
		clause += fmt.Sprintf(" where excluded.%s > t.%[1]s or t.%[1]s is null", newer)
	}
	return clause
}

// loopSQL writes the staged rows one by one, each in a subtransaction of its own. What is not a record's own fault, a
// conflict with another transaction for one, ends the whole: no subtransaction heals it.
func (t *target) loopSQL(names []string) string {
	secured := ""
	if t.secured {
		secured = " and state <> '" + insufficientPrivilege + "'"
	}
	return fmt.Sprintf(`do $pgretry$
#variable_conflict use_column
declare r record; c bool; state text; msg text; col text; con text;
begin
	for r in select * from %s order by pgretry_n loop
		begin
			c := null;
			insert into %s as t (%s) values (%s) %s returning %s into c;
			insert into pg_temp.pgretry_report values (r.pgretry_n, c);
		exception
			when others or assert_failure then
				get stacked diagnostics state = returned_sqlstate, msg = message_text, col = column_name, con = constraint_name;
				if state !~ '%s'%s then raise; end if;
				insert into pg_temp.pgretry_report values (r.pgretry_n, null, state, msg, col, con);
		end;
	end loop;
end $pgretry$`, stage, t.batch.Table.Sanitize(), strings.Join(names, ", "), "r."+strings.Join(names, ", r."), t.onConflict(), t.createdSQL(), recordStates, secured)
}
