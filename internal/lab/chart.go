package lab

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// chart shows one figure of all strategies at one rate of events: readers from left to right, a line for each strategy.
type chart struct {
	Title string
	Top   string // value at the upper end
	Low   string // at the lower end
	Marks []chartMark
	Lines []chartLine
}

type chartMark struct {
	X    float64
	Text string
}

type chartLine struct {
	Name   string
	Class  string // colour, by the strategy's place among all
	Points []chartPoint
}

type chartPoint struct {
	X, Y float64
	Tip  string
}

// the drawing area, in units of the view box.
const (
	chartLeft, chartRight = 10.0, 290.0
	chartTop, chartBottom = 10.0, 130.0
)

// Path is the line's course.
func (l chartLine) Path() string {
	var parts []string
	for _, p := range l.Points {
		parts = append(parts, fmt.Sprintf("%.1f,%.1f", p.X, p.Y))
	}
	return strings.Join(parts, " ")
}

// figure is what a chart shows of a result. Those that reach over powers of ten have a logarithmic scale.
type figure struct {
	title       string
	logarithmic bool
	of          func(Result) float64
	format      string
}

var figures = []figure{
	{"requests that succeeded, %", false, func(r Result) float64 { return 100 * r.SuccessRate() }, "%.1f %%"},
	{"p99, ms", true, func(r Result) float64 { return r.P99 }, "%.0f ms"},
	{"succeeded a second", true, func(r Result) float64 { return r.PerSecond }, "%.1f/s"},
	{"rows left wrong", false, func(r Result) float64 { return float64(r.WrongRows) }, "%.0f"},
}

// Charts draws every figure at every rate of events.
func (r Report) Charts() []chart {
	var out []chart
	for _, f := range figures {
		for _, events := range r.rates() {
			out = append(out, r.chart(f, events))
		}
	}
	return out
}

func (r Report) rates() []float64 {
	var out []float64
	for _, result := range r.Results {
		if !slices.Contains(out, result.Events) {
			out = append(out, result.Events)
		}
	}
	return out
}

func (r Report) chart(f figure, events float64) chart {
	var readers []int
	low, high := math.Inf(1), 0.0
	for _, result := range r.Results {
		if result.Events == events && !slices.Contains(readers, result.Readers) {
			readers = append(readers, result.Readers)
		}
		high = max(high, f.of(result)) // one scale for all rates, so that charts side by side can be compared
		low = min(low, f.of(result))
	}
	slices.Sort(readers)
	scale := scaleOf(f, low, high)
	c := chart{Title: fmt.Sprintf("%s, at %g events/s", f.title, events), Top: scale.label(scale.high), Low: scale.label(scale.low)}
	x := func(n int) float64 {
		return chartLeft + (chartRight-chartLeft)*(float64(slices.Index(readers, n))+0.5)/float64(len(readers))
	}
	for _, n := range readers {
		c.Marks = append(c.Marks, chartMark{x(n), fmt.Sprint(n)})
	}
	for i, s := range Strategies() {
		line := chartLine{Name: s.Name, Class: fmt.Sprintf("s%d", i)}
		for _, result := range r.Results {
			if result.Strategy == s.Name && result.Events == events {
				tip := fmt.Sprintf("%s, %d readers: "+f.format, s.Name, result.Readers, f.of(result))
				line.Points = append(line.Points, chartPoint{x(result.Readers), scale.y(f.of(result)), tip})
			}
		}
		if len(line.Points) > 0 {
			c.Lines = append(c.Lines, line)
		}
	}
	return c
}

// Class is the strategy's colour in the charts.
func (s Strategy) Class() string {
	i := slices.IndexFunc(Strategies(), func(other Strategy) bool { return other.Name == s.Name })
	return fmt.Sprintf("s%d", i)
}

// scale turns a value into a height.
type scale struct {
	low, high   float64
	logarithmic bool
}

func scaleOf(f figure, low, high float64) scale {
	if !f.logarithmic {
		return scale{low: 0, high: max(high, 1)}
	}
	low = max(low, 0.1)
	return scale{
		low: math.Pow(10, math.Floor(math.Log10(low))), high: math.Pow(10, math.Ceil(math.Log10(max(high, 10*low)))), logarithmic: true,
	}
}

func (s scale) label(v float64) string { return fmt.Sprintf("%g", v) }

func (s scale) y(v float64) float64 {
	share := (v - s.low) / (s.high - s.low)
	if s.logarithmic {
		share = math.Log(max(v, s.low)/s.low) / math.Log(s.high/s.low)
	}
	return chartBottom - share*(chartBottom-chartTop)
}
