package pgretry

import (
	"sync"
	"time"
)

// Budget bounds the retries of all calls that share it, so that a storm does not amplify itself: a retry without a
// token waits until one is there. It holds no retry up for good; attempts and time do.
type Budget struct {
	ratio, perSecond, most float64

	mu     sync.Mutex
	tokens float64
	filled time.Time
}

// NewBudget returns a full budget. Each call that succeeds adds ratio tokens, each second perSecond, 0.1 at least; a retry
// takes one. It holds ten seconds' worth, one token at least. NewBudget(0.5, 100) lets half of the load be retries, and 100
// retries a second whatever the load.
func NewBudget(ratio, perSecond float64) *Budget {
	perSecond = max(perSecond, 0.1)
	most := max(1, 10*perSecond)
	return &Budget{ratio: max(ratio, 0), perSecond: perSecond, most: most, tokens: most, filled: time.Now()}
}

// take takes a token and returns how long to wait until it is there.
func (b *Budget) take() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill()
	b.tokens--
	if b.tokens >= 0 {
		return 0
	}
	return time.Duration(-b.tokens / b.perSecond * float64(time.Second))
}

// giveBack returns the token of a retry that does not come.
func (b *Budget) giveBack() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill()
	b.tokens = min(b.most, b.tokens+1)
}

// succeed adds what a call that succeeded is worth.
func (b *Budget) succeed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill()
	b.tokens = min(b.most, b.tokens+b.ratio)
}

func (b *Budget) fill() {
	now := time.Now()
	b.tokens = min(b.most, b.tokens+b.perSecond*now.Sub(b.filled).Seconds())
	b.filled = now
}
