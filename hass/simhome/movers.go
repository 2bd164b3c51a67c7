package simhome

import (
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/concord-home/concord/hass"
)

// mover is what makes an entity change by itself.
type mover struct {
	mean   float64 // over a day
	swing  float64 // how far the day takes it from the mean
	peak   float64 // hour of the day at which it is highest
	noise  float64 // of a single reading
	step   float64 // smallest difference
	digits int
	low    float64
	high   float64
	rising float64 // a meter: what it gains in an hour
	binary float64 // not a number: the share of the day it is "on", most at peak
}

// value is the reading at a time, without noise.
func (m *mover) value(t time.Time) float64 {
	hour := float64(t.Hour()) + float64(t.Minute())/60 + float64(t.Second())/3600
	v := m.mean + m.swing*math.Cos((hour-m.peak)*math.Pi/12)
	return min(max(v, m.low), m.high)
}

// emit makes n changes, one mover after the other.
func (h *Home) emit(n int) {
	for range n {
		if len(h.movers) == 0 {
			return
		}
		h.next++
		if h.next >= len(h.movers) {
			h.next = 0
		}
		h.move(h.movers[h.next])
	}
}

// move gives an entity its next reading, which always differs from the last.
func (h *Home) move(e *entity) {
	if e.state == nil {
		return
	}
	h.set(e, e.mover.next(e.state.State, h.clock.last, h.rng), nil, hass.Context{})
}

func (m *mover) next(now string, t time.Time, rng *rand.Rand) string {
	if m.binary > 0 {
		if now == "on" {
			return "off"
		}
		return "on"
	}
	was, err := strconv.ParseFloat(now, 64)
	if err != nil {
		return m.text(m.value(t)) // it was unavailable
	}
	v := was + m.step*float64(1+rng.IntN(3))
	if m.rising == 0 {
		v = was + (m.value(t)-was)*0.1 + m.noise*(rng.Float64()*2-1)
		v = min(max(v, m.low), m.high)
	}
	text := m.text(v)
	if text != now {
		return text
	}
	if was+m.step > m.high {
		return m.text(was - m.step)
	}
	return m.text(was + m.step)
}

func (m *mover) text(v float64) string {
	return strconv.FormatFloat(math.Round(v/m.step)*m.step, 'f', m.digits, 64)
}
