package pgretry

import "time"

// Control of a learned gate's width: it halves when more than 40 % of a window's attempts met a conflict, and grows by
// a quarter when fewer than 20 % did and somebody waited. (Two inside on one row give 50 %, so that one is the end.) A
// width that growth has just shown to be too much is not tried again before a pause, which doubles each time from 250 ms
// to 16 s.
const (
	firstWidth     = 4
	easyWidth      = 16 // as wide as this, a gate that nobody conflicts at may be forgotten
	mostWidth      = 1024
	windowAttempts = 16
	shrinkAbove    = 40 // percent
	growBelow      = 20 // percent
	firstPause     = 250 * time.Millisecond
	mostPause      = 16 * time.Second
	deadlockPause  = 4 * time.Second
	forgetAfter    = 5 * time.Second
	forgetUnused   = time.Minute
)

// width is how many may be inside a gate.
type width struct {
	fixed int // not zero: always this
	now   int

	done, met int  // attempts of the window, and those that met a conflict
	wanted    bool // somebody waited in the window
	grown     bool // this window is the first after growth
	pause     time.Duration
	notBefore time.Time
	lastMet   time.Time
}

func (w *width) limit() int {
	if w.fixed > 0 {
		return w.fixed
	}
	return w.now
}

// note counts an attempt and adapts the width at the end of a window.
func (w *width) note(met, waiting bool) {
	w.done++
	w.wanted = w.wanted || waiting
	if met {
		w.met++
		w.lastMet = time.Now()
	}
	if w.fixed > 0 || w.done < max(windowAttempts, w.now) {
		return
	}
	switch {
	case w.met*100 > w.done*shrinkAbove:
		w.shrink()
	case w.met*100 < w.done*growBelow && w.wanted && time.Now().After(w.notBefore):
		w.grow()
	default:
		w.settle()
	}
	w.done, w.met, w.wanted = 0, 0, false
}

func (w *width) shrink() {
	w.now = max(1, w.now/2)
	if w.grown || w.now == 1 {
		w.hold(firstPause)
	}
	w.grown = false
}

func (w *width) grow() {
	w.settle()
	w.now = min(mostWidth, w.now+1+w.now/4)
	w.grown = true
}

// settle ends a window that did not shrink: growth before it was right.
func (w *width) settle() {
	if w.grown {
		w.grown, w.pause = false, 0
	}
}

// hold forbids growth for a while that doubles from first.
func (w *width) hold(first time.Duration) {
	w.pause = min(mostPause, max(first, 2*w.pause))
	w.notBefore = time.Now().Add(w.pause)
}

// deadlock narrows the gate at once: each deadlock costs all who take part the server's deadlock_timeout, a second.
func (w *width) deadlock() {
	w.lastMet = time.Now()
	if w.fixed > 0 {
		return
	}
	if w.now > 1 {
		w.hold(deadlockPause)
	}
	w.now, w.done, w.met, w.grown = 1, 0, 0, false
}

// idle tells that the width has not been needed for a while.
func (w *width) idle(now time.Time) bool {
	return now.Sub(w.lastMet) > forgetAfter && (w.fixed > 0 || w.now >= easyWidth)
}
