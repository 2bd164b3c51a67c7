package doctor

import (
	"fmt"
	"strings"

	"github.com/concord-home/concord/internal/pglog"
)

// advice lists what to do, the most useful first.
func advice(lang string, l *pglog.Result) []string {
	var out []string
	add := func(when bool, key string, args ...any) {
		if when {
			out = append(out, say(lang, key, args...))
		}
	}
	states, kinds := l.Totals.RootsByState, kindCounts(l)
	add(l.Totals.Cascades > 0, "advice_swallow")
	add(states["40001"]+states["40P01"]-kinds[pglog.KindRecovery] > 0, "advice_retry")
	add(l.HasOdoo && conflicts(l)+l.Totals.Cascades > 0, "advice_odoo")
	add(kinds[pglog.KindUpdate]+kinds[pglog.KindDelete] > 0, "advice_savepoint")
	table, share := hotTable(l)
	add(table != "" && share >= 0.6 && conflicts(l) >= 20, "advice_queue", table)
	add(states["40P01"] > 0, "advice_deadlock")
	add(kinds[pglog.KindSSI] > 0, "advice_ssi")
	add(kinds[pglog.KindForeign] > 0, "advice_foreign")
	add(kinds[pglog.KindRecovery] > 0, "advice_recovery")
	add(kinds[pglog.KindPartition] > 0, "advice_partition")
	add(states["55P03"] > 0, "advice_lock")
	add(states["55P03"] > 0, "advice_prepared")
	return out
}

func kindCounts(l *pglog.Result) map[pglog.Kind]int64 {
	out := map[pglog.Kind]int64{}
	for _, in := range l.Incidents {
		out[in.Kind] += in.Count
	}
	return out
}

// hotTable finds the table with most conflicts and its share.
func hotTable(l *pglog.Result) (string, float64) {
	top, most, all := "", int64(0), int64(0)
	for table, n := range l.Totals.ConflictRootsByName {
		all += n
		if table != pglog.NoTable && (n > most || n == most && table < top) {
			top, most = table, n
		}
	}
	if all == 0 {
		return "", 0
	}
	return top, float64(most) / float64(all)
}

// unknown lists what the logs could not tell, with the setting that would have.
func unknown(lang string, l *pglog.Result) []string {
	var out []string
	add := func(when bool, key string, args ...any) {
		if when {
			out = append(out, say(lang, key, args...))
		}
	}
	add(l.NoSession > 0, "unknown_prefix", count(l.NoSession))
	add(l.NoState > 0 && l.HasServer, "unknown_state", count(l.NoState))
	add(l.Totals.RootsByState[pglog.StateUnknown] > 0, "unknown_text", count(l.Totals.RootsByState[pglog.StateUnknown]))
	if n := l.Totals.Cascades - l.Totals.CascadesWithRoot; n > 0 {
		reasons := sortedKeys(l.Unproven)
		out = append(out, say(lang, "unknown_root", count(n), whyText(lang, reasons[0])))
	}
	add(l.HasServer && !l.HasOdoo && conflicts(l) > 0, "unknown_outcome")
	add(l.Restarts > 0, "restarts", fmt.Sprint(l.Restarts))
	for _, f := range l.Files {
		add(f.Broken, "unknown_broken", f.Name)
		if f.Err != nil {
			out = append(out, say(lang, "unknown_file", f.Name, f.Err))
		}
	}
	return out
}

// bugReport is plain text without names of people or contents of rows, in English, for an issue tracker.
func (r *Report) bugReport(s *Story) string {
	var b strings.Builder
	if l := r.Logs; l != nil {
		fmt.Fprintf(&b, "25P02: %d (root proven for %d)\n", l.Totals.Cascades, l.Totals.CascadesWithRoot)
		for _, state := range sortedKeys(l.Totals.RootsByState) {
			fmt.Fprintf(&b, "%s: %d\n", state, l.Totals.RootsByState[state])
		}
		if !l.First.IsZero() {
			fmt.Fprintf(&b, "from %s to %s\n", clock(l.First), clock(l.Last))
		}
		for i, c := range s.Causes {
			if i == 5 {
				break
			}
			fmt.Fprintf(&b, "- %s %s, table %s, endpoint %s: %d, echoes %d, retried %d, lost %d\n",
				c.State, c.Kind, c.Table, c.Endpoint, c.Count, c.Cascades, c.Retried, c.Lost)
		}
		for _, f := range l.Files {
			fmt.Fprintf(&b, "log: %s %s %q\n", f.Format, strings.Join(f.Carriers, "+"), f.Prefixes)
		}
	}
	if d := r.Database; d != nil {
		fmt.Fprintf(&b, "server: PostgreSQL %s, %d findings\n", d.Version, len(d.Findings))
	}
	return b.String()
}
