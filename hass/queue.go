package hass

import (
	"sync"
	"time"
)

// frame is what one WebSocket message held.
type frame struct {
	messages []message
	size     int
	at       time.Time
}

// frameQueue stands between the reader of a connection and its handlers. push
// waits while more than limit bytes are queued.
type frameQueue struct {
	mu      sync.Mutex
	ready   sync.Cond
	frames  []frame
	bytes   int
	limit   int
	blocked bool      // the reader waits
	working time.Time // arrival of the frame that is being handled
	closed  bool      // no more frames are taken; those inside are still given out
}

func newFrameQueue(limit int) *frameQueue {
	q := &frameQueue{limit: limit}
	q.ready.L = &q.mu
	return q
}

// push adds a frame. It reports false when the queue is closed.
func (q *frameQueue) push(f frame) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.bytes > q.limit && !q.closed {
		q.blocked = true
		q.ready.Wait()
	}
	q.blocked = false
	if q.closed {
		return false
	}
	q.frames = append(q.frames, f)
	q.bytes += f.size
	q.ready.Broadcast()
	return true
}

// take returns all queued frames, waiting for the first. It returns nil when
// the queue is closed and empty. The frames count as queued until done.
func (q *frameQueue) take(spare []frame) []frame {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.frames) == 0 {
		q.working = time.Time{}
	}
	for len(q.frames) == 0 && !q.closed {
		q.ready.Wait()
	}
	taken := q.frames
	q.frames = spare[:0]
	if len(taken) == 0 {
		return nil
	}
	return taken
}

func (q *frameQueue) begin(f frame) {
	q.mu.Lock()
	q.working = f.at
	q.mu.Unlock()
}

func (q *frameQueue) done(f frame) {
	q.mu.Lock()
	q.bytes -= f.size
	q.mu.Unlock()
	q.ready.Broadcast()
}

func (q *frameQueue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.ready.Broadcast()
}

// lag tells how much is queued, how old its oldest part is, and whether the
// reader waits for room.
func (q *frameQueue) lag() (bytes int, behind time.Duration, blocked bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	oldest := q.working
	if oldest.IsZero() && len(q.frames) > 0 {
		oldest = q.frames[0].at
	}
	if !oldest.IsZero() {
		behind = time.Since(oldest)
	}
	return q.bytes, behind, q.blocked
}
