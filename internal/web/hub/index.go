package hub

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/concord-home/concord"
)

// index is how a home is laid out: which entity is in which area, and what it
// does there. It is built anew when the registry changes. The summaries in it
// change with the states, under the hub's lock.
type index struct {
	registry *concord.Registry
	places   map[string]*place // by entity id
	areas    map[string]*area  // by area id; "" is what has no area
	rooms    map[string]bool   // devices that measure their room; see roomDevices
}

// place is an entity's place in an area. Disabled entities have none.
type place struct {
	entityID string
	entry    *concord.Entity // nil when the entity has a state only
	area     *area
	hidden   bool
	role     role
	dc       string // device class
	name     string // full
	has      contribution
}

// area is one area of a home, with what is in it.
type area struct {
	id       string
	info     *concord.Area     // nil for what has no area
	devices  []*concord.Device // in name order
	inDevice map[string][]*place
	alone    []*place // shown on their own
	hidden   int
	disabled int
	sum      summary
	rendered json.RawMessage // sum, as it was last sent
	detail   json.RawMessage // the area's own event, built when first asked for
}

func buildIndex(r *concord.Registry, states map[string]*concord.State) *index {
	x := &index{registry: r, places: make(map[string]*place, len(states)), areas: make(map[string]*area, len(r.Areas)+1)}
	x.areas[""] = newArea("", nil)
	for i := range r.Areas {
		x.areas[r.Areas[i].ID] = newArea(r.Areas[i].ID, &r.Areas[i])
	}
	for i := range r.Devices {
		d := &r.Devices[i]
		if d.DisabledBy == "" {
			a := x.areaOf(d.AreaID)
			a.devices = append(a.devices, d)
		}
	}
	x.rooms = roomDevices(r, states)
	for i := range r.Entities {
		e := &r.Entities[i]
		x.add(e.EntityID, e, states[e.EntityID])
	}
	for id, st := range states {
		if r.Entity(id) == nil {
			x.add(id, nil, st)
		}
	}
	for _, a := range x.areas {
		a.sort()
	}
	return x
}

func newArea(id string, info *concord.Area) *area {
	a := &area{id: id, info: info, inDevice: map[string][]*place{}}
	a.sum.init(info)
	return a
}

// areaOf returns the area with that id; an id that the registry does not have is
// no area.
func (x *index) areaOf(id string) *area {
	if a := x.areas[id]; a != nil {
		return a
	}
	return x.areas[""]
}

func (x *index) add(id string, e *concord.Entity, st *concord.State) {
	a := x.areaOf(x.registry.AreaOf(id))
	if e != nil && e.DisabledBy != "" {
		a.disabled++
		return
	}
	p := &place{entityID: id, entry: e, area: a, hidden: e != nil && e.HiddenBy != "", name: fullName(e, st, id)}
	p.dc = deviceClass(e, st)
	p.role = x.roleOf(p)
	x.places[id] = p
	if p.hidden {
		a.hidden++
	} else if d := x.cardOf(e, a); d != nil {
		a.inDevice[d.ID] = append(a.inDevice[d.ID], p)
	} else {
		a.alone = append(a.alone, p)
	}
	a.sum.place(p)
	p.update(st)
}

// cardOf returns the device in whose card an entity stands: its device, unless
// the entity stands in another area.
func (x *index) cardOf(e *concord.Entity, a *area) *concord.Device {
	if e == nil {
		return nil
	}
	d := x.registry.Device(e.DeviceID)
	if d == nil || d.DisabledBy != "" || x.areaOf(d.AreaID) != a {
		return nil
	}
	return d
}

func deviceClass(e *concord.Entity, st *concord.State) string {
	if e != nil && e.DeviceClass != "" {
		return e.DeviceClass
	}
	if st == nil {
		return ""
	}
	return textAttribute(st.Attributes, "device_class")
}

// sort puts the entities into the order that people look for them: what they
// switch, what they read, then what is seldom needed.
func (a *area) sort() {
	less := func(p, q *place) int {
		return cmp.Or(cmp.Compare(p.rank(), q.rank()), compareFold(p.name, q.name), cmp.Compare(p.entityID, q.entityID))
	}
	for _, list := range a.inDevice {
		slices.SortFunc(list, less)
	}
	slices.SortFunc(a.alone, less)
	a.sum.sort()
}

func compareFold(a, b string) int { return cmp.Compare(strings.ToLower(a), strings.ToLower(b)) }

// domainOrder is the order of domains within a card.
var domainOrder = []string{
	"light", "switch", "fan", "cover", "climate", "water_heater", "humidifier", "media_player", "lock",
	"alarm_control_panel", "vacuum", "lawn_mower", "valve", "siren", "remote", "input_boolean", "number", "input_number",
	"select", "input_select", "text", "input_text", "date", "time", "datetime", "input_datetime", "button", "input_button",
	"binary_sensor", "sensor", "weather", "camera", "image", "person", "device_tracker", "todo", "timer", "counter", "event",
	"update", "scene", "script", "automation",
}

func (p *place) rank() int {
	n := slices.Index(domainOrder, concord.Domain(p.entityID))
	if n < 0 {
		n = len(domainOrder)
	}
	switch {
	case p.entry == nil || p.entry.Category == "":
		return n
	case p.entry.Category == "config":
		return n + 1000
	}
	return n + 2000
}
