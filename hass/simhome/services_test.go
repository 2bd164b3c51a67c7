package simhome_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/hass"
	"github.com/concord-home/concord/hass/server"
	"github.com/concord-home/concord/hass/simhome"
)

func TestServicesDoWhatTheySay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, call, data, state, attributes string }{
		{"LightBrightness", "light.turn_on", `{"entity_id":"light.floor_lamp","brightness":77}`, "on", `"brightness":77`},
		{"LightPercent", "light.turn_on", `{"entity_id":"light.floor_lamp","brightness_pct":50}`, "on", `"brightness":128`},
		{"LightStep", "light.turn_on", `{"entity_id":"light.floor_lamp","brightness_step":-2}`, "on", `"brightness":100`},
		{"LightZeroIsOff", "light.turn_on", `{"entity_id":"light.floor_lamp","brightness":0}`, "off", `"brightness":null`},
		{"LightRGB", "light.turn_on", `{"entity_id":"light.floor_lamp","rgb_color":[255,0,0]}`, "on", `"hs_color":[0,100]`},
		{"LightColorMode", "light.turn_on", `{"entity_id":"light.floor_lamp","hs_color":[240,100]}`, "on", `"rgb_color":[0,0,255]`},
		{"LightKelvin", "light.turn_on", `{"entity_id":"light.floor_lamp","color_temp_kelvin":4000}`, "on", `"color_temp":250`},
		{"LightEffect", "light.turn_on", `{"entity_id":"light.floor_lamp","effect":"candle"}`, "on", `"effect":"candle"`},
		{"LightToggle", "light.toggle", `{"entity_id":"light.floor_lamp"}`, "off", `"color_mode":null`},
		{"LightByArea", "light.turn_off", `{"area_id":"living_room"}`, "off", ""},
		{"LightByFloor", "light.turn_off", `{"floor_id":["ground_floor"]}`, "off", ""},
		{"AnyDomain", "homeassistant.turn_off", `{"entity_id":"light.floor_lamp"}`, "off", ""},
		{"Switch", "switch.turn_off", `{"entity_id":["switch.tv_corner_plug"]}`, "off", ""},
		{"ClimateTarget", "climate.set_temperature", `{"entity_id":"climate.living_room_radiator","temperature":19.5}`, "heat", `"temperature":19.5`},
		{"ClimateAction", "climate.set_temperature", `{"entity_id":"climate.living_room_radiator","temperature":25}`, "heat", `"hvac_action":"heating"`},
		{"ClimateOff", "climate.set_hvac_mode", `{"entity_id":"climate.living_room_radiator","hvac_mode":"off"}`, "off", `"hvac_action":"off"`},
		{"ClimatePreset", "climate.set_preset_mode", `{"entity_id":"climate.living_room_radiator","preset_mode":"eco"}`, "heat", `"preset_mode":"eco"`},
		{"FanPercentage", "fan.set_percentage", `{"entity_id":"fan.ceiling_fan","percentage":66}`, "on", `"percentage":66`},
		{"CoverBegins", "cover.close_cover", `{"entity_id":"cover.living_room_blind"}`, "closing", ""},
		{"Lock", "lock.unlock", `{"entity_id":"lock.front_door_lock"}`, "unlocking", ""},
		{"MediaPause", "media_player.media_play_pause", `{"entity_id":"media_player.living_room_speaker"}`, "paused", ""},
		{"MediaVolume", "media_player.volume_set", `{"entity_id":"media_player.living_room_speaker","volume_level":0.6}`, "playing", `"volume_level":0.6`},
		{"MediaNext", "media_player.media_next_track", `{"entity_id":"media_player.living_room_speaker"}`, "playing", `"media_artist":"Khruangbin"`},
		{"Number", "input_number.set_value", `{"entity_id":"input_number.comfort_temperature","value":19.5}`, "19.5", ""},
		{"NumberStep", "input_number.increment", `{"entity_id":"input_number.comfort_temperature"}`, "21.5", ""},
		{"Select", "input_select.select_option", `{"entity_id":"input_select.house_mode","option":"Night"}`, "Night", ""},
		{"SelectNext", "input_select.select_next", `{"entity_id":"input_select.house_mode"}`, "Away", ""},
		{"Text", "input_text.set_value", `{"entity_id":"input_text.note_on_the_fridge","value":"Äpfel"}`, "Äpfel", ""},
		{"Counter", "counter.increment", `{"entity_id":"counter.coffees_today"}`, "4", ""},
		{"Timer", "timer.start", `{"entity_id":"timer.laundry"}`, "active", `"remaining":"0:45:00"`},
		{"Vacuum", "vacuum.start", `{"entity_id":"vacuum.vacuum"}`, "cleaning", ""},
		{"Alarm", "alarm_control_panel.alarm_arm_home", `{"entity_id":"alarm_control_panel.alarm","code":"1234"}`, "arming", ""},
		{"Todo", "todo.add_item", `{"entity_id":"todo.shopping_list","item":"Tea"}`, "4", ""},
		{"Update", "update.install", `{"entity_id":"update.router_fritz_os"}`, "on", `"in_progress":true`},
		{"Script", "script.turn_on", `{"entity_id":"script.leave_the_house"}`, "on", `"last_triggered":"2`},
		{"WaterHeater", "water_heater.set_temperature", `{"entity_id":"water_heater.heat_pump_hot_water","temperature":55}`, "eco", `"temperature":55`},
		{"Humidifier", "humidifier.set_humidity", `{"entity_id":"humidifier.humidifier","humidity":45}`, "on", `"humidity":45`},
		{"Siren", "siren.turn_on", `{"entity_id":"siren.kitchen_smoke_detector_siren"}`, "on", ""},
		{"Valve", "valve.open_valve", `{"entity_id":"valve.irrigation"}`, "opening", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHome(t, simhome.Options{})
			domain, service, _ := strings.Cut(c.call, ".")
			_, err := h.CallService(t.Context(), domain, service, json.RawMessage(c.data), nil)
			require.NoError(t, err)
			var m struct {
				EntityID any `json:"entity_id"`
			}
			require.NoError(t, json.Unmarshal([]byte(c.data), &m))
			id, ok := m.EntityID.(string)
			if list, isList := m.EntityID.([]any); isList {
				id, ok = list[0].(string)
			}
			if !ok {
				id = "light.floor_lamp"
			}
			require.NotNil(t, h.State(id), id)
			require.Equal(t, c.state, h.State(id).State)
			require.Contains(t, string(h.State(id).Attributes), c.attributes)
		})
	}
}

func TestServicesRefuse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, call, data, code string }{
		{"UnknownService", "light.explode", `{}`, hass.CodeNotFound},
		{"UnknownDomain", "warp.engage", `{}`, hass.CodeNotFound},
		{"TooHot", "climate.set_temperature", `{"entity_id":"climate.living_room_radiator","temperature":95}`, hass.CodeServiceValidation},
		{"NoOption", "input_select.select_option", `{"entity_id":"input_select.house_mode","option":"Party"}`, hass.CodeServiceValidation},
		{"WrongCode", "alarm_control_panel.alarm_arm_away", `{"entity_id":"alarm_control_panel.alarm","code":"1"}`, hass.CodeServiceValidation},
		{"NotAnObject", "light.turn_on", `[1]`, hass.CodeInvalidFormat},
	} {
		h := newHome(t, simhome.Options{})
		domain, service, _ := strings.Cut(c.call, ".")
		_, err := h.CallService(t.Context(), domain, service, json.RawMessage(c.data), nil)
		var refused *server.Error
		require.ErrorAs(t, err, &refused, c.name)
		require.Equal(t, c.code, refused.Code, c.name)
	}
	h := newHome(t, simhome.Options{})
	_, err := h.CallService(t.Context(), "light", "turn_on", json.RawMessage(`{"entity_id":"light.not_there"}`), nil)
	require.NoError(t, err, "as in Home Assistant")
}

func TestSceneSetsItsLights(t *testing.T) {
	t.Parallel()
	h := newHome(t, simhome.Options{})
	_, err := h.CallService(t.Context(), "scene", "turn_on", nil, json.RawMessage(`{"entity_id":"scene.movie_night"}`))
	require.NoError(t, err)
	require.Equal(t, "off", h.State("light.ceiling_light").State)
	require.Contains(t, string(h.State("light.floor_lamp").Attributes), `"brightness":40`)
	require.Contains(t, h.State("scene.movie_night").State, "T")
}

func TestResponses(t *testing.T) {
	t.Parallel()
	h := newHome(t, simhome.Options{})
	raw, err := h.CallService(t.Context(), "weather", "get_forecasts", json.RawMessage(`{"type":"daily","entity_id":"weather.home"}`), nil)
	require.NoError(t, err)
	require.Contains(t, string(raw), `"templow"`)
	raw, err = h.CallService(t.Context(), "todo", "get_items", nil, json.RawMessage(`{"entity_id":"todo.shopping_list"}`))
	require.NoError(t, err)
	require.Contains(t, string(raw), `"Olive oil"`)
}
