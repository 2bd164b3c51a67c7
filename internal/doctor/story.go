package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/concord-home/concord/internal/pglog"
)

// Story is the report in words, in the order in which it is read. Text and HTML only lay it out.
type Story struct {
	Lang     string
	Title    string
	Verdict  []string
	Causes   []Cause
	Orphans  []string
	Chart    []int64
	ChartSay string
	Advice   []string
	Unknown  []string
	Files    []string
	Findings []Line
	Server   bool // a server was asked
	Bug      string
}

// Cause is one incident, ready to print.
type Cause struct {
	State, Kind, Table, Application, Endpoint string
	Count, Cascades, Retried, Lost            int64
	Notes                                     []string
}

// Line is a finding and what to type against it.
type Line struct {
	Weight int
	Text   string
	Fix    string
}

// maxCauses is how many incidents a report lists; the JSON has all.
const maxCauses = 20

// Tell puts the report into words.
func (r *Report) Tell(lang string) *Story {
	s := &Story{Lang: lang, Title: say(lang, "title")}
	if r.Logs != nil {
		r.tellLogs(s)
	}
	if r.Database != nil {
		r.tellDatabase(s)
	}
	s.Bug = r.bugReport(s)
	return s
}

func (r *Report) tellLogs(s *Story) {
	l := r.Logs
	s.Verdict = verdict(s.Lang, l)
	for _, in := range l.Incidents {
		if !in.Orphan && len(s.Causes) < maxCauses && worthTelling(&in) {
			s.Causes = append(s.Causes, causeOf(s.Lang, &in))
		}
	}
	s.Orphans = orphans(s.Lang, l)
	s.Chart, s.ChartSay = chart(s.Lang, l)
	s.Advice = advice(s.Lang, l)
	s.Unknown = unknown(s.Lang, l)
	for _, f := range l.Files {
		s.Files = append(s.Files, describeFile(&f))
	}
}

// worthTelling leaves out errors that are neither conflicts nor had an echo.
func worthTelling(in *pglog.Incident) bool {
	return in.Cascades > 0 || in.SQLState == "40001" || in.SQLState == "40P01" || in.SQLState == "55P03"
}

func verdict(lang string, l *pglog.Result) []string {
	t := l.Totals
	var out []string
	switch {
	case t.CascadesWithRoot > 0:
		causes, top := causesOfCascades(l)
		out = append(out, say(lang, "verdict_cascades", count(t.Cascades), count(causes), top))
	case t.Cascades > 0:
		out = append(out, say(lang, "verdict_unproven", count(t.Cascades)))
	case conflicts(l) > 0:
		out = append(out, say(lang, "verdict_conflicts", count(conflicts(l)), stateCounts(t.RootsByState)))
	default:
		out = append(out, say(lang, "verdict_clean"))
	}
	var lost, retried int64
	for _, in := range l.Incidents {
		lost += in.Lost
		retried += in.RetriedOK
	}
	if lost > 0 {
		out = append(out, say(lang, "verdict_lost", count(lost)))
	}
	if retried > 0 {
		out = append(out, say(lang, "verdict_retried", count(retried)))
	}
	if !l.First.IsZero() {
		out = append(out, say(lang, "verdict_since", clock(l.First), clock(l.Last), l.Last.Sub(l.First).Round(time.Millisecond).String()))
	}
	return out
}

// causesOfCascades counts the errors that had an echo, and names the commonest.
func causesOfCascades(l *pglog.Result) (int64, string) {
	byState := map[string]int64{}
	table := map[string]string{}
	var causes int64
	for _, in := range l.Incidents {
		if in.Orphan || in.Cascades == 0 {
			continue
		}
		causes += min(in.Count, in.Cascades)
		byState[in.SQLState] += in.Cascades
		if table[in.SQLState] == "" {
			table[in.SQLState] = in.Table
		}
	}
	top, most := "", int64(0)
	for state, n := range byState {
		if n > most || n == most && state < top {
			top, most = state, n
		}
	}
	if table[top] != "" {
		return causes, top + " (" + table[top] + ")"
	}
	return causes, top
}

func stateCounts(states map[string]int64) string {
	var parts []string
	for _, state := range []string{"40001", "40P01", "55P03"} {
		if states[state] > 0 {
			parts = append(parts, fmt.Sprintf("%s × %s", count(states[state]), state))
		}
	}
	return strings.Join(parts, ", ")
}

func causeOf(lang string, in *pglog.Incident) Cause {
	c := Cause{
		State: in.SQLState, Kind: string(in.Kind), Table: in.Table, Application: in.Application, Endpoint: in.Endpoint,
		Count: in.Count, Cascades: in.Cascades, Retried: in.RetriedOK, Lost: in.Lost,
	}
	if in.Kind == pglog.KindOther {
		c.Kind = shorten(in.Message, 60)
	}
	note := func(key string, args ...any) { c.Notes = append(c.Notes, say(lang, key, args...)) }
	if in.Statement != "" {
		note("statement", shorten(in.Statement, 160))
	}
	if in.ConflictTable != "" {
		note("conflict_table", in.ConflictTable)
	}
	if in.Rival != "" {
		note("rival", shorten(in.Rival, 160))
	}
	if in.User != "" || in.Database != "" {
		note("who", in.User, in.Database)
	}
	note("first_at", clock(pglog.TimeOf(in.First)), in.Where.File, fmt.Sprint(in.Where.Line))
	return c
}

func whyText(lang, why string) string {
	for part, key := range map[string]string{
		"no earlier error": "why_none", "was over": "why_healthy", "another session": "why_session", "transaction id": "why_xid",
		"are missing": "why_gap", "ended its": "why_commit", "too much time": "why_time", "several": "why_ambiguous",
		"does not tell": "why_key", "other transactions": "why_between",
	} {
		if strings.Contains(why, part) {
			return say(lang, key)
		}
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

func sortedKeys(m map[string]int64) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int {
		if m[a] != m[b] {
			return int(m[b] - m[a])
		}
		return strings.Compare(a, b)
	})
	return keys
}

// chartWidth is the number of marks of a chart.
const chartWidth = 60

// chart spreads conflicts and echoes over equal steps.
func chart(lang string, l *pglog.Result) ([]int64, string) {
	if len(l.Points) < 2 {
		return nil, ""
	}
	first, last := l.Points[0].Time, l.Points[len(l.Points)-1].Time
	step := max(last.Sub(first)/chartWidth, l.Step)
	if step <= 0 {
		return nil, ""
	}
	marks := make([]int64, min(int(last.Sub(first)/step)+1, chartWidth+1))
	for _, p := range l.Points {
		i := min(int(p.Time.Sub(first)/step), len(marks)-1)
		marks[i] += p.Conflicts
	}
	return marks, say(lang, "rate", step.Round(time.Second).String(), count(slices.Max(marks)))
}

func describeFile(f *pglog.FileInfo) string {
	parts := []string{f.Name, f.Format}
	if len(f.Carriers) > 0 {
		parts = append(parts, strings.Join(f.Carriers, "+"))
	}
	for _, p := range f.Prefixes[:min(len(f.Prefixes), 3)] {
		parts = append(parts, fmt.Sprintf("%q", p))
	}
	return strings.Join(append(parts, count(f.Lines)), ", ")
}

func (r *Report) tellDatabase(s *Story) {
	s.Server = true
	for _, f := range r.Database.Findings {
		args := make([]any, len(f.Args))
		for i, a := range f.Args {
			args[i] = shorten(a, 120)
		}
		s.Findings = append(s.Findings, Line{Weight: f.Weight, Text: say(s.Lang, "f_"+f.Check, args...), Fix: f.Fix})
	}
	slices.SortStableFunc(s.Findings, func(a, b Line) int { return b.Weight - a.Weight })
	if len(s.Findings) > 0 {
		s.Verdict = append(s.Verdict, say(s.Lang, "verdict_database", fmt.Sprint(len(s.Findings)), s.Findings[0].Text))
	} else {
		s.Verdict = append(s.Verdict, say(s.Lang, "database")+": "+say(s.Lang, "database_clean"))
	}
	for _, skip := range r.Database.Skipped {
		s.Unknown = append(s.Unknown, say(s.Lang, "skipped", skip.Check, skip.Reason))
	}
}

func shorten(s string, n int) string {
	runes := []rune(strings.Join(strings.Fields(s), " "))
	if len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return string(runes)
}

// count writes a number with thin groups: 12 345.
func count(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "?"
	}
	return t.Format("2006-01-02 15:04:05 UTC")
}
