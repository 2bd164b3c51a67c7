package simhome

func garden(b *builder) {
	b.addArea("Garden", "mdi:flower")
	b.hue("Garden Path Lights", false, 0)
	b.device("Weather Station", "Netatmo", "NAModule1", "netatmo")
	m := &mover{mean: 9, swing: 5, peak: 15, noise: 0.2, step: 0.1, digits: 1, low: -20, high: 42}
	b.add(spec{id: "sensor", name: "Temperature", class: "temperature", unit: "°C", digits: 1, mover: m, state: m.text(m.value(b.h.started)), attrs: attrs{"state_class": "measurement"}})
	w := &mover{mean: 14, swing: 6, peak: 14, noise: 4, step: 0.1, digits: 1, low: 0, high: 140}
	b.add(spec{id: "sensor", name: "Wind speed", class: "wind_speed", unit: "km/h", digits: 1, mover: w, state: w.text(w.value(b.h.started)), attrs: attrs{"state_class": "measurement"}})
	p := &mover{mean: 1014, swing: 4, peak: 10, noise: 0.3, step: 0.1, digits: 1, low: 950, high: 1060}
	b.add(spec{id: "sensor", name: "Atmospheric pressure", class: "atmospheric_pressure", unit: "hPa", digits: 1, mover: p, state: p.text(p.value(b.h.started)), attrs: attrs{"state_class": "measurement"}})
	b.add(spec{id: "sensor", name: "Precipitation", class: "precipitation", unit: "mm", digits: 1, state: "0.4", attrs: attrs{"state_class": "total_increasing"}})
	b.battery(58)
	b.device("Irrigation", "Gardena", "Smart Water Control", "gardena_bluetooth")
	b.add(spec{id: "valve", state: "closed", class: "water", attrs: attrs{"supported_features": 3}})
	b.add(spec{id: "number", name: "Manual watering time", unit: "min", state: "10", icon: "mdi:timer-outline", category: "config", attrs: attrs{"min": 1, "max": 90, "step": 1, "mode": "box"}})
	b.battery(44)
	b.device("Mower", "Husqvarna", "Automower 305", "husqvarna_automower")
	b.add(spec{id: "lawn_mower", state: "docked", attrs: attrs{"supported_features": 7}})
	b.battery(100)
	b.add(spec{id: "device_tracker", name: "Location", state: "home", attrs: attrs{"source_type": "gps", "latitude": 52.3731, "longitude": 4.8922}, category: "diagnostic"})
	b.device("Driveway Camera", "Reolink", "RLC-810A", "reolink")
	b.add(spec{id: "camera", state: "recording", attrs: attrs{"supported_features": 2, "motion_detection": true, "brand": "Reolink"}})
	b.add(spec{id: "binary_sensor", name: "Motion", state: "off", class: "motion", mover: &mover{binary: 0.05}})
	b.add(spec{id: "binary_sensor", name: "Vehicle", state: "off"})
	b.device("Garage Door", "Hörmann", "SupraMatic 4", "hormann")
	b.cover("garage", 0)
	b.add(spec{id: "light", name: "Light", state: "off", attrs: attrs{"supported_color_modes": []string{"onoff"}, "color_mode": nil, "supported_features": 0}})
}

func utilityRoom(b *builder) {
	b.addArea("Utility Room", "mdi:washing-machine")
	b.dimmer("Utility Light", "off", nil)
	b.device("Heat Pump", "Vaillant", "aroTHERM plus", "mypyllant")
	b.add(spec{id: "water_heater", name: "Hot water", state: "eco", attrs: attrs{"min_temp": 35, "max_temp": 65, "current_temperature": 49.5, "temperature": 50, "operation_list": []string{"off", "eco", "performance"}, "operation_mode": "eco", "away_mode": "off", "supported_features": 7}, labels: []string{"heating"}})
	flow := &mover{mean: 34, swing: 5, peak: 6, noise: 0.4, step: 0.1, digits: 1, low: 10, high: 70}
	b.add(spec{id: "sensor", name: "Flow temperature", class: "temperature", unit: "°C", digits: 1, mover: flow, state: flow.text(flow.value(b.h.started)), labels: []string{"heating"}, attrs: attrs{"state_class": "measurement"}})
	b.add(spec{id: "sensor", name: "Coefficient of performance", state: "4.1", icon: "mdi:heat-pump", category: "diagnostic", attrs: attrs{"state_class": "measurement"}})
	b.device("Electricity Meter", "HomeWizard", "Wi-Fi P1 Meter", "homewizard")
	power := &mover{mean: 420, swing: 380, peak: 19, noise: 90, step: 1, low: 0, high: 11000}
	b.add(spec{id: "sensor", name: "Power", class: "power", unit: "W", mover: power, state: power.text(power.value(b.h.started)), labels: []string{"energy"}, attrs: attrs{"state_class": "measurement"}})
	energy := &mover{mean: 18342.117, step: 0.001, digits: 3, low: 0, high: 1e9, rising: 0.42}
	b.add(spec{id: "sensor", name: "Energy import", class: "energy", unit: "kWh", digits: 1, mover: energy, state: energy.text(energy.mean), labels: []string{"energy"}, attrs: attrs{"state_class": "total_increasing"}})
	gas := &mover{mean: 6411.318, step: 0.001, digits: 3, low: 0, high: 1e9, rising: 0.05}
	b.add(spec{id: "sensor", name: "Gas", class: "gas", unit: "m³", digits: 1, mover: gas, state: gas.text(gas.mean), labels: []string{"energy"}, attrs: attrs{"state_class": "total_increasing"}})
	b.add(spec{id: "sensor", name: "Wi-Fi strength", unit: "%", state: "84", category: "diagnostic", attrs: attrs{"state_class": "measurement"}})
	b.device("Solar Inverter", "SolarEdge", "SE5000H", "solaredge")
	sun := &mover{mean: 300, swing: 1900, peak: 13, noise: 60, step: 1, low: 0, high: 5000}
	b.add(spec{id: "sensor", name: "Current power", class: "power", unit: "W", mover: sun, state: sun.text(sun.value(b.h.started)), labels: []string{"energy"}, attrs: attrs{"state_class": "measurement"}})
	b.plug("Washing Machine", "outlet", "on", 2)
	b.plug("Dryer", "outlet", "on", 1.5)
	b.device("Vacuum", "Roborock", "S8 Pro Ultra", "roborock")
	b.add(spec{id: "vacuum", state: "docked", attrs: attrs{"battery_level": 100, "battery_icon": "mdi:battery-charging-100", "fan_speed_list": []string{"quiet", "balanced", "turbo", "max"}, "fan_speed": "balanced", "supported_features": 14204}})
	b.add(spec{id: "sensor", name: "Cleaning area", unit: "m²", state: "48", attrs: attrs{"state_class": "measurement"}})
	b.add(spec{id: "image", name: "Map", state: "2026-01-10T09:12:44.000000+00:00"})
	b.add(spec{id: "button", name: "Empty bin", state: "unknown", icon: "mdi:delete-empty"})
	b.add(spec{id: "select", name: "Mop intensity", state: "mild", category: "config", attrs: attrs{"options": []string{"off", "mild", "moderate", "intense"}}})
	b.add(spec{id: "time", name: "Do not disturb begin", state: "22:00:00", category: "config"})
	b.contact("Boiler Leak Sensor", "moisture", "off", 93)
}

// elsewhere are devices and integrations that are nowhere in the house.
func elsewhere(b *builder) {
	d := b.device("Router", "AVM", "FRITZ!Box 7590", "fritz")
	d.ConfigurationURL = optional("http://fritz.box")
	down := &mover{mean: 900, swing: 700, peak: 21, noise: 300, step: 0.1, digits: 1, low: 0, high: 125000}
	b.add(spec{id: "sensor", name: "Download throughput", class: "data_rate", unit: "kB/s", digits: 1, mover: down, state: down.text(down.value(b.h.started)), attrs: attrs{"state_class": "measurement"}})
	b.add(spec{id: "binary_sensor", name: "Connection", state: "on", class: "connectivity", category: "diagnostic"})
	b.add(spec{id: "update", name: "FRITZ!OS", state: "on", category: "config", attrs: attrs{"installed_version": "7.57", "latest_version": "7.58", "in_progress": false, "release_url": nil, "title": "FRITZ!OS", "supported_features": 1}})
	b.add(spec{id: "button", name: "Restart", state: "unknown", class: "restart", category: "config"})
	b.add(spec{id: "switch", name: "Guest Wi-Fi", state: "off", icon: "mdi:wifi-star"})
	b.device("Bridge", "Signify Netherlands B.V.", "Hue Bridge", "hue")
	b.add(spec{id: "binary_sensor", name: "Update available", state: "off", class: "update", category: "diagnostic", disabled: true})
	b.device("Old Weather Radio", "Oregon Scientific", "THGR122N", "rfxtrx")
	b.add(spec{id: "sensor", name: "Temperature", class: "temperature", unit: "°C", state: "unavailable", digits: 1, attrs: attrs{"state_class": "measurement"}})
	b.battery(3)
	d = b.device("Sun", "", "", "sun")
	d.EntryType = optional("service")
	b.add(spec{id: "sensor", name: "Next dawn", class: "timestamp", state: "2026-01-11T06:58:12+00:00"})
	d = b.device("Waste Calendar", "", "", "waste_collection_schedule")
	d.EntryType = optional("service")
	b.add(spec{id: "calendar", state: "off", attrs: attrs{"message": "Paper", "all_day": true, "start_time": "2026-01-14 00:00:00"}})
}
