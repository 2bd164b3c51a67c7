package web

import (
	"context"

	"github.com/concord-home/concord"
)

type odooDevice struct {
	ID           int64              `json:"id"`
	DeviceID     string             `json:"device_id"`
	Name         string             `json:"name"`
	NameByUser   any                `json:"name_by_user"`
	Manufacturer any                `json:"manufacturer"`
	Model        any                `json:"model"`
	EntityCount  int                `json:"entity_count"`
	Entities     []odooDeviceEntity `json:"entities"`
}

// odooDeviceEntity is an entity in its device's card; AreaOverride tells when it
// stands in another area than its device.
type odooDeviceEntity struct {
	odooEntity
	AreaOverride *areaOverride `json:"area_override"`
}

type areaOverride struct {
	AreaID   int64  `json:"area_id"`
	AreaName string `json:"area_name"`
}

type standaloneEntity struct {
	odooEntity
	SourceDevice *sourceDevice `json:"source_device"`
}

type sourceDevice struct {
	DeviceID       int64  `json:"device_id"`
	DeviceName     string `json:"device_name"`
	DeviceAreaName any    `json:"device_area_name"`
}

// areaParam is the area that a dashboard shows: "" is what has none.
func areaParam(p number, r *concord.Registry) (areaID string, area any, err error) {
	if p.state == numberAbsent || p.state == numberEmpty || p.state == numberGood && p.value == 0 {
		return "", odooArea{AreaID: "unassigned", Name: "Unassigned", Icon: "mdi:help-circle-outline"}, nil
	}
	if p.state == numberBad {
		return "", nil, errBadAreaID
	}
	a := r.Area(r.IDByKey(p.value))
	if a == nil {
		return "", nil, concord.Errorf(concord.CodeNotFound, "Area not found (ID: %d)", p.value)
	}
	return a.ID, areaOf(a), nil
}

// unassignedParam is number that also knows the word "unassigned".
type unassignedParam struct{ number }

// UnmarshalJSON never fails; see [number].
func (n *unassignedParam) UnmarshalJSON(b []byte) error {
	if string(b) == `"unassigned"` {
		n.number = number{state: numberEmpty}
		return nil
	}
	return n.number.UnmarshalJSON(b)
}

// getAreaDashboardData shows an area: its devices with all of their entities,
// then the entities that stand in it on their own.
func (s *Server) getAreaDashboardData(ctx context.Context, c *rpcCall) (any, error) {
	var p struct {
		homeParam
		Area unassignedParam `json:"area_id"`
	}
	if err := c.decode(&p); err != nil {
		return nil, err
	}
	h, r, err := s.homeAndRegistry(ctx, p.Home)
	if err != nil {
		return nil, err
	}
	areaID, area, err := areaParam(p.Area.number, r)
	if err != nil {
		return nil, err
	}
	devices, standalone := s.dashboard(h.ID, r, areaID)
	return ok(map[string]any{"area": area, "devices": devices, "standalone_entities": standalone}), nil
}

func (s *Server) dashboard(home int64, r *concord.Registry, areaID string) ([]*odooDevice, []standaloneEntity) {
	devices, byID := []*odooDevice{}, map[string]*odooDevice{}
	for i := range r.Devices {
		if d := &r.Devices[i]; d.AreaID == areaID && d.DisabledBy == "" {
			card := odooDeviceOf(d)
			devices, byID[d.ID] = append(devices, card), card
		}
	}
	standalone := []standaloneEntity{}
	for i := range r.Entities {
		e := &r.Entities[i]
		if e.DisabledBy != "" {
			continue
		}
		if card := byID[e.DeviceID]; card != nil {
			card.EntityCount++
			card.Entities = append(card.Entities, odooDeviceEntity{s.odooEntity(home, r, e.EntityID), override(r, e, areaID)})
		} else if r.AreaOf(e.EntityID) == areaID {
			standalone = append(standalone, standaloneEntity{s.odooEntity(home, r, e.EntityID), source(r, e)})
		}
	}
	if areaID == "" {
		standalone = append(standalone, s.unregistered(home, r)...)
	}
	return devices, standalone
}

// unregistered are the entities that have a state and no registry entry: no
// area can be given to them.
func (s *Server) unregistered(home int64, r *concord.Registry) []standaloneEntity {
	states, err := s.Live.States(home)
	if err != nil {
		return nil // the home was removed meanwhile
	}
	var list []standaloneEntity
	for _, st := range states {
		if r.Entity(st.EntityID) == nil {
			list = append(list, standaloneEntity{odooEntity: s.odooEntity(home, r, st.EntityID)})
		}
	}
	return list
}

func odooDeviceOf(d *concord.Device) *odooDevice {
	name := d.Name
	if name == "" {
		name = d.DisplayName()
	}
	return &odooDevice{
		ID: concord.DeviceKey(d.ID), DeviceID: d.ID, Name: name, NameByUser: orFalse(d.NameByUser),
		Manufacturer: orFalse(d.Manufacturer), Model: orFalse(d.Model), Entities: []odooDeviceEntity{},
	}
}

func override(r *concord.Registry, e *concord.Entity, areaID string) *areaOverride {
	if e.AreaID == "" || e.AreaID == areaID {
		return nil
	}
	a := r.Area(e.AreaID)
	if a == nil {
		return nil
	}
	return &areaOverride{AreaID: concord.AreaKey(a.ID), AreaName: a.Name}
}

func source(r *concord.Registry, e *concord.Entity) *sourceDevice {
	d := r.Device(e.DeviceID)
	if d == nil {
		return nil
	}
	from := &sourceDevice{DeviceID: concord.DeviceKey(d.ID), DeviceName: d.DisplayName(), DeviceAreaName: false}
	if a := r.Area(d.AreaID); a != nil {
		from.DeviceAreaName = a.Name
	}
	return from
}
