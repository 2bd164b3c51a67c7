package simhome

import (
	"math"
	"time"
)

func fanOn(c *call, e *entity) error {
	percentage, ok := c.number("percentage")
	if !ok {
		percentage, _ = e.attributes()["percentage"].(float64)
	}
	if percentage == 0 {
		percentage = 50
	}
	return c.set(e, "on", map[string]any{"percentage": percentage})
}

func fanOff(c *call, e *entity) error { return c.set(e, "off", map[string]any{"percentage": 0.0}) }

func fanPercentage(c *call, e *entity) error {
	p, ok := c.number("percentage")
	if !ok || p < 0 || p > 100 {
		return invalid("value must be from 0 to 100 for dictionary value @ data['percentage']")
	}
	if p == 0 {
		return fanOff(c, e)
	}
	return c.set(e, "on", map[string]any{"percentage": p})
}

func setTemperature(c *call, e *entity) error {
	set := map[string]any{}
	a := e.attributes()
	for _, key := range []string{"temperature", "target_temp_low", "target_temp_high"} {
		v, ok := c.number(key)
		if !ok {
			continue
		}
		low, _ := a["min_temp"].(float64)
		high, known := a["max_temp"].(float64)
		if known && (v < low || v > high) {
			return invalid("Provided temperature is not valid. Accepted range is set by min_temp and max_temp")
		}
		set[key] = v
	}
	if len(set) == 0 {
		return invalid("Set temperature action was used without a temperature")
	}
	mode := c.text("hvac_mode")
	if mode == "" {
		mode = e.state.State
	}
	if target, ok := set["temperature"].(float64); ok {
		set["hvac_action"] = action(mode, a["current_temperature"], target)
	}
	return c.set(e, mode, set)
}

// action is what a thermostat does in that mode.
func action(mode string, current any, target float64) string {
	now, _ := current.(float64)
	switch {
	case mode == "off":
		return "off"
	case mode == "fan_only":
		return "fan"
	case mode == "dry":
		return "drying"
	case (mode == "heat" || mode == "auto" || mode == "heat_cool") && now < target:
		return "heating"
	case (mode == "cool" || mode == "heat_cool") && now > target:
		return "cooling"
	}
	return "idle"
}

func setHVACMode(c *call, e *entity) error { return hvac(c.text("hvac_mode"))(c, e) }

func hvac(mode string) service {
	return func(c *call, e *entity) error {
		a := e.attributes()
		if !contains(texts2(a, "hvac_modes"), mode) {
			return invalid("HVAC mode " + mode + " is not valid. Valid HVAC modes are in hvac_modes")
		}
		target, _ := a["temperature"].(float64)
		return c.set(e, mode, map[string]any{"hvac_action": action(mode, a["current_temperature"], target)})
	}
}

func operationMode(c *call, e *entity) error {
	mode := c.text("operation_mode")
	return c.set(e, mode, map[string]any{"operation_mode": mode})
}

// Covers and valves travel 5 % every 250 ms: 5 s from end to end.
const (
	travelEvery = 250 * time.Millisecond
	travelStep  = 5
)

func travelTo(target float64) service {
	return func(c *call, e *entity) error {
		now, hasPosition := e.attributes()["current_position"].(float64)
		if !hasPosition {
			now = map[string]float64{"open": 100}[e.state.State]
		}
		if now == target {
			return nil
		}
		moving := "opening"
		if target < now {
			moving = "closing"
		}
		if err := c.set(e, moving, nil); err != nil {
			return err
		}
		c.home.after(travelEvery, e.state.EntityID, func() { travel(c, e, now, target, hasPosition) })
		return nil
	}
}

func travel(c *call, e *entity, now, target float64, hasPosition bool) {
	if e.state == nil || e.state.State != "opening" && e.state.State != "closing" {
		return
	}
	now += min(max(target-now, -travelStep), travelStep)
	state := e.state.State
	if now == target {
		state = map[bool]string{true: "open", false: "closed"}[now > 0]
	}
	set := map[string]any{}
	if hasPosition {
		set["current_position"] = now
	}
	c.home.update(e, state, set, c.context)
	if now != target {
		c.home.after(travelEvery, e.state.EntityID, func() { travel(c, e, now, target, hasPosition) })
	}
}

func stopTravel(c *call, e *entity) error {
	if e.state.State != "opening" && e.state.State != "closing" {
		return nil
	}
	c.home.after(0, e.state.EntityID, nil)
	position, ok := e.attributes()["current_position"].(float64)
	return c.set(e, map[bool]string{true: "open", false: "closed"}[!ok || position > 0], nil)
}

func toggleCover(c *call, e *entity) error {
	switch e.state.State {
	case "opening", "closing":
		return stopTravel(c, e)
	case "closed":
		return travelTo(100)(c, e)
	}
	return travelTo(0)(c, e)
}

func setPosition(c *call, e *entity) error {
	p, ok := c.number("position")
	if !ok || p < 0 || p > 100 {
		return invalid("value must be from 0 to 100 for dictionary value @ data['position']")
	}
	return travelTo(math.Round(p))(c, e)
}

func tilt(p float64) service {
	return func(c *call, e *entity) error {
		return c.set(e, "", map[string]any{"current_tilt_position": p})
	}
}

func setTilt(c *call, e *entity) error {
	p, _ := c.number("tilt_position")
	return tilt(min(max(p, 0), 100))(c, e)
}

// later makes a service that takes a second or two: first it does, then it is
// done. With done "" it goes on doing.
func later(doing, done string) service {
	return func(c *call, e *entity) error {
		if e.state.State == done {
			return nil
		}
		if done != "" {
			c.home.after(1500*time.Millisecond, e.state.EntityID, func() {
				if e.state != nil && e.state.State == doing {
					c.home.update(e, done, nil, c.context)
				}
			})
		}
		return c.set(e, doing, nil)
	}
}

// alarms are the services of an alarm panel whose code is 1234, if it has one.
func alarms() map[string]service {
	m := map[string]service{"alarm_disarm": alarm("disarmed", "disarmed"), "alarm_trigger": alarm("pending", "triggered")}
	for _, mode := range []string{"home", "away", "night", "vacation", "custom_bypass"} {
		m["alarm_arm_"+mode] = alarm("arming", "armed_"+mode)
	}
	return m
}

func alarm(doing, done string) service {
	return func(c *call, e *entity) error {
		if e.attributes()["code_format"] != nil && c.text("code") != "1234" && done != "triggered" {
			return invalid("Invalid alarm code provided")
		}
		return later(doing, done)(c, e)
	}
}
