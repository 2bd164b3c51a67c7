package ingest

import (
	"cmp"
	"context"
	"encoding/json"
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
	// An answer that lacks the last change is asked for again after 2, 6, 18 and 54 s
	// and then every 2 minutes. So is one that the home refused or did not give in time.
	backfillAgain     = 2 * time.Second
	backfillAgainMost = 2 * time.Minute
	// backfillShortest is the time that is not halved again when a home does not
	// answer in time, and backfillLate how many late answers one look at what is
	// due awaits, before it leaves the rest for the next.
	backfillShortest = 30 * time.Minute
	backfillLate     = 10
)

// BackfillOptions of a [Backfiller]. Home, Store and Link are required.
type BackfillOptions struct {
	Home  int64
	Store concord.BackfillStore
	Link  concord.Link
	// Patience is for how long a question is put again that the home does not answer
	// in full: it writes its history behind, seconds or minutes. 0 means 10 minutes.
	Patience time.Duration
	// Reach is how far back from its end a question reaches: homes keep 10 days unless
	// told otherwise, and one change by a clock that is far off must not have a home
	// asked for decades. 0 means 30 days.
	Reach   time.Duration
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
	o.Patience, o.Reach = cmp.Or(o.Patience, 10*time.Minute), cmp.Or(o.Reach, 30*24*time.Hour)
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

// step asks for what is due. A question that the home does not answer is put
// again later, and does not keep the others from being put. An error, when the
// home or the database is away, leaves the rest for the next time.
func (b *Backfiller) step(ctx context.Context) (int, error) {
	due, err := b.Store.FindBackfills(ctx, b.Home, backfillMost)
	if err != nil {
		return 0, err
	}
	q := &asking{Backfiller: b, patience: backfillLate, older: make(map[int64]concord.Gap)}
	var first, again []concord.Backfill // what was not answered before keeps nothing waiting
	for _, p := range due {
		p, gap := reach(p, b.Reach)
		if gap != nil {
			q.older[p.ID] = *gap
		}
		if p.Attempts == 0 {
			first = append(first, p)
		} else {
			again = append(again, p)
		}
	}
	for _, part := range append(askTogether(first), askTogether(again)...) {
		if err := q.put(ctx, part); err != nil {
			return 0, err
		}
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
			parts = append(parts, partEntities(due[begin:i], backfillEntities)...)
			begin = i
		}
		to = later(to, p.To)
	}
	return append(parts, partEntities(due[begin:], backfillEntities)...)
}

// partEntities parts questions into such about max entities each.
func partEntities(due []concord.Backfill, max int) (parts [][]concord.Backfill) {
	slices.SortStableFunc(due, func(a, b concord.Backfill) int { return cmp.Compare(a.EntityID, b.EntityID) })
	begin, entities := 0, 0
	for i := range due {
		if i > 0 && due[i].EntityID == due[i-1].EntityID {
			continue
		}
		if entities++; entities > max {
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

func convert(entityID string, states []hass.State) []*concord.State {
	all := make([]*concord.State, len(states))
	for i, s := range states {
		all[i] = &concord.State{
			EntityID: entityID, State: s.State, Attributes: orEmptyObject(s.Attributes), LastChanged: s.LastChanged, LastUpdated: s.LastUpdated,
		}
	}
	return all
}

func orEmptyObject(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage("{}")
	}
	return raw
}
