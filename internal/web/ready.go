package web

import (
	"slices"
	"sync"

	"github.com/concord-home/concord/internal/web/hub"
)

// readyList is the subscriptions of a screen, and which of them have something
// to send.
type readyList struct {
	mu      sync.Mutex
	feeds   map[int64]*hub.Feed // by subscription id
	opening map[int64]bool      // may have woken already; their feed is not here yet
	ready   []int64
}

func newReadyList() *readyList {
	return &readyList{feeds: map[int64]*hub.Feed{}, opening: map[int64]bool{}}
}

func (l *readyList) open(id int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opening[id] = true
}

func (l *readyList) add(id int64, feed *hub.Feed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.opening, id)
	l.feeds[id] = feed
}

func (l *readyList) remove(id int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.feeds, id)
}

func (l *readyList) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.feeds)
}

func (l *readyList) woke(id int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ready = append(l.ready, id)
}

// next takes the next ready feed off the list. One that is not known yet stays:
// whoever adds it signals. Those of subscriptions that ended go.
func (l *readyList) next() (int64, *hub.Feed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := 0; i < len(l.ready); {
		id := l.ready[i]
		if l.opening[id] {
			i++
			continue
		}
		l.ready = slices.Delete(l.ready, i, i+1)
		if feed := l.feeds[id]; feed != nil {
			return id, feed
		}
	}
	return 0, nil
}
