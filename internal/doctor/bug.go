package doctor

import (
	"fmt"
	"strings"

	"github.com/concord-home/concord/internal/pglog"
)

// bugReport is Markdown for the tracker of the program that went on after an error. It is in English and holds neither
// people's names nor contents of rows: statements are without literals.
func (r *Report) bugReport() string {
	var b strings.Builder
	if l := r.Logs; l != nil && conflicts(l)+l.Totals.Cascades > 0 {
		bugAboutLogs(&b, l)
	}
	if d := r.Database; d != nil && len(d.Findings) > 0 {
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "### The server\n\nPostgreSQL %s; findings: ", d.Version)
		var names []string
		for _, f := range d.Findings {
			names = append(names, f.Check)
		}
		b.WriteString("- " + strings.Join(unique(names), "\n- ") + "\n")
	}
	return b.String()
}

func unique(list []string) []string {
	seen := map[string]bool{}
	var out []string
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}

func bugAboutLogs(b *strings.Builder, l *pglog.Result) {
	t := l.Totals
	causes := mergeIncidents(l)
	b.WriteString("### " + bugTitle(l) + "\n\n")
	if t.Cascades > 0 {
		fmt.Fprintf(b, "After an error the program goes on in the same transaction: %d statements\nwere answered with 25P02; "+
			"for %d of them the log has the error before.\nExpected: ROLLBACK and, on 40001 and 40P01, the whole transaction again.\n\n",
			t.Cascades, t.CascadesWithRoot)
	} else {
		b.WriteString("Transactions meet conflicts. Expected: on 40001 and 40P01 the whole transaction is run again.\n\n")
	}
	b.WriteString("| SQLSTATE | cause | table | endpoint or job | times | 25P02 after it | retried | lost |\n|---|---|---|---|---|---|---|---|\n")
	for _, m := range causes[:min(len(causes), 5)] {
		fmt.Fprintf(b, "| %s | %s | %s | %s | %d | %d | %d | %d |\n", m.SQLState, m.Kind, m.Table, m.Endpoint, m.Count, m.Cascades, m.RetriedOK, m.Lost)
	}
	for _, m := range causes[:min(len(causes), 5)] {
		for _, shape := range sortedKeys(m.statements)[:min(len(m.statements), 1)] {
			fmt.Fprintf(b, "\n    %s: %s", m.SQLState, shorten(shape, 200))
		}
	}
	fmt.Fprintf(b, "\n\nAll errors: %s\n", counts(t.RootsByState, 10))
	if !l.First.IsZero() {
		fmt.Fprintf(b, "Time: %s to %s\n", clock(l.First), clock(l.Last))
	}
	for _, f := range l.Files[:min(len(l.Files), 5)] {
		fmt.Fprintf(b, "Log: %s %s %q\n", f.Format, strings.Join(f.Carriers, "+"), f.Prefixes[:min(len(f.Prefixes), 3)])
	}
}

func bugTitle(l *pglog.Result) string {
	_, top := causesOfCascades(l)
	switch {
	case l.Totals.CascadesWithRoot > 0:
		return "25P02 (current transaction is aborted) after " + top
	case l.Totals.Cascades > 0:
		return "25P02 (current transaction is aborted), cause not in the log"
	}
	return "Conflicts: " + stateCounts(l.Totals.RootsByState)
}
