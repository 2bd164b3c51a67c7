package signin

import "time"

// Limiter is limiter, for tests: a sign-in takes too long to try many.
type Limiter struct{ *limiter }

// NewLimiter returns a Limiter.
func NewLimiter() Limiter { return Limiter{newLimiter(time.Now)} }

// Take is take.
func (l Limiter) Take(login, address string) bool { return l.take(login, address) }

// GiveBack is giveBack.
func (l Limiter) GiveBack(login, address string) { l.giveBack(login, address) }

// Trust is trust.
func (l Limiter) Trust(login, address string) { l.trust(login, address) }

// Len returns how much is remembered.
func (l Limiter) Len() int {
	return len(l.pair.m) + len(l.login.m) + len(l.address.m) + len(l.trusted)
}
