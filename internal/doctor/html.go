package doctor

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
)

//go:embed report.html
var page string

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"say":   func(lang, key string) string { return say(lang, key) },
	"count": count,
	"bars":  bars,
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
	Value      int64
}

const chartHeight = 80

func bars(values []int64) []bar {
	var most int64 = 1
	for _, v := range values {
		most = max(most, v)
	}
	out := make([]bar, len(values))
	width := 600 / float64(max(len(values), 1))
	for i, v := range values {
		h := float64(v) / float64(most) * chartHeight
		out[i] = bar{X: float64(i) * width, Y: chartHeight - h, W: width * 0.9, H: h, Value: v}
	}
	return out
}
