package web

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/concord-home/concord"
)

type glancesDevice struct {
	ID            string `json:"id"`
	Name          string `json:"name"`
	Model         any    `json:"model"`
	Manufacturer  any    `json:"manufacturer"`
	SWVersion     any    `json:"sw_version"`
	ConfigEntryID any    `json:"config_entry_id"`
	AreaID        any    `json:"area_id"`
}

// getGlancesDevices lists the devices that the Glances integration made.
func (s *Server) getGlancesDevices(ctx context.Context, c *rpcCall) (any, error) {
	var p homeParam
	if err := c.decode(&p); err != nil {
		return nil, err
	}
	_, r, err := s.homeAndRegistry(ctx, p.Home)
	if err != nil {
		return nil, err
	}
	devices := []glancesDevice{}
	for i := range r.Devices {
		d := &r.Devices[i]
		if !slices.ContainsFunc(d.Identifiers, func(id [2]string) bool { return id[0] == "glances" }) {
			continue
		}
		devices = append(devices, glancesDevice{
			ID: d.ID, Name: d.DisplayName(), Model: orNull(d.Model), Manufacturer: orNull(d.Manufacturer),
			SWVersion: orNull(d.SWVersion), ConfigEntryID: orNull(d.ConfigEntryID), AreaID: orNull(d.AreaID),
		})
	}
	return ok(map[string]any{"devices": devices}), nil
}

// orNull is how Home Assistant shows a text: null when it is empty.
func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

type glancesEntity struct {
	EntityID    string          `json:"entity_id"`
	Name        string          `json:"name"`
	State       string          `json:"state"`
	Unit        any             `json:"unit_of_measurement"`
	DeviceClass any             `json:"device_class"`
	Icon        any             `json:"icon"`
	StateClass  any             `json:"state_class"`
	LastChanged string          `json:"last_changed"`
	LastUpdated string          `json:"last_updated"`
	Attributes  json.RawMessage `json:"attributes"`
}

// getGlancesDeviceEntities lists the entities of one device that have a state,
// by device class, then name.
func (s *Server) getGlancesDeviceEntities(ctx context.Context, c *rpcCall) (any, error) {
	var p struct {
		homeParam
		Device *string `json:"device_id"`
	}
	if err := c.decode(&p); err != nil {
		return nil, err
	}
	if p.Device == nil {
		return nil, missing("get_glances_device_entities", "device_id")
	}
	h, r, err := s.homeAndRegistry(ctx, p.Home)
	if err != nil {
		return nil, err
	}
	entities := []glancesEntity{}
	for i := range r.Entities {
		e := &r.Entities[i]
		if st := s.Live.State(h.ID, e.EntityID); e.DeviceID == *p.Device && st != nil {
			entities = append(entities, glancesEntityOf(e, st))
		}
	}
	slices.SortStableFunc(entities, func(a, b glancesEntity) int {
		x, _ := a.DeviceClass.(string)
		y, _ := b.DeviceClass.(string)
		return cmp.Or(cmp.Compare(x, y), cmp.Compare(a.Name, b.Name))
	})
	return ok(map[string]any{"device_id": *p.Device, "entities": entities}), nil
}

func glancesEntityOf(e *concord.Entity, st *concord.State) glancesEntity {
	var a struct {
		Unit        any `json:"unit_of_measurement"`
		DeviceClass any `json:"device_class"`
		Icon        any `json:"icon"`
		StateClass  any `json:"state_class"`
	}
	_ = json.Unmarshal(st.Attributes, &a) // attributes that cannot be read are null
	return glancesEntity{
		EntityID: st.EntityID, Name: displayName(e, st, st.EntityID), State: st.State,
		Unit: a.Unit, DeviceClass: a.DeviceClass, Icon: a.Icon, StateClass: a.StateClass,
		LastChanged: isoTime(st.LastChanged), LastUpdated: isoTime(st.LastUpdated), Attributes: objectOf(st.Attributes),
	}
}

func objectOf(attributes json.RawMessage) json.RawMessage {
	if len(attributes) == 0 {
		return json.RawMessage("{}")
	}
	return attributes
}

// isoTime is how Home Assistant writes a time: microseconds and a zone.
func isoTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000-07:00") }
