package concord

import (
	"math"
	"path"
	"strconv"
	"strings"
	"time"
)

// DeadbandRule keeps small changes of numbers out of history. It never touches
// live state. A change is stored when it differs from the last stored value by
// at least Absolute or at least Percent, whichever is set, and Interval has
// passed since that; changes to or from something that is no number always are.
type DeadbandRule struct {
	Entity      string // a glob over entity ids, such as sensor.*_power; "" is any
	Domain      string // "" is any
	DeviceClass string // "" is any
	Absolute    float64
	Percent     float64
	Interval    time.Duration
}

// ParseDeadbandRule reads "sensor.*_power: absolute=5 percent=1 interval=10s".
// Before the colon stands an entity glob, "domain=sensor" or "class=power". The
// error is CodeInvalid.
func ParseDeadbandRule(text string) (DeadbandRule, error) {
	var r DeadbandRule
	what, limits, ok := strings.Cut(text, ":")
	if !ok || strings.TrimSpace(limits) == "" {
		return r, Errorf(CodeInvalid, "deadband rule %q: want \"ENTITIES: absolute=N percent=N interval=TIME\"", text)
	}
	switch name, value, _ := strings.Cut(strings.TrimSpace(what), "="); name {
	case "domain":
		r.Domain = value
	case "class":
		r.DeviceClass = value
	default:
		r.Entity = name
		if _, err := path.Match(name, ""); err != nil || name == "" {
			return r, Errorf(CodeInvalid, "deadband rule %q: %q is not a pattern of entity ids", text, name)
		}
	}
	for _, limit := range strings.Fields(limits) {
		name, value, _ := strings.Cut(limit, "=")
		var err error
		switch name {
		case "absolute":
			r.Absolute, err = strconv.ParseFloat(value, 64)
		case "percent":
			r.Percent, err = strconv.ParseFloat(value, 64)
		case "interval":
			r.Interval, err = time.ParseDuration(value)
		default:
			return r, Errorf(CodeInvalid, "deadband rule %q: no such limit: %q", text, name)
		}
		if err != nil || r.Absolute < 0 || r.Percent < 0 || r.Interval < 0 || math.IsNaN(r.Absolute+r.Percent) {
			return r, Errorf(CodeInvalid, "deadband rule %q: %q is not a limit", text, limit)
		}
	}
	return r, nil
}

// Matches reports whether the rule is about an entity.
func (r *DeadbandRule) Matches(entityID, deviceClass string) bool {
	if r.Domain != "" && r.Domain != Domain(entityID) || r.DeviceClass != "" && r.DeviceClass != deviceClass {
		return false
	}
	if r.Entity == "" {
		return true
	}
	ok, err := path.Match(r.Entity, entityID)
	return ok && err == nil
}

// Keeps reports whether value at a time is stored when the last stored number is last.
func (r *DeadbandRule) Keeps(last float64, lastAt time.Time, value float64, at time.Time) bool {
	if d := at.Sub(lastAt); d >= 0 && d < r.Interval {
		return false
	}
	step := math.Abs(value - last)
	if r.Absolute == 0 && r.Percent == 0 {
		return true
	}
	return r.Absolute > 0 && step >= r.Absolute || r.Percent > 0 && step >= math.Abs(last)*r.Percent/100 && step > 0
}
