package doctor

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/concord-home/concord/internal/pglog"
)

// LinePrinter gives a callback that prints one line whenever the numbers of a followed log have changed.
func LinePrinter(w io.Writer, lang string) func(*pglog.Result) {
	var conflictsBefore, cascadesBefore int64 = -1, -1
	return func(r *pglog.Result) {
		c := conflicts(r)
		if c == conflictsBefore && r.Totals.Cascades == cascadesBefore {
			return
		}
		conflictsBefore, cascadesBefore = c, r.Totals.Cascades
		text := say(lang, "follow_line", count(c), count(r.Totals.Cascades))
		if states := stateCounts(r.Totals.RootsByState); states != "" {
			text += " (" + states + ")"
		}
		if r.HasOdoo {
			text += say(lang, "numbers_retried", count(retriedOf(r)))
		}
		_, _ = fmt.Fprintf(w, "%s  %s\n", clock(r.Last), text)
	}
}

func retriedOf(r *pglog.Result) int64 {
	var n int64
	for _, in := range r.Incidents {
		n += in.RetriedOK
	}
	return n
}

// LogViews turns the results of a followed log into views. Rates are taken from the log's own times, so that what was
// written long ago does not count as now.
func LogViews(source string, show func(*View)) func(*pglog.Result) {
	var last time.Time      // of the log
	var lastMoved time.Time // when it came, by our clock
	var w window
	return func(result *pglog.Result) {
		v := &View{Source: source, At: time.Now()}
		if !result.Last.Equal(last) {
			last, lastMoved = result.Last, v.At
		}
		now := counters{worst: map[string]int64{}, conflicts: conflicts(result), cascades: result.Totals.Cascades}
		for _, in := range result.Incidents {
			v.Retried += in.RetriedOK
			v.Lost += in.Lost
			if !in.Orphan && worthTelling(&in) {
				now.worst[strings.Join(strings.Fields(in.SQLState+" "+in.Table+" "+in.Endpoint), " ")] += in.Count
			}
		}
		w.show(v, now)
		v.Rate, v.Cascades, v.History = lastMinute(result.Points, last.Add(v.At.Sub(lastMoved)))
		show(v)
	}
}

// lastMinute counts what the points hold of the minute before now, and spreads the conflicts over it.
func lastMinute(points []pglog.Point, now time.Time) (conflicts, cascades float64, history []int64) {
	begin := now.Add(-rateWindow)
	history = make([]int64, historyMarks)
	for i := len(points) - 1; i >= 0 && points[i].Time.After(begin); i-- {
		conflicts += float64(points[i].Conflicts)
		cascades += float64(points[i].Cascades)
		mark := int(points[i].Time.Sub(begin) * historyMarks / rateWindow)
		history[max(0, min(mark, historyMarks-1))] += points[i].Conflicts
	}
	return conflicts, cascades, history
}
