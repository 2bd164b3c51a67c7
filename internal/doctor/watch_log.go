package doctor

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
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

// LogMonitor keeps what a followed log has said, and turns it into a view whenever one is due.
type LogMonitor struct {
	source string

	mu     sync.Mutex
	last   time.Time // of the log
	moved  time.Time // when it came, by our clock
	view   View
	points []pglog.Point
	window window
}

// NewLogMonitor names the source of its views.
func NewLogMonitor(source string) *LogMonitor { return &LogMonitor{source: source} }

// Update takes in a result; nothing of it is kept.
func (m *LogMonitor) Update(result *pglog.Result) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at := time.Now(); m.moved.IsZero() || !result.Last.Equal(m.last) {
		m.last, m.moved = result.Last, at
	}
	begin, _ := slices.BinarySearchFunc(result.Points, m.last.Add(-rateWindow), func(p pglog.Point, t time.Time) int { return p.Time.Compare(t) })
	m.points = append(m.points[:0], result.Points[begin:]...)
	m.view = View{Source: m.source}
	now := counters{worst: map[string]int64{}}
	for _, in := range result.Incidents {
		m.view.Retried += in.RetriedOK
		m.view.Lost += in.Lost
		if !in.Orphan && worthTelling(&in) {
			now.worst[strings.Join(strings.Fields(in.SQLState+" "+in.Table+" "+in.Endpoint), " ")] += in.Count
		}
	}
	m.view.counts = now
}

// View is the log at a moment. Rates are taken from the log's own times, so that what was written long ago does not
// count as now.
func (m *LogMonitor) View(at time.Time) *View {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := m.view
	v.Source, v.At = m.source, at
	m.window.show(&v, v.counts)
	v.Rate, v.Cascades, v.History = lastMinute(m.points, m.last.Add(at.Sub(m.moved)))
	return &v
}

// Run shows a view at each step until the context ends.
func (m *LogMonitor) Run(ctx context.Context, every time.Duration, show func(*View)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			show(m.View(time.Now()))
		}
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
