package ingest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/hass"
)

const (
	// backfillEntities and backfillSpan bound one question to a home.
	backfillEntities = 20
	backfillSpan     = 6 * time.Hour
	backfillMost     = 200
	backfillLook     = time.Second
	// A home writes its history some seconds behind; an answer that lacks the last
	// change is asked for again after 2, 6 and 18 s.
	backfillAttempts = 4
	backfillAgain    = 2 * time.Second
)

// BackfillOptions of a [Backfiller]. All but Logger and Metrics are required.
type BackfillOptions struct {
	Home    int64
	Store   concord.BackfillStore
	Link    concord.Link
	Logger  *slog.Logger
	Metrics *Metrics
}

// Backfiller asks a home for what Concord did not hear. It works beside the
// writer, a small question at a time, so it never delays what happens now. What
// the home does not know either becomes a gap.
type Backfiller struct {
	BackfillOptions
	log *slog.Logger
}

// NewBackfiller returns a backfiller; Run it.
func NewBackfiller(o BackfillOptions) *Backfiller {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	return &Backfiller{BackfillOptions: o, log: o.Logger.With("home", o.Home)}
}

// Run asks until ctx ends.
func (b *Backfiller) Run(ctx context.Context) {
	wait := backfillLook
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		n, err := b.step(ctx)
		wait = backfillLook
		switch {
		case err != nil && ctx.Err() == nil:
			b.log.Debug("a question to the home's history waits", "error", err)
		case n == backfillMost:
			wait = 0
		}
	}
}

// step asks for what is due. An error leaves the rest for the next time.
func (b *Backfiller) step(ctx context.Context) (int, error) {
	due, err := b.Store.FindBackfills(ctx, b.Home, backfillMost)
	if err != nil {
		return 0, err
	}
	for _, part := range askTogether(due) {
		results, err := b.ask(ctx, part)
		if err != nil {
			return 0, err
		}
		counts, err := b.Store.FinishBackfills(ctx, b.Home, results)
		if err != nil {
			return 0, err
		}
		b.count(results, counts.Held)
	}
	return len(due), nil
}

// askTogether parts what is due into questions to the home: times that overlap
// are asked once, for backfillEntities at most.
func askTogether(due []concord.Backfill) (parts [][]concord.Backfill) {
	slices.SortStableFunc(due, func(a, b concord.Backfill) int { return a.From.Compare(b.From) })
	begin := 0
	var to time.Time
	for i, p := range due {
		if i > begin && p.From.After(to) {
			parts = append(parts, partEntities(due[begin:i])...)
			begin = i
		}
		to = later(to, p.To)
	}
	return append(parts, partEntities(due[begin:])...)
}

func partEntities(due []concord.Backfill) (parts [][]concord.Backfill) {
	slices.SortStableFunc(due, func(a, b concord.Backfill) int { return cmp.Compare(a.EntityID, b.EntityID) })
	begin, entities := 0, 0
	for i := range due {
		if i > 0 && due[i].EntityID == due[i-1].EntityID {
			continue
		}
		if entities++; entities > backfillEntities {
			parts, begin, entities = append(parts, due[begin:i]), i, 1
		}
	}
	if begin < len(due) {
		parts = append(parts, due[begin:])
	}
	return parts
}

func (b *Backfiller) count(results []concord.BackfillResult, held int) {
	states, gaps := 0, 0
	for _, r := range results {
		states += len(r.States)
		gaps += len(r.Gaps)
		for _, g := range r.Gaps {
			b.log.Warn("a gap in the history remains", "entity", g.EntityID, "from", g.From, "to", g.To, "reason", g.Reason)
		}
	}
	b.Metrics.backfilled.Add(float64(states))
	b.Metrics.held.Add(float64(held))
	b.Metrics.gaps.Add(float64(gaps))
}

// ask puts one question, in slices of time, and judges the answers.
func (b *Backfiller) ask(ctx context.Context, part []concord.Backfill) ([]concord.BackfillResult, error) {
	from, to := part[0].From, part[0].To
	var ids []string
	for _, p := range part {
		if p.From.Before(from) {
			from = p.From
		}
		to = later(to, p.To)
		if !slices.Contains(ids, p.EntityID) {
			ids = append(ids, p.EntityID)
		}
	}
	answers := make(map[string][]hass.State)
	refused := ""
	for begin := from; begin.Before(to) && refused == ""; begin = begin.Add(backfillSpan) {
		end := begin.Add(backfillSpan)
		if end.After(to) {
			end = to
		}
		states, err := b.question(ctx, begin, end, begin.Equal(from), ids)
		if refusal, ok := errors.AsType[*concord.Error](err); ok && refusal.Code == concord.CodeInvalid {
			refused = refusal.Message
			break
		}
		if err != nil {
			return nil, err
		}
		for id, s := range states {
			answers[id] = append(answers[id], s...)
		}
	}
	results := make([]concord.BackfillResult, len(part))
	for i, p := range part {
		results[i] = judge(p, answers[p.EntityID], refused)
	}
	return results, nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// question returns all states in [from, to). With start, the state that held at
// from comes first, if the home knows it.
func (b *Backfiller) question(ctx context.Context, from, to time.Time, start bool, ids []string) (map[string][]hass.State, error) {
	command, err := json.Marshal(map[string]any{
		"type": "history/history_during_period", "entity_ids": ids,
		"start_time": from.UTC().Format(time.RFC3339Nano), "end_time": to.UTC().Format(time.RFC3339Nano),
		"include_start_time_state": start, "significant_changes_only": false, "minimal_response": false, "no_attributes": false,
	})
	if err != nil {
		return nil, err
	}
	answer, err := b.Link.Command(ctx, b.Home, command)
	if err != nil {
		return nil, err
	}
	states, err := hass.DecodeHistory(answer)
	if err != nil { // the records that can be read are there
		b.log.Warn("part of the home's history cannot be read", "error", err)
	}
	return states, nil
}

// judge says what an answer means. It is complete when it reaches back to what
// was heard before and forward to what was heard after.
func judge(p concord.Backfill, states []hass.State, refused string) concord.BackfillResult {
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

func read(p concord.Backfill, states []hass.State) answer {
	a := answer{newest: p.From, ends: p.Last == nil}
	heard := false
	for i := range states {
		s := &states[i]
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
		a.states = append(a.states, &concord.State{
			EntityID: p.EntityID, State: s.State, Attributes: orEmptyObject(s.Attributes), LastChanged: s.LastChanged, LastUpdated: s.LastUpdated,
		})
	}
	back := p.Heard != nil && p.Last != nil && p.Last.Before(*p.Heard)
	a.whole = heard || !back || !p.Heard.Before(p.To)
	begun := p.Last != nil && !p.Last.After(p.From.Add(time.Microsecond)) // the question begins with what was heard
	a.begins = a.begins || heard || begun && a.ends
	return a
}

func orEmptyObject(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage("{}")
	}
	return raw
}
