package web

import (
	"context"
	"encoding/json"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/hass/server"
	"github.com/concord-home/concord/internal/web/hub"
)

// wsStates answers get_states.
func (s *Server) wsStates(ctx context.Context, _ *screen, r server.Request) (any, error) {
	home, err := s.wsHome(ctx, r)
	if err != nil {
		return nil, err
	}
	states, err := s.Live.States(home.ID)
	if err != nil {
		return nil, err
	}
	return appendStates(states), nil
}

func appendStates(states []*concord.State) json.RawMessage {
	b := append(make([]byte, 0, 512*len(states)+2), '[')
	for i, st := range states {
		if i > 0 {
			b = append(b, ',')
		}
		b = hub.AppendState(b, st)
	}
	return append(b, ']')
}

// wsRegistry returns the registry of the home that a command is about.
func (s *Server) wsRegistry(ctx context.Context, r server.Request) (*concord.Registry, error) {
	home, err := s.wsHome(ctx, r)
	if err != nil {
		return nil, err
	}
	return s.Live.Registry(home.ID)
}

// list answers with one object for each item of a registry.
func list[T any](items []T, describe func(*T) map[string]any) []map[string]any {
	all := make([]map[string]any, len(items))
	for i := range items {
		all[i] = describe(&items[i])
	}
	return all
}

func orEmpty(labels []string) []string {
	if labels == nil {
		return []string{}
	}
	return labels
}

func (s *Server) wsAreas(ctx context.Context, _ *screen, r server.Request) (any, error) {
	reg, err := s.wsRegistry(ctx, r)
	if err != nil {
		return nil, err
	}
	return list(reg.Areas, func(a *concord.Area) map[string]any {
		return map[string]any{
			"area_id": a.ID, "name": a.Name, "floor_id": orNull(a.FloorID), "icon": orNull(a.Icon), "picture": orNull(a.Picture),
			"labels": orEmpty(a.Labels), "aliases": []string{},
			"temperature_entity_id": orNull(a.TemperatureEntityID), "humidity_entity_id": orNull(a.HumidityEntityID),
		}
	}), nil
}

func (s *Server) wsFloors(ctx context.Context, _ *screen, r server.Request) (any, error) {
	reg, err := s.wsRegistry(ctx, r)
	if err != nil {
		return nil, err
	}
	return list(reg.Floors, func(f *concord.Floor) map[string]any {
		return map[string]any{"floor_id": f.ID, "name": f.Name, "icon": orNull(f.Icon), "level": f.Level, "aliases": []string{}}
	}), nil
}

func (s *Server) wsLabels(ctx context.Context, _ *screen, r server.Request) (any, error) {
	reg, err := s.wsRegistry(ctx, r)
	if err != nil {
		return nil, err
	}
	return list(reg.Labels, func(l *concord.Label) map[string]any {
		return map[string]any{"label_id": l.ID, "name": l.Name, "icon": orNull(l.Icon), "color": orNull(l.Color), "description": nil}
	}), nil
}

func (s *Server) wsDevices(ctx context.Context, _ *screen, r server.Request) (any, error) {
	reg, err := s.wsRegistry(ctx, r)
	if err != nil {
		return nil, err
	}
	return list(reg.Devices, func(d *concord.Device) map[string]any {
		entries := []string{}
		if d.ConfigEntryID != "" {
			entries = append(entries, d.ConfigEntryID)
		}
		identifiers := d.Identifiers
		if identifiers == nil {
			identifiers = [][2]string{}
		}
		return map[string]any{
			"id": d.ID, "area_id": orNull(d.AreaID), "name": orNull(d.Name), "name_by_user": orNull(d.NameByUser),
			"manufacturer": orNull(d.Manufacturer), "model": orNull(d.Model), "sw_version": orNull(d.SWVersion),
			"config_entries": entries, "primary_config_entry": orNull(d.ConfigEntryID), "via_device_id": orNull(d.ViaDeviceID),
			"entry_type": orNull(d.EntryType), "disabled_by": orNull(d.DisabledBy), "labels": orEmpty(d.Labels),
			"identifiers": identifiers, "connections": []any{}, "configuration_url": nil, "hw_version": nil, "serial_number": nil,
		}
	}), nil
}

func (s *Server) wsEntities(ctx context.Context, _ *screen, r server.Request) (any, error) {
	reg, err := s.wsRegistry(ctx, r)
	if err != nil {
		return nil, err
	}
	return list(reg.Entities, func(e *concord.Entity) map[string]any {
		options := e.Options
		if len(options) == 0 {
			options = json.RawMessage("{}")
		}
		return map[string]any{
			"entity_id": e.EntityID, "id": e.RegistryID, "unique_id": e.UniqueID, "platform": e.Platform,
			"device_id": orNull(e.DeviceID), "area_id": orNull(e.AreaID), "name": orNull(e.Name), "original_name": orNull(e.OriginalName),
			"has_entity_name": e.HasEntityName, "icon": orNull(e.Icon), "entity_category": orNull(e.Category),
			"hidden_by": orNull(e.HiddenBy), "disabled_by": orNull(e.DisabledBy), "translation_key": orNull(e.TranslationKey),
			"labels": orEmpty(e.Labels), "options": options, "categories": map[string]string{}, "config_entry_id": nil,
		}
	}), nil
}

// wsEntitiesForDisplay is the short form that front ends ask for: what is empty
// is left out, and so are disabled entities.
func (s *Server) wsEntitiesForDisplay(ctx context.Context, _ *screen, r server.Request) (any, error) {
	reg, err := s.wsRegistry(ctx, r)
	if err != nil {
		return nil, err
	}
	categories := map[string]int{"config": 0, "diagnostic": 1}
	all := []map[string]any{}
	for i := range reg.Entities {
		e := &reg.Entities[i]
		if e.DisabledBy != "" {
			continue
		}
		j := map[string]any{"ei": e.EntityID, "pl": e.Platform, "lb": orEmpty(e.Labels)}
		for key, text := range map[string]string{"di": e.DeviceID, "ai": e.AreaID, "ic": e.Icon, "tk": e.TranslationKey, "en": e.Name} {
			if text != "" {
				j[key] = text
			}
		}
		if category, ok := categories[e.Category]; ok {
			j["ec"] = category
		}
		if e.HiddenBy != "" {
			j["hb"] = true
		}
		if e.HasEntityName {
			j["hn"] = true
		}
		if e.Precision != nil {
			j["dp"] = *e.Precision
		}
		all = append(all, j)
	}
	return map[string]any{"entity_categories": map[string]string{"0": "config", "1": "diagnostic"}, "entities": all}, nil
}
