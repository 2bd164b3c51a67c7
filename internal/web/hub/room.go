package hub

import "github.com/concord-home/concord"

// roomClasses are what a device measures that tells of the room around it.
var roomClasses = map[string]bool{
	"temperature": true, "humidity": true, "absolute_humidity": true, "pressure": true, "atmospheric_pressure": true,
	"illuminance": true, "carbon_dioxide": true, "carbon_monoxide": true, "pm1": true, "pm25": true, "pm10": true, "aqi": true,
	"volatile_organic_compounds": true, "volatile_organic_compounds_parts": true, "sound_pressure": true,
	"wind_speed": true, "wind_direction": true, "precipitation": true, "precipitation_intensity": true, "irradiance": true,
	"battery": true, "voltage": true, "signal_strength": true, "motion": true, "occupancy": true, "presence": true, "moisture": true,
}

// roomDevices returns the devices whose temperature is that of the room: those
// that measure the room and nothing else, or are thermostats. A fridge, or a
// heat pump, measures itself.
func roomDevices(r *concord.Registry, states map[string]*concord.State) map[string]bool {
	fits, temperatures := map[string]bool{}, map[string]int{}
	for i := range r.Entities {
		e := &r.Entities[i]
		if e.DeviceID == "" || e.Category != "" || e.DisabledBy != "" {
			continue
		}
		if _, seen := fits[e.DeviceID]; !seen {
			fits[e.DeviceID] = true
		}
		dc := deviceClass(e, states[e.EntityID])
		switch concord.Domain(e.EntityID) {
		case "climate":
		case "sensor", "binary_sensor":
			if dc == "temperature" {
				temperatures[e.DeviceID]++
			}
			fits[e.DeviceID] = fits[e.DeviceID] && roomClasses[dc] && temperatures[e.DeviceID] < 2
		default:
			fits[e.DeviceID] = false
		}
	}
	return fits
}
