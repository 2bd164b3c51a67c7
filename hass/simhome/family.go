package simhome

// family furnishes the house that everybody gets.
func family(b *builder) {
	b.addFloor("ground_floor", "Ground floor", "mdi:home-floor-0", 0)
	b.addArea("Living Room", "mdi:sofa")
	b.device("Ceiling Light", "Signify Netherlands B.V.", "Hue white ambiance lamp", "hue")
	b.add(spec{id: "light", state: "off", attrs: ambiance(false)})
	b.device("Thermostat Sensor", "Aqara", "WSDCGQ11LM", "zha")
	b.climate(21, 45)
}

func ambiance(color bool) attrs {
	modes := []string{"color_temp"}
	if color {
		modes = append(modes, "hs")
	}
	return attrs{
		"min_color_temp_kelvin": 2000, "max_color_temp_kelvin": 6535, "min_mireds": 153, "max_mireds": 500,
		"supported_color_modes": modes, "color_mode": nil, "brightness": nil, "color_temp_kelvin": nil,
		"color_temp": nil, "hs_color": nil, "rgb_color": nil, "supported_features": 44,
	}
}

// climate adds a temperature and a humidity reading to the device.
func (b *builder) climate(temperature, humidity float64) {
	m := &mover{mean: temperature, swing: 1.5, peak: 16, noise: 0.1, step: 0.1, digits: 1, low: -30, high: 60}
	b.add(spec{id: "sensor", name: "Temperature", class: "temperature", unit: "°C", digits: 1, mover: m,
		state: m.text(m.value(b.h.started)), attrs: attrs{"state_class": "measurement"}})
	m = &mover{mean: humidity, swing: 6, peak: 7, noise: 0.5, step: 0.5, digits: 1, low: 0, high: 100}
	b.add(spec{id: "sensor", name: "Humidity", class: "humidity", unit: "%", digits: 0, mover: m,
		state: m.text(m.value(b.h.started)), attrs: attrs{"state_class": "measurement"}})
}
