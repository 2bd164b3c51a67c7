package hub

import (
	"encoding/json"

	"github.com/concord-home/concord"
)

// Area returns a feed of what stands in an area: everything first, and again
// when the registry changes. The id is Home Assistant's, or [Unassigned]. The
// first event is left out when the area is still what the screen knows it as,
// see [First].
func (h *Hub) Area(areaID, known string, wake func()) *Feed {
	f := &Feed{hub: h, kind: kindArea, areaID: areaID, wake: wake, awake: true}
	h.mu.Lock()
	event, err := h.areaEvent(areaID)
	f.full = err != nil || knownAs(event) != known
	h.special[f] = struct{}{}
	h.mu.Unlock()
	wake()
	return f
}

// HasArea reports whether the home has that area now.
func (h *Hub) HasArea(areaID string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return areaID == Unassigned || h.index.registry.Area(areaID) != nil
}

// EntityJSON is an entity as the page gets it; what is absent is null or false.
type EntityJSON struct {
	ID             string   `json:"id"`
	Name           string   `json:"name"`      // without the names of device and area
	FullName       string   `json:"full_name"` // with them
	Icon           string   `json:"icon,omitempty"`
	DeviceClass    string   `json:"dc,omitempty"`
	Category       string   `json:"cat,omitempty"`
	Hidden         bool     `json:"hidden,omitempty"`
	Precision      *int     `json:"prec,omitempty"`
	Unit           string   `json:"unit,omitempty"`
	TranslationKey string   `json:"tk,omitempty"`
	Platform       string   `json:"platform,omitempty"`
	Device         string   `json:"device,omitempty"` // when the entity stands outside of its device's card
	Area           string   `json:"area,omitempty"`   // in search results
	Labels         []string `json:"labels,omitempty"`
}

type deviceJSON struct {
	ID           string       `json:"id"`
	Name         string       `json:"name"`
	Manufacturer *string      `json:"manufacturer"`
	Model        *string      `json:"model"`
	Battery      *string      `json:"battery"`
	Via          *string      `json:"via"`
	Entities     []EntityJSON `json:"entities"`
	EntityCount  int          `json:"entity_count"`
}

type areaEventJSON struct {
	Kind     string       `json:"kind"`
	Area     areaJSON     `json:"area"`
	Devices  []deviceJSON `json:"devices"`
	Entities []EntityJSON `json:"entities"`
	Hidden   int          `json:"hidden"`
	Disabled int          `json:"disabled"`
	Gone     bool         `json:"gone,omitempty"`
}

// areaEvent is the event of an area, made once for all screens that show it. An
// area that was deleted is empty and says that it is gone. The lock is held.
func (h *Hub) areaEvent(areaID string) ([]byte, error) {
	key := areaID
	if areaID == Unassigned {
		key = ""
	}
	a := h.index.areas[key]
	if a == nil {
		return json.Marshal(areaEventJSON{Kind: "area", Area: areaJSON{ID: areaID, Name: areaID}, Devices: []deviceJSON{}, Entities: []EntityJSON{}, Gone: true})
	}
	if a.detail != nil {
		return a.detail, nil
	}
	detail, err := json.Marshal(h.index.describe(a))
	if err != nil {
		return nil, err
	}
	a.detail = detail
	return detail, nil
}

func (x *index) describe(a *area) areaEventJSON {
	event := areaEventJSON{
		Kind: "area", Area: areaJSON{ID: Unassigned, Name: "Unassigned"}, Hidden: a.hidden, Disabled: a.disabled,
		Devices: make([]deviceJSON, 0, len(a.devices)), Entities: make([]EntityJSON, 0, len(a.alone)),
	}
	if a.info != nil {
		event.Area = areaInfo(a.info)
	}
	for _, d := range a.devices {
		event.Devices = append(event.Devices, x.describeDevice(a, d))
	}
	for _, p := range a.alone {
		e := p.describe(p.areaName())
		e.Device = x.deviceName(p)
		event.Entities = append(event.Entities, e)
	}
	return event
}

func (x *index) describeDevice(a *area, d *concord.Device) deviceJSON {
	places := a.inDevice[d.ID]
	j := deviceJSON{
		ID: d.ID, Name: d.DisplayName(), Manufacturer: orNil(d.Manufacturer), Model: orNil(d.Model),
		Entities: make([]EntityJSON, 0, len(places)), EntityCount: len(places),
	}
	if a.info != nil {
		j.Name = StripPrefix(j.Name, a.info.Name)
	}
	if via := x.registry.Device(d.ViaDeviceID); via != nil {
		j.Via = orNil(via.DisplayName())
	}
	for _, p := range places {
		j.Entities = append(j.Entities, p.describe(d.DisplayName(), p.areaName()))
		if j.Battery == nil && p.dc == "battery" && concord.Domain(p.entityID) == "sensor" {
			j.Battery = &p.entityID
		}
	}
	return j
}

// describe returns the entity; the names of what it stands in are cut from its
// own, the first that fits.
func (p *place) describe(prefixes ...string) EntityJSON {
	j := EntityJSON{ID: p.entityID, Name: p.name, FullName: p.name, DeviceClass: p.dc, Hidden: p.hidden}
	for _, prefix := range prefixes {
		if short := StripPrefix(p.name, prefix); short != p.name {
			j.Name = short
			break
		}
	}
	if e := p.entry; e != nil {
		j.Icon, j.Category, j.Precision, j.Unit = e.Icon, e.Category, e.Precision, e.Unit
		j.TranslationKey, j.Platform, j.Labels = e.TranslationKey, e.Platform, e.Labels
	}
	return j
}

func (p *place) areaName() string {
	if p.area.info == nil {
		return ""
	}
	return p.area.info.Name
}

// deviceName is the name of an entity's device, or "".
func (x *index) deviceName(p *place) string {
	if p.entry == nil {
		return ""
	}
	if d := x.registry.Device(p.entry.DeviceID); d != nil {
		return d.DisplayName()
	}
	return ""
}
