package simhome

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/concord-home/concord/hass"
	"github.com/concord-home/concord/hass/server"
)

// registry is what the home knows apart from states. The entity registry is in
// the entities themselves.
type registry struct {
	areas   []*area
	floors  []*floor
	labels  []*label
	devices []*device
	byID    map[string]*device
}

// These have the members that Home Assistant 2025.4 sends, null where empty.
type area struct {
	AreaID      string   `json:"area_id"`
	Name        string   `json:"name"`
	FloorID     *string  `json:"floor_id"`
	Icon        *string  `json:"icon"`
	Picture     *string  `json:"picture"`
	Aliases     []string `json:"aliases"`
	Labels      []string `json:"labels"`
	Temperature *string  `json:"temperature_entity_id"`
	Humidity    *string  `json:"humidity_entity_id"`
	CreatedAt   float64  `json:"created_at"`
	ModifiedAt  float64  `json:"modified_at"`
}

type floor struct {
	FloorID    string   `json:"floor_id"`
	Name       string   `json:"name"`
	Level      *int     `json:"level"`
	Icon       *string  `json:"icon"`
	Aliases    []string `json:"aliases"`
	CreatedAt  float64  `json:"created_at"`
	ModifiedAt float64  `json:"modified_at"`
}

type label struct {
	LabelID     string  `json:"label_id"`
	Name        string  `json:"name"`
	Color       *string `json:"color"`
	Icon        *string `json:"icon"`
	Description *string `json:"description"`
	CreatedAt   float64 `json:"created_at"`
	ModifiedAt  float64 `json:"modified_at"`
}

type device struct {
	ID               string              `json:"id"`
	AreaID           *string             `json:"area_id"`
	Name             string              `json:"name"`
	NameByUser       *string             `json:"name_by_user"`
	Manufacturer     *string             `json:"manufacturer"`
	Model            *string             `json:"model"`
	ModelID          *string             `json:"model_id"`
	SWVersion        *string             `json:"sw_version"`
	HWVersion        *string             `json:"hw_version"`
	SerialNumber     *string             `json:"serial_number"`
	ConfigurationURL *string             `json:"configuration_url"`
	EntryType        *string             `json:"entry_type"`
	DisabledBy       *string             `json:"disabled_by"`
	ViaDeviceID      *string             `json:"via_device_id"`
	ConfigEntries    []string            `json:"config_entries"`
	Subentries       map[string][]string `json:"config_entries_subentries"`
	PrimaryEntry     string              `json:"primary_config_entry"`
	Connections      [][2]string         `json:"connections"`
	Identifiers      [][2]string         `json:"identifiers"`
	Labels           []string            `json:"labels"`
	CreatedAt        float64             `json:"created_at"`
	ModifiedAt       float64             `json:"modified_at"`
	platform         string
}

// optional is nil for "".
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func list(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}

// entryJSON is an entity registry entry as the list has it.
func (h *Home) entryJSON(e *hass.EntityEntry) map[string]any {
	return map[string]any{
		"entity_id": e.EntityID, "id": e.ID, "unique_id": e.UniqueID, "platform": e.Platform,
		"device_id": optional(e.DeviceID), "area_id": optional(e.AreaID), "config_entry_id": optional(e.ConfigEntryID),
		"config_subentry_id": nil, "name": optional(e.Name), "original_name": optional(e.OriginalName),
		"has_entity_name": e.HasEntityName, "icon": optional(e.Icon), "entity_category": optional(e.EntityCategory),
		"hidden_by": optional(e.HiddenBy), "disabled_by": optional(e.DisabledBy), "translation_key": optional(e.TranslationKey),
		"labels": list(e.Labels), "categories": map[string]string{}, "options": e.Options,
		"created_at": seconds(h.started), "modified_at": seconds(h.started),
	}
}

func (h *Home) listEntries(server.Request) (any, error) {
	all := []any{}
	for _, e := range h.entities {
		if e.entry != nil {
			all = append(all, h.entryJSON(e.entry))
		}
	}
	return all, nil
}

func (h *Home) entryOf(r server.Request) (*entity, error) {
	var m struct {
		EntityID string `json:"entity_id"`
	}
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	e := h.byID[m.EntityID]
	if e == nil || e.entry == nil {
		return nil, &server.Error{Code: hass.CodeNotFound, Message: "Entity not found"}
	}
	return e, nil
}

func (h *Home) getEntry(r server.Request) (any, error) {
	e, err := h.entryOf(r)
	if err != nil {
		return nil, err
	}
	return h.extendedJSON(e.entry), nil
}

func (h *Home) extendedJSON(e *hass.EntityEntry) map[string]any {
	m := h.entryJSON(e)
	m["aliases"] = list(e.Aliases)
	m["capabilities"] = e.Capabilities
	m["device_class"] = optional(e.DeviceClass)
	m["original_device_class"] = optional(e.OriginalDeviceClass)
	m["original_icon"] = optional(e.OriginalIcon)
	return m
}

func (h *Home) listForDisplay(server.Request) (any, error) {
	all := []hass.DisplayEntity{}
	for _, e := range h.entities {
		if e.entry != nil && e.entry.DisabledBy == "" {
			all = append(all, display(e.entry))
		}
	}
	return hass.DisplayEntities{Categories: map[string]string{"0": "config", "1": "diagnostic"}, Entities: all}, nil
}

func display(e *hass.EntityEntry) hass.DisplayEntity {
	d := hass.DisplayEntity{
		EntityID: e.EntityID, Platform: e.Platform, AreaID: e.AreaID, DeviceID: e.DeviceID, Labels: list(e.Labels),
		Icon: e.Icon, TranslationKey: e.TranslationKey, HasEntityName: e.HasEntityName, Hidden: e.HiddenBy != "",
		Precision: e.Precision(),
	}
	if d.Name = e.Name; d.Name == "" {
		d.Name = e.OriginalName
	}
	if i := slices.Index([]string{"config", "diagnostic"}, e.EntityCategory); i >= 0 {
		d.Category = &i
	}
	return d
}

// updateEntry changes what people can change of an entry.
func (h *Home) updateEntry(r server.Request) (any, error) {
	e, err := h.entryOf(r)
	if err != nil {
		return nil, err
	}
	var m map[string]json.RawMessage
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	entry := *e.entry
	changes := map[string]any{}
	texts := map[string]*string{"name": &entry.Name, "icon": &entry.Icon, "area_id": &entry.AreaID, "hidden_by": &entry.HiddenBy, "device_class": &entry.DeviceClass}
	for key, field := range texts {
		if raw, ok := m[key]; ok {
			var text string
			if json.Unmarshal(raw, &text) != nil {
				return nil, &server.Error{Code: hass.CodeInvalidFormat, Message: "expected str for dictionary value @ data['" + key + "']"}
			}
			changes[key] = optional(*field)
			*field = text
		}
	}
	if raw, ok := m["labels"]; ok && json.Unmarshal(raw, &entry.Labels) == nil {
		changes["labels"] = list(e.entry.Labels)
	}
	e.entry = &entry
	var newID string
	if raw, ok := m["new_entity_id"]; ok && json.Unmarshal(raw, &newID) == nil && newID != entry.EntityID {
		if !h.rename(entry.EntityID, newID) {
			return nil, &server.Error{Code: "invalid_info", Message: "Entity with this ID is already registered"}
		}
	} else if len(changes) > 0 {
		h.fire(hass.EventEntityRegistryUpdated, map[string]any{"action": "update", "entity_id": entry.EntityID, "changes": changes})
	}
	h.renamed(e, changes)
	return map[string]any{"entity_entry": h.extendedJSON(e.entry)}, nil
}

// renamed lets a new name or icon show in the state.
func (h *Home) renamed(e *entity, changes map[string]any) {
	if e.state == nil {
		return
	}
	set := map[string]any{}
	if _, ok := changes["name"]; ok {
		set["friendly_name"] = h.friendlyName(e.entry)
	}
	if _, ok := changes["icon"]; ok && e.entry.Icon != "" {
		set["icon"] = e.entry.Icon
	}
	if len(set) == 0 {
		return
	}
	raw, err := json.Marshal(set)
	if err == nil {
		h.set(e, e.state.State, hass.MergeAttributes(e.state.Attributes, raw, nil), hass.Context{})
	}
}

func (h *Home) friendlyName(e *hass.EntityEntry) string {
	name := e.OriginalName
	if e.Name != "" {
		name = e.Name
	}
	if !e.HasEntityName || e.Name != "" {
		return name
	}
	if d := h.deviceByID(e.DeviceID); d != nil {
		return strings.TrimSpace(d.Name + " " + name)
	}
	return name
}

func (h *Home) updateArea(r server.Request) (any, error) {
	var m struct {
		AreaID  string           `json:"area_id"`
		Name    *string          `json:"name"`
		FloorID *json.RawMessage `json:"floor_id"`
		Icon    *json.RawMessage `json:"icon"`
	}
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	for _, a := range h.reg.areas {
		if a.AreaID != m.AreaID {
			continue
		}
		if m.Name != nil {
			a.Name = *m.Name
		}
		for field, raw := range map[**string]*json.RawMessage{&a.FloorID: m.FloorID, &a.Icon: m.Icon} {
			if raw != nil && json.Unmarshal(*raw, field) != nil {
				return nil, &server.Error{Code: hass.CodeInvalidFormat, Message: "expected str"}
			}
		}
		h.fire(hass.EventAreaRegistryUpdated, map[string]any{"action": "update", "area_id": a.AreaID})
		return a, nil
	}
	return nil, &server.Error{Code: hass.CodeUnknown, Message: "Unknown error"}
}

func (h *Home) updateDevice(r server.Request) (any, error) {
	var m struct {
		DeviceID string           `json:"device_id"`
		AreaID   *json.RawMessage `json:"area_id"`
		Name     *json.RawMessage `json:"name_by_user"`
	}
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	for _, d := range h.reg.devices {
		if d.ID != m.DeviceID {
			continue
		}
		changes := map[string]any{"area_id": d.AreaID, "name_by_user": d.NameByUser}
		for field, raw := range map[**string]*json.RawMessage{&d.AreaID: m.AreaID, &d.NameByUser: m.Name} {
			if raw != nil && json.Unmarshal(*raw, field) != nil {
				return nil, &server.Error{Code: hass.CodeInvalidFormat, Message: "expected str"}
			}
		}
		h.fire(hass.EventDeviceRegistryUpdated, map[string]any{"action": "update", "device_id": d.ID, "changes": changes})
		return d, nil
	}
	return nil, &server.Error{Code: hass.CodeUnknown, Message: "Unknown error"}
}

// areaOf returns the area id of an entity: its own, else its device's.
func (h *Home) areaOf(e *hass.EntityEntry) string {
	if e == nil {
		return ""
	}
	if e.AreaID != "" {
		return e.AreaID
	}
	if d := h.deviceByID(e.DeviceID); d != nil && d.AreaID != nil {
		return *d.AreaID
	}
	return ""
}

func (h *Home) deviceByID(id string) *device { return h.reg.byID[id] }

// searchRelated answers search/related for entities, devices and areas.
func (h *Home) searchRelated(r server.Request) (any, error) {
	var m struct {
		Type string `json:"item_type"`
		ID   string `json:"item_id"`
	}
	if err := r.Decode(&m); err != nil {
		return nil, err
	}
	found := map[string][]string{}
	add := func(kind, id string) {
		if id != "" && (kind != m.Type || id != m.ID) && !slices.Contains(found[kind], id) {
			found[kind] = append(found[kind], id)
		}
	}
	for _, e := range h.entities {
		if e.entry == nil {
			continue
		}
		area := h.areaOf(e.entry)
		if m.Type == "entity" && e.entry.EntityID == m.ID || m.Type == "device" && e.entry.DeviceID == m.ID ||
			m.Type == "area" && area == m.ID || m.Type == "label" && slices.Contains(e.entry.Labels, m.ID) {
			add("entity", e.entry.EntityID)
			add("device", e.entry.DeviceID)
			add("area", area)
			for _, l := range e.entry.Labels {
				add("label", l)
			}
			for _, user := range h.usersOf(e.entry.EntityID) {
				domain, _, _ := strings.Cut(user, ".")
				add(domain, user)
			}
		}
	}
	for _, a := range h.reg.areas {
		if slices.Contains(found["area"], a.AreaID) || m.Type == "area" && a.AreaID == m.ID {
			if a.FloorID != nil {
				add("floor", *a.FloorID)
			}
		}
	}
	return found, nil
}

// usersOf returns the scenes, scripts, automations and groups that name an entity.
func (h *Home) usersOf(entityID string) []string {
	var users []string
	for _, e := range h.entities {
		if members, ok := e.detail["members"].([]string); ok && e.state != nil && slices.Contains(members, entityID) {
			users = append(users, e.state.EntityID)
		}
	}
	return users
}
