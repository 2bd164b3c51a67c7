package simhome

// services by domain and name. What is not here is refused as not found.
var services map[string]map[string]service

func init() { // not a literal: scenes and scripts look other services up
	onOff := map[string]service{"turn_on": to("on"), "turn_off": to("off"), "toggle": toggle(to("on"), to("off"))}
	press := map[string]service{"press": stamp}
	number := map[string]service{"set_value": setNumber, "increment": stepNumber(1), "decrement": stepNumber(-1)}
	choose := map[string]service{"select_option": selectOption, "select_first": selectStep(0), "select_last": selectStep(-1), "select_next": selectMove(1), "select_previous": selectMove(-1)}
	services = map[string]map[string]service{
		"light": {"turn_on": lightOn, "turn_off": lightOff, "toggle": toggle(lightOn, lightOff)}, "switch": onOff, "input_boolean": onOff,
		"siren": onOff, "remote": {"turn_on": to("on"), "turn_off": to("off"), "toggle": toggle(to("on"), to("off")), "send_command": nothing},
		"fan": {"turn_on": fanOn, "turn_off": fanOff, "toggle": toggle(fanOn, fanOff), "set_percentage": fanPercentage,
			"set_preset_mode": attribute("preset_mode"), "oscillate": attribute("oscillating"), "set_direction": attribute("direction")},
		"humidifier": {"turn_on": to("on"), "turn_off": to("off"), "toggle": toggle(to("on"), to("off")), "set_humidity": attribute("humidity"), "set_mode": attribute("mode")},
		"climate": {"set_temperature": setTemperature, "set_hvac_mode": setHVACMode, "set_preset_mode": attribute("preset_mode"), "set_fan_mode": attribute("fan_mode"),
			"set_swing_mode": attribute("swing_mode"), "set_humidity": attribute("humidity"), "turn_on": hvac("heat"), "turn_off": hvac("off"), "toggle": toggle(hvac("heat"), hvac("off"))},
		"water_heater": {"set_temperature": attribute("temperature"), "set_operation_mode": operationMode, "set_away_mode": attribute("away_mode"), "turn_on": to("eco"), "turn_off": to("off")},
		"cover": {"open_cover": travelTo(100), "close_cover": travelTo(0), "stop_cover": stopTravel, "toggle": toggleCover, "set_cover_position": setPosition,
			"open_cover_tilt": tilt(100), "close_cover_tilt": tilt(0), "set_cover_tilt_position": setTilt, "stop_cover_tilt": nothing},
		"valve": {"open_valve": travelTo(100), "close_valve": travelTo(0), "stop_valve": stopTravel, "toggle": toggleCover, "set_valve_position": setPosition},
		"lock":  {"lock": later("locking", "locked"), "unlock": later("unlocking", "unlocked"), "open": later("opening", "open")},
		"media_player": {"turn_on": to("idle"), "turn_off": to("off"), "toggle": toggle(to("idle"), to("off")), "media_play": to("playing"), "media_pause": to("paused"),
			"media_stop": to("idle"), "media_play_pause": playPause, "media_next_track": track(1), "media_previous_track": track(-1),
			"volume_set": attribute("volume_level"), "volume_mute": volumeMute, "volume_up": volume(0.05), "volume_down": volume(-0.05), "media_seek": seek,
			"select_source": attribute("source"), "select_sound_mode": attribute("sound_mode"), "shuffle_set": attribute("shuffle"), "repeat_set": attribute("repeat"), "play_media": to("playing")},
		"vacuum": {"start": later("cleaning", ""), "pause": to("paused"), "stop": to("idle"), "return_to_base": later("returning", "docked"),
			"locate": nothing, "clean_spot": later("cleaning", ""), "set_fan_speed": attribute("fan_speed"), "send_command": nothing},
		"lawn_mower":          {"start_mowing": to("mowing"), "pause": to("paused"), "dock": later("returning", "docked")},
		"alarm_control_panel": alarms(),
		"number":              number, "input_number": number,
		"select": choose, "input_select": choose,
		"text": {"set_value": setText}, "input_text": {"set_value": setText},
		"date": {"set_value": setFrom("date")}, "time": {"set_value": setFrom("time")}, "datetime": {"set_value": setFrom("datetime")},
		"input_datetime": {"set_datetime": setDateTime},
		"button":         press, "input_button": press,
		"scene":      {"turn_on": sceneOn},
		"script":     {"turn_on": scriptOn, "turn_off": to("off"), "toggle": toggle(scriptOn, to("off"))},
		"automation": {"turn_on": to("on"), "turn_off": to("off"), "toggle": toggle(to("on"), to("off")), "trigger": trigger},
		"timer":      {"start": timerStart, "pause": timerPause, "cancel": timerStop, "finish": timerStop},
		"counter":    {"increment": count(1), "decrement": count(-1), "reset": resetCounter, "set_value": setText},
		"update":     {"install": install, "skip": skip, "clear_skipped": nothing},
		"todo":       {"add_item": addItem, "update_item": updateItem, "remove_item": removeItem, "remove_completed_items": removeCompleted},
		"camera":     {"turn_on": to("idle"), "turn_off": to("off"), "enable_motion_detection": motionDetection(true), "disable_motion_detection": motionDetection(false)},
	}
}

// nothing is a service without a visible effect.
func nothing(*call, *entity) error { return nil }

// attribute makes a service that sets the attribute of the same name.
func attribute(key string) service {
	return func(c *call, e *entity) error {
		v, ok := c.data[key]
		if key == "volume_level" {
			v, ok = c.data["volume_level"]
		}
		if !ok {
			return invalid("required key not provided @ data['" + key + "']")
		}
		for name, choices := range map[string]string{"preset_mode": "preset_modes", "fan_mode": "fan_modes", "swing_mode": "swing_modes", "source": "source_list", "mode": "available_modes", "fan_speed": "fan_speed_list"} {
			if text, isText := v.(string); name == key && isText && !contains(texts2(e.attributes(), choices), text) {
				return invalid(key + " " + text + " is not valid. Valid values are in " + choices)
			}
		}
		return c.set(e, "", map[string]any{key: v})
	}
}

func contains(list []string, s string) bool {
	for _, item := range list {
		if item == s {
			return true
		}
	}
	return len(list) == 0
}
