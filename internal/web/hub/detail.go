package hub

import "slices"

// EntityDetail is where an entity stands.
type EntityDetail struct {
	Entity EntityJSON  `json:"entity"`
	Area   *areaJSON   `json:"area"`
	Device *DeviceLink `json:"device"`
	Labels []LabelJSON `json:"-"`
}

// DeviceLink names a device.
type DeviceLink struct {
	ID           string  `json:"id"`
	Name         string  `json:"name"`
	Manufacturer *string `json:"manufacturer"`
	Model        *string `json:"model"`
}

// LabelJSON is a label.
type LabelJSON struct {
	ID    string  `json:"label_id"`
	Name  string  `json:"name"`
	Icon  *string `json:"icon"`
	Color *string `json:"color"`
}

// Entity describes one entity. It reports false when the home does not have it,
// or has it disabled.
func (h *Hub) Entity(entityID string) (EntityDetail, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.index.places[entityID]
	if p == nil {
		return EntityDetail{}, false
	}
	d := EntityDetail{Entity: p.describe(h.index.deviceName(p), p.areaName()), Labels: []LabelJSON{}}
	if p.area.info != nil {
		info := areaInfo(p.area.info)
		d.Area = &info
	}
	if p.entry == nil {
		return d, true
	}
	if dev := h.index.registry.Device(p.entry.DeviceID); dev != nil {
		d.Device = &DeviceLink{dev.ID, dev.DisplayName(), orNil(dev.Manufacturer), orNil(dev.Model)}
	}
	for _, l := range h.index.registry.Labels {
		if slices.Contains(p.entry.Labels, l.ID) {
			d.Labels = append(d.Labels, LabelJSON{l.ID, l.Name, orNil(l.Icon), orNil(l.Color)})
		}
	}
	return d, true
}
