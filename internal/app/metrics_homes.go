package app

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/concord-home/concord"
)

// homeCollector asks the live model at each scrape, so a home that was removed
// has no series.
type homeCollector struct {
	live  concord.Live
	heard func(home int64) time.Time

	connected, since, age, synced, entities, areas *prometheus.Desc
}

// newHomeCollector takes who knows when a home was last heard.
func newHomeCollector(live concord.Live, heard func(home int64) time.Time) *homeCollector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{"home", "name"}, nil)
	}
	return &homeCollector{
		live: live, heard: heard,
		connected: desc("concord_home_connected", "1 when the link to the home is up."),
		since:     desc("concord_home_link_since_timestamp_seconds", "When the link came into its present state."),
		age:       desc("concord_home_data_age_seconds", "Time since the home was last heard, heartbeats included."),
		synced:    desc("concord_home_last_sync_timestamp_seconds", "End of the last reconciliation that was committed."),
		entities:  desc("concord_home_entities", "Entities of the home in the live model."),
		areas:     desc("concord_home_areas", "Areas of the home."),
	}
}

// Describe implements [prometheus.Collector].
func (c *homeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.connected, c.since, c.age, c.synced, c.entities, c.areas} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *homeCollector) Collect(ch chan<- prometheus.Metric) {
	for _, h := range c.live.Homes() {
		send := func(d *prometheus.Desc, value float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, strconv.FormatInt(h.ID, 10), valid(h.Name))
		}
		send(c.connected, number(h.Link == concord.LinkConnected))
		send(c.since, unix(h.Since))
		if last := c.heard(h.ID); !last.IsZero() {
			send(c.age, max(time.Since(last).Seconds(), 0))
		}
		if !h.LastSync.IsZero() {
			send(c.synced, unix(h.LastSync))
		}
		send(c.entities, float64(h.Entities))
		send(c.areas, float64(h.Areas))
	}
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// valid makes text that a home sent fit for a label.
func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// maxEntitySeries bounds the entities with series of their own.
const maxEntitySeries = 500

// entityCollector shows the states of the entities that were asked for, as the
// live model has them at the scrape: an entity that is gone has no series.
type entityCollector struct {
	live      concord.Live
	ids       []string
	state, up *prometheus.Desc
}

func newEntityCollector(live concord.Live, ids []string) *entityCollector {
	labels := []string{"home", "entity", "area", "device", "unit"}
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	return &entityCollector{
		live: live, ids: ids,
		state: prometheus.NewDesc("concord_entity_state", "State of an entity of METRICS_ENTITIES: its number, or 1 for on, open, home, unlocked and playing and 0 for their opposites.", labels, nil),
		up:    prometheus.NewDesc("concord_entity_available", "1 when an entity of METRICS_ENTITIES has a state that says something.", labels, nil),
	}
}

// Describe implements [prometheus.Collector].
func (c *entityCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.state; ch <- c.up }

// Collect implements [prometheus.Collector].
func (c *entityCollector) Collect(ch chan<- prometheus.Metric) {
	series := 0
	for _, h := range c.live.Homes() {
		registry, err := c.live.Registry(h.ID)
		if err != nil { // removed meanwhile
			continue
		}
		for _, id := range c.ids {
			s := c.live.State(h.ID, id)
			if s == nil {
				continue
			}
			if series++; series > maxEntitySeries {
				return
			}
			c.collect(ch, h, registry, s)
		}
	}
}

func (c *entityCollector) collect(ch chan<- prometheus.Metric, h concord.HomeStatus, r *concord.Registry, s *concord.State) {
	labels := []string{strconv.FormatInt(h.ID, 10), s.EntityID, "", "", unitOf(s)}
	if a := r.Area(r.AreaOf(s.EntityID)); a != nil {
		labels[2] = valid(cmp.Or(a.Name, a.ID))
	}
	if e := r.Entity(s.EntityID); e != nil {
		if d := r.Device(e.DeviceID); d != nil {
			labels[3] = valid(d.DisplayName())
		}
	}
	ch <- prometheus.MustNewConstMetric(c.up, prometheus.GaugeValue, number(s.Available()), labels...)
	if value, ok := numeric(s.State); ok {
		ch <- prometheus.MustNewConstMetric(c.state, prometheus.GaugeValue, value, labels...)
	}
}

func unitOf(s *concord.State) string {
	var a struct {
		Unit string `json:"unit_of_measurement"`
	}
	_ = json.Unmarshal(s.Attributes, &a) // attributes that cannot be read have no unit
	return valid(a.Unit)
}

// words are states that stand for a number.
var words = map[string]float64{
	"on": 1, "off": 0, "open": 1, "closed": 0, "home": 1, "not_home": 0, "unlocked": 1, "locked": 0, "playing": 1, "idle": 0,
}

func numeric(state string) (float64, bool) {
	if value, known := words[state]; known {
		return value, true
	}
	value, err := strconv.ParseFloat(state, 64)
	return value, err == nil
}

// linkLosses counts, for each home, how often Concord stopped hearing it.
type linkLosses struct {
	lost *prometheus.CounterVec
}

func newLinkLosses(r prometheus.Registerer) *linkLosses {
	l := &linkLosses{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "concord_home_link_losses_total", Help: "Times that the link to a home was lost: from then on Concord did not hear the home.",
	}, []string{"home"})}
	r.MustRegister(l.lost)
	return l
}

// follow counts for one home until stop is called.
func (l *linkLosses) follow(live concord.Live, home int64) (stop func(), err error) {
	status, err := live.Home(home)
	if err != nil {
		return nil, err
	}
	w := &lossWatcher{lost: l.lost.WithLabelValues(strconv.FormatInt(home, 10)), up: status.Link == concord.LinkConnected}
	_, stop, err = live.Watch(home, w)
	return stop, err
}

type lossWatcher struct {
	lost prometheus.Counter
	up   bool // used by the feed's goroutine alone
}

// StatesChanged implements [concord.Watcher].
func (*lossWatcher) StatesChanged([]concord.Change) {}

// RegistryChanged implements [concord.Watcher].
func (*lossWatcher) RegistryChanged(*concord.Registry) {}

// StatusChanged implements [concord.Watcher].
func (w *lossWatcher) StatusChanged(s concord.HomeStatus) {
	up := s.Link == concord.LinkConnected
	if w.up && !up {
		w.lost.Inc()
	}
	w.up = up
}
