package ingest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/hass"
)

// asking is one look at what is due.
type asking struct {
	*Backfiller
	patience int                   // how many more answers may be late
	older    map[int64]concord.Gap // what is not asked of, by question
}

// errLate says that too many answers were late for one look.
var errLate = errors.New("the home answers too slowly")

// put puts one question and stores what the answer means. When the home refuses
// it or is late, or the database refuses the answer, its halves are put: one entity
// may be at fault, or have more than is read in time. The error is that of a home
// or a database that is away, or errLate.
func (a *asking) put(ctx context.Context, part []concord.Backfill) error {
	answers, err := a.ask(ctx, part)
	failure := failureOf(err)
	if err != nil && failure == "" {
		return err
	}
	if failure == "" || !divides(err) {
		err = a.finish(ctx, part, answers, failure)
		if err == nil || ctx.Err() != nil || concord.ErrorCode(err) != concord.CodeInternal {
			return err
		}
		failure = "the database refuses what the home's history has"
		a.log.Warn(failure, "error", err)
	}
	halves := partEntities(part, (countEntities(part)+1)/2)
	if len(halves) == 1 {
		return a.finish(ctx, part, nil, failure)
	}
	for i, half := range halves {
		if a.patience <= 0 {
			return errors.Join(errLate, a.putOff(ctx, slices.Concat(halves[i:]...), failure))
		}
		if err := a.put(ctx, half); errors.Is(err, errLate) {
			return errors.Join(err, a.putOff(ctx, slices.Concat(halves[i+1:]...), failure))
		} else if err != nil {
			return err
		}
	}
	return nil
}

// putOff has questions that this look does not come to put again later, so that
// they do not come before new ones. None becomes a gap: its part was late only
// together with others.
func (a *asking) putOff(ctx context.Context, part []concord.Backfill, failure string) error {
	var results []concord.BackfillResult
	for _, p := range part {
		if r := judge(p, nil, failure, a.Patience); r.Again > 0 {
			results = append(results, r)
		}
	}
	if len(results) == 0 {
		return nil
	}
	_, err := a.Store.FinishBackfills(ctx, a.Home, results)
	return err
}

func (a *asking) finish(ctx context.Context, part []concord.Backfill, answers map[string][]*concord.State, failure string) error {
	results := make([]concord.BackfillResult, len(part))
	for i, p := range part {
		results[i] = judge(p, answers[p.EntityID], failure, a.Patience)
		if gap, ok := a.older[p.ID]; ok && results[i].Again == 0 {
			results[i].Gaps = append(results[i].Gaps, gap)
		}
	}
	counts, err := a.Store.FinishBackfills(ctx, a.Home, results)
	if err == nil {
		a.count(results, counts.Held)
	}
	return err
}

// failureOf says why a home that is there gave no answer, "" when it is away.
func failureOf(err error) string {
	failure, ok := errors.AsType[*concord.Error](err)
	if !ok {
		return ""
	}
	switch failure.Code {
	case concord.CodeInvalid, concord.CodeForbidden, concord.CodeNotFound, concord.CodeTimeout:
		return failure.Message
	}
	return ""
}

// divides reports whether a part of the question may fare better. A home that
// does not know the command, or does not allow it, answers none.
func divides(err error) bool {
	if refusal, ok := errors.AsType[*hass.CommandError](err); ok && refusal.Code == hass.CodeUnknownCommand {
		return false
	}
	return concord.ErrorCode(err) != concord.CodeForbidden
}

// ask puts one question in slices of time. Answers are by entity, shared by all
// that is asked about it.
func (a *asking) ask(ctx context.Context, part []concord.Backfill) (map[string][]*concord.State, error) {
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
	answers := make(map[string][]*concord.State)
	for begin := from; begin.Before(to); begin = begin.Add(backfillSpan) {
		end := begin.Add(backfillSpan)
		if end.After(to) {
			end = to
		}
		if err := a.slice(ctx, begin, end, begin.Equal(from), ids, answers); err != nil {
			return nil, err
		}
	}
	return answers, a.recall(ctx, part, answers)
}

// recall adds what was heard last of entities whose history does not reach back,
// where by the clock, which was set back, that lies behind the question.
func (a *asking) recall(ctx context.Context, part []concord.Backfill, answers map[string][]*concord.State) error {
	for _, p := range part {
		if !p.Known || p.Heard == nil || p.Heard.Before(p.To) || read(p, answers[p.EntityID]).begins {
			continue
		}
		if err := a.slice(ctx, p.Heard.Add(-time.Microsecond), p.Heard.Add(time.Microsecond), false, []string{p.EntityID}, answers); err != nil {
			return err
		}
	}
	return nil
}

// slice adds the answer for [from, to). When it is late and about one entity, the
// halves are asked for.
func (a *asking) slice(ctx context.Context, from, to time.Time, start bool, ids []string, answers map[string][]*concord.State) error {
	states, err := a.question(ctx, from, to, start, ids)
	if concord.ErrorCode(err) == concord.CodeTimeout {
		a.patience--
		if half := to.Sub(from) / 2; len(ids) == 1 && half >= backfillShortest && a.patience > 0 {
			middle := from.Add(half)
			if err := a.slice(ctx, from, middle, start, ids, answers); err != nil {
				return err
			}
			return a.slice(ctx, middle, to, false, ids, answers)
		}
	}
	if err != nil {
		return err
	}
	for id, s := range states {
		answers[id] = append(answers[id], convert(id, s)...)
	}
	return nil
}

func countEntities(part []concord.Backfill) int {
	ids := make(map[string]bool, len(part))
	for _, p := range part {
		ids[p.EntityID] = true
	}
	return len(ids)
}
