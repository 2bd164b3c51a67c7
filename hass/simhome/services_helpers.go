package simhome

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

func setNumber(c *call, e *entity) error {
	v, ok := c.number("value")
	if text := c.text("value"); text != "" {
		f, err := strconv.ParseFloat(text, 64)
		v, ok = f, err == nil
	}
	a := e.attributes()
	low, hasLow := a["min"].(float64)
	high, hasHigh := a["max"].(float64)
	if !ok || math.IsNaN(v) || hasLow && v < low || hasHigh && v > high {
		return invalid("Value is not a number in the range of " + e.state.EntityID)
	}
	text := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return c.set(e, text, nil)
}

func stepNumber(sign float64) service {
	return func(c *call, e *entity) error {
		v, err := strconv.ParseFloat(e.state.State, 64)
		if err != nil {
			return nil
		}
		step, ok := e.attributes()["step"].(float64)
		if !ok {
			step = 1
		}
		c.data["value"] = v + sign*step
		return setNumber(c, e)
	}
}

func selectOption(c *call, e *entity) error {
	option := c.text("option")
	if options := texts2(e.attributes(), "options"); !slices.Contains(options, option) {
		return invalid("Option " + option + " is not valid for entity " + e.state.EntityID + ". Valid options are: " + strings.Join(options, ", "))
	}
	return c.set(e, option, nil)
}

// selectStep selects the first (0) or last (-1) option.
func selectStep(i int) service {
	return func(c *call, e *entity) error {
		options := texts2(e.attributes(), "options")
		if len(options) == 0 {
			return nil
		}
		return c.set(e, options[(i+len(options))%len(options)], nil)
	}
}

func selectMove(step int) service {
	return func(c *call, e *entity) error {
		options := texts2(e.attributes(), "options")
		if len(options) == 0 {
			return nil
		}
		at := max(0, slices.Index(options, e.state.State))
		return c.set(e, options[(at+step+len(options))%len(options)], nil)
	}
}

func setText(c *call, e *entity) error {
	switch v := c.data["value"].(type) {
	case string:
		return c.set(e, v, nil)
	case float64:
		return c.set(e, strconv.FormatFloat(v, 'f', -1, 64), nil)
	}
	return invalid("required key not provided @ data['value']")
}

func setFrom(key string) service {
	return func(c *call, e *entity) error {
		if c.text(key) == "" {
			return invalid("required key not provided @ data['" + key + "']")
		}
		return c.set(e, c.text(key), nil)
	}
}

func setDateTime(c *call, e *entity) error {
	text := strings.TrimSpace(c.text("date") + " " + c.text("time"))
	if v := c.text("datetime"); v != "" {
		text = v
	}
	if text == "" {
		return invalid("One of the following keys is required: date, time, datetime, timestamp")
	}
	return c.set(e, text, nil)
}

// stamp is what buttons do: their state is when they were last pressed.
func stamp(c *call, e *entity) error { return c.set(e, c.now(), nil) }

// step is one action of a scene, script or automation.
type step struct {
	domain, service, entity string
	data                    map[string]any
}

func (c *call) perform(e *entity) {
	steps, _ := e.detail["steps"].([]step)
	for _, s := range steps {
		target := c.home.byID[s.entity]
		run := find(s.domain, s.service)
		if target == nil || target.state == nil || run == nil {
			continue
		}
		inner := &call{home: c.home, service: s.service, data: map[string]any{}, context: c.context}
		for k, v := range s.data {
			inner.data[k] = v
		}
		_ = run(inner, target) // a step that fails does not stop the others
	}
}

func sceneOn(c *call, e *entity) error {
	c.perform(e)
	return stamp(c, e)
}

func scriptOn(c *call, e *entity) error {
	if err := c.set(e, "on", map[string]any{"last_triggered": c.now()}); err != nil {
		return err
	}
	c.perform(e)
	c.home.after(500*time.Millisecond, e.state.EntityID, func() { c.home.update(e, "off", nil, c.context) })
	return nil
}

func trigger(c *call, e *entity) error {
	c.perform(e)
	return c.set(e, "", map[string]any{"last_triggered": c.now()})
}

func timerStart(c *call, e *entity) error {
	duration := c.text("duration")
	if duration == "" {
		duration, _ = e.attributes()["duration"].(string)
	}
	length := clockTime(duration)
	c.home.after(length, e.state.EntityID, func() {
		c.home.update(e, "idle", map[string]any{"finishes_at": nil, "remaining": nil}, c.context)
	})
	return c.set(e, "active", map[string]any{
		"duration": duration, "remaining": duration,
		"finishes_at": c.home.clock.last.Add(length).Format("2006-01-02T15:04:05+00:00"),
	})
}

// clockTime reads h:mm:ss.
func clockTime(s string) time.Duration {
	var total time.Duration
	for part := range strings.SplitSeq(s, ":") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 || n > 1_000_000 {
			return time.Minute
		}
		total = total*60 + time.Duration(n)*time.Second
	}
	return total
}

func timerPause(c *call, e *entity) error {
	c.home.after(0, e.state.EntityID, nil)
	if e.state.State != "active" {
		return nil
	}
	return c.set(e, "paused", map[string]any{"finishes_at": nil})
}

func timerStop(c *call, e *entity) error {
	c.home.after(0, e.state.EntityID, nil)
	return c.set(e, "idle", map[string]any{"finishes_at": nil, "remaining": nil})
}

func count(step int) service {
	return func(c *call, e *entity) error {
		n, err := strconv.Atoi(e.state.State)
		if err != nil {
			n = 0
		}
		return c.set(e, strconv.Itoa(n+step), nil)
	}
}

func resetCounter(c *call, e *entity) error { return c.set(e, "0", nil) }
