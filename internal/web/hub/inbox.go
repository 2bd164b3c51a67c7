package hub

import (
	"sync"
	"time"

	"github.com/concord-home/concord"
)

// maxInbox is how many changes may wait for the hub's goroutine. At 30,000
// changes a second it is more than three seconds of them.
const maxInbox = 100_000

// inbox takes what the home's connection says and never blocks it. It is the
// hub's [concord.Watcher].
type inbox struct {
	mu       sync.Mutex
	batches  []batch
	n        int
	overflow bool // changes were dropped: the hub must read the states anew
	registry *concord.Registry
	status   *concord.HomeStatus
	wake     chan struct{}
}

// batch is the changes of one frame.
type batch struct {
	at      time.Time // when it came
	changes []concord.Change
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

// StatesChanged implements [concord.Watcher].
func (b *inbox) StatesChanged(changes []concord.Change) {
	b.mu.Lock()
	if b.n += len(changes); b.n > maxInbox {
		b.batches, b.n, b.overflow = nil, 0, true
	} else if !b.overflow {
		b.batches = append(b.batches, batch{time.Now(), changes})
	}
	b.mu.Unlock()
	b.signal()
}

// RegistryChanged implements [concord.Watcher].
func (b *inbox) RegistryChanged(r *concord.Registry) {
	b.mu.Lock()
	b.registry = r
	b.mu.Unlock()
	b.signal()
}

// StatusChanged implements [concord.Watcher].
func (b *inbox) StatusChanged(s concord.HomeStatus) {
	b.mu.Lock()
	b.status = &s
	b.mu.Unlock()
	b.signal()
}

func (b *inbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// mail is what came since the last time.
type mail struct {
	batches  []batch
	overflow bool
	registry *concord.Registry
	status   *concord.HomeStatus
}

func (b *inbox) take() mail {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := mail{b.batches, b.overflow, b.registry, b.status}
	b.batches, b.n, b.overflow, b.registry, b.status = nil, 0, false, nil, nil
	return m
}
