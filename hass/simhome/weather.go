package simhome

import (
	"math"
	"time"
)

var conditions = []string{"sunny", "partlycloudy", "cloudy", "rainy", "partlycloudy", "sunny", "windy"}

// forecast makes a forecast of seven days or 24 hours.
func (h *Home) forecast(kind string) []map[string]any {
	step, n := 24*time.Hour, 7
	if kind == "hourly" {
		step, n = time.Hour, 24
	}
	start := h.clock.last.Truncate(step)
	var all []map[string]any
	for i := range n {
		t := start.Add(time.Duration(i) * step)
		condition := conditions[(t.YearDay()+t.Hour()/6)%len(conditions)]
		warm := 12 + 6*math.Sin(float64(t.YearDay()+i)/3)
		all = append(all, map[string]any{
			"datetime": t.Format("2006-01-02T15:04:05+00:00"), "condition": condition,
			"temperature": math.Round(warm*10) / 10, "templow": math.Round((warm-6)*10) / 10,
			"precipitation": map[bool]float64{true: 3.2}[condition == "rainy"], "precipitation_probability": map[bool]int{true: 80, false: 10}[condition == "rainy"],
			"wind_speed": 14.0, "wind_bearing": 230, "humidity": 71,
		})
	}
	return all
}
