package doctor

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// View is one refresh of the monitor.
type View struct {
	Source   string
	At       time.Time
	OfServer bool    // of a server, which counts deadlocks and rollbacks and no 40001
	Rate     float64 // conflicts a minute; deadlocks of a server
	Cascades float64 // echoes a minute; rollbacks of a server
	History  []int64 // conflicts of the last minute, oldest first
	Retried  int64
	Lost     int64
	Aborted  int      // sessions that sit in an aborted transaction, of a server
	Worst    []string // endpoints or tables with most conflicts
	Blockers []Blocker
	Problem  string // the source could not be read just now

	counts counters // what a log has said so far
}

// Blocker holds others up.
type Blocker struct {
	Who                                     string // pid, or the gid of a prepared transaction
	Prepared                                bool
	Application, Waiters, State, For, Query string
}

// rateWindow is the time over which the monitor's rates are taken, historyMarks the number of steps that it is drawn in.
const (
	rateWindow   = time.Minute
	historyMarks = 30
	maxWorst     = 5
)

// counters are growing counts at one look.
type counters struct {
	at                  time.Time
	conflicts, cascades int64
	worst               map[string]int64 // conflicts by endpoint or table
}

// window is the looks of the last minute; it turns growing counts into counts a minute.
type window struct{ looks []counters }

// show adds a look and fills in the rates, their history and the worst places: those of the last minute first, with the
// sum since the beginning behind them.
func (w *window) show(v *View, now counters) {
	now.at = v.At
	w.looks = append(w.looks, now)
	for len(w.looks) > 2 && now.at.Sub(w.looks[0].at) > rateWindow {
		w.looks = w.looks[1:]
	}
	first := w.looks[0]
	if span := now.at.Sub(first.at).Minutes(); span > 0 {
		v.Rate = max(0, float64(now.conflicts-first.conflicts)/span)
		v.Cascades = max(0, float64(now.cascades-first.cascades)/span)
	}
	v.History = w.history(now.at)
	v.Worst = worst(now.worst, first.worst)
}

// history spreads the conflicts between looks over the last minute.
func (w *window) history(now time.Time) []int64 {
	marks := make([]int64, historyMarks)
	for i := 1; i < len(w.looks); i++ {
		age := now.Sub(w.looks[i].at)
		mark := historyMarks - 1 - int(age*historyMarks/rateWindow)
		marks[max(0, min(mark, historyMarks-1))] += max(0, w.looks[i].conflicts-w.looks[i-1].conflicts)
	}
	return marks
}

func worst(now, before map[string]int64) []string {
	fresh := map[string]int64{}
	for name, n := range now {
		if n > 0 {
			fresh[name] = max(0, n-before[name])<<40 + n // by news, then by sum
		}
	}
	var out []string
	for _, name := range sortedKeys(fresh) {
		if len(out) == maxWorst {
			break
		}
		line := name + " ×" + count(now[name])
		if news := now[name] - before[name]; news > 0 && before != nil {
			line += " (+" + count(news) + ")"
		}
		out = append(out, line)
	}
	return out
}

// watch looks at a source again and again.
type watch struct {
	source string
	window window
}

// run ends with the context, or with the error of the first look: a source that cannot be read at all is no source.
func (w *watch) run(ctx context.Context, every time.Duration, show func(*View), look func(*View) error) error {
	for first := true; ; first = false {
		v := &View{Source: w.source, At: time.Now()}
		err := look(v)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && first:
			return err
		case err != nil:
			v.Problem = err.Error()
		}
		w.source = v.Source
		show(v)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(every):
		}
	}
}

// rates tells how often, and what became of it.
func (v *View) rates(lang string) string {
	if v.OfServer {
		return say(lang, "monitor_deadlocks", rateText(v.Rate), rateText(v.Cascades), count(int64(v.Aborted)))
	}
	return say(lang, "monitor_rate", rateText(v.Rate), rateText(v.Cascades)) +
		"  " + say(lang, "col_retried") + " " + count(v.Retried) + "  " + say(lang, "col_lost") + " " + count(v.Lost)
}

// WriteLine prints a view as one plain line.
func (v *View) WriteLine(w io.Writer, lang string) {
	line := v.At.UTC().Format("15:04:05Z") + "  " + v.rates(lang)
	if len(v.Blockers) > 0 {
		line += "  " + say(lang, "monitor_blockers", strconv.Itoa(len(v.Blockers))) + " " + v.Blockers[0].Who
	}
	if len(v.Worst) > 0 && !v.OfServer {
		line += "  " + say(lang, "monitor_worst") + " " + v.Worst[0]
	}
	if v.Problem != "" {
		line += "  " + v.Problem
	}
	_, _ = fmt.Fprintln(w, line)
}

// WriteScreen draws a view over the last one; no line is wider than columns.
func (v *View) WriteScreen(w io.Writer, lang string, columns int) {
	lines := []string{say(lang, "monitor_title", v.Source) + "  " + v.At.UTC().Format("15:04:05 UTC"), "", v.rates(lang)}
	lines = append(lines, say(lang, "monitor_history")+" "+spark(v.History)+"|", "")
	if len(v.Worst) > 0 {
		heading := "monitor_worst"
		if v.OfServer {
			heading = "monitor_updates"
		}
		lines = append(lines, say(lang, heading))
	} else {
		lines = append(lines, "  "+say(lang, "monitor_quiet"))
	}
	for _, line := range v.Worst {
		lines = append(lines, "  "+line)
	}
	if len(v.Blockers) > 0 {
		lines = append(lines, "", say(lang, "monitor_blockers", strconv.Itoa(len(v.Blockers))))
	}
	for _, b := range v.Blockers[:min(len(v.Blockers), 10)] {
		lines = append(lines, "  "+b.text(lang))
	}
	if v.Problem != "" {
		lines = append(lines, "", v.Problem)
	}
	var b strings.Builder
	b.WriteString("\033[H")
	for _, line := range lines {
		b.WriteString(clip(line, columns) + "\033[K\n")
	}
	b.WriteString("\033[J")
	_, _ = io.WriteString(w, b.String())
}

func (b Blocker) text(lang string) string {
	if b.Prepared {
		return say(lang, "f_prepared", b.Who, b.Application, b.For, b.Waiters)
	}
	return say(lang, "monitor_blocks", b.Who, b.Application, b.Waiters, b.State, b.For, shorten(b.Query, 120))
}

// clip cuts a line to the columns of a terminal.
func clip(line string, columns int) string {
	if columns <= 0 || columnsOf(line) <= columns {
		return line
	}
	used := 1 // for the mark
	for i, r := range line {
		if used += columnsOf(string(r)); used > columns {
			return line[:i] + "…"
		}
	}
	return line
}

func rateText(n float64) string { return strconv.FormatFloat(n, 'f', 1, 64) }
