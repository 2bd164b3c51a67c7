package simhome

func people(b *builder) {
	b.alone()
	home := attrs{"latitude": 52.3731, "longitude": 4.8922, "gps_accuracy": 8}
	b.add(spec{id: "person.emma", name: "Emma", state: "home", attrs: merge(home, attrs{"id": "emma", "user_id": user, "editable": true, "device_trackers": []string{"device_tracker.emmas_phone"}})})
	b.add(spec{id: "person.daan", name: "Daan", state: "not_home", attrs: attrs{"id": "daan", "user_id": nil, "editable": true, "latitude": 52.09, "longitude": 5.12, "gps_accuracy": 20}})
	b.device("Emma's Phone", "Apple", "iPhone15,2", "mobile_app")
	b.add(spec{id: "device_tracker", state: "home", attrs: merge(home, attrs{"source_type": "gps", "battery_level": 74})})
	b.battery(74)
	b.add(spec{id: "sensor", name: "Steps", unit: "steps", state: "5210", icon: "mdi:walk", attrs: attrs{"state_class": "measurement"}})
	b.alone()
	b.add(spec{id: "zone.home", name: "Home", state: "1", icon: "mdi:home", noEntry: true, attrs: attrs{"latitude": 52.3731, "longitude": 4.8922, "radius": 100, "passive": false, "persons": []string{"person.emma"}, "editable": true}})
	b.add(spec{id: "zone.school", name: "School", state: "0", icon: "mdi:school", noEntry: true, attrs: attrs{"latitude": 52.36, "longitude": 4.91, "radius": 150, "passive": false, "persons": []string{}, "editable": true}})
	b.add(spec{id: "sun.sun", name: "Sun", state: "above_horizon", noEntry: true, attrs: attrs{"elevation": 12.4, "azimuth": 171.2, "rising": true, "next_dawn": "2026-01-11T06:58:12.000000+00:00", "next_setting": "2026-01-10T15:55:40.000000+00:00"}})
	b.add(spec{id: "weather.home", name: "Forecast Home", state: "partlycloudy", platform: "met", attrs: attrs{
		"temperature": 9.4, "dew_point": 5.1, "temperature_unit": "°C", "humidity": 74, "cloud_coverage": 58.2, "pressure": 1014.3, "pressure_unit": "hPa",
		"wind_bearing": 228.4, "wind_speed": 16.9, "wind_speed_unit": "km/h", "visibility_unit": "km", "precipitation_unit": "mm", "supported_features": 3,
	}})
}

func merge(all ...attrs) attrs {
	m := attrs{}
	for _, a := range all {
		for k, v := range a {
			m[k] = v
		}
	}
	return m
}

func helpers(b *builder) {
	edit := attrs{"editable": true}
	b.add(spec{id: "input_boolean", name: "Guest mode", state: "off", icon: "mdi:account-multiple", attrs: edit})
	b.add(spec{id: "input_boolean", name: "Holiday", state: "off", icon: "mdi:beach", attrs: edit})
	b.add(spec{id: "input_number", name: "Comfort temperature", state: "21.0", unit: "°C", icon: "mdi:thermometer", area: "living_room", attrs: attrs{"min": 5.0, "max": 30.0, "step": 0.5, "mode": "slider", "editable": true, "initial": nil}})
	b.add(spec{id: "input_select", name: "House mode", state: "Home", icon: "mdi:home-switch", attrs: attrs{"options": []string{"Home", "Away", "Night", "Vacation"}, "editable": true}})
	b.add(spec{id: "input_text", name: "Note on the fridge", state: "Milk, eggs", icon: "mdi:note-text", area: "kitchen", attrs: attrs{"min": 0, "max": 100, "pattern": nil, "mode": "text", "editable": true}})
	b.add(spec{id: "input_datetime", name: "Wake-up time", state: "06:45:00", icon: "mdi:alarm", area: "bedroom", attrs: attrs{"has_date": false, "has_time": true, "editable": true, "hour": 6, "minute": 45, "second": 0}})
	b.add(spec{id: "input_button", name: "Good night", state: "unknown", icon: "mdi:weather-night", labels: []string{"night"}, attrs: edit})
	b.add(spec{id: "timer", name: "Laundry", state: "idle", icon: "mdi:timer", area: "utility_room", attrs: attrs{"duration": "0:45:00", "editable": true}})
	b.add(spec{id: "counter", name: "Coffees today", state: "3", icon: "mdi:coffee", area: "kitchen", attrs: attrs{"initial": 0, "step": 1, "editable": true}})
	b.add(spec{id: "todo", name: "Shopping list", state: "3", platform: "shopping_list", area: "kitchen", attrs: attrs{"supported_features": 15},
		detail: map[string]any{"items": []todoItem{{"Milk", "a1", "needs_action"}, {"Bread", "a2", "needs_action"}, {"Olive oil", "a3", "needs_action"}, {"Tomatoes", "a4", "completed"}}}})
	b.add(spec{id: "text", name: "Doorbell message", state: "Please ring", platform: "template", area: "hallway", attrs: attrs{"min": 0, "max": 40, "mode": "text", "pattern": nil}})
	b.add(spec{id: "date", name: "Filter changed", state: "2026-01-02", platform: "template", area: "utility_room"})
	b.add(spec{id: "light.all_lights_downstairs", name: "All lights downstairs", state: "on", platform: "group", hidden: true, area: "living_room",
		attrs: merge(ambiance(true), attrs{"entity_id": []string{"light.ceiling_light", "light.floor_lamp", "light.kitchen_spots"}})})
	b.add(spec{id: "stt.whisper", name: "Whisper", state: "unknown", platform: "wyoming"})
	b.add(spec{id: "sensor.washing_programs", name: "Washing programs", state: "214", noEntry: true, attrs: attrs{"note": "made by a script, without an entry in the registry"}})
}

func scenes(b *builder) {
	on := func(entity string, data map[string]any) step { return step{"light", "turn_on", entity, data} }
	off := func(entity string) step { return step{"light", "turn_off", entity, nil} }
	b.scripted("scene", "Movie night", "mdi:movie-open", "unknown", nil,
		off("light.ceiling_light"), on("light.floor_lamp", map[string]any{"brightness": 40.0, "hs_color": []any{28.0, 70.0}}),
		step{"cover", "close_cover", "cover.living_room_blind", nil})
	b.scripted("scene", "Bright", "mdi:white-balance-sunny", "unknown", nil,
		on("light.ceiling_light", map[string]any{"brightness": 255.0, "color_temp_kelvin": 4500.0}), on("light.dining_table_pendant", map[string]any{"brightness": 255.0}))
	b.scripted("scene", "Good night lights", "mdi:bed-clock", "unknown", nil,
		off("light.ceiling_light"), off("light.floor_lamp"), off("light.kitchen_spots"), on("light.night_light", map[string]any{"brightness": 12.0}))
	b.scripted("script", "Leave the house", "mdi:home-export-outline", "off", attrs{"last_triggered": nil, "mode": "single", "current": 0},
		off("light.ceiling_light"), off("light.floor_lamp"), off("light.kitchen_spots"), step{"lock", "lock", "lock.front_door_lock", nil},
		step{"media_player", "media_pause", "media_player.living_room_speaker", nil})
	b.scripted("script", "Air the rooms", "mdi:weather-windy", "off", attrs{"last_triggered": nil, "mode": "single", "current": 0},
		step{"fan", "turn_on", "fan.bathroom_fan", map[string]any{"percentage": 100.0}})
	b.scripted("automation", "Hallway light on motion", "", "on", nil, on("light.hallway_light", map[string]any{"brightness": 120.0}))
	b.scripted("automation", "Blinds down at sunset", "", "on", nil, step{"cover", "close_cover", "cover.living_room_blind", nil}, step{"cover", "close_cover", "cover.bedroom_shutter", nil})
	b.scripted("automation", "Warn when the fridge is open", "", "off", nil)
	for id, area := range map[string]string{"scene.movie_night": "living_room", "scene.bright": "living_room", "scene.good_night_lights": "bedroom", "script.air_the_rooms": "bathroom", "automation.hallway_light_on_motion": "hallway"} {
		if e := b.h.byID[id]; e != nil && e.entry != nil {
			e.entry.AreaID = area
		}
	}
}
