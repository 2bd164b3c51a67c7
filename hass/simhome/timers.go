package simhome

import (
	"slices"
	"time"
)

// timers are things to do later, run by Run.
type timers []timer

type timer struct {
	at  time.Time
	key string
	do  func()
}

// after has Run call do, with the lock held, in d. A later call with the same
// key replaces it; do nil cancels it.
func (h *Home) after(d time.Duration, key string, do func()) {
	h.timers = slices.DeleteFunc(h.timers, func(t timer) bool { return t.key == key })
	if do != nil {
		h.timers = append(h.timers, timer{time.Now().Add(d), key, do})
	}
}

func (h *Home) runTimers() {
	if len(h.timers) == 0 {
		return
	}
	now := time.Now()
	var due []timer
	h.timers = slices.DeleteFunc(h.timers, func(t timer) bool {
		if t.at.After(now) {
			return false
		}
		due = append(due, t)
		return true
	})
	for _, t := range due {
		t.do()
	}
}
