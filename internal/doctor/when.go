package doctor

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

var timeForms = []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"}

// ParseTime reads a point in time in UTC, a time of day (the last such time before now), or an age such as 30m, 2h or 3d.
func ParseTime(text string, now time.Time) (time.Time, error) {
	if age, ok := parseAge(text); ok {
		return now.Add(-age), nil
	}
	for _, form := range []string{"15:04:05", "15:04"} {
		if t, err := time.Parse(form, text); err == nil {
			return lastAt(t, now.UTC()), nil
		}
	}
	for _, form := range timeForms {
		if t, err := time.Parse(form, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q: want a time in UTC such as \"2026-11-22 10:00\" or 10:00, or an age such as 30m, 2h or 3d", text)
}

// parseAge reads 90s, 30m, 2h, 1h30m and 3d.
func parseAge(text string) (time.Duration, bool) {
	if days, isDays := strings.CutSuffix(text, "d"); isDays {
		n, err := strconv.ParseFloat(days, 64)
		return time.Duration(n * 24 * float64(time.Hour)), err == nil && n >= 0 && n < 36500
	}
	age, err := time.ParseDuration(text)
	return age, err == nil && age >= 0
}

// lastAt gives the last moment up to now that had a time of day.
func lastAt(clock, now time.Time) time.Time {
	t := time.Date(now.Year(), now.Month(), now.Day(), clock.Hour(), clock.Minute(), clock.Second(), 0, time.UTC)
	if t.After(now) {
		return t.AddDate(0, 0, -1)
	}
	return t
}
