package ingest

import (
	"cmp"
	"time"

	"github.com/concord-home/concord"
)

// judge says what an answer means. It is complete when it reaches back to what
// was heard before and forward to what was heard after.
func judge(p concord.Backfill, states []*concord.State, refused string) concord.BackfillResult {
	r := concord.BackfillResult{Backfill: p}
	a := read(p, states)
	if !(a.ends && a.whole) && p.Attempts+1 < backfillAttempts {
		r.Again = backfillAgain
		for range p.Attempts {
			r.Again *= 3
		}
		return r
	}
	r.States = a.states
	if !a.begins && p.Known {
		until := a.first
		if until.IsZero() {
			until = p.To
		}
		r.Gaps = append(r.Gaps, concord.Gap{EntityID: p.EntityID, From: p.From, To: until, Reason: cmp.Or(refused, "the home's history does not reach back")})
	}
	if !a.ends && (a.begins || !a.first.IsZero()) {
		r.Gaps = append(r.Gaps, concord.Gap{EntityID: p.EntityID, From: a.newest, To: p.To, Reason: "the home's history ends early"})
	}
	if !a.whole {
		r.Gaps = append(r.Gaps, concord.Gap{EntityID: p.EntityID, From: *p.Heard, To: p.To, Reason: cmp.Or(refused, "the home forgot what it did before its clock was set back")})
	}
	return r
}

// answer is what a home's history has of one question.
type answer struct {
	states        []*concord.State
	first, newest time.Time // of states; without any, first is zero and newest the question's beginning
	begins        bool      // it reaches back to what was heard before
	ends          bool      // it has what was heard after
	// whole is false when the clock was set back and the last change from before
	// that should be there and is not: what came after it was forgotten too, although
	// by the clock older changes are there.
	whole bool
}

func read(p concord.Backfill, states []*concord.State) answer {
	a := answer{newest: p.From, ends: p.Last == nil}
	heard := false
	for i, s := range states {
		if s.LastUpdated.Before(p.From) || i == 0 && s.LastUpdated.Equal(p.From) {
			a.begins = true
			continue
		}
		if !s.LastUpdated.Before(p.To) {
			continue
		}
		if a.first.IsZero() {
			a.first = s.LastUpdated
		}
		heard = heard || p.Heard != nil && s.LastUpdated.Equal(*p.Heard)
		a.ends = a.ends || p.Last != nil && s.LastUpdated.Equal(*p.Last)
		a.newest = later(a.newest, s.LastUpdated)
		a.states = append(a.states, s)
	}
	back := p.Heard != nil && p.Last != nil && p.Last.Before(*p.Heard)
	a.whole = heard || !back || !p.Heard.Before(p.To)
	begun := p.Last != nil && !p.Last.After(p.From.Add(time.Microsecond)) // the question begins with what was heard
	a.begins = a.begins || heard || begun && a.ends
	return a
}
