package web_test

import (
	"io"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
)

// lockedWriter lets several goroutines log to one buffer.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func level(n int) *int { return &n }

// smallHome has two floors, three areas, and of everything that matters one.
func smallHome() *live {
	l := &live{
		status: concord.HomeStatus{
			Home:     concord.Home{ID: 1, Name: "Test home", URL: "ws://127.0.0.1:8123/api/websocket", Active: true},
			Link:     concord.LinkConnected,
			HasToken: true, Since: noon, LastMessage: noon, LastSync: noon, Version: "2025.4.4", Entities: 12, Areas: 3,
		},
		states:   map[string]*concord.State{},
		watchers: map[int]concord.Watcher{},
	}
	l.registry = smallRegistry()
	for _, s := range []*concord.State{
		state("light.ceiling", "on", `{"friendly_name":"Kitchen Ceiling","brightness":120}`),
		state("light.counter", "off", `{"friendly_name":"Kitchen Counter"}`),
		state("light.secret", "on", `{"friendly_name":"Kitchen Secret"}`),
		state("sensor.lamp_battery", "81", `{"friendly_name":"Lamp Battery","device_class":"battery","unit_of_measurement":"%"}`),
		state("sensor.kitchen_temperature", "21.44", `{"friendly_name":"Kitchen Temperature","device_class":"temperature","unit_of_measurement":"°C"}`),
		state("sensor.kitchen_humidity", "48", `{"friendly_name":"Kitchen Humidity","device_class":"humidity","unit_of_measurement":"%"}`),
		state("binary_sensor.door", "on", `{"friendly_name":"Hall Door","device_class":"door"}`),
		state("binary_sensor.leak", "off", `{"friendly_name":"Bath Leak","device_class":"moisture"}`),
		state("number.limit", "10", `{"friendly_name":"Limit","min":5,"max":20,"step":1}`),
		state("sensor.cpu", "12", `{"friendly_name":"Server CPU","unit_of_measurement":"%","state_class":"measurement","icon":"mdi:cpu-64-bit"}`),
		state("automation.morning", "on", `{"friendly_name":"Morning"}`),
		state("sun.sun", "above_horizon", `{"friendly_name":"Sun"}`),
	} {
		l.states[s.EntityID] = s
	}
	return l
}

func smallRegistry() *concord.Registry {
	floors := []concord.Floor{{ID: "first", Name: "First floor", Level: level(1)}, {ID: "ground", Name: "Ground floor", Icon: "mdi:home-floor-0", Level: level(0)}}
	areas := []concord.Area{
		{ID: "kitchen", Name: "Kitchen", Icon: "mdi:sofa", FloorID: "ground"},
		{ID: "bath", Name: "Bath", FloorID: "first"},
		{ID: "hall", Name: "Hall", FloorID: "ground"},
	}
	devices := []concord.Device{
		{ID: "lamp", Name: "Lamp", Manufacturer: "Acme", Model: "M0", AreaID: "kitchen", Identifiers: [][2]string{{"hue", "1"}}},
		{ID: "server", Name: "Server", SWVersion: "1.0", ConfigEntryID: "ce0", Identifiers: [][2]string{{"glances", "1"}}},
	}
	entities := []concord.Entity{
		{EntityID: "light.ceiling", RegistryID: "r1", DeviceID: "lamp", Platform: "hue", OriginalName: "Kitchen Ceiling", Labels: []string{"favourite"}},
		{EntityID: "light.counter", RegistryID: "r2", AreaID: "kitchen", Platform: "hue", OriginalName: "Kitchen Counter"},
		{EntityID: "light.secret", RegistryID: "r3", AreaID: "kitchen", HiddenBy: "user"},
		{EntityID: "light.off", RegistryID: "r4", AreaID: "kitchen", DisabledBy: "user"},
		{EntityID: "sensor.lamp_battery", RegistryID: "r5", DeviceID: "lamp", HasEntityName: true, OriginalName: "Battery", DeviceClass: "battery", Category: "diagnostic"},
		{EntityID: "sensor.kitchen_temperature", RegistryID: "r6", AreaID: "kitchen", DeviceClass: "temperature", Precision: level(1)},
		{EntityID: "sensor.kitchen_humidity", RegistryID: "r7", AreaID: "kitchen", DeviceClass: "humidity"},
		{EntityID: "binary_sensor.door", RegistryID: "r8", DeviceID: "lamp", AreaID: "hall", DeviceClass: "door", OriginalName: "Hall Door"},
		{EntityID: "binary_sensor.leak", RegistryID: "r9", AreaID: "bath", DeviceClass: "moisture"},
		{EntityID: "number.limit", RegistryID: "r10", AreaID: "bath"},
		{EntityID: "sensor.cpu", RegistryID: "r11", DeviceID: "server"},
		{EntityID: "automation.morning", RegistryID: "r12"},
	}
	labels := []concord.Label{{ID: "favourite", Name: "Favourite", Color: "red"}}
	return concord.NewRegistry(floors, areas, devices, entities, labels, false)
}

func mustURL(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	require.NoError(t, err)
	return u
}
