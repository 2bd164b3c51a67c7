package ingest

import (
	"cmp"
	"time"

	"github.com/concord-home/concord"
)

// judge says what an answer means. It is complete when it reaches back to what
// was heard before and forward to what was heard after. refused is why there is
// none, "" when there is one.
func judge(p concord.Backfill, states []*concord.State, refused string, patience time.Duration) concord.BackfillResult {
	r := concord.BackfillResult{Backfill: p}
	a := read(p, states)
	if wait, waited := again(p.Attempts); !(a.ends && a.whole && refused == "") && waited+wait <= patience {
		r.Again = wait
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

// again is how long a question waits that was put attempts times before, and how
// long it has waited by then.
func again(attempts int) (wait, waited time.Duration) {
	wait = backfillAgain
	for range attempts {
		waited += wait
		wait = min(3*wait, backfillAgainMost)
	}
	return wait, waited
}

// reach shortens a question that reaches further back than a home is asked. What
// was heard before the clock was set back needs no asking; what remains is a gap.
func reach(p concord.Backfill, most time.Duration) (concord.Backfill, *concord.Gap) {
	limit := p.To.Add(-most)
	if !p.From.Before(limit) {
		return p, nil
	}
	unheard := p.From
	if p.Heard != nil && p.Heard.Before(p.To) {
		unheard = later(unheard, p.Heard.Add(-time.Microsecond))
	}
	p.From = later(limit, unheard)
	if !p.Known || !unheard.Before(limit) {
		return p, nil
	}
	return p, &concord.Gap{EntityID: p.EntityID, From: unheard, To: limit, Reason: "longer ago than a home is asked for"}
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
	a := answer{newest: p.From, ends: p.Last == nil || p.Last.Before(p.From)}
	heard := false
	for i, s := range states {
		if s.LastUpdated.Before(p.From) || i == 0 && s.LastUpdated.Equal(p.From) {
			a.begins = true
			continue
		}
		heard = heard || p.Heard != nil && s.LastUpdated.Equal(*p.Heard)
		if !s.LastUpdated.Before(p.To) {
			continue
		}
		if a.first.IsZero() {
			a.first = s.LastUpdated
		}
		a.ends = a.ends || p.Last != nil && s.LastUpdated.Equal(*p.Last)
		a.newest = later(a.newest, s.LastUpdated)
		a.states = append(a.states, s)
	}
	back := p.Heard != nil && p.Last != nil && p.Last.Before(*p.Heard)
	a.whole = heard || !back || p.Heard.Before(p.From) || !p.Heard.Before(p.To)
	first := p.From.Add(time.Microsecond) // the question begins with what was heard
	begun := p.Last != nil && !p.Last.Before(p.From) && !p.Last.After(first) || back && p.Heard.Equal(first)
	a.begins = a.begins || heard || begun && a.ends
	return a
}
