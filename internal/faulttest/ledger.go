package faulttest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/concord-home/concord/hass"
	"github.com/concord-home/concord/hass/simhome"
)

// change is one state of one entity, as the home had it.
type change struct {
	entity     string
	at         int64 // last_updated in µs
	state      string
	attributes [32]byte // hash of the canonical form
}

// ledger is what the home sent.
type ledger struct {
	mu      sync.Mutex
	list    map[change]bool
	allowed map[change]bool // states from before the run
	last    time.Time
}

func newLedger() *ledger { return &ledger{list: make(map[change]bool), allowed: make(map[change]bool)} }

func (l *ledger) sent(c simhome.Change) {
	if c.New == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list[changeOf(c.New)] = true
	l.last = c.New.LastUpdated
}

// clock is when the last change was, by the home's clock.
func (l *ledger) clock() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

func (l *ledger) had(s *hass.State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.allowed[changeOf(s)] = true
}

// renamed gives what an entity did its new name, as the home's own history does.
func (l *ledger) renamed(from, to string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, list := range []map[change]bool{l.list, l.allowed} {
		for c := range list {
			if c.entity == from {
				delete(list, c)
				c.entity = to
				list[c] = true
			}
		}
	}
}

func changeOf(s *hass.State) change {
	return change{s.EntityID, s.LastUpdated.UnixMicro(), s.State, canonical(s.Attributes)}
}

func canonical(raw []byte) [32]byte {
	d := json.NewDecoder(bytes.NewReader(raw))
	var v any
	if d.Decode(&v) != nil {
		return sha256.Sum256(raw)
	}
	sorted, err := json.Marshal(v)
	if err != nil {
		return sha256.Sum256(raw)
	}
	return sha256.Sum256(sorted)
}

// Result compares the history with what was sent.
type Result struct {
	Sent     int // changes
	Stored   int // rows of them
	Doubled  int
	Invented int // rows that the home never sent
	InGaps   int // changes that are missing where a gap row says so, and that the home forgot
	Lost     int // changes that are missing although no gap row says so or the home knows them
	Gaps     int // rows
	Needless int // of them, where the home forgot nothing
	Buckets  int // rows of statistics
	Wrong    int // of them, or missing
	Examples []string
}

// Exact reports whether everything is there once, or covered by a gap, no gap is
// without need, and the statistics are those of what is there.
func (r Result) Exact() bool {
	return r.Doubled == 0 && r.Invented == 0 && r.Lost == 0 && r.Needless == 0 && r.Wrong == 0
}

// settleLate is how long what is not exact may become so after the last answer
// of the home.
const settleLate = 20 * time.Second

// Settle lets the home stand still, waits until everything is written and
// asked, and compares.
func (r *Run) Settle(ctx context.Context) (Result, error) {
	r.proxy.cutAfter(-1)
	r.trial.Home.SetRate(0)
	if err := r.trial.AwaitEqual(ctx); err != nil {
		return Result{}, err
	}
	conn, err := pgx.Connect(ctx, r.server.URL())
	if err != nil {
		return Result{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	answered := time.Now() // a question to the home was open until then
	for {
		var open int
		if err := conn.QueryRow(ctx, `select count(*) from backfill`).Scan(&open); err != nil {
			return Result{}, err
		}
		var result Result
		if open == 0 {
			late := time.Since(answered) > settleLate
			if result, err = r.compare(ctx, conn); err == nil && result.Exact() {
				err = r.compareStatistics(ctx, conn, &result)
				return result, err
			}
			if err != nil || late {
				return result, err
			}
		} else {
			answered = time.Now()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return result, errors.Join(ctx.Err(), fmt.Errorf("%d questions to the home are open", open))
		}
	}
}

func (r *Run) compare(ctx context.Context, conn *pgx.Conn) (Result, error) {
	var result Result
	have, err := readHistory(ctx, conn)
	if err != nil {
		return result, err
	}
	gaps, err := readGaps(ctx, conn)
	if err != nil {
		return result, err
	}
	known := r.remembered()
	r.ledger.mu.Lock()
	defer r.ledger.mu.Unlock()
	result.Sent, result.Gaps = len(r.ledger.list), len(gaps)
	for c, n := range have {
		switch {
		case n > 1:
			result.Doubled++
			result.example("doubled: " + c.String())
		case r.ledger.list[c]:
			result.Stored++
		case !r.ledger.allowed[c]:
			result.Invented++
			result.example("invented: " + c.String())
		}
	}
	for c := range r.ledger.list {
		switch {
		case have[c] > 0:
		case covered(gaps, c) && known[c]:
			result.Lost++
			result.example("in a gap, and the home knows it: " + c.String())
		case covered(gaps, c):
			result.InGaps++
			if r.options.Remembers == 0 {
				result.example("in a gap: " + c.String())
			}
		default:
			result.Lost++
			result.example("lost: " + c.String())
		}
	}
	for _, g := range gaps {
		if !r.ledger.forgotIn(g, known) {
			result.Needless++
			result.example("needless: " + g.String())
		}
	}
	for _, g := range gaps[:min(10, len(gaps))] {
		result.example("gap: " + g.String())
	}
	return result, nil
}

// readHistory counts the rows of each change.
func readHistory(ctx context.Context, conn *pgx.Conn) (map[change]int, error) {
	rows, err := conn.Query(ctx, `select entity_id, last_updated, state, attributes::text from state_history_named`)
	if err != nil {
		return nil, err
	}
	have := make(map[change]int)
	var id, state, attributes string
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &at, &state, &attributes}, func() error {
		have[change{id, at.UnixMicro(), state, canonical([]byte(attributes))}]++
		return nil
	})
	return have, err
}

// forgotIn tells gaps in which the home forgot what its entity was at some moment.
func (l *ledger) forgotIn(g gap, known map[change]bool) bool {
	var all []change
	for _, list := range []map[change]bool{l.list, l.allowed} {
		for c := range list {
			if g.Entity != nil && c.entity == *g.Entity {
				all = append(all, c)
			}
		}
	}
	slices.SortFunc(all, func(a, b change) int { return cmp.Compare(a.at, b.at) })
	for i, c := range all {
		if c.at <= g.To.UnixMicro() && !known[c] && (i+1 == len(all) || all[i+1].at >= g.From.UnixMicro()) {
			return true
		}
	}
	return false
}

// remembered is what the home could still be asked for.
func (r *Run) remembered() map[change]bool {
	known := make(map[change]bool)
	for _, now := range r.trial.Home.States() {
		for _, s := range r.trial.Home.Past(now.EntityID) {
			c := changeOf(s)
			c.entity = now.EntityID // it may have had another name
			known[c] = true
		}
	}
	return known
}

func (r *Result) example(what string) {
	if len(r.Examples) < 30 {
		r.Examples = append(r.Examples, what)
	}
}

func (c change) String() string {
	return fmt.Sprintf("%s = %q at %s", c.entity, c.state, text(time.UnixMicro(c.at)))
}

func text(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

type gap struct {
	Entity   *string
	From, To time.Time
	Reason   string
}

func (g gap) String() string {
	name := "the home"
	if g.Entity != nil {
		name = *g.Entity
	}
	return fmt.Sprintf("%s from %s to %s: %s", name, text(g.From), text(g.To), g.Reason)
}

func readGaps(ctx context.Context, conn *pgx.Conn) ([]gap, error) {
	rows, err := conn.Query(ctx, `select entity_id, from_time, to_time, reason from gap_named`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[gap])
}

func covered(gaps []gap, c change) bool {
	for _, g := range gaps {
		if (g.Entity == nil || *g.Entity == c.entity) && g.From.UnixMicro() <= c.at && c.at <= g.To.UnixMicro() {
			return true
		}
	}
	return false
}
