package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/concord-home/concord/internal/pglog"
)

// Cause is what went wrong with one table at one endpoint, ready to print. The JSON tells its applications apart; people
// read them as one.
type Cause struct {
	State, Kind, Table, Endpoint, Application string
	Count, Cascades, Retried, Lost            int64
	RetriedKnown                              bool // only Odoo's log tells
	Notes                                     []string
}

// maxCauses is how many causes a report lists; the JSON has all.
const maxCauses = 10

// kindKeys are the names of the kinds in the word files.
var kindKeys = map[pglog.Kind]string{
	pglog.KindUpdate: "update", pglog.KindDelete: "delete", pglog.KindSSI: "ssi", pglog.KindRecovery: "recovery",
	pglog.KindPartition: "partition", pglog.KindRaised: "raised", pglog.KindForeign: "foreign", pglog.KindDeadlock: "deadlock",
	pglog.KindLock: "lock", pglog.KindPrepared: "prepared", pglog.KindOther: "other",
}

// merged is a cause while incidents are being added to it.
type merged struct {
	pglog.Incident
	applications, users map[string]int64
	statements, rivals  map[string]int64
}

// worthTelling leaves out errors that are neither conflicts nor had an echo.
func worthTelling(in *pglog.Incident) bool {
	return in.Cascades > 0 || in.SQLState == "40001" || in.SQLState == "40P01" || in.SQLState == "55P03"
}

// causes puts the incidents of one cause together, the gravest first.
func causes(lang string, l *pglog.Result) (list []Cause, more string) {
	all := mergeIncidents(l)
	for _, m := range all[:min(len(all), maxCauses)] {
		list = append(list, m.tell(lang))
	}
	if rest := len(all) - len(list); rest > 0 {
		more = say(lang, "more_causes", count(int64(rest)))
	}
	return list, more
}

func mergeIncidents(l *pglog.Result) []*merged {
	type key struct {
		state, table, conflict, endpoint string
		kind                             pglog.Kind
	}
	byKey := map[key]*merged{}
	var all []*merged
	for _, in := range l.Incidents {
		if in.Orphan || !worthTelling(&in) {
			continue
		}
		k := key{in.SQLState, in.Table, in.ConflictTable, in.Endpoint, in.Kind}
		m := byKey[k]
		if m == nil {
			m = &merged{
				Incident:     pglog.Incident{SQLState: in.SQLState, Kind: in.Kind, Table: in.Table, ConflictTable: in.ConflictTable, Endpoint: in.Endpoint},
				applications: map[string]int64{}, users: map[string]int64{}, statements: map[string]int64{}, rivals: map[string]int64{},
			}
			byKey[k] = m
			all = append(all, m)
		}
		m.add(&in)
	}
	slices.SortStableFunc(all, func(a, b *merged) int {
		return cmp.Or(cmp.Compare(b.Cascades+b.Lost, a.Cascades+a.Lost), cmp.Compare(b.Count, a.Count))
	})
	return all
}

func (m *merged) add(in *pglog.Incident) {
	if m.Count == 0 || in.First != 0 && in.First < m.First {
		m.First, m.Where = in.First, in.Where
		m.Message, m.Example = in.Message, in.Example
	}
	if m.Row == "" {
		m.Row = in.Row
	}
	m.Last = max(m.Last, in.Last)
	m.Count += in.Count
	m.Cascades += in.Cascades
	m.RetriedOK += in.RetriedOK
	m.Lost += in.Lost
	tallyText(m.applications, in.Application, in.Count)
	tallyText(m.users, strings.TrimSuffix(in.User+"@"+in.Database, "@"), in.Count)
	tallyText(m.statements, strings.TrimRight(in.Statement, "; "), in.Count)
	tallyText(m.rivals, in.Rival, in.Count)
}

func tallyText(m map[string]int64, text string, n int64) {
	if text != "" {
		m[text] += n
	}
}

func (m *merged) tell(lang string) Cause {
	c := Cause{
		State: m.SQLState, Kind: say(lang, "kind_"+kindKeys[m.Kind]), Table: m.Table, Endpoint: m.Endpoint,
		Application: counts(m.applications, 4), Count: m.Count, Cascades: m.Cascades, Retried: m.RetriedOK, Lost: m.Lost, RetriedKnown: m.RetriedOK > 0 || m.applications["odoo"] > 0,
	}
	if m.Kind == pglog.KindOther {
		c.Kind = shorten(m.Message, 80)
	}
	m.notes(lang, &c)
	return c
}

// notes are the details beneath a cause.
func (m *merged) notes(lang string, c *Cause) {
	note := func(key string, args ...any) { c.Notes = append(c.Notes, say(lang, key, args...)) }
	shapes := sortedKeys(m.statements)
	for _, statement := range shapes[:min(len(shapes), 2)] {
		note("statement", shorten(statement, 160))
	}
	if example := shorten(m.Example, 160); example != "" && !slices.Contains(shapes, example) {
		note("example", example)
	}
	if m.Row != "" {
		note("row", rowText(m.Row))
	}
	if m.ConflictTable != "" {
		note("conflict_table", m.ConflictTable)
	}
	rivals := sortedKeys(m.rivals)
	for _, rival := range rivals[:min(len(rivals), 2)] {
		note("rival", shorten(rival, 160))
	}
	if len(m.users) > 0 {
		note("who", counts(m.users, 3))
	}
	when := clock(pglog.TimeOf(m.First))
	if m.Last > m.First {
		when += " – " + pglog.TimeOf(m.Last).Format("15:04:05")
	}
	note("first_at", when, m.Where.File, fmt.Sprint(m.Where.Line))
}

// rowText tells a row's place in the table, which changes with every update, from its key.
func rowText(row string) string {
	if strings.Contains(row, "=") {
		return row
	}
	return "ctid '" + row + "'"
}

// whyKeys tell the reasons for no root apart, by words that occur in one of them only.
var whyKeys = []struct{ part, key string }{
	{"no earlier error", "why_none"}, {"was over", "why_healthy"}, {"another session", "why_session"}, {"transaction id", "why_xid"},
	{"are missing", "why_gap"}, {"ended its", "why_commit"}, {"too much time", "why_time"}, {"several", "why_ambiguous"},
	{"does not tell", "why_key"}, {"other transactions", "why_between"},
}

// whyKey is the word file's key of a reason, empty for one that is not among them.
func whyKey(why string) string {
	for _, w := range whyKeys {
		if strings.Contains(why, w.part) {
			return w.key
		}
	}
	return ""
}

func whyText(lang, why string) string {
	if key := whyKey(why); key != "" {
		return say(lang, key)
	}
	return why
}

func orphans(lang string, l *pglog.Result) []string {
	missing := l.Totals.Cascades - l.Totals.CascadesWithRoot
	if missing == 0 {
		return nil
	}
	out := []string{say(lang, "orphans", count(missing))}
	for _, why := range sortedKeys(l.Unproven) {
		out = append(out, fmt.Sprintf("%s × %s", count(l.Unproven[why]), whyText(lang, why)))
	}
	return out
}
