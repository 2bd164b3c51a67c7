package pglog

import (
	"slices"
	"time"
)

// Totals counts what was read. The names of its JSON form are a contract.
type Totals struct {
	ErrorRecords        int64            `json:"error_records"`
	Roots               int64            `json:"roots"`
	Cascades            int64            `json:"cascades"`
	RootsByState        map[string]int64 `json:"roots_by_sqlstate"`
	CascadesWithRoot    int64            `json:"cascades_with_root"`
	ConflictRootsByName map[string]int64 `json:"conflict_roots_by_table"`
}

// FileInfo says how one input was read.
type FileInfo struct {
	Name     string
	Format   string // "stderr", "csvlog", "jsonlog", "odoo", or several with "+"
	Carriers []string
	Prefixes []string
	Bytes    int64 // after decompression
	Lines    int64
	Broken   bool  // a compressed file ended in the middle
	Err      error // could not be read
}

// Point is one step of the rate over time.
type Point struct {
	Time      time.Time
	Conflicts int64 // 40001, 40P01, 55P03
	Cascades  int64
	Other     int64
}

// Result is what the logs say.
type Result struct {
	Totals    Totals
	Incidents []Incident
	Files     []FileInfo
	Unproven  map[string]int64 // reasons why a cascade has no root
	Points    []Point
	Step      time.Duration // width of a point
	First     time.Time
	Last      time.Time
	Records   int64
	NoSession int64 // errors whose session the line does not tell
	NoState   int64 // errors without SQLSTATE in the log
	Restarts  int
	HasServer bool
	HasOdoo   bool
	Retries   int64 // retry lines of Odoo
	GaveUp    int64 // retries exhausted
	Addon     Addon
}

// series counts over time with a bounded number of steps: when they get too many, steps are joined in pairs.
type series struct {
	step   int64 // µs
	counts map[int64]*[3]int64
	last   *[3]int64 // of the step counted last, which is mostly the next one too
	lastAt int64
}

const (
	maxSteps  = 4096
	firstStep = int64(1e6)
)

func (s *series) add(at int64, which int) {
	if at == 0 {
		return
	}
	if s.counts == nil {
		s.step, s.counts = firstStep, map[int64]*[3]int64{}
	}
	k := at / s.step
	if s.last != nil && k == s.lastAt {
		s.last[which]++
		return
	}
	c := s.counts[k]
	if c == nil {
		c = new([3]int64)
		s.counts[k] = c
	}
	c[which]++
	s.last, s.lastAt = c, k
	for len(s.counts) > maxSteps {
		s.widen()
	}
}

func (s *series) widen() {
	wide := make(map[int64]*[3]int64, len(s.counts)/2)
	for k, c := range s.counts {
		to := wide[k/2]
		if to == nil {
			to = new([3]int64)
			wide[k/2] = to
		}
		for i, n := range c {
			to[i] += n
		}
	}
	s.step, s.counts, s.last = s.step*2, wide, nil
}

func (s *series) points() []Point {
	keys := make([]int64, 0, len(s.counts))
	for k := range s.counts {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	out := make([]Point, 0, len(keys))
	for _, k := range keys {
		c := s.counts[k]
		out = append(out, Point{Time: TimeOf(k * s.step), Conflicts: c[0], Cascades: c[1], Other: c[2]})
	}
	return out
}
