package web

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/concord-home/concord/hass/server"
)

// Limits of one concord/trends, and how long its answer is good.
const (
	maxTrends      = 60
	maxTrendHours  = 48
	maxTrendPoints = 100
	trendLife      = 5 * time.Minute
	keptTrends     = 20_000
)

// trendKey is one line that screens draw.
type trendKey struct {
	home   int64
	entity string
	hours  int
	points int
}

type trend struct {
	values []*float64 // the last of each slot, nil where nothing is known
	until  time.Time
}

// trendCache keeps what homes answered, so that many screens ask a home once.
type trendCache struct {
	asking sync.Map // home → chan struct{} of one token: one question at a time
	mu     sync.Mutex
	trends map[trendKey]trend
}

// missing returns the keys without a fresh trend, and puts the others into found.
func (c *trendCache) missing(keys []trendKey, now time.Time, found map[string][]*float64) (rest []trendKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range keys {
		t, ok := c.trends[k]
		if !ok || now.After(t.until) {
			rest = append(rest, k)
		} else if t.values != nil {
			found[k.entity] = t.values
		}
	}
	return rest
}

func (c *trendCache) keep(k trendKey, values []*float64, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.trends == nil || len(c.trends) >= keptTrends {
		c.trends = map[trendKey]trend{}
	}
	c.trends[k] = trend{values, now.Add(trendLife)}
}

// alone waits for its turn at the home.
func (c *trendCache) alone(ctx context.Context, home int64) (done func(), err error) {
	v, _ := c.asking.LoadOrStore(home, make(chan struct{}, 1))
	turn := v.(chan struct{})
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// wsTrends answers concord/trends: the course of some sensors over the last
// hours, as the last value of each of equally long slots. Entities that are not
// numbers are absent.
func (s *Server) wsTrends(ctx context.Context, _ *screen, r server.Request) (any, error) {
	p := struct {
		Entities []string `json:"entity_ids"`
		Hours    int      `json:"hours"`
		Points   int      `json:"points"`
	}{Hours: 24, Points: 32}
	if err := r.Decode(&p); err != nil {
		return nil, err
	}
	if len(p.Entities) > maxTrends || p.Hours < 1 || p.Hours > maxTrendHours || p.Points < 2 || p.Points > maxTrendPoints {
		return nil, &server.Error{Code: "invalid_format", Message: fmt.Sprintf("at most %d entity_ids, hours 1 to %d, points 2 to %d", maxTrends, maxTrendHours, maxTrendPoints)}
	}
	home, err := s.wsHome(ctx, r)
	if err != nil {
		return nil, err
	}
	var keys []trendKey
	for _, id := range slices.Compact(slices.Sorted(slices.Values(p.Entities))) {
		if s.Live.State(home.ID, id) != nil {
			keys = append(keys, trendKey{home.ID, id, p.Hours, p.Points})
		}
	}
	found := map[string][]*float64{}
	if err := s.findTrends(ctx, home.ID, keys, found); err != nil {
		return nil, err
	}
	return found, nil
}

// findTrends fills found from the cache and, for what is not there, the home.
func (s *Server) findTrends(ctx context.Context, home int64, keys []trendKey, found map[string][]*float64) error {
	if len(s.trends.missing(keys, time.Now(), found)) == 0 {
		return nil
	}
	done, err := s.trends.alone(ctx, home)
	if err != nil {
		return err
	}
	defer done()
	now := time.Now()
	rest := s.trends.missing(keys, now, found) // another screen may have asked meanwhile
	if len(rest) == 0 {
		return nil
	}
	ids := make([]string, len(rest))
	for i, k := range rest {
		ids[i] = k.entity
	}
	span := time.Duration(rest[0].hours) * time.Hour
	rows, err := s.history(ctx, home, ids, now.Add(-span), now)
	if err != nil {
		return err
	}
	for _, k := range rest {
		values := slots(rows[k.entity], now.Add(-span), now, k.points)
		s.trends.keep(k, values, now)
		if values != nil {
			found[k.entity] = values
		}
	}
	return nil
}

// slots returns the value at the end of each of n equal parts of the time
// between start and end; nil when the states are not numbers.
func slots(rows []past, start, end time.Time, n int) []*float64 {
	if !isNumeric(rows) {
		return nil
	}
	values := make([]*float64, n)
	from, width := start.UnixMilli(), float64(end.Sub(start).Milliseconds())/float64(n)
	next := 0
	var now *float64
	for i := range values {
		until := from + int64(width*float64(i+1))
		for ; next < len(rows) && rows[next].millis() <= until; next++ {
			now = nil
			if v, ok := number64(rows[next].State); ok {
				now = &v
			}
		}
		values[i] = now
	}
	return values
}
