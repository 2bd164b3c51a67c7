package simhome

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/concord-home/concord/hass"
)

// builder puts a house together.
type builder struct {
	h     *Home
	rng   *rand.Rand
	floor string // where the next area goes
	area  string // where the next device goes
	dev   *device
	limit int // of entities with a state; 0 is none
	live  int // entities with a state so far
}

// attrs are attributes of a state.
type attrs map[string]any

// spec is one entity to add.
type spec struct {
	id       string // domain, or the whole entity id
	name     string // "" takes the device's name
	state    string
	attrs    attrs
	class    string
	unit     string
	category string
	icon     string
	area     string // its own, against its device's
	hidden   bool
	disabled bool
	labels   []string
	digits   int // display precision, when the unit is set
	mover    *mover
	detail   map[string]any
	platform string
	noEntry  bool // a state without a registry entry
}

func (b *builder) id() string { return fmt.Sprintf("%016x%016x", b.rng.Uint64(), b.rng.Uint64()) }

func (b *builder) addFloor(id, name, icon string, level int) {
	b.floor = id
	b.h.reg.floors = append(b.h.reg.floors, &floor{
		FloorID: id, Name: name, Icon: optional(icon), Level: &level, Aliases: []string{},
		CreatedAt: seconds(b.h.started), ModifiedAt: seconds(b.h.started),
	})
}

func (b *builder) addArea(name, icon string) *area {
	a := &area{
		AreaID: slug(name), Name: name, FloorID: optional(b.floor), Icon: optional(icon), Aliases: []string{}, Labels: []string{},
		CreatedAt: seconds(b.h.started), ModifiedAt: seconds(b.h.started),
	}
	b.area = a.AreaID
	b.h.reg.areas = append(b.h.reg.areas, a)
	return a
}

func (b *builder) addLabel(name, icon, color string) {
	b.h.reg.labels = append(b.h.reg.labels, &label{
		LabelID: slug(name), Name: name, Icon: optional(icon), Color: optional(color),
		CreatedAt: seconds(b.h.started), ModifiedAt: seconds(b.h.started),
	})
}

// device begins a device in the current area; the entities added next are its own.
func (b *builder) device(name, maker, model, platform string) *device {
	entry := strings.ToUpper(fmt.Sprintf("01%024x", hash(platform)))[:26]
	d := &device{
		ID: b.id(), Name: name, AreaID: optional(b.area), Manufacturer: optional(maker), Model: optional(model),
		SWVersion: optional(fmt.Sprintf("%d.%d.%d", 1+b.rng.IntN(4), b.rng.IntN(20), b.rng.IntN(10))), ConfigEntries: []string{entry},
		Subentries: map[string][]string{}, PrimaryEntry: entry, Connections: [][2]string{}, Labels: []string{},
		Identifiers: [][2]string{{platform, fmt.Sprintf("%012x", b.rng.Uint64()&0xffffffffffff)}},
		CreatedAt:   seconds(b.h.started), ModifiedAt: seconds(b.h.started), platform: platform,
	}
	b.h.reg.devices = append(b.h.reg.devices, d)
	b.h.reg.byID[d.ID] = d
	b.dev = d
	return d
}

// alone ends the device: the entities added next stand alone.
func (b *builder) alone() { b.dev = nil }

func (b *builder) full() bool { return b.limit > 0 && b.live >= b.limit }

// add adds an entity.
func (b *builder) add(s spec) *entity {
	if b.full() {
		return &entity{}
	}
	friendly := s.name
	if b.dev != nil {
		friendly = strings.TrimSpace(b.dev.Name + " " + s.name)
	}
	e := &entity{mover: s.mover, detail: s.detail}
	id := b.free(s.id, friendly)
	if !s.noEntry {
		e.entry = b.entry(id, s)
	}
	b.h.entities = append(b.h.entities, e)
	b.h.byID[id] = e
	if s.disabled {
		return e
	}
	now := b.h.clock.now()
	e.state = &hass.State{
		EntityID: id, State: s.state, Attributes: b.attributes(s, friendly), LastChanged: now, LastUpdated: now,
		Context: hass.Context{ID: ulid(now, b.rng)},
	}
	e.past = []*hass.State{e.state}
	b.live++
	if e.mover != nil {
		b.h.movers = append(b.h.movers, e)
	}
	return e
}

func (b *builder) free(id, friendly string) string {
	if !strings.Contains(id, ".") {
		id += "." + slug(friendly)
	}
	for n, base := 2, id; b.h.byID[id] != nil; n++ {
		id = base + "_" + strconv.Itoa(n)
	}
	return id
}

func (b *builder) entry(id string, s spec) *hass.EntityEntry {
	domain, _, _ := strings.Cut(id, ".")
	e := &hass.EntityEntry{
		EntityID: id, ID: b.id(), UniqueID: hass.UniqueID(fmt.Sprintf("%012x-%s", b.rng.Uint64()&0xffffffffffff, slug(s.name))),
		Platform: s.platform, AreaID: s.area, OriginalName: s.name, OriginalIcon: s.icon, OriginalDeviceClass: s.class,
		EntityCategory: s.category, Labels: s.labels, Unit: s.unit, Options: options(domain, s),
		Capabilities: json.RawMessage("null"),
	}
	if e.Platform == "" {
		e.Platform = domain
	}
	if b.dev != nil {
		e.DeviceID, e.HasEntityName, e.Platform = b.dev.ID, true, b.dev.platform
		e.ConfigEntryID = b.dev.PrimaryEntry
	}
	if s.hidden {
		e.HiddenBy = "user"
	}
	if s.disabled {
		e.DisabledBy = "integration"
	}
	return e
}

func options(domain string, s spec) json.RawMessage {
	if domain != "sensor" || s.unit == "" {
		return json.RawMessage(`{"conversation":{"should_expose":false}}`)
	}
	return json.RawMessage(`{"conversation":{"should_expose":false},"sensor":{"suggested_display_precision":` + strconv.Itoa(s.digits) + `}}`)
}

// attributes puts them in the order in which Home Assistant has them: what the
// entity says first, the common ones last.
func (b *builder) attributes(s spec, friendly string) json.RawMessage {
	text, err := json.Marshal(map[string]any(s.attrs))
	if err != nil || s.attrs == nil {
		text = []byte("{}")
	}
	common := []byte{'{'}
	add := func(key, value string) {
		if value == "" {
			return
		}
		if len(common) > 1 {
			common = append(common, ',')
		}
		quoted, err := json.Marshal(value)
		if err == nil {
			common = append(append(append(common, '"'), key...), '"', ':')
			common = append(common, quoted...)
		}
	}
	add("unit_of_measurement", s.unit)
	add("device_class", s.class)
	add("icon", s.icon)
	add("friendly_name", friendly)
	return hass.MergeAttributes(text, append(common, '}'), nil)
}

// slug makes an id of a name, as Home Assistant does for plain letters.
func slug(name string) string {
	var b strings.Builder
	gap := false
	for _, r := range strings.ToLower(name) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			if gap && b.Len() > 0 {
				b.WriteByte('_')
			}
			gap = false
			b.WriteRune(r)
		} else {
			gap = true
		}
	}
	return b.String()
}
