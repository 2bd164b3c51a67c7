package simhome

import (
	"math"
	"slices"
)

// lightOn obeys brightness in its forms, colour and effect, as far as the
// light's supported_color_modes go.
func lightOn(c *call, e *entity) error {
	a := e.attributes()
	modes := texts(a, "supported_color_modes")
	set := map[string]any{}
	if slices.Equal(modes, []string{"onoff"}) || len(modes) == 0 {
		set["color_mode"] = "onoff"
		return c.set(e, "on", set)
	}
	brightness := c.brightness(e, a)
	if brightness <= 0 {
		return lightOff(c, e)
	}
	set["brightness"] = brightness
	c.color(e, modes, set)
	if effect := c.text("effect"); effect != "" && slices.Contains(texts2(a, "effect_list"), effect) {
		set["effect"] = effect
	}
	remembered(e, set)
	return c.set(e, "on", set)
}

// texts2 is texts for attributes whose texts may hold spaces.
func texts2(m map[string]any, key string) []string {
	var l []string
	items, _ := m[key].([]any)
	for _, item := range items {
		if s, ok := item.(string); ok {
			l = append(l, s)
		}
	}
	return l
}

func (c *call) brightness(e *entity, a map[string]any) float64 {
	now, ok := a["brightness"].(float64)
	if !ok {
		now = 255
		if last, ok := e.detail["brightness"].(float64); ok {
			now = last
		}
	}
	if v, ok := c.number("brightness"); ok {
		now = v
	} else if v, ok := c.number("brightness_pct"); ok {
		now = v * 255 / 100
	} else if v, ok := c.number("brightness_step"); ok {
		now += v
	} else if v, ok := c.number("brightness_step_pct"); ok {
		now += v * 255 / 100
	}
	return math.Round(min(max(now, 0), 255))
}

// color sets the colour members of set from what the call asks for, from what
// the light last had, or else to the white it begins with.
func (c *call) color(e *entity, modes []string, set map[string]any) {
	colorful := slices.ContainsFunc(modes, func(m string) bool { return slices.Contains([]string{"hs", "rgb", "rgbw", "rgbww", "xy"}, m) })
	white := slices.Contains(modes, "color_temp")
	kelvin, ok := c.number("color_temp_kelvin")
	if !ok {
		if mireds, isMired := c.number("color_temp"); isMired && mireds > 0 {
			kelvin, ok = math.Round(1e6/mireds), true
		}
	}
	hs, hasColor := c.hs()
	switch {
	case colorful && hasColor:
		setColor(set, hs)
	case white && ok:
		setWhite(set, kelvin)
	case e.state.State == "on":
	case colorful && e.detail["hs"] != nil:
		setColor(set, e.detail["hs"].([2]float64))
	case white:
		last, isSet := e.detail["kelvin"].(float64)
		if !isSet {
			last = 2700
		}
		setWhite(set, last)
	case colorful:
		setColor(set, [2]float64{30, 40})
	default:
		set["color_mode"] = "brightness"
	}
}

func (c *call) hs() ([2]float64, bool) {
	numbers := func(key string) []float64 {
		var l []float64
		items, _ := c.data[key].([]any)
		for _, item := range items {
			f, ok := item.(float64)
			if !ok {
				return nil
			}
			l = append(l, f)
		}
		return l
	}
	if v := numbers("hs_color"); len(v) == 2 {
		return [2]float64{v[0], v[1]}, true
	}
	for _, key := range []string{"rgb_color", "rgbw_color", "rgbww_color"} {
		if v := numbers(key); len(v) >= 3 {
			return toHS(v[0], v[1], v[2]), true
		}
	}
	return [2]float64{}, false
}

func setColor(set map[string]any, hs [2]float64) {
	set["color_mode"], set["hs_color"], set["rgb_color"] = "hs", hs, toRGB(hs)
	set["color_temp_kelvin"], set["color_temp"] = nil, nil
}

func setWhite(set map[string]any, kelvin float64) {
	kelvin = min(max(kelvin, 2000), 6535)
	set["color_mode"], set["color_temp_kelvin"], set["color_temp"] = "color_temp", kelvin, math.Round(1e6/kelvin)
	// A plain approximation of how such a white looks.
	warm := (6535 - kelvin) / 4535
	hs := [2]float64{math.Round(28 + 2*warm), math.Round(70 * warm)}
	set["hs_color"], set["rgb_color"] = hs, toRGB(hs)
}

// remembered keeps what a light is turned on with the next time.
func remembered(e *entity, set map[string]any) {
	if e.detail == nil {
		e.detail = map[string]any{}
	}
	e.detail["brightness"] = set["brightness"]
	switch set["color_mode"] {
	case "hs":
		e.detail["hs"] = set["hs_color"]
	case "color_temp":
		e.detail["kelvin"] = set["color_temp_kelvin"]
		delete(e.detail, "hs")
	}
}

func lightOff(c *call, e *entity) error {
	set := map[string]any{"color_mode": nil}
	for _, key := range []string{"brightness", "color_temp_kelvin", "color_temp", "hs_color", "rgb_color", "effect"} {
		if _, ok := e.attributes()[key]; ok {
			set[key] = nil
		}
	}
	return c.set(e, "off", set)
}

func toRGB(hs [2]float64) [3]float64 {
	h, s := math.Mod(hs[0], 360)/60, hs[1]/100
	f := func(n float64) float64 {
		k := math.Mod(n+h, 6)
		return math.Round(255 * (1 - s*max(0, min(k, 4-k, 1))))
	}
	return [3]float64{f(5), f(3), f(1)}
}

func toHS(r, g, b float64) [2]float64 {
	high, low := max(r, g, b), min(r, g, b)
	if high == low {
		return [2]float64{0, 0}
	}
	d := high - low
	var h float64
	switch high {
	case r:
		h = math.Mod((g-b)/d+6, 6)
	case g:
		h = (b-r)/d + 2
	default:
		h = (r-g)/d + 4
	}
	round := func(v float64) float64 { return math.Round(v*1000) / 1000 }
	return [2]float64{round(h * 60), round(d / high * 100)}
}
