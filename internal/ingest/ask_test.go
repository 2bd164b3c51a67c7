package ingest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/ingest"
)

// past is a concord.BackfillStore in memory, and the home that is asked.
type past struct {
	concord.Link
	answer func(from, to time.Time, ids []string) (json.RawMessage, error)
	refuse func(r concord.BackfillResult) error

	mu       sync.Mutex
	due      []concord.Backfill
	at       map[int64]time.Time // when a question is due again
	asked    int
	finished []concord.BackfillResult
	done     chan struct{} // closed when nothing is to be asked any more
}

func (p *past) FindBackfills(_ context.Context, _ int64, max int) ([]concord.Backfill, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var due []concord.Backfill
	for _, b := range p.due {
		if !p.at[b.ID].After(time.Now()) {
			due = append(due, b)
		}
	}
	return due[:min(max, len(due))], nil
}

func (p *past) FinishBackfills(_ context.Context, _ int64, results []concord.BackfillResult) (concord.EventCounts, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range results {
		if p.refuse != nil {
			if err := p.refuse(r); err != nil {
				return concord.EventCounts{}, err
			}
		}
	}
	for _, r := range results {
		i := slices.IndexFunc(p.due, func(b concord.Backfill) bool { return b.ID == r.ID })
		if r.Again > 0 {
			p.due[i].Attempts++
			p.at[r.ID] = time.Now().Add(r.Again)
			continue
		}
		p.due = slices.Delete(p.due, i, i+1)
		p.finished = append(p.finished, r)
	}
	if len(p.due) == 0 {
		close(p.done)
	}
	return concord.EventCounts{}, nil
}

func (p *past) Command(_ context.Context, _ int64, command json.RawMessage) (json.RawMessage, error) {
	var c struct {
		Entities []string  `json:"entity_ids"`
		From     time.Time `json:"start_time"`
		To       time.Time `json:"end_time"`
	}
	if err := json.Unmarshal(command, &c); err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.asked++
	p.mu.Unlock()
	return p.answer(c.From, c.To, c.Entities)
}

// run asks until nothing is due, and returns how long that took by the clock of
// the bubble.
func (p *past) run(t *testing.T) time.Duration {
	t.Helper()
	p.at, p.done = make(map[int64]time.Time), make(chan struct{})
	for i := range p.due {
		p.due[i].ID = int64(i + 1)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
	defer cancel()
	begin := time.Now()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ingest.NewBackfiller(ingest.BackfillOptions{Home: 1, Store: p, Link: p}).Run(ctx)
	}()
	select {
	case <-p.done:
	case <-ctx.Done():
		require.Fail(t, "questions are never answered", "%+v", p.due)
	}
	took := time.Since(begin)
	cancel()
	<-ended
	return took
}

func (p *past) result(t *testing.T, id string) (r concord.BackfillResult, place int) {
	t.Helper()
	for i, r := range p.finished {
		if r.EntityID == id {
			return r, i
		}
	}
	require.Fail(t, "no result", id)
	return r, 0
}

// hour of an entity that changed at its end.
func hour(id string, n int) concord.Backfill {
	last := second(3600*n + 3599)
	return concord.Backfill{EntityID: id, From: *second(3600 * n), To: last.Add(time.Microsecond), Known: true, Last: last}
}

// whole is the answer of a home that has each entity's begin and end of [from, to).
func whole(from, to time.Time, ids []string) (json.RawMessage, error) {
	answer := make(map[string][]map[string]any)
	for _, id := range ids {
		for _, at := range []time.Time{from, to.Add(-time.Microsecond)} {
			answer[id] = append(answer[id], map[string]any{"s": "x", "a": map[string]any{}, "lu": float64(at.UnixMicro()) / 1e6})
		}
	}
	return json.Marshal(answer)
}

func TestBackfillerGoesOnAfterAQuestionThatFails(t *testing.T) {
	t.Parallel()
	for code, late := range map[concord.Code]time.Duration{concord.CodeTimeout: 10 * time.Second, concord.CodeForbidden: 0, concord.CodeNotFound: 0, concord.CodeInvalid: 0} {
		t.Run(string(code), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := &past{due: []concord.Backfill{hour("a.heavy", 0), hour("a.light", 0), hour("b.b", 10)}}
				p.answer = func(from, to time.Time, ids []string) (json.RawMessage, error) {
					if slices.Contains(ids, "a.heavy") || code == concord.CodeForbidden && from.Before(*second(36000)) {
						time.Sleep(late)
						return nil, concord.Errorf(code, "No such thing")
					}
					return whole(from, to, ids)
				}
				took := p.run(t)
				heavy, last := p.result(t, "a.heavy")
				require.Greater(t, last, 0, "others are answered before")
				require.Equal(t, []concord.Gap{{EntityID: "a.heavy", From: *second(0), To: heavy.To, Reason: "No such thing"}}, heavy.Gaps)
				light, _ := p.result(t, "a.light")
				require.Equal(t, code == concord.CodeForbidden, len(light.Gaps) > 0, "halves are put when that may help")
				other, _ := p.result(t, "b.b")
				require.Empty(t, other.Gaps)
				require.Less(t, took, 20*time.Minute)
				require.Greater(t, took, 9*time.Minute, "it may be a home that is starting")
			})
		})
	}
}

// One look awaits some late answers only. What it did not come to does not come
// before what is new at the next.
func TestBackfillerPutsOffWhatItDoesNotComeTo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &past{}
		for i := range 20 {
			p.due = append(p.due, hour(fmt.Sprintf("a.late%02d", i), 0))
		}
		p.due = append(p.due, hour("b.new", 10))
		begin := time.Now()
		var answered time.Duration
		p.answer = func(from, to time.Time, ids []string) (json.RawMessage, error) {
			if ids[0] != "b.new" {
				time.Sleep(10 * time.Second)
				return nil, concord.Errorf(concord.CodeTimeout, "late")
			}
			answered = time.Since(begin)
			return whole(from, to, ids)
		}
		p.run(t)
		require.Less(t, answered, 110*time.Second, "one look of 10 late answers")
	})
}

func TestBackfillerAsksForLessWhenAnAnswerIsLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		day := hour("a.heavy", 0)
		day.To = day.From.Add(6 * time.Hour)
		last := day.To.Add(-time.Microsecond)
		day.Last = &last
		p := &past{due: []concord.Backfill{day}}
		p.answer = func(from, to time.Time, ids []string) (json.RawMessage, error) {
			if to.Sub(from) > time.Hour {
				time.Sleep(10 * time.Second)
				return nil, concord.Errorf(concord.CodeTimeout, "late")
			}
			return whole(from, to, ids)
		}
		p.run(t)
		r, _ := p.result(t, "a.heavy")
		require.Empty(t, r.Gaps)
		require.Equal(t, 15, p.asked, "7 of them late, 8 of 45 minutes each")
	})
}

func TestBackfillerOutlivesASlowRecorder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		p := &past{due: []concord.Backfill{hour("a.a", 0)}}
		p.answer = func(from, to time.Time, ids []string) (json.RawMessage, error) {
			if time.Since(begin) < 5*time.Minute {
				return json.RawMessage(`{}`), nil // it commits seldom, or is busy
			}
			return whole(from, to, ids)
		}
		p.run(t)
		r, _ := p.result(t, "a.a")
		require.Empty(t, r.Gaps)
		require.Less(t, p.asked, 12)
	})
}

func TestBackfillerOutlivesARefusalOfTheDatabase(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &past{answer: whole, due: []concord.Backfill{hour("a.bad", 0), hour("a.good", 0)}}
		p.refuse = func(r concord.BackfillResult) error {
			if r.EntityID == "a.bad" && len(r.States) > 0 {
				return fmt.Errorf("unsupported Unicode escape sequence")
			}
			return nil
		}
		p.run(t)
		bad, _ := p.result(t, "a.bad")
		require.Len(t, bad.Gaps, 1)
		good, _ := p.result(t, "a.good")
		require.Empty(t, good.Gaps)
		require.NotEmpty(t, good.States)
	})
}

func TestBackfillerAsksNoHomeForDecades(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	minute := now.Add(-time.Minute)
	for name, c := range map[string]struct {
		heard *time.Time
		asked int
		gap   *time.Time // its end; nil for none
	}{
		"NothingHeard": {asked: 120, gap: new(now.AddDate(0, 0, -30))},
		"HeardLately":  {heard: &minute, asked: 1},
		"HeardLongAgo": {heard: second(100), asked: 120, gap: new(now.AddDate(0, 0, -30))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := &past{due: []concord.Backfill{{EntityID: "a.a", From: *second(30), To: now, Known: true, Last: second(30), Heard: c.heard}}}
				p.answer = func(from, to time.Time, ids []string) (json.RawMessage, error) {
					return whole(from.Add(time.Microsecond), to, ids)
				}
				p.run(t)
				require.Equal(t, c.asked, p.asked)
				r, _ := p.result(t, "a.a")
				require.Equal(t, c.gap != nil, len(r.Gaps) > 0, "%+v", r.Gaps)
				if c.gap != nil {
					require.Equal(t, *c.gap, r.Gaps[len(r.Gaps)-1].To)
				}
			})
		})
	}
}

// The clock was set back before all that the home has. That it forgot nothing since
// shows what was heard before.
func TestBackfillerAsksForWhatWasHeardBeforeTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	for name, has := range map[string][]int{"Remembers": {500, 900}, "Forgot": {500}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := &past{due: []concord.Backfill{{EntityID: "a.a", From: *second(440), To: second(500).Add(time.Microsecond), Known: true, Heard: second(900), Last: second(500)}}}
				p.answer = func(from, to time.Time, _ []string) (json.RawMessage, error) {
					within := slices.DeleteFunc(slices.Clone(has), func(n int) bool { return !second(n).After(from) || !second(n).Before(to) })
					return json.RawMessage(history(within...)), nil
				}
				p.run(t)
				require.Equal(t, 2, p.asked)
				r, _ := p.result(t, "a.a")
				require.Len(t, r.States, 1)
				require.Equal(t, name == "Forgot", len(r.Gaps) > 0, "%+v", r.Gaps)
			})
		})
	}
}
