package doctor

import (
	"slices"
	"time"

	"github.com/concord-home/concord/internal/pglog"
)

// Chart is conflicts and echoes over equal steps of time.
type Chart struct {
	Title             string
	Conflicts, Echoes []int64
	First, Last       time.Time
	Step              time.Duration
}

// chartWidth is the number of steps of a chart.
const chartWidth = 60

// chart spreads the points over equal steps; nil when there is nothing to draw.
func chart(lang string, l *pglog.Result) *Chart {
	points := slices.DeleteFunc(slices.Clone(l.Points), func(p pglog.Point) bool { return p.Conflicts+p.Cascades == 0 })
	if len(points) < 2 {
		return nil
	}
	first, last := points[0].Time, points[len(points)-1].Time
	step := max(last.Sub(first)/chartWidth, l.Step)
	if step <= 0 {
		return nil
	}
	n := min(int(last.Sub(first)/step)+1, chartWidth+1)
	c := &Chart{Conflicts: make([]int64, n), Echoes: make([]int64, n), First: first, Last: last, Step: step}
	for _, p := range points {
		i := min(int(p.Time.Sub(first)/step), n-1)
		c.Conflicts[i] += p.Conflicts
		c.Echoes[i] += p.Cascades
	}
	c.Title = say(lang, "rate", length(step), count(slices.Max(c.Conflicts)), count(slices.Max(c.Echoes)))
	return c
}

// Axis is the text beneath the two ends of the chart.
func (c *Chart) Axis() (from, to string) {
	form := "15:04:05"
	if c.Last.Sub(c.First) > 24*time.Hour {
		form = "01-02 15:04"
	}
	return c.First.Format(form), c.Last.Format(form)
}
