package main

import (
	"fmt"
	"strings"

	"github.com/google/pprof/profile"
)

// watching are the functions that only watch.
var watching = []string{
	"github.com/prometheus/", "log/slog.", "github.com/concord-home/concord/internal/app.(*retryObserver)",
	"github.com/concord-home/concord/internal/ledger.", "github.com/concord-home/concord/internal/spans.",
	"github.com/concord-home/concord/internal/ingest.(*Metrics)",
}

// share is the part of the processor time in which some function that only
// watches was under way, with all that it called. Unlike the difference of two
// measurements it hardly depends on what else the machine does.
func (b *bench) share() (float64, error) {
	var all, watched int64
	for i := range b.profiles {
		p, err := profile.Parse(&b.profiles[i])
		if err != nil {
			return 0, fmt.Errorf("read the profile: %w", err)
		}
		for _, s := range p.Sample {
			nanos := s.Value[len(s.Value)-1]
			all += nanos
			if watches(s) {
				watched += nanos
			}
		}
	}
	return float64(watched) / float64(max(all, 1)), nil
}

func watches(s *profile.Sample) bool {
	for _, place := range s.Location {
		for _, line := range place.Line {
			for _, prefix := range watching {
				if strings.HasPrefix(line.Function.Name, prefix) {
					return true
				}
			}
		}
	}
	return false
}
