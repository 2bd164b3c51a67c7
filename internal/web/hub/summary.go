package hub

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/concord-home/concord"
)

// role says how an entity takes part in its area's summary.
type role uint8

const (
	roleOther   role = iota
	roleLight        // counted as on or off
	roleOpening      // a door, window or gate: counted when open
	roleCover        // any other cover: named when open
	roleMotion
	roleAlert // smoke, water, gas
	roleTemperature
	roleHumidity
	rolePlayer
	roleClimate
	roleFan
)

func (x *index) roleOf(p *place) role {
	if p.entry != nil && p.entry.Category != "" {
		return roleOther
	}
	switch concord.Domain(p.entityID) {
	case "light":
		return roleLight
	case "media_player":
		return rolePlayer
	case "climate":
		return roleClimate
	case "fan":
		return roleFan
	case "cover":
		return cmp.Or(coverRole[p.dc], roleCover)
	case "binary_sensor":
		return binaryRole[p.dc]
	case "sensor":
		return x.sensorRole(p)
	}
	return roleOther
}

// sensorRole is that of a thermometer or hygrometer of the room: what the area
// names, what stands alone, or what belongs to a device for that.
func (x *index) sensorRole(p *place) role {
	info := p.area.info
	if info != nil && (p.entityID == info.TemperatureEntityID || p.entityID == info.HumidityEntityID) {
		return sensorRole[p.dc]
	}
	if p.entry != nil && p.entry.DeviceID != "" && !x.rooms[p.entry.DeviceID] {
		return roleOther
	}
	return sensorRole[p.dc]
}

var coverRole = map[string]role{"door": roleOpening, "garage": roleOpening, "gate": roleOpening, "window": roleOpening}

var binaryRole = map[string]role{
	"door": roleOpening, "window": roleOpening, "garage_door": roleOpening, "opening": roleOpening,
	"motion": roleMotion, "occupancy": roleMotion, "presence": roleMotion,
	"smoke": roleAlert, "moisture": roleAlert, "gas": roleAlert, "carbon_monoxide": roleAlert, "safety": roleAlert,
}

var sensorRole = map[string]role{"temperature": roleTemperature, "humidity": roleHumidity}

// contribution is what one entity adds to its area's summary now.
type contribution struct {
	unavailable bool
	on          bool // a light that is on, an open door, motion, an alert, a running climate …
	reading     string
}

// contribute reads a state. A hidden entity adds nothing, whatever it says.
func (p *place) contribute(st *concord.State) contribution {
	if p.hidden || st == nil {
		return contribution{}
	}
	if st.State == "unavailable" {
		return contribution{unavailable: true}
	}
	switch p.role {
	case roleTemperature, roleHumidity:
		return contribution{reading: p.reading(st)}
	case roleOther:
		return contribution{}
	}
	return contribution{on: p.active(st)}
}

func (p *place) active(st *concord.State) bool {
	switch p.role {
	case rolePlayer:
		return st.State == "playing"
	case roleClimate:
		action := textAttribute(st.Attributes, "hvac_action")
		return action != "" && action != "off" && action != "idle"
	case roleOpening, roleCover:
		return st.State == "on" || st.State == "open" || st.State == "opening" || st.State == "closing"
	}
	return st.State == "on"
}

// reading is a measurement with its unit, rounded as the registry says, else to
// what a person feels.
func (p *place) reading(st *concord.State) string {
	value, err := strconv.ParseFloat(st.State, 64)
	if err != nil {
		return ""
	}
	digits := 1
	if p.role == roleHumidity {
		digits = 0
	}
	unit := textAttribute(st.Attributes, "unit_of_measurement")
	if p.entry != nil {
		if p.entry.Precision != nil {
			digits = min(max(*p.entry.Precision, 0), 6)
		}
		unit = cmp.Or(p.entry.Unit, unit)
	}
	return strings.TrimSpace(strconv.FormatFloat(value, 'f', digits, 64) + " " + unit)
}

// update takes a new state into account and reports whether the summary of the
// entity's area may have changed.
func (p *place) update(st *concord.State) bool {
	now := p.contribute(st)
	if now == p.has {
		return false
	}
	s := &p.area.sum
	s.unavailable += count(now.unavailable) - count(p.has.unavailable)
	if on := count(now.on) - count(p.has.on); on != 0 {
		s.count(p, on)
	}
	p.has = now
	return true
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// summary is what an area's card shows.
type summary struct {
	entities    int
	unavailable int
	lights      []*place // visible, by id
	lightsOn    int
	open        int
	motion      int // sensors
	motionOn    int
	active      map[*place]struct{} // worth showing
	alerts      map[*place]struct{}
	temperature []*place // the first that has a reading is shown
	humidity    []*place
	prefer      [2]string // the area's own choice of temperature and humidity
}

func (s *summary) init(a *concord.Area) {
	s.active, s.alerts = map[*place]struct{}{}, map[*place]struct{}{}
	if a != nil {
		s.prefer = [2]string{a.TemperatureEntityID, a.HumidityEntityID}
	}
}

// place counts an entity that is in the area, whatever its state.
func (s *summary) place(p *place) {
	if p.hidden {
		return
	}
	s.entities++
	switch p.role {
	case roleLight:
		s.lights = append(s.lights, p)
	case roleMotion:
		s.motion++
	case roleTemperature:
		s.temperature = append(s.temperature, p)
	case roleHumidity:
		s.humidity = append(s.humidity, p)
	}
}

// count moves an entity in (n is 1) or out (-1) of what is on.
func (s *summary) count(p *place, n int) {
	switch p.role {
	case roleLight:
		s.lightsOn += n
	case roleOpening:
		s.open += n
	case roleMotion:
		s.motionOn += n
		return
	case roleAlert:
		mark(s.alerts, p, n)
		return
	}
	mark(s.active, p, n)
}

func mark(set map[*place]struct{}, p *place, n int) {
	if n > 0 {
		set[p] = struct{}{}
	} else {
		delete(set, p)
	}
}

func (s *summary) sort() {
	byID := func(a, b *place) int { return cmp.Compare(a.entityID, b.entityID) }
	slices.SortFunc(s.lights, byID)
	for i, list := range [][]*place{s.temperature, s.humidity} {
		slices.SortFunc(list, func(a, b *place) int {
			return cmp.Or(count(b.entityID == s.prefer[i])-count(a.entityID == s.prefer[i]), byID(a, b))
		})
	}
}

// maxActive is how many entities a card names.
const maxActive = 6

// summaryJSON is a summary as the page gets it.
type summaryJSON struct {
	N           int      `json:"n"`
	Lights      [2]int   `json:"lights"`
	Open        int      `json:"open"`
	Unavailable int      `json:"unavail"`
	Temperature *string  `json:"temp"`
	Humidity    *string  `json:"hum"`
	TempEntity  *string  `json:"temp_entity"`
	Active      []string `json:"active"`
	LightIDs    []string `json:"light_ids"`
	Motion      *bool    `json:"motion"`
	Alert       []string `json:"alert"`
}

func (s *summary) render() json.RawMessage {
	j := summaryJSON{
		N: s.entities, Lights: [2]int{s.lightsOn, len(s.lights)}, Open: s.open, Unavailable: s.unavailable,
		Active: names(s.active), LightIDs: make([]string, 0, len(s.lights)), Alert: names(s.alerts),
	}
	j.Active = j.Active[:min(len(j.Active), maxActive)]
	for _, p := range s.lights {
		j.LightIDs = append(j.LightIDs, p.entityID)
	}
	if p := firstReading(s.temperature); p != nil {
		j.Temperature, j.TempEntity = &p.has.reading, &p.entityID
	}
	if p := firstReading(s.humidity); p != nil {
		j.Humidity = &p.has.reading
	}
	if s.motion > 0 {
		on := s.motionOn > 0
		j.Motion = &on
	}
	b, err := json.Marshal(j)
	if err != nil {
		panic(err) // numbers and texts can always be encoded
	}
	return b
}

func firstReading(list []*place) *place {
	for _, p := range list {
		if p.has.reading != "" {
			return p
		}
	}
	return nil
}

// names are the ids of a set: lights first, then players, climate, openings.
func names(set map[*place]struct{}) []string {
	list := make([]*place, 0, len(set))
	for p := range set {
		list = append(list, p)
	}
	order := []role{roleLight, rolePlayer, roleClimate, roleOpening, roleCover, roleFan}
	slices.SortFunc(list, func(a, b *place) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.role), slices.Index(order, b.role)), cmp.Compare(a.entityID, b.entityID))
	})
	ids := make([]string, len(list))
	for i, p := range list {
		ids[i] = p.entityID
	}
	return ids
}
