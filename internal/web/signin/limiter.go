package signin

import (
	"net/netip"
	"sync"
	"time"
)

// How many wrong passwords are answered: a burst, then a slow drip. A right
// password costs nothing, so a busy script is never limited.
//
// What one address spends on a login is its own. What all addresses together
// spend on it is bounded too, far above what one of them can; beyond that only
// addresses are answered from which that login has signed in before. So nobody
// guesses fast from many addresses, and nobody locks an owner out.
const (
	pairBurst    = 10              // per login from one address
	pairEvery    = 6 * time.Second // one more
	loginBurst   = 100             // per login from all addresses
	loginEvery   = 3 * time.Second
	addressBurst = 30 // per address; a household shares one
	addressEvery = 2 * time.Second
	maxBuckets   = 4096 // of each kind; beyond it, the fullest are forgotten
	maxTrusted   = 4096 // logins and addresses that belong together
)

// limiter counts attempts to sign in. Memory is bounded: see maxBuckets.
type limiter struct {
	mu      sync.Mutex
	pair    buckets
	login   buckets
	address buckets
	trusted map[string]time.Time // pairs, and when each last signed in
	now     func() time.Time
}

func newLimiter(now func() time.Time) *limiter {
	return &limiter{
		pair:    buckets{burst: pairBurst, every: pairEvery, m: map[string]bucket{}},
		login:   buckets{burst: loginBurst, every: loginEvery, m: map[string]bucket{}},
		address: buckets{burst: addressBurst, every: addressEvery, m: map[string]bucket{}},
		trusted: map[string]time.Time{},
		now:     now,
	}
}

// take spends one attempt, and reports whether there was one left. An attempt
// that succeeds is given back.
func (l *limiter) take(login, address string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	address = network(address)
	pair := pairOf(login, address)
	_, trusted := l.trusted[pair]
	if l.pair.left(pair, now) < 1 || l.address.left(address, now) < 1 || !trusted && l.login.left(login, now) < 1 {
		return false
	}
	l.spend(login, address, -1, now)
	return true
}

func (l *limiter) giveBack(login, address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spend(login, network(address), 1, l.now())
}

func (l *limiter) spend(login, address string, n float64, now time.Time) {
	l.pair.add(pairOf(login, address), n, now)
	l.login.add(login, max(n, -l.login.left(login, now)), now)
	l.address.add(address, n, now)
}

// trust remembers an address from which a login has signed in.
func (l *limiter) trust(login, address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	pair := pairOf(login, network(address))
	if _, known := l.trusted[pair]; !known && len(l.trusted) >= maxTrusted {
		oldest := pair
		for p, at := range l.trusted {
			if oldest == pair || at.Before(l.trusted[oldest]) {
				oldest = p
			}
		}
		delete(l.trusted, oldest)
	}
	l.trusted[pair] = l.now()
}

func pairOf(login, address string) string { return address + "\x00" + login }

// network is what counts as one address: for IPv6 the /64 that a household has.
func network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	p, err := ip.Prefix(64)
	if err != nil {
		return ""
	}
	return p.String()
}

// buckets are token buckets by key. A key that is absent has a full bucket.
type buckets struct {
	burst float64
	every time.Duration
	m     map[string]bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

func (b *buckets) left(key string, now time.Time) float64 {
	k, ok := b.m[key]
	if !ok {
		return b.burst
	}
	return min(b.burst, k.tokens+float64(now.Sub(k.at))/float64(b.every))
}

func (b *buckets) add(key string, n float64, now time.Time) {
	left := min(b.burst, b.left(key, now)+n)
	if left >= b.burst {
		delete(b.m, key)
		return
	}
	if _, ok := b.m[key]; !ok && len(b.m) >= maxBuckets {
		b.shrink(now)
	}
	b.m[key] = bucket{tokens: left, at: now}
}

// shrink forgets the fuller half: who has spent most stays limited.
func (b *buckets) shrink(now time.Time) {
	for threshold := b.burst; len(b.m) > maxBuckets/2 && threshold >= 0; threshold-- {
		for key := range b.m {
			if len(b.m) <= maxBuckets/2 {
				return
			}
			if b.left(key, now) >= threshold {
				delete(b.m, key)
			}
		}
	}
	if len(b.m) >= maxBuckets {
		clear(b.m)
	}
}
