package simhome

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/concord-home/concord/hass"
	"github.com/concord-home/concord/hass/server"
)

func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

type historyRequest struct {
	Start       time.Time  `json:"start_time"`
	End         *time.Time `json:"end_time"`
	EntityIDs   []string   `json:"entity_ids"`
	StartState  *bool      `json:"include_start_time_state"`
	Significant *bool      `json:"significant_changes_only"`
	Minimal     bool       `json:"minimal_response"`
	NoAttrs     bool       `json:"no_attributes"`
}

// history answers history/history_during_period from what the home remembers,
// and before that from what the house would have done.
func (h *Home) history(_ context.Context, _ *server.Session, r server.Request) (any, error) {
	var m historyRequest
	if err := r.Decode(&m); err != nil {
		return nil, &server.Error{Code: "invalid_start_time", Message: "Invalid start_time"}
	}
	if len(m.EntityIDs) == 0 {
		return nil, &server.Error{Code: hass.CodeInvalidFormat, Message: "required key not provided @ data['entity_ids']. Got None"}
	}
	b := []byte{'{'}
	for _, id := range m.EntityIDs {
		states := h.period(id, m.Start, m.End)
		start := len(b)
		if start > 1 {
			b = append(b, ',')
		}
		name, err := json.Marshal(id)
		if err != nil {
			return nil, err
		}
		b = append(append(b, name...), ':', '[')
		before := len(b)
		b = m.append(b, states)
		if len(b) == before {
			b = b[:start] // nothing known of it
			continue
		}
		b = append(b, ']')
	}
	return json.RawMessage(append(b, '}')), nil
}

// period returns the states in [from, to], preceded by the one that held at
// from, if any; that one is nil otherwise.
func (h *Home) period(id string, from time.Time, to *time.Time) []*hass.State {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.byID[id]
	if e == nil {
		if e = h.removed[id].entity; e == nil {
			return nil
		}
	}
	states := []*hass.State{nil}
	take := func(s *hass.State) {
		switch {
		case !s.LastUpdated.After(from):
			if states[0] == nil || s.LastUpdated.After(states[0].LastUpdated) {
				states[0] = s
			}
		case to == nil || !s.LastUpdated.After(*to):
			states = append(states, s)
		}
	}
	h.before(e, from, take)
	for _, s := range e.past {
		take(s)
	}
	// By time, also when the clock was stepped.
	slices.SortStableFunc(states[1:], func(a, b *hass.State) int { return a.LastUpdated.Compare(b.LastUpdated) })
	return states
}

// before gives the readings of the time before the home was started.
func (h *Home) before(e *entity, from time.Time, take func(*hass.State)) {
	const every = 5 * time.Minute
	if e.mover == nil || h.opts.Past < 0 || len(e.past) == 0 || e.mover.binary > 0 {
		return
	}
	earliest := h.started.Add(-h.opts.Past)
	if from.After(earliest) {
		earliest = from.Add(-every)
	}
	template := e.past[0]
	for t := earliest.Truncate(every); t.Before(h.started.Add(-every)); t = t.Add(every) {
		s := *template
		// Each entity reads at its own moment, the same in every answer.
		at := t.Add(time.Duration(hash(s.EntityID)%uint64(every.Microseconds())) * time.Microsecond)
		s.State = e.mover.at(at, h.started, template.State, hash(s.EntityID+strconv.FormatInt(t.Unix(), 10)))
		s.LastChanged, s.LastUpdated, s.Context = at, at, hass.Context{}
		if !at.After(h.started) {
			take(&s)
		}
	}
}

// at is the reading at a time before the start, at which it was now.
func (m *mover) at(t, started time.Time, now string, noise uint64) string {
	if m.rising > 0 {
		v, err := strconv.ParseFloat(now, 64)
		if err != nil {
			return now
		}
		return m.text(max(m.low, v-m.rising*started.Sub(t).Hours()))
	}
	v := m.value(t) + m.noise*(float64(noise%2001)/1000-1)
	return m.text(min(max(v, m.low), m.high))
}

func hash(s string) uint64 {
	const prime = 1099511628211
	n := uint64(14695981039346656037)
	for i := range len(s) {
		n = (n ^ uint64(s[i])) * prime
	}
	return n ^ n>>29
}

func (m *historyRequest) append(b []byte, states []*hass.State) []byte {
	if len(states) == 0 {
		return b
	}
	first := states[0]
	if first != nil && (m.StartState == nil || *m.StartState) {
		s := *first
		s.LastUpdated, s.LastChanged = m.Start, m.Start // as Home Assistant does
		b = m.record(b, &s, true)
	}
	previous := first
	for i, s := range states[1:] {
		significant := m.Significant == nil || *m.Significant
		if significant && previous != nil && previous.State == s.State {
			continue
		}
		previous = s
		if last := b[len(b)-1]; last == '}' {
			b = append(b, ',')
		}
		b = m.record(b, s, i == 0 && b[len(b)-1] == '[')
	}
	return b
}

func (m *historyRequest) record(b []byte, s *hass.State, first bool) []byte {
	state, err := json.Marshal(s.State)
	if err != nil {
		return b // a string always encodes
	}
	b = append(append(b, `{"s":`...), state...)
	if !m.NoAttrs && (first || !m.Minimal) {
		b = append(append(b, `,"a":`...), s.Attributes...)
	}
	if !s.LastChanged.Equal(s.LastUpdated) {
		b = appendTime(append(b, `,"lc":`...), s.LastChanged)
	}
	return append(appendTime(append(b, `,"lu":`...), s.LastUpdated), '}')
}

func appendTime(b []byte, t time.Time) []byte {
	return strconv.AppendFloat(b, seconds(t), 'f', 6, 64)
}
