package ingest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/ingest"
)

// questions is a concord.BackfillStore with one question, and the home that
// answers it.
type questions struct {
	concord.Link
	due      concord.Backfill
	answer   string
	finished chan concord.BackfillResult
}

func (q *questions) FindBackfills(context.Context, int64, int) ([]concord.Backfill, error) {
	return []concord.Backfill{q.due}, nil
}

func (q *questions) FinishBackfills(ctx context.Context, _ int64, results []concord.BackfillResult) (concord.EventCounts, error) {
	select {
	case q.finished <- results[0]:
		return concord.EventCounts{}, nil
	case <-ctx.Done():
		return concord.EventCounts{}, ctx.Err()
	}
}

func (q *questions) Command(context.Context, int64, json.RawMessage) (json.RawMessage, error) {
	return json.RawMessage(q.answer), nil
}

// history is the home's answer: a.a at these seconds of its clock, the first
// being the state that the question begins with unless that is negative.
func history(seconds ...int) string {
	var states []string
	for _, s := range seconds {
		if s >= 0 {
			states = append(states, fmt.Sprintf(`{"s":"x","a":{},"lu":%d.0}`, s))
		}
	}
	if len(states) == 0 {
		return `{}`
	}
	return `{"a.a":[` + strings.Join(states, ",") + `]}`
}

func second(n int) *time.Time {
	t := time.Unix(int64(n), 0).UTC()
	return &t
}

func TestBackfillerJudges(t *testing.T) {
	t.Parallel()
	// Until 900 everything was heard. The question for what follows begins early.
	ahead := concord.Backfill{EntityID: "a.a", From: *second(840), To: second(1000).Add(time.Microsecond), Known: true, Heard: second(900), Last: second(1000)}
	// The clock was set back to 500 after 900 and something unheard.
	back := concord.Backfill{EntityID: "a.a", From: second(500).Add(-time.Microsecond), To: *second(1000), Known: true, Heard: second(900), Last: second(500)}
	// The same, of what came after that.
	after := concord.Backfill{EntityID: "a.a", From: *second(440), To: second(500).Add(time.Microsecond), Known: true, Heard: second(900), Last: second(500)}
	for name, c := range map[string]struct {
		question concord.Backfill
		answer   string
		again    bool // and then
		states   int
		gaps     []concord.Gap
	}{
		"BeginsWithAState":              {question: ahead, answer: history(840, 950, 1000), states: 2},
		"BeginsWithWhatWasHeard":        {question: ahead, answer: history(-1, 899, 900, 950, 1000), states: 4},
		"DoesNotReachBack":              {question: ahead, answer: history(-1, 950, 1000), states: 2, gaps: []concord.Gap{{From: *second(840), To: *second(950)}}},
		"EndsEarly":                     {question: ahead, answer: history(840, 950), again: true, states: 1, gaps: []concord.Gap{{From: *second(950), To: ahead.To}}},
		"KnowsNothing":                  {question: ahead, answer: history(), again: true, gaps: []concord.Gap{{From: *second(840), To: ahead.To}}},
		"ClockSetBack":                  {question: back, answer: history(-1, 500, 900, 905), states: 3},
		"ClockSetBackAndOlderKnown":     {question: back, answer: history(499, 500, 900, 905), states: 3},
		"ClockSetBackAndNothingFurther": {question: back, answer: history(499, 500, 900), states: 2},
		"ClockSetBackAndForgotten":      {question: back, answer: history(499, 500), again: true, states: 1, gaps: []concord.Gap{{From: *second(900), To: back.To}}},
		"ClockSetBackAndPartForgotten":  {question: back, answer: history(499, 500, 905), again: true, states: 2, gaps: []concord.Gap{{From: *second(900), To: back.To}}},
		"ClockSetBackAndNotYetWritten":  {question: back, answer: history(499, 900), again: true, states: 1, gaps: []concord.Gap{{From: *second(900), To: back.To}}},
		"ClockSetBackBeforeAllThereIs":  {question: after, answer: history(-1, 500, 900), states: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.again {
				r := finish(t, c.question, c.answer)
				require.NotZero(t, r.Again)
				require.Empty(t, r.Gaps)
				c.question.Attempts = ingest.BackfillAttempts - 1
			}
			r := finish(t, c.question, c.answer)
			require.Zero(t, r.Again)
			require.Len(t, r.States, c.states)
			require.Len(t, r.Gaps, len(c.gaps))
			for i, g := range c.gaps {
				require.Equal(t, [2]time.Time{g.From, g.To}, [2]time.Time{r.Gaps[i].From.UTC(), r.Gaps[i].To.UTC()}, r.Gaps[i].Reason)
			}
		})
	}
}

func finish(t *testing.T, due concord.Backfill, answer string) concord.BackfillResult {
	t.Helper()
	q := &questions{due: due, answer: answer, finished: make(chan concord.BackfillResult)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ingest.NewBackfiller(ingest.BackfillOptions{Home: 1, Store: q, Link: q}).Run(ctx)
	}()
	defer func() { cancel(); <-done }()
	return <-q.finished
}

func TestBackfillerAsksOnceForWhatOverlaps(t *testing.T) {
	t.Parallel()
	piece := func(id string, from, to int) concord.Backfill {
		return concord.Backfill{EntityID: id, From: *second(from), To: *second(to)}
	}
	due := []concord.Backfill{piece("a.a", 500, 900), piece("a.b", 100, 200), piece("a.a", 150, 250), piece("a.b", 800, 950), piece("a.b", 501, 502)}
	for n := range 25 {
		due = append(due, piece(fmt.Sprintf("b.%02d", n), 2000, 2001))
	}
	var asked []string
	for _, part := range ingest.AskTogether(due) {
		text := ""
		for _, p := range part {
			text += fmt.Sprintf(" %s[%d,%d]", p.EntityID, p.From.Unix(), p.To.Unix())
		}
		asked = append(asked, text)
	}
	require.Len(t, asked, 4)
	require.Equal(t, " a.a[150,250] a.b[100,200]", asked[0])
	require.Equal(t, " a.a[500,900] a.b[501,502] a.b[800,950]", asked[1])
	require.Len(t, strings.Fields(asked[2]), 20)
	require.Len(t, strings.Fields(asked[3]), 5)
}
