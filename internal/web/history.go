package web

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/hass/server"
)

// Limits of one history answer.
const (
	defaultPoints = 400
	maxPoints     = 2000
	maxSpan       = 366 * 24 * time.Hour
)

// moment is a time in a command: milliseconds since 1970, or RFC 3339.
type moment struct{ time.Time }

// UnmarshalJSON reads both forms.
func (m *moment) UnmarshalJSON(b []byte) error {
	if ms, err := strconv.ParseInt(string(b), 10, 64); err == nil {
		m.Time = time.UnixMilli(ms)
		return nil
	}
	return m.Time.UnmarshalJSON(b)
}

// historyJSON is an entity's past, thinned out to what a screen can show.
type historyJSON struct {
	Numeric bool       `json:"numeric"`
	Points  [][4]any   `json:"points"`           // t_ms, min, max, last
	States  [][2]any   `json:"states"`           // t_ms, state
	Gaps    [][2]int64 `json:"gaps"`             // from_ms, to_ms: nothing is drawn
	Lost    [][2]int64 `json:"lost,omitempty"`   // of them, what nobody knows
	Asked   [][2]int64 `json:"asked,omitempty"`  // of them, what the home is being asked for
	Filled  [][2]int64 `json:"filled,omitempty"` // what came from the home's own history
}

// wsHistory answers concord/history from the database, and from the home's own
// history while the database is away or knows nothing of that time.
func (s *Server) wsHistory(ctx context.Context, _ *screen, r server.Request) (any, error) {
	p := struct {
		Entity string `json:"entity_id"`
		Start  moment `json:"start"`
		End    moment `json:"end"`
		Points int    `json:"points"`
	}{Points: defaultPoints}
	if err := r.Decode(&p); err != nil {
		return nil, err
	}
	if p.End.IsZero() {
		p.End.Time = time.Now()
	}
	if p.Entity == "" || p.Start.IsZero() || !p.Start.Before(p.End.Time) || p.End.Sub(p.Start.Time) > maxSpan {
		return nil, &server.Error{Code: "invalid_format", Message: "entity_id, and a start before end by at most a year, are required"}
	}
	home, err := s.wsHome(ctx, r)
	if err != nil {
		return nil, err
	}
	return s.chart(ctx, home.ID, p.Entity, p.Start.Time, p.End.Time, min(max(p.Points, 10), maxPoints))
}

func (s *Server) chart(ctx context.Context, home int64, entityID string, start, end time.Time, points int) (*historyJSON, error) {
	known, err := s.knownChart(ctx, home, entityID, start, end, points)
	if err != nil {
		return nil, err
	}
	// A chart that begins late may be that of a Concord younger than the home's history.
	if known != nil && known.begins() < start.Add(end.Sub(start)/20).UnixMilli() {
		return known, nil
	}
	rows, err := s.history(ctx, home, []string{entityID}, start, end)
	if err != nil && known == nil {
		return nil, err
	}
	asked := thin(rows[entityID], start, end, points)
	if known != nil && known.begins() <= asked.begins() {
		return known, nil
	}
	return &asked, nil
}

// knownChart is the chart of the database; nil when it is away or has nothing.
func (s *Server) knownChart(ctx context.Context, home int64, entityID string, start, end time.Time, points int) (*historyJSON, error) {
	if s.History == nil {
		return nil, nil
	}
	chart, err := s.History.Chart(ctx, home, entityID, start, end, points)
	if err != nil && concord.ErrorCode(err) != concord.CodeUnavailable {
		return nil, err
	}
	if err != nil || chart.Rows == 0 {
		return nil, nil
	}
	j := &historyJSON{Numeric: chart.Numeric, Points: [][4]any{}, States: [][2]any{}, Gaps: [][2]int64{}}
	for _, p := range chart.Points {
		j.Points = append(j.Points, [4]any{p.At.UnixMilli(), p.Min, p.Max, p.Last})
	}
	for _, p := range chart.Steps {
		j.States = append(j.States, [2]any{p.At.UnixMilli(), p.State})
	}
	for _, g := range chart.Gaps {
		span := [2]int64{g.From.UnixMilli(), g.To.UnixMilli()}
		j.Gaps = append(j.Gaps, span)
		switch g.Kind {
		case concord.GapLost:
			j.Lost = append(j.Lost, span)
		case concord.GapAsked:
			j.Asked = append(j.Asked, span)
		}
	}
	for _, f := range chart.Filled {
		j.Filled = append(j.Filled, [2]int64{f.From.UnixMilli(), f.To.UnixMilli()})
	}
	return j, nil
}

// begins is the time of the first point or step, in milliseconds.
func (j *historyJSON) begins() int64 {
	at := any(int64(math.MaxInt64))
	switch {
	case len(j.Points) > 0:
		at = j.Points[0][0]
	case len(j.States) > 0:
		at = j.States[0][0]
	}
	ms, _ := at.(int64)
	return ms
}

// past is one state that an entity had, from At on.
type past struct {
	State string  `json:"s"`
	LU    float64 `json:"lu"` // seconds since 1970
	LC    float64 `json:"lc"`
}

func (p past) millis() int64 { return int64(math.Round(max(p.LU, p.LC) * 1000)) }

// history asks the home for the states of some entities, by entity, oldest first.
func (s *Server) history(ctx context.Context, home int64, entityIDs []string, start, end time.Time) (map[string][]past, error) {
	body, err := json.Marshal(map[string]any{
		"type": "history/history_during_period", "start_time": start.UTC().Format(time.RFC3339Nano),
		"end_time": end.UTC().Format(time.RFC3339Nano), "entity_ids": entityIDs,
		"minimal_response": true, "no_attributes": true, "significant_changes_only": false,
	})
	if err != nil {
		return nil, err
	}
	answer, err := s.Link.Command(ctx, home, body)
	if err != nil {
		return nil, err
	}
	var all map[string][]past
	if err := json.Unmarshal(raw(answer), &all); err != nil {
		return nil, fmt.Errorf("read the home's history: %w", err)
	}
	return all, nil
}

// thin reduces rows to at most about n points between start and end.
func thin(rows []past, start, end time.Time, n int) historyJSON {
	j := historyJSON{Points: [][4]any{}, States: [][2]any{}, Gaps: [][2]int64{}}
	j.Numeric = isNumeric(rows)
	from, to := start.UnixMilli(), end.UnixMilli()
	width := max((to-from)/int64(n), 1)
	if !j.Numeric {
		j.States = thinStates(rows, from, width)
		return j
	}
	j.Points = thinNumbers(rows, from, width)
	for i, row := range rows {
		if silent(row.State) {
			until := to
			if i+1 < len(rows) {
				until = rows[i+1].millis()
			}
			j.Gaps = append(j.Gaps, [2]int64{max(row.millis(), from), until})
		}
	}
	return j
}

func silent(state string) bool { return state == "unavailable" || state == "unknown" || state == "" }

func number64(state string) (float64, bool) {
	v, err := strconv.ParseFloat(state, 64)
	return v, err == nil && !math.IsNaN(v) && !math.IsInf(v, 0)
}

// isNumeric reports whether all states that say something are numbers.
func isNumeric(rows []past) bool {
	some := false
	for _, row := range rows {
		if silent(row.State) {
			continue
		}
		if _, ok := number64(row.State); !ok {
			return false
		}
		some = true
	}
	return some
}

// thinNumbers makes one point of all rows within width milliseconds.
func thinNumbers(rows []past, from, width int64) [][4]any {
	points := [][4]any{}
	var at int64
	var low, high, last float64
	for _, row := range rows {
		v, ok := number64(row.State)
		if !ok {
			continue
		}
		t := max(row.millis(), from)
		if n := len(points); n > 0 && (t-from)/width == (at-from)/width {
			low, high, last = min(low, v), max(high, v), v
			points[n-1] = [4]any{at, low, high, last}
			continue
		}
		at, low, high, last = t, v, v, v
		points = append(points, [4]any{at, low, high, last})
	}
	return points
}

// thinStates keeps of all steps within width milliseconds the last.
func thinStates(rows []past, from, width int64) [][2]any {
	states := [][2]any{}
	var at int64
	for _, row := range rows {
		t := max(row.millis(), from)
		n := len(states)
		switch {
		case n > 0 && states[n-1][1] == row.State:
			continue
		case n > 0 && (t-from)/width == (at-from)/width:
			states[n-1] = [2]any{at, row.State}
		default:
			at = t
			states = append(states, [2]any{at, row.State})
		}
	}
	return states
}
