package lab

import (
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
var TableHeader = fmt.Sprintf("%-10s %8s %7s %8s %9s %8s %9s %9s %8s %7s %6s %6s %5s", "strategy", "events/s", "readers", "requests",
	"success %", "retries", "p50 ms", "p99 ms", "ok/s", "lost ev", "wrong", "sp ms", "pool")

// TableRow is the result as a line of the table.
func (r Result) TableRow() string {
	return fmt.Sprintf("%-10s %8.0f %7d %8d %9.1f %8.2f %9.1f %9.1f %8.1f %7d %6d %6.2f %5d", r.Strategy, r.Events, r.Readers, r.Requests,
		100*r.SuccessRate(), r.MeanRetries, r.P50, r.P99, r.PerSecond, r.EventsLost, r.WrongRows, r.SavepointMS, r.PoolHigh)
}

var page = template.Must(template.New("lab").Funcs(template.FuncMap{
	"percent": func(f float64) string { return fmt.Sprintf("%.1f", 100*f) },
	"width":   func(f float64) string { return fmt.Sprintf("%.0f", 160*f) },
	"one":     func(f float64) string { return fmt.Sprintf("%.1f", f) },
	"two":     func(f float64) string { return fmt.Sprintf("%.2f", f) },
}).Parse(`<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Conflicts by strategy</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;margin:2rem;color:#1b1c1e;background:#fff}
table{border-collapse:collapse}th,td{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}
th:first-child,td:first-child{text-align:left}svg{vertical-align:middle}
@media(prefers-color-scheme:dark){body{background:#111;color:#eee}th,td{border-color:#333}}
@media print{body{margin:0;font-size:11px}}
</style>
<h1>Conflicts by strategy</h1>
<p>{{.Machine}}, {{.Duration}} a cell. A request writes every area and every entity in one transaction at REPEATABLE READ,
while a service writes state changes to the same rows.</p>
<table><tr><th>strategy<th>events/s<th>readers<th>succeeded<th><th>mean retries<th>p50 ms<th>p99 ms<th>ok/s<th>events lost<th>rows wrong<th>savepoint ms<th>connections</tr>
{{range .Results}}<tr><td>{{.Strategy}}<td>{{one .Events}}<td>{{.Readers}}<td>{{percent .SuccessRate}} %<td><svg width="160" height="12" role="img" aria-label="{{percent .SuccessRate}} %"><rect width="160" height="12" fill="#d33"/><rect width="{{width .SuccessRate}}" height="12" fill="#2a8"/></svg><td>{{two .MeanRetries}}<td>{{one .P50}}<td>{{one .P99}}<td>{{one .PerSecond}}<td>{{.EventsLost}}<td>{{.WrongRows}}<td>{{two .SavepointMS}}<td>{{.PoolHigh}}</tr>
{{end}}</table></html>
`))

// WriteHTML writes the report as one page that works offline.
func (r Report) WriteHTML(w io.Writer) error { return page.Execute(w, r) }
