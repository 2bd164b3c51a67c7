package pgretry

import (
	"context"
	"errors"
	"sync"
	"time"
)

// gate lets a bounded number of transactions on one conflict key run at once. The others wait in order of arrival,
// without a connection. Several lanes wait side by side and share the gate's time by weight.
//
// A gate of a key that the caller named is one wide. A gate that was learned from conflicts finds its width.
type gate struct {
	key string

	mu      sync.Mutex
	width   width
	holders int // calls that refer to it, under the registry's lock
	running int
	alone   bool // the one inside must stay alone
	lanes   []*lane
	clock   float64 // virtual time of the lane admitted last
	rivals  rivals
	lease   *lease // left by the one before, for the next
}

// ticket is one transaction's place at a gate. It keeps the place, by age, when it comes back after a conflict.
type ticket struct {
	gate    *gate
	lane    *lane
	age     uint64        // order of arrival in the process
	alone   bool          // must run with nobody else inside
	ready   chan struct{} // closed on entry; nil while it need not wait
	entered time.Time
	index   int // in the lane's heap; -1 when not waiting

	lease   *lease
	company bool // somebody else was inside at the same time
}

// errTurn says that a call's time ran out while it waited at a gate.
var errTurn = errors.New("waited too long for its turn")

// enter waits for a place inside, until the given time if it is not zero, and tells how long. The error is the context's
// or errTurn.
func (g *gate) enter(ctx context.Context, t *ticket, until time.Time) (waited time.Duration, err error) {
	g.mu.Lock()
	t.ready = nil
	t.lane.push(t, g.clock)
	g.admit()
	if t.index < 0 {
		g.mu.Unlock()
		return 0, nil
	}
	t.ready = make(chan struct{})
	g.mu.Unlock()

	start := time.Now()
	err = t.await(ctx, until)
	if err != nil {
		g.abandon(t)
	}
	return time.Since(start), err
}

// await waits until t is let in.
func (t *ticket) await(ctx context.Context, until time.Time) error {
	var late <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-t.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-late:
		return errTurn
	}
}

// abandon takes t out of the queue, or out of the gate if it has just been let in.
func (g *gate) abandon(t *ticket) {
	g.mu.Lock()
	if t.index < 0 {
		g.exit(t)
	} else {
		t.lane.remove(t)
	}
	spent := g.pass(t)
	g.mu.Unlock()
	for _, l := range spent {
		l.release()
	}
}

// leave gives the place to the next, with t's lease if it is still good. met tells that the attempt met a conflict.
func (g *gate) leave(t *ticket, met bool) {
	g.mu.Lock()
	g.exit(t)
	g.width.note(met, g.waiting() > 0)
	if !t.company && g.width.limit() == 1 {
		g.rivals.note(met, t.lease != nil)
	}
	spent := g.pass(t)
	g.mu.Unlock()
	for _, l := range spent {
		l.release()
	}
}

// pass lets the next in and hands t's lease on. It returns the leases to give up: nobody is left to use them, or
// other processes have waited long enough.
func (g *gate) pass(t *ticket) (spent []*lease) {
	mine := t.lease
	t.lease = nil
	if mine != nil && (!mine.good() || g.lease != nil) {
		spent, mine = append(spent, mine), nil
	}
	if mine != nil {
		g.lease = mine
	}
	g.admit()
	if g.running == 0 && g.lease != nil {
		spent, g.lease = append(spent, g.lease), nil
	}
	return spent
}

// takeLease gives t the lease that the one before left, if any, and tells whether the gate is contested.
func (g *gate) takeLease(t *ticket) (contested bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t.lease, g.lease = g.lease, nil
	return g.isContested()
}

// contested tells that rivals outside this process met the transactions inside, so that a lock across processes helps.
func (g *gate) contested() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.isContested()
}

func (g *gate) isContested() bool { return g.width.limit() == 1 && g.rivals.locking() }

// deadlocked narrows the gate after a deadlock inside it.
func (g *gate) deadlocked() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.width.deadlock()
}

// metOutside counts a conflict of a transaction that had not passed the gate yet.
func (g *gate) metOutside(deadlock bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if deadlock {
		g.width.deadlock()
		return
	}
	g.width.note(true, false)
}

// locked tells whether this is the first lock since conflicts called for it.
func (g *gate) locked() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := !g.rivals.told
	g.rivals.told = true
	return first
}

// lockWaited notes that another process held the lock of the key.
func (g *gate) lockWaited() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rivals.waited()
}

func (g *gate) exit(t *ticket) {
	g.running--
	g.alone = false
	t.lane.spent(time.Since(t.entered))
}

// admit lets in whom the width allows. Whoever must be alone goes first, once all others are out.
func (g *gate) admit() {
	for {
		t := g.next()
		if t == nil || g.alone || g.running >= g.width.limit() || (t.alone && g.running > 0) {
			return
		}
		t.lane.remove(t)
		g.clock = t.lane.virtual
		g.running++
		g.alone = t.alone
		t.company = g.running > 1
		t.entered = time.Now()
		if t.ready != nil {
			close(t.ready)
		}
	}
}

// next is who should enter next: the oldest that must be alone, else the oldest of the lane that had the least time.
func (g *gate) next() *ticket {
	var best *ticket
	for _, l := range g.lanes {
		t := l.first()
		if t == nil {
			continue
		}
		if best == nil || before(t, best) {
			best = t
		}
	}
	return best
}

func before(a, b *ticket) bool {
	switch {
	case a.alone != b.alone:
		return a.alone
	case a.alone:
		return a.age < b.age
	}
	return a.lane.virtual < b.lane.virtual
}

func (g *gate) waiting() (n int) {
	for _, l := range g.lanes {
		n += len(l.queue)
	}
	return n
}

// laneOf returns the lane with the given name, made on first use.
func (g *gate) laneOf(name string, weight float64) *lane {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, l := range g.lanes {
		if l.name == name {
			l.weight = weight
			return l
		}
	}
	l := &lane{name: name, weight: weight, virtual: g.clock}
	g.lanes = append(g.lanes, l)
	return l
}
