package concord

import (
	"cmp"
	"encoding/json"
	"hash/fnv"
	"slices"
	"strings"
)

// Floor is a storey of a home.
type Floor struct {
	ID    string // Home Assistant's floor_id
	Name  string
	Icon  string // "mdi:…" or ""
	Level *int
}

// Area is a room or a place of a home.
type Area struct {
	ID                  string // Home Assistant's area_id
	FloorID             string // "" when it has none
	Name                string
	Icon                string
	Picture             string
	Labels              []string
	TemperatureEntityID string
	HumidityEntityID    string
}

// Device is a physical or logical device of a home.
type Device struct {
	ID            string // Home Assistant's device id
	AreaID        string
	Name          string // as its integration names it
	NameByUser    string // "" when the user did not rename it
	Manufacturer  string
	Model         string
	SWVersion     string
	ConfigEntryID string
	ViaDeviceID   string
	EntryType     string // "service" or ""
	DisabledBy    string
	Labels        []string
	Identifiers   [][2]string // (integration, id)
}

// DisplayName is the name that people know the device by.
func (d *Device) DisplayName() string { return cmp.Or(d.NameByUser, d.Name, d.ID) }

// Entity is an entry of the entity registry. Entities without an entry exist
// too: they have a [State] only.
type Entity struct {
	EntityID       string
	RegistryID     string // survives a rename of EntityID
	UniqueID       string
	Platform       string // the integration that provides it
	DeviceID       string
	AreaID         string // its own area; "" inherits the device's
	Name           string // given by the user; "" uses OriginalName
	OriginalName   string
	HasEntityName  bool // OriginalName is only the part after the device's name
	Icon           string
	OriginalIcon   string
	DeviceClass    string // the user's choice, else the integration's
	Category       string // "", "config" or "diagnostic"
	HiddenBy       string
	DisabledBy     string
	TranslationKey string
	Labels         []string
	Precision      *int            // digits to show after the point
	Unit           string          // "" uses the state's own
	Options        json.RawMessage // as Home Assistant sent them
}

// Label is a mark that people put on areas, devices and entities.
type Label struct {
	ID, Name, Icon, Color string
}

// Registry is everything Home Assistant knows of a home apart from its
// states. It is immutable once built with [NewRegistry] and safe to share.
type Registry struct {
	Floors   []Floor  // in display order
	Areas    []Area   // in display order, floor after floor, then those without one
	Devices  []Device // by display name
	Entities []Entity // by entity id
	Labels   []Label  // by name

	floor  map[string]*Floor
	area   map[string]*Area
	device map[string]*Device
	entity map[string]*Entity
	byID   map[int64]string
}

// NewRegistry sorts the parts into the order that Home Assistant shows them in
// and builds the indexes. When keepOrder is true the home has an order of its
// own for floors and areas, and theirs is kept. It takes ownership of the slices.
func NewRegistry(floors []Floor, areas []Area, devices []Device, entities []Entity, labels []Label, keepOrder bool) *Registry {
	r := &Registry{Floors: floors, Areas: areas, Devices: devices, Entities: entities, Labels: labels}
	if !keepOrder {
		slices.SortStableFunc(r.Floors, compareFloors)
	}
	rank := make(map[string]int, len(floors))
	for i := range r.Floors {
		rank[r.Floors[i].ID] = i - len(floors)
	}
	slices.SortStableFunc(r.Areas, func(a, b Area) int {
		if c := cmp.Compare(rank[a.FloorID], rank[b.FloorID]); c != 0 || keepOrder {
			return c
		}
		return compareNames(a.Name, b.Name)
	})
	slices.SortStableFunc(r.Devices, func(a, b Device) int { return compareNames(a.DisplayName(), b.DisplayName()) })
	slices.SortStableFunc(r.Entities, func(a, b Entity) int { return cmp.Compare(a.EntityID, b.EntityID) })
	slices.SortStableFunc(r.Labels, func(a, b Label) int { return compareNames(a.Name, b.Name) })
	r.index()
	return r
}

func (r *Registry) index() {
	r.floor = indexBy(r.Floors, func(f *Floor) string { return f.ID })
	r.area = indexBy(r.Areas, func(a *Area) string { return a.ID })
	r.device = indexBy(r.Devices, func(d *Device) string { return d.ID })
	r.entity = indexBy(r.Entities, func(e *Entity) string { return e.EntityID })
	r.byID = make(map[int64]string, len(r.Areas)+len(r.Devices)+len(r.Entities))
	for i := range r.Areas {
		r.byID[AreaKey(r.Areas[i].ID)] = r.Areas[i].ID
	}
	for i := range r.Devices {
		r.byID[DeviceKey(r.Devices[i].ID)] = r.Devices[i].ID
	}
	for i := range r.Entities {
		r.byID[r.EntityKey(r.Entities[i].EntityID)] = r.Entities[i].EntityID
	}
}

func indexBy[T any](items []T, key func(*T) string) map[string]*T {
	m := make(map[string]*T, len(items))
	for i := range items {
		m[key(&items[i])] = &items[i]
	}
	return m
}

// Floors without a level come last, as in Home Assistant.
func compareFloors(a, b Floor) int {
	const last = 1 << 30
	level := func(f Floor) int {
		if f.Level == nil {
			return last
		}
		return *f.Level
	}
	return cmp.Or(cmp.Compare(level(a), level(b)), compareNames(a.Name, b.Name))
}

func compareNames(a, b string) int {
	return cmp.Or(cmp.Compare(strings.ToLower(a), strings.ToLower(b)), cmp.Compare(a, b))
}

// Floor returns the floor with that id, or nil.
func (r *Registry) Floor(id string) *Floor { return r.floor[id] }

// Area returns the area with that id, or nil.
func (r *Registry) Area(id string) *Area { return r.area[id] }

// Device returns the device with that id, or nil.
func (r *Registry) Device(id string) *Device { return r.device[id] }

// Entity returns the registry entry of that entity, or nil: an entity may have
// a state and no entry.
func (r *Registry) Entity(entityID string) *Entity { return r.entity[entityID] }

// AreaOf returns the area that an entity is shown in: its own, else its
// device's, else "".
func (r *Registry) AreaOf(entityID string) string {
	e := r.entity[entityID]
	if e == nil {
		return ""
	}
	if e.AreaID != "" {
		return e.AreaID
	}
	if d := r.device[e.DeviceID]; d != nil {
		return d.AreaID
	}
	return ""
}

// IDByKey returns Home Assistant's id of the area, device or registered entity
// that has this key, and "" when there is none.
func (r *Registry) IDByKey(key int64) string { return r.byID[key] }

// AreaKey, DeviceKey and EntityKey give the number that stands for a thing in
// APIs and tables that need one. It is a hash of Home Assistant's own id, so it
// needs no database, is the same on every instance, and stays below 2^52,
// where a JavaScript number is still exact. Among 50,000 things of one home two
// share a number with a probability of 3 in 10 million.
func AreaKey(areaID string) int64 { return key("area", areaID) }

// DeviceKey is the number of a device; see [AreaKey].
func DeviceKey(deviceID string) int64 { return key("device", deviceID) }

// EntityKey is the number of an entity; see [AreaKey]. It follows the registry
// entry, so a renamed entity keeps it; an entity without an entry is known by
// its entity id.
func (r *Registry) EntityKey(entityID string) int64 {
	if r != nil {
		if e := r.entity[entityID]; e != nil && e.RegistryID != "" {
			return key("entity", e.RegistryID)
		}
	}
	return key("entity", entityID)
}

func key(kind, id string) int64 {
	h := fnv.New64a()
	h.Write([]byte(kind))
	h.Write([]byte{0})
	h.Write([]byte(id))
	return int64(h.Sum64()>>12) | 1<<40 // never small, so it cannot be taken for a home's id
}

// LabelKey is the number of a label; see [AreaKey].
func LabelKey(labelID string) int64 { return key("label", labelID) }
