package doctor

import (
	"fmt"
	"strings"
	"time"

	"github.com/concord-home/concord/internal/pglog"
)

// verdict says what happened, how bad it is and since when: first in numbers, then in plain words.
func (r *Report) verdict(lang string) []string {
	l := r.Logs
	switch {
	case r.noLog():
		return []string{say(lang, "verdict_no_log", fileNames(l))}
	case unread(l):
		return []string{say(lang, "verdict_unread")}
	case l.Totals.ErrorRecords == 0 && lines(l) == 0:
		return []string{say(lang, "verdict_empty", fileNames(l))}
	case r.outside():
		return []string{say(lang, "verdict_outside", clock(l.First), clock(l.Last))}
	}
	out := []string{headline(lang, l)}
	if plain := plainWords(lang, l); plain != "" {
		out = append(out, plain)
	}
	out = append(out, outcomes(lang, l)...)
	if !l.First.IsZero() {
		out = append(out, r.span(lang))
	}
	if l.Restarts > 0 {
		out = append(out, say(lang, "restarts", count(int64(l.Restarts))))
	}
	return out
}

func headline(lang string, l *pglog.Result) string {
	t := l.Totals
	switch {
	case t.CascadesWithRoot > 0:
		causes, top := causesOfCascades(l)
		return say(lang, "verdict_cascades", count(t.Cascades), count(causes), top)
	case t.Cascades > 0:
		return say(lang, "verdict_unproven", count(t.Cascades))
	case conflicts(l) > 0:
		return say(lang, "verdict_conflicts", count(conflicts(l)), stateCounts(t.RootsByState))
	case t.Roots > 0:
		return say(lang, "verdict_other", count(t.Roots), counts(t.RootsByState, 5))
	}
	return say(lang, "verdict_clean")
}

// plainWords explains the gravest cause to somebody who does not know PostgreSQL.
func plainWords(lang string, l *pglog.Result) string {
	if conflicts(l) == 0 && l.Totals.Cascades == 0 {
		return ""
	}
	key := "plain_unproven"
	for _, in := range l.Incidents {
		if !in.Orphan && worthTelling(&in) {
			key = "plain_" + kindKeys[in.Kind]
			break
		}
	}
	text := say(lang, key)
	if l.Totals.Cascades > 0 {
		text += say(lang, "plain_echo")
	}
	return say(lang, "plain", text)
}

// outcomes tells what a retry saved and what reached somebody.
func outcomes(lang string, l *pglog.Result) []string {
	var lost, retried int64
	for _, in := range l.Incidents {
		lost += in.Lost
		retried += in.RetriedOK
	}
	var out []string
	if lost > 0 {
		out = append(out, say(lang, "verdict_lost", count(lost)))
	}
	if retried > 0 {
		out = append(out, say(lang, "verdict_retried", count(retried)))
	}
	return out
}

// span tells the time of the logs, and what of it was counted.
func (r *Report) span(lang string) string {
	l := r.Logs
	first, last := l.First, l.Last
	if r.Since.After(first) {
		first = r.Since
	}
	if !r.Until.IsZero() && r.Until.Before(last) {
		last = r.Until
	}
	return say(lang, "verdict_since", clock(first), clock(last), length(last.Sub(first)))
}

// outside tells that the logs have nothing of the time asked for.
func (r *Report) outside() bool {
	l := r.Logs
	return !l.First.IsZero() && l.Totals.ErrorRecords == 0 &&
		(!r.Since.IsZero() && l.Last.Before(r.Since) || !r.Until.IsZero() && l.First.After(r.Until))
}

// unread tells that no file could be read.
func unread(l *pglog.Result) bool {
	for _, f := range l.Files {
		if f.Err == nil {
			return false
		}
	}
	return len(l.Files) > 0
}

func lines(l *pglog.Result) int64 {
	var n int64
	for _, f := range l.Files {
		n += f.Lines
	}
	return n
}

// length writes a duration as people say it: 2.3s, 4m10s, 3h5m.
func length(d time.Duration) string {
	switch {
	case d >= time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	case d >= time.Minute:
		return d.Round(time.Second).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

func fileNames(l *pglog.Result) string {
	var names []string
	for _, f := range l.Files {
		if len(names) == 5 {
			names = append(names, "…")
			break
		}
		names = append(names, f.Name)
	}
	return strings.Join(names, ", ")
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
	if len(byState) == 0 {
		return causes, "?"
	}
	top := sortedKeys(byState)[0]
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
