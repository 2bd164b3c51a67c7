package pagetest

import "time"

// health is a day with some conflicts, of which all but one were cured, as
// concord/health tells it.
func (h *House) health() any {
	const step = 10 * time.Minute
	day := make([]map[string]any, 145)
	first := time.Now().Add(-24 * time.Hour).Truncate(step)
	for i := range day {
		conflicted, lost := 0, 0
		if i%11 < 3 && i > 60 {
			conflicted = 2 + i%7
		}
		if i == 96 {
			lost = 1
		}
		day[i] = map[string]any{"at": first.Add(time.Duration(i) * step).UnixMilli(), "transactions": 620, "conflicted": conflicted, "failures": conflicted + lost, "lost": lost}
	}
	endpoint := func(name string, transactions, retries int, mean, slowest float64) map[string]any {
		return map[string]any{"name": name, "transactions": transactions, "conflicted": retries, "retries": retries, "lost": 0, "mean_ms": mean, "slowest_ms": slowest}
	}
	return map[string]any{
		"now": map[string]any{
			"status": "degraded", "window_ms": 3_600_000, "transactions": 3720, "conflicted": 212, "retried": 212, "lost": 0, "retries": 240, "failures": 240,
			"failure_rate": 0.057, "avg_retries": 1.13, "last_failure": now() - 134_000, "worst_endpoint": "state_changed",
		},
		"step_ms": step.Milliseconds(), "day": day,
		"endpoints": []any{
			endpoint("background_sync", 864, 3, 148.2, 2310), endpoint("get_areas", 12, 0, 96.4, 181), endpoint("state_changed", 88_120, 236, 7.31, 640.5),
			endpoint("sessions", 41, 0, 3.2, 9.9), endpoint("other", 2, 0, 1.2, 1.4),
		},
		"homes":   []any{map[string]any{"id": 1, "name": "Maple Street 12", "link": "connected", "since": now(), "last_message": now(), "last_sync": now(), "ha_version": "2025.4.4", "entities": 131, "error": nil}},
		"server":  map[string]any{"version": "15.4", "gaps": 1, "asking": 2, "filled": 1234, "quarantined": 0},
		"version": "test",
	}
}
