package pgretry

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// statements are the SQL of a target.
type statements struct {
	upsert string // from arrays
	merge  string // from the temporary table
	// What became of each row of the two above, where the rows of a chunk fared differently; of settled tables alone.
	upsertDetail, mergeDetail string
	create                    string // of the temporary table
	copy                      string // into it
	loop                      string // record by record from it
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
		copy: fmt.Sprintf("copy %s (%s, pgretry_n) from stdin (format binary)", stage, list),
		loop: t.loopSQL(names),
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
