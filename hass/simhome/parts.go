package simhome

import (
	"strconv"
	"strings"
)

// The parts that the rooms of the house are furnished with. Each begins a
// device in the current area unless it says otherwise.

func ambiance(color bool) attrs {
	modes := []string{"color_temp"}
	a := attrs{
		"min_color_temp_kelvin": 2000, "max_color_temp_kelvin": 6535, "min_mireds": 153, "max_mireds": 500,
		"color_mode": nil, "brightness": nil, "color_temp_kelvin": nil, "color_temp": nil, "hs_color": nil, "rgb_color": nil,
		"supported_features": 40,
	}
	if color {
		modes = append(modes, "hs")
		a["effect_list"], a["effect"], a["supported_features"] = []string{"colorloop", "candle", "fireplace", "prism", "sunrise", "off"}, nil, 44
	}
	a["supported_color_modes"] = modes
	return a
}

// lit is an ambiance that is on.
func lit(color bool, brightness, kelvin int) attrs {
	a := ambiance(color)
	set := map[string]any{}
	setWhite(set, float64(kelvin))
	for k, v := range set {
		a[k] = v
	}
	a["brightness"] = brightness
	return a
}

func (b *builder) hue(name string, color bool, on int) {
	model := "Hue white ambiance lamp"
	if color {
		model = "Hue color lamp"
	}
	b.device(name, "Signify Netherlands B.V.", model, "hue")
	if on > 0 {
		b.add(spec{id: "light", state: "on", attrs: lit(color, on, 2700)})
	} else {
		b.add(spec{id: "light", state: "off", attrs: ambiance(color)})
	}
}

func (b *builder) dimmer(name, state string, brightness any) {
	b.device(name, "Shelly", "Dimmer 2", "shelly")
	mode := any("brightness")
	if state == "off" {
		mode = nil
	}
	b.add(spec{id: "light", state: state, attrs: attrs{"supported_color_modes": []string{"brightness"}, "color_mode": mode, "brightness": brightness, "supported_features": 32}})
	b.reading(4)
	b.add(spec{id: "sensor", name: "Device temperature", class: "temperature", unit: "°C", category: "diagnostic", digits: 1,
		state: "41.3", attrs: attrs{"state_class": "measurement"}, mover: &mover{mean: 41, swing: 3, peak: 20, noise: 0.3, step: 0.1, digits: 1, low: 0, high: 90}})
	b.add(spec{id: "button", name: "Reboot", state: "unknown", class: "restart", category: "config"})
	b.add(spec{id: "update", name: "Firmware", state: "off", class: "firmware", category: "config",
		attrs: attrs{"installed_version": "1.14.0", "latest_version": "1.14.0", "in_progress": false, "auto_update": false, "supported_features": 5}})
}

func (b *builder) battery(percent float64) {
	m := &mover{mean: percent, noise: 0.6, step: 1, low: 1, high: 100}
	b.add(spec{id: "sensor", name: "Battery", class: "battery", unit: "%", category: "diagnostic", state: m.text(percent),
		attrs: attrs{"state_class": "measurement"}})
}

// climate is a room sensor for temperature and humidity.
func (b *builder) climate(temperature, humidity, battery float64) {
	b.device(b.areaName()+" Climate", "Aqara", "WSDCGQ11LM", "zha")
	m := &mover{mean: temperature, swing: 1.2, peak: 17, noise: 0.1, step: 0.1, digits: 1, low: -30, high: 60}
	t := b.add(spec{id: "sensor", name: "Temperature", class: "temperature", unit: "°C", digits: 1, mover: m, state: m.text(m.value(b.h.started)), attrs: attrs{"state_class": "measurement"}})
	m = &mover{mean: humidity, swing: 5, peak: 7, noise: 0.6, step: 0.5, digits: 1, low: 0, high: 100}
	hum := b.add(spec{id: "sensor", name: "Humidity", class: "humidity", unit: "%", mover: m, state: m.text(m.value(b.h.started)), attrs: attrs{"state_class": "measurement"}})
	if a := b.h.reg.areas[len(b.h.reg.areas)-1]; t.entry != nil && hum.entry != nil {
		a.Temperature, a.Humidity = &t.entry.EntityID, &hum.entry.EntityID
	}
	b.battery(battery)
	b.add(spec{id: "sensor", name: "Signal strength", class: "signal_strength", unit: "dBm", category: "diagnostic", disabled: true})
}

func (b *builder) areaName() string { return b.h.reg.areas[len(b.h.reg.areas)-1].Name }

func (b *builder) contact(name, class, state string, battery float64) {
	b.device(name, "Aqara", "MCCGQ11LM", "zha")
	b.add(spec{id: "binary_sensor", state: state, class: class})
	b.battery(battery)
}

func (b *builder) motion(name string, battery float64) {
	b.device(name, "Signify Netherlands B.V.", "Hue motion sensor", "hue")
	b.add(spec{id: "binary_sensor", name: "Motion", state: "off", class: "motion", mover: &mover{binary: 0.1}})
	b.add(spec{id: "switch", name: "Motion sensor enabled", state: "on", category: "config"})
	b.reading(2)
	b.battery(battery)
}

func (b *builder) blind(name, class string, position float64) {
	b.device(name, "Somfy", "Sunea RTS", "overkiz")
	b.cover(class, position)
}

func (b *builder) cover(class string, position float64) {
	b.add(spec{id: "cover", state: map[bool]string{true: "open", false: "closed"}[position > 0], class: class,
		attrs: attrs{"current_position": position, "supported_features": 15}})
}

func (b *builder) plug(name, class, state string, watts float64) {
	b.device(name, "TP-Link", "HS110", "tplink")
	b.add(spec{id: "switch", state: state, class: "outlet"})
	m := &mover{mean: watts, swing: watts / 3, peak: 19, noise: watts / 10, step: 0.1, digits: 1, low: 0, high: 3680}
	b.add(spec{id: "sensor", name: "Current consumption", class: "power", unit: "W", digits: 1, mover: m, state: m.text(m.value(b.h.started)), attrs: attrs{"state_class": "measurement"}})
	e := &mover{mean: 120 + watts, step: 0.01, digits: 2, low: 0, high: 1e9, rising: watts / 1000}
	b.add(spec{id: "sensor", name: "Total consumption", class: "energy", unit: "kWh", digits: 2, mover: e, state: e.text(e.mean), attrs: attrs{"state_class": "total_increasing"}})
	b.add(spec{id: "switch", name: "LED", state: "on", category: "config", icon: "mdi:led-on"})
	_ = class
}

func (b *builder) thermostat(name string, target, current float64) {
	b.device(name, "tado", "VA02", "tado")
	b.add(spec{id: "climate", state: "heat", attrs: attrs{
		"hvac_modes": []string{"off", "heat", "auto"}, "min_temp": 5, "max_temp": 25, "target_temp_step": 0.5,
		"preset_modes": []string{"home", "away", "eco", "comfort"}, "preset_mode": "home", "current_temperature": current, "temperature": target,
		"hvac_action": action("heat", current, target), "supported_features": 401,
	}})
	b.add(spec{id: "sensor", name: "Valve position", unit: "%", state: "38", icon: "mdi:valve", category: "diagnostic", attrs: attrs{"state_class": "measurement"},
		mover: &mover{mean: 35, swing: 25, peak: 6, noise: 4, step: 1, low: 0, high: 100}})
	b.add(spec{id: "switch", name: "Child lock", state: "off", category: "config", icon: "mdi:lock-outline"})
	b.battery(71)
}

func (b *builder) speaker(name, model, state string, playing int) {
	b.device(name, "Sonos", model, "sonos")
	a := attrs{
		"volume_level": 0.25, "is_volume_muted": false, "shuffle": false, "repeat": "off", "supported_features": 4127295,
		"source_list": []string{"Radio 4", "Evening jazz", "Line-in", "TV"},
	}
	if state == "playing" {
		t := tracks[playing%len(tracks)]
		a["media_content_type"], a["media_title"], a["media_artist"], a["media_album_name"] = "music", t.title, t.artist, t.album
		a["media_duration"], a["media_position"] = 312, 41
	}
	b.add(spec{id: "media_player", state: state, class: "speaker", attrs: a})
	b.add(spec{id: "number", name: "Bass", state: "2", category: "config", icon: "mdi:music-clef-bass", attrs: attrs{"min": -10, "max": 10, "step": 1, "mode": "auto"}})
	b.add(spec{id: "switch", name: "Loudness", state: "on", category: "config"})
}

// group makes scenes, scripts and automations: members by "domain.service" and
// entity.
func (b *builder) scripted(id, name, icon, state string, a attrs, steps ...step) {
	var members []string
	for _, s := range steps {
		members = append(members, s.entity)
	}
	if a == nil {
		a = attrs{}
	}
	if strings.HasPrefix(id, "scene") {
		a["entity_id"] = members
	}
	if strings.HasPrefix(id, "automation") {
		a["id"], a["last_triggered"], a["mode"], a["current"] = strconv.FormatUint(hash(name)%1e13, 10), nil, "single", 0
	}
	b.add(spec{id: id, name: name, icon: icon, state: state, attrs: a, detail: map[string]any{"steps": steps, "members": members}})
}
