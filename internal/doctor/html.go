package doctor

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"time"
)

//go:embed report.html
var page string

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"say":   func(lang, key string) string { return say(lang, key) },
	"count": count,
}).Parse(page))

// WriteHTML writes one file that needs no other: style and charts are inside, nothing is loaded, no script runs.
func (s *Story) WriteHTML(w io.Writer) error {
	if err := pageTemplate.Execute(w, s); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// bar is a column of the chart, in units of its view box.
type bar struct {
	X, Y, W, H float64
	Tip        string
}

const (
	chartWide   = 600
	chartHeight = 80
)

// ConflictBars and EchoBars are the columns of the two series, on one scale.
func (c *Chart) ConflictBars() []bar { return c.bars(c.Conflicts, 0) }

// EchoBars stand to the right of the conflicts that they follow.
func (c *Chart) EchoBars() []bar { return c.bars(c.Echoes, 0.5) }

// Most is the highest column of either series.
func (c *Chart) Most() int64 { return max(slices.Max(c.Conflicts), slices.Max(c.Echoes), 1) }

// Ends are the texts beneath the two ends.
func (c *Chart) Ends() []string {
	from, to := c.Axis()
	return []string{from, to}
}

func (c *Chart) bars(values []int64, shift float64) []bar {
	out := make([]bar, 0, len(values))
	step := chartWide / float64(max(len(values), 8)) // a few steps need not be as wide as the page
	for i, v := range values {
		if v == 0 {
			continue
		}
		h := max(float64(v)/float64(c.Most())*chartHeight, 1)
		out = append(out, bar{
			X: (float64(i) + shift) * step, Y: chartHeight - h, W: step * 0.45, H: h,
			Tip: c.First.Add(time.Duration(i)*c.Step).Format("15:04:05") + " " + count(v),
		})
	}
	return out
}
