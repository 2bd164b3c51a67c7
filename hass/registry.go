package hass

import "encoding/json"

// Area is a room or place. Text that is null in Home Assistant is "".
type Area struct {
	AreaID              string   `json:"area_id"`
	Name                string   `json:"name"`
	FloorID             string   `json:"floor_id"` // since 2024.4
	Icon                string   `json:"icon"`
	Picture             string   `json:"picture"`
	Aliases             []string `json:"aliases"`
	Labels              []string `json:"labels"`
	TemperatureEntityID string   `json:"temperature_entity_id"` // since 2025.4
	HumidityEntityID    string   `json:"humidity_entity_id"`
}

// Floor is a storey.
type Floor struct {
	FloorID string   `json:"floor_id"`
	Name    string   `json:"name"`
	Level   *int     `json:"level"`
	Icon    string   `json:"icon"`
	Aliases []string `json:"aliases"`
}

// Label is a mark on areas, devices and entities.
type Label struct {
	LabelID     string `json:"label_id"`
	Name        string `json:"name"`
	Color       string `json:"color"`
	Icon        string `json:"icon"`
	Description string `json:"description"`
}

// Device is an entry of the device registry.
type Device struct {
	ID               string     `json:"id"`
	AreaID           string     `json:"area_id"`
	Name             string     `json:"name"`
	NameByUser       string     `json:"name_by_user"`
	Manufacturer     string     `json:"manufacturer"`
	Model            string     `json:"model"`
	ModelID          string     `json:"model_id"`
	SWVersion        string     `json:"sw_version"`
	HWVersion        string     `json:"hw_version"`
	SerialNumber     string     `json:"serial_number"`
	ConfigurationURL string     `json:"configuration_url"`
	EntryType        string     `json:"entry_type"` // "service" or ""
	DisabledBy       string     `json:"disabled_by"`
	ViaDeviceID      string     `json:"via_device_id"`
	ConfigEntries    []string   `json:"config_entries"`
	PrimaryEntry     string     `json:"primary_config_entry"`
	Connections      [][]string `json:"connections"`
	Identifiers      [][]any    `json:"identifiers"` // (integration, id); ids of some integrations are numbers
	Labels           []string   `json:"labels"`
}

// EntityEntry is an entry of the entity registry. The list does not send
// DeviceClass, OriginalDeviceClass, OriginalIcon, Aliases and Capabilities;
// GetEntity does. In a list the device class is in the state's attributes.
type EntityEntry struct {
	EntityID            string          `json:"entity_id"`
	ID                  string          `json:"id"` // survives a rename
	UniqueID            UniqueID        `json:"unique_id"`
	Platform            string          `json:"platform"`
	DeviceID            string          `json:"device_id"`
	AreaID              string          `json:"area_id"`
	ConfigEntryID       string          `json:"config_entry_id"`
	Name                string          `json:"name"`
	OriginalName        string          `json:"original_name"`
	HasEntityName       bool            `json:"has_entity_name"`
	Icon                string          `json:"icon"`
	OriginalIcon        string          `json:"original_icon"`
	DeviceClass         string          `json:"device_class"`
	OriginalDeviceClass string          `json:"original_device_class"`
	EntityCategory      string          `json:"entity_category"` // "", "config" or "diagnostic"
	HiddenBy            string          `json:"hidden_by"`
	DisabledBy          string          `json:"disabled_by"`
	TranslationKey      string          `json:"translation_key"`
	Labels              []string        `json:"labels"`
	Aliases             []string        `json:"aliases"`
	Unit                string          `json:"unit_of_measurement"`
	Capabilities        json.RawMessage `json:"capabilities"`
	Options             json.RawMessage `json:"options"`
}

// Precision returns the number of digits after the point that the user, else
// the integration, chose for a sensor, or nil.
func (e *EntityEntry) Precision() *int {
	var o struct {
		Sensor struct {
			Chosen    *int `json:"display_precision"`
			Suggested *int `json:"suggested_display_precision"`
		} `json:"sensor"`
	}
	if len(e.Options) == 0 || json.Unmarshal(e.Options, &o) != nil {
		return nil
	}
	if o.Sensor.Chosen != nil {
		return o.Sensor.Chosen
	}
	return o.Sensor.Suggested
}

// UniqueID is text; some integrations use numbers, which are kept as their digits.
type UniqueID string

// UnmarshalJSON takes text, a number or null.
func (u *UniqueID) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*u = UniqueID(s)
		return nil
	}
	*u = UniqueID(b)
	return nil
}

// DisplayEntities is the short form of the entity registry, for showing: hidden
// entities are marked, disabled ones are not in it.
type DisplayEntities struct {
	Categories map[string]string `json:"entity_categories"` // "0" → "config" …
	Entities   []DisplayEntity   `json:"entities"`
}

// DisplayEntity is one entity of DisplayEntities.
type DisplayEntity struct {
	EntityID       string   `json:"ei"`
	Platform       string   `json:"pl"`
	AreaID         string   `json:"ai,omitempty"`
	DeviceID       string   `json:"di,omitempty"`
	Labels         []string `json:"lb"`
	Icon           string   `json:"ic,omitempty"`
	TranslationKey string   `json:"tk,omitempty"`
	Name           string   `json:"en,omitempty"`
	HasEntityName  bool     `json:"hn,omitempty"`
	Hidden         bool     `json:"hb,omitempty"`
	Category       *int     `json:"ec,omitempty"` // a key of Categories
	Precision      *int     `json:"dp,omitempty"`
}

// Config is what get_config answers.
type Config struct {
	LocationName    string            `json:"location_name"`
	Version         string            `json:"version"`
	State           string            `json:"state"` // "RUNNING", "STARTING", …
	TimeZone        string            `json:"time_zone"`
	Latitude        float64           `json:"latitude"`
	Longitude       float64           `json:"longitude"`
	Elevation       float64           `json:"elevation"`
	UnitSystem      map[string]string `json:"unit_system"`
	Currency        string            `json:"currency"`
	Country         string            `json:"country"`
	Language        string            `json:"language"`
	Components      []string          `json:"components"`
	InternalURL     string            `json:"internal_url"`
	ExternalURL     string            `json:"external_url"`
	SafeMode        bool              `json:"safe_mode"`
	RecoveryMode    bool              `json:"recovery_mode"`
	ConfigDirectory string            `json:"config_dir"`
}

// The events that announce changes of the registries, for subscribe_events.
// They carry old values at most, so read the registry again.
const (
	EventStateChanged          = "state_changed"
	EventAreaRegistryUpdated   = "area_registry_updated"
	EventFloorRegistryUpdated  = "floor_registry_updated"
	EventDeviceRegistryUpdated = "device_registry_updated"
	EventEntityRegistryUpdated = "entity_registry_updated"
	EventLabelRegistryUpdated  = "label_registry_updated"
)
