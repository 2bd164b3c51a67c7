package notify

import (
	"fmt"
	"strings"
	"time"

	"github.com/concord-home/concord"
)

// The colours of severities.
const (
	orange = "#FFA500"
	red    = "#FF0000"
	green  = "#36A64F"
)

type message struct {
	title, text, color string
}

func begun(h concord.ConflictHealth, server string) message {
	m := message{title: "Concord: database conflicts disturb writing", color: orange}
	if h.Status == concord.ConflictsUnhealthy {
		m.title, m.color = "Concord: database conflicts disturb writing badly", red
	}
	lines := append(facts(h), "Time: "+time.Now().UTC().Format(time.RFC3339))
	m.text = strings.Join(where(lines, server), "\n")
	return m
}

func over(h concord.ConflictHealth, since time.Time, server string) message {
	now := time.Now().UTC()
	lines := append(facts(h), fmt.Sprintf("Time: %s, after %v", now.Format(time.RFC3339), now.Sub(since).Round(time.Second)))
	return message{title: "Concord: database conflicts are over", color: green, text: strings.Join(where(lines, server), "\n")}
}

func facts(h concord.ConflictHealth) []string {
	lines := []string{
		fmt.Sprintf("Failure rate: %.1f %% of write transactions met a conflict", 100*h.FailureRate),
		fmt.Sprintf("Total: %d of %d in %v, %d failed attempts, %d lost", h.Conflicted, h.Transactions, h.Window, h.Failures, h.Lost),
	}
	if h.WorstEndpoint != "" {
		lines = append(lines, "Worst endpoint: "+h.WorstEndpoint)
	}
	return lines
}

func where(lines []string, server string) []string {
	if server == "" {
		return lines
	}
	return append(lines, "Server: "+server)
}
