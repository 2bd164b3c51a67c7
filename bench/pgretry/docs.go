package main

import (
	"fmt"
	"os"
	"strings"
)

const docsBegin, docsEnd = "<!-- bench:begin -->\n", "<!-- bench:end -->\n"

// document replaces the tables of a page.
func (r *report) document(file string) error {
	page, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(page), docsBegin)
	_, after, ok2 := strings.Cut(rest, docsEnd)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no %q … %q", file, strings.TrimSpace(docsBegin), strings.TrimSpace(docsEnd))
	}
	return os.WriteFile(file, []byte(before+docsBegin+"\n"+r.markdown()+"\n"+docsEnd+after), 0o644)
}

func (r *report) markdown() string {
	var b strings.Builder
	b.WriteString(r.Machine + ".\n")
	workload := ""
	for _, c := range r.Transactions {
		if c.Workload != workload {
			workload = c.Workload
			fmt.Fprintf(&b, "\n| %s | workers | success | tries | tps | of one | p50 ms | p99 ms | Jain | %s | must reach |\n", workload, extra(workload))
			b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|\n")
		}
		fmt.Fprintf(&b, "| %s | %d | %s %% | %.1f | %s | %s | %s | %s | %.2f | %s | %s |\n", c.Strategy, c.Workers, short(c.Success), c.Attempts,
			short(c.TPS), c.ofOne(), short(c.P50), short(c.P99), c.Jain, c.extra(), verdict(c.Judged, c.Missed))
	}
	b.WriteString("\n| batch, rows a second | records | bad | raw upsert | `Batch` | ratio | must reach |\n|---|---|---|---|---|---|---|\n")
	for _, c := range r.Batches {
		fmt.Fprintf(&b, "| %s | %d | %.0f %% | %.0f | %.0f | %.2f | %s |\n", c.Pass, c.Records, c.Bad, c.Raw, c.Rate, c.Ratio, verdict(true, c.Missed))
	}
	return b.String()
}

// extra is the column that belongs to one workload alone.
func extra(workload string) string {
	switch workload {
	case "dashboard":
		return "writer's batches a second"
	case ownRow:
		return "of the best peer"
	}
	return "lost, doubled"
}

func (c result) extra() string {
	switch c.Workload {
	case "dashboard":
		return fmt.Sprintf("%.1f", c.WriterRate)
	case ownRow:
		return fmt.Sprintf("%.3f", c.OfBestPeer)
	}
	return fmt.Sprintf("%d, %d", c.Lost, c.Doubled)
}

// ofOne is empty where one client alone was not measured.
func (c result) ofOne() string {
	if c.OfOneClient == nil {
		return ""
	}
	return fmt.Sprintf("%.2f", *c.OfOneClient)
}

// short is a number with three digits at least, without a fraction from 100.
func short(f float64) string {
	if f >= 99.95 {
		return fmt.Sprintf("%.0f", f)
	}
	return fmt.Sprintf("%.1f", f)
}
