package lab

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
)

// Report is a set of cells measured on one machine.
type Report struct {
	Machine  string   `json:"machine"`
	Duration string   `json:"duration_per_cell"`
	Results  []Result `json:"results"`
}

// TableHeader stands above lines made by [Result.TableRow].
var TableHeader = fmt.Sprintf("%-10s %8s %7s %8s %9s %8s %9s %9s %8s %7s %6s %6s %5s %7s %7s", "strategy", "events/s", "readers", "requests",
	"success %", "retries", "p50 ms", "p99 ms", "ok/s", "lost ev", "wrong", "sp ms", "pool", "cpu s", "pg s")

// TableLegend says what the columns mean that do not say it themselves.
const TableLegend = `retries: mean per request.  lost ev: state changes of the service that never reached the database.
wrong: rows that do not hold in the end what was reported as done.  sp ms: time that setting one savepoint took.
pool: most connections in use at once.  cpu s, pg s: processor time of this program, and of PostgreSQL's backends where they run here.`

// TableRow is the result as a line of the table.
func (r Result) TableRow() string {
	return fmt.Sprintf("%-10s %8.0f %7d %8d %9.1f %8.2f %9.1f %9.1f %8.1f %7d %6d %6.2f %5d %7.2f %7.2f", r.Strategy, r.Events, r.Readers, r.Requests,
		100*r.SuccessRate(), r.MeanRetries, r.P50, r.P99, r.PerSecond, r.EventsLost, r.WrongRows, r.SavepointMS, r.PoolHigh, r.ClientCPU, r.ServerCPU)
}

//go:embed report.html
var pageText string

var page = template.Must(template.New("lab").Funcs(template.FuncMap{
	"percent": func(f float64) string { return fmt.Sprintf("%.1f", 100*f) },
	"one":     func(f float64) string { return fmt.Sprintf("%.1f", f) },
	"two":     func(f float64) string { return fmt.Sprintf("%.2f", f) },
	"whole":   func(f float64) string { return fmt.Sprintf("%.0f", f) },
}).Parse(pageText))

// WriteHTML writes the report as one page that works offline.
func (r Report) WriteHTML(w io.Writer) error { return page.Execute(w, r) }

// Abouts are the strategies of the report, in words.
func (r Report) Abouts() []Strategy {
	var out []Strategy
	for _, s := range Strategies() {
		if r.has(s.Name) {
			out = append(out, s)
		}
	}
	return out
}

func (r Report) has(strategy string) bool {
	for _, result := range r.Results {
		if result.Strategy == strategy {
			return true
		}
	}
	return false
}
