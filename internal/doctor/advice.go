package doctor

import (
	"strings"

	"github.com/concord-home/concord/internal/pglog"
)

// list gathers lines of one language.
type list struct {
	lang  string
	lines []Line
}

// add appends a text, and what to type when there is something.
func (l *list) add(when bool, key, fix string, args ...any) {
	if when {
		l.lines = append(l.lines, Line{Text: say(l.lang, key, args...), Fix: fix})
	}
}

// SQL that the report gives to type.
const (
	sqlPrefix   = "ALTER SYSTEM SET log_line_prefix = '%m [%p] %q%u@%d app=%a e=%e x=%x v=%v '; SELECT pg_reload_conf();"
	sqlBlocked  = "SELECT pid, pg_blocking_pids(pid), state, left(query, 80) FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0;"
	sqlPrepared = "SELECT gid, prepared, owner FROM pg_prepared_xacts ORDER BY prepared;  -- then COMMIT PREPARED 'gid' or ROLLBACK PREPARED 'gid'"
	sqlFeedback = "ALTER SYSTEM SET hot_standby_feedback = on; SELECT pg_reload_conf();  -- on the replica"
	sqlConnect  = "ALTER SYSTEM SET log_connections = on; SELECT pg_reload_conf();"
	sqlWriters  = "ALTER SYSTEM SET log_statement = 'mod'; SELECT pg_reload_conf();  -- for some minutes; back: ALTER SYSTEM RESET log_statement"
	sqlReadOnly = "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE;"
	sqlOrder    = "SELECT 1 FROM the_table WHERE id = ANY('{3,1,2}') ORDER BY id FOR UPDATE;"
)

// advice lists what to do, the most useful first. askServer adds that the running server can be asked.
func advice(lang string, l *pglog.Result, askServer bool) []Line {
	out := list{lang: lang}
	states, kinds := l.Totals.RootsByState, kindCounts(l)
	write := states["40001"] + states["40P01"] - kinds[pglog.KindRecovery]
	out.add(l.Totals.Cascades > 0, "advice_swallow", "")
	out.add(write > 0, "advice_retry", "")
	out.add(l.HasOdoo && conflicts(l)+l.Totals.Cascades > 0, "advice_odoo", "")
	out.add(kinds[pglog.KindUpdate]+kinds[pglog.KindDelete] > 0, "advice_savepoint", "")
	table, share := hotTable(l)
	out.add(table != "" && share >= 0.6 && conflicts(l) >= 20, "advice_queue",
		"SELECT pg_advisory_lock(hashtext('"+table+"'));  -- before BEGIN; SELECT pg_advisory_unlock(…) after COMMIT", table)
	out.add(states["40P01"] > 0, "advice_deadlock", sqlOrder)
	out.add(kinds[pglog.KindSSI] > 0, "advice_ssi", sqlReadOnly)
	out.add(kinds[pglog.KindForeign] > 0, "advice_foreign", "")
	out.add(kinds[pglog.KindRecovery] > 0, "advice_recovery", sqlFeedback)
	out.add(kinds[pglog.KindPartition] > 0, "advice_partition", "")
	out.add(states["55P03"] > 0, "advice_lock", sqlBlocked)
	out.add(states["55P03"] > 0, "advice_prepared", sqlPrepared)
	out.add(states["53300"] > 0, "advice_pool", "", count(states["53300"]))
	out.add(askServer && l.HasServer && conflicts(l)+l.Totals.Cascades > 0, "advice_live", "concord doctor --database postgres://…")
	return out.lines
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
func unknown(lang string, l *pglog.Result) []Line {
	out := list{lang: lang}
	t, kinds := l.Totals, kindCounts(l)
	out.add(l.NoSession > 0, "unknown_prefix", sqlPrefix, count(l.NoSession))
	out.add(l.NoState > 0 && l.HasServer, "unknown_state", sqlPrefix, count(l.NoState))
	out.add(t.RootsByState[pglog.StateUnknown] > 0, "unknown_text", sqlPrefix, count(t.RootsByState[pglog.StateUnknown]))
	missing := t.Cascades - t.CascadesWithRoot
	out.add(missing > 0, "unknown_root", sqlPrefix, count(missing))
	out.add(pidsReused(l), "unknown_connections", sqlConnect)
	out.add(l.HasServer && !l.HasOdoo && conflicts(l) > 0, "unknown_outcome", "")
	out.add(l.HasServer && kinds[pglog.KindUpdate]+kinds[pglog.KindDelete] > 0, "unknown_rival", sqlWriters)
	var strange []string
	for _, f := range l.Files {
		out.add(f.Broken, "unknown_broken", "", f.Name)
		if f.Err != nil {
			out.add(true, "unknown_file", "", f.Name, f.Err)
		}
		if isNoLog(&f) {
			strange = append(strange, f.Name)
		}
	}
	out.add(len(strange) > 0, "unknown_no_log", "", shorten(strings.Join(strange, ", "), 200))
	return out.lines
}

// pidsReused tells that an echo was left open because its pid had belonged to another session.
func pidsReused(l *pglog.Result) bool {
	for why := range l.Unproven {
		if whyKey(why) == "why_session" {
			return true
		}
	}
	return false
}

// load tells how busy the Home Assistant add-on was.
func load(lang string, l *pglog.Result) []string {
	var out []string
	a := l.Addon
	if a.StateChanges > 0 {
		rate := "?"
		if seconds := a.Last.Sub(a.First).Seconds(); seconds > 0 {
			rate = rateText(float64(a.StateChanges) / seconds)
		}
		out = append(out, say(lang, "load_changes", count(a.StateChanges), rate))
	}
	if a.Batches > 0 {
		mean := rateText(float64(a.Created+a.Updated+a.Errors) / float64(a.Batches))
		out = append(out, say(lang, "load_batches", count(a.Batches), mean, count(a.LargestBatch), count(a.Errors)))
	}
	if retries, gaveUp := l.Retries+a.Retries, l.GaveUp+a.GaveUp; retries+gaveUp > 0 {
		out = append(out, say(lang, "load_retries", count(retries), count(gaveUp)))
	}
	return out
}
