package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// What pgretry must reach.
const (
	ofOneAtLeast      = 0.85 // hot row, 100 workers: of the rate of one client alone
	p99AtMost         = 1.5  // hot row, 100 workers: of the time in which every worker has its turn
	jainAtLeast       = 0.95
	writerAtLeast     = 24.5 // dashboard, 100 readers: batches a second, of 25 begun
	tangledAtLeast    = 95.0 // deadlock, 50 workers: percent that succeed
	tangledTPSAtLeast = 100.0
	ofBestAtLeast     = 0.95 // no contention: of the quickest peer
	batchAtLeast      = 0.9  // of raw
)

// judge compares a cell of pgretry with what it must reach.
func (c *result) judge() {
	if c.Judged = strings.HasPrefix(c.Strategy, "pgretry"); !c.Judged {
		return
	}
	need := func(ok bool, format string, args ...any) {
		if !ok {
			c.Missed = append(c.Missed, fmt.Sprintf(format, args...))
		}
	}
	need(c.Lost == 0 && c.Doubled == 0, "nothing lost or doubled")
	if c.Workload == "deadlock" && c.Workers >= 50 {
		need(c.Success >= tangledAtLeast, "%.0f %% success", tangledAtLeast)
		need(c.TPS >= tangledTPSAtLeast, "%.0f tps", tangledTPSAtLeast)
	} else {
		need(c.Success == 100, "100 %% success")
	}
	switch {
	case c.Workload == "hot row" && c.Workers == 100:
		need(c.OfOneClient != nil && *c.OfOneClient >= ofOneAtLeast, "%.2f of one client", ofOneAtLeast)
		most := p99AtMost * float64(c.Workers) / c.TPS * 1000
		need(c.P99 <= most, "p99 of %.0f ms", most)
		need(c.Jain >= jainAtLeast, "Jain %.2f", jainAtLeast)
	case c.Workload == "dashboard":
		need(c.WriterRate >= writerAtLeast, "writer at %.1f", writerAtLeast)
	case c.Workload == ownRow:
		need(c.OfBestPeer >= ofBestAtLeast, "%.2f of the best peer", ofBestAtLeast)
	}
}

// verdict is the last column of a line.
func verdict(judged bool, missed []string) string {
	switch {
	case !judged:
		return ""
	case len(missed) == 0:
		return "pass"
	}
	return "FAIL: " + strings.Join(missed, ", ")
}

var errMissed = errors.New("pgretry missed what it must reach")

// judge repeats the lines that failed.
func (r *report) judge() error {
	var lines []string
	for _, c := range r.Transactions {
		if len(c.Missed) > 0 {
			lines = append(lines, fmt.Sprintf("%s, %s, %d workers: %s", c.Workload, c.Strategy, c.Workers, strings.Join(c.Missed, ", ")))
		}
	}
	for _, b := range r.Batches {
		if len(b.Missed) > 0 {
			lines = append(lines, fmt.Sprintf("batch %s, %d records, %.0f %% bad: %s", b.Pass, b.Records, b.Bad, strings.Join(b.Missed, ", ")))
		}
	}
	if len(lines) == 0 {
		return nil
	}
	for _, line := range lines {
		fmt.Fprintln(os.Stderr, "missed:", line)
	}
	return errMissed
}
