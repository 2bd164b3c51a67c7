package server

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// maxFrame is the size above which coalesced messages go into another frame.
const maxFrame = 1 << 20

// outbox holds what waits to be sent, as one buffer, so that a message costs
// a copy and no allocation.
type outbox struct {
	mu        sync.Mutex
	buf       []byte
	ends      []int // where each message in buf ends
	coalesce  bool
	closed    bool
	sending   bool
	signal    chan struct{}
	maxCount  int
	maxBytes  int
	overloads bool
}

func (o *outbox) init(maxCount, maxBytes int) {
	o.signal = make(chan struct{}, 1)
	o.maxCount, o.maxBytes = maxCount, maxBytes
}

// add lets f append one message. It reports false when there is no room.
func (o *outbox) add(f func(b []byte) []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return true // nobody is there to miss it
	}
	if len(o.ends) >= o.maxCount || len(o.buf) > o.maxBytes {
		o.overloads = true
		return false
	}
	o.buf = f(o.buf)
	o.ends = append(o.ends, len(o.buf))
	o.wake()
	return true
}

func (o *outbox) wake() {
	select {
	case o.signal <- struct{}{}:
	default:
	}
}

// take exchanges the pending messages for empty buffers.
func (o *outbox) take(buf []byte, ends []int) ([]byte, []int, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if cap(buf) > 4*maxFrame {
		buf = nil // a snapshot's buffer is not kept
	}
	takenBuf, takenEnds := o.buf, o.ends
	o.buf, o.ends = buf[:0], ends[:0]
	o.sending = len(takenEnds) > 0
	return takenBuf, takenEnds, o.coalesce
}

func (o *outbox) setCoalesce(on bool) {
	o.mu.Lock()
	o.coalesce = on
	o.mu.Unlock()
}

func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
}

// drain waits until all is sent, for a limited time.
func (o *outbox) drain(ctx context.Context, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		o.mu.Lock()
		idle := len(o.ends) == 0 && !o.sending
		o.mu.Unlock()
		if idle {
			return
		}
		<-tick.C
	}
}

// write sends what is pending until the session ends.
func (s *Session) write() {
	var buf []byte
	var ends []int
	var joined []byte
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.out.signal:
		}
		for {
			s.server.opts.Gate(s.ctx)
			var coalesce bool
			buf, ends, coalesce = s.out.take(buf, ends)
			if len(ends) == 0 {
				break
			}
			var err error
			if joined, err = s.writeAll(buf, ends, coalesce, joined); err != nil {
				s.end(fmt.Errorf("write: %w", err))
				return
			}
		}
	}
}

func (s *Session) writeAll(buf []byte, ends []int, coalesce bool, joined []byte) ([]byte, error) {
	start := 0
	for i := 0; i < len(ends); {
		frame := buf[start:ends[i]]
		next := i + 1
		if coalesce && next < len(ends) && ends[next]-start < maxFrame {
			joined, next = join(joined[:0], buf, start, ends, i)
			frame = joined
		}
		if err := s.writeFrame(frame); err != nil {
			return joined, err
		}
		start, i = ends[next-1], next
	}
	return joined, nil
}

// join makes an array of the messages from i on, as many as fit a frame.
func join(joined, buf []byte, start int, ends []int, i int) ([]byte, int) {
	first := start
	joined = append(joined, '[')
	for ; i < len(ends) && (start == first || ends[i]-first < maxFrame); i++ {
		if start != first {
			joined = append(joined, ',')
		}
		joined = append(joined, buf[start:ends[i]]...)
		start = ends[i]
	}
	return append(joined, ']'), i
}

func (s *Session) writeFrame(frame []byte) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.server.opts.WriteTimeout)
	defer cancel()
	return s.ws.Write(ctx, websocket.MessageText, frame)
}

// flushed ends a session whose outbox has overflowed.
func (s *Session) flushed() {
	s.out.mu.Lock()
	overload := s.out.overloads
	s.out.mu.Unlock()
	if overload {
		s.end(ErrOverload)
	}
}

// SendEvent sends an event of the subscription with this id. raw is the
// "event" member, encoded; it is copied, so one raw can serve many sessions. A
// client with too much pending is disconnected; it reports false then.
func (s *Session) SendEvent(id int64, raw []byte) bool {
	ok := s.out.add(func(b []byte) []byte {
		b = append(b, `{"type":"event","event":`...)
		b = append(b, raw...)
		return append(appendID(append(b, `,"id":`...), id), '}')
	})
	if !ok {
		s.end(ErrOverload)
	}
	return ok
}

// Result answers the command with this id now, so that its first event can
// follow. What the command returns afterwards is not sent.
func (s *Session) Result(id int64, v any) {
	s.mu.Lock()
	open := s.open[id]
	delete(s.open, id)
	s.mu.Unlock()
	if open {
		s.sendResult(id, v)
	}
}

func (s *Session) sendResult(id int64, v any) {
	raw, ok := v.(json.RawMessage)
	if !ok {
		var err error
		if raw, err = json.Marshal(v); err != nil {
			s.server.opts.Logger.Error("websocket result cannot be encoded", "error", err.Error())
			s.sendError(fmt.Appendf(nil, "%d", id), &Error{"unknown_error", "Unknown error"})
			return
		}
	}
	if raw == nil {
		raw = json.RawMessage("null")
	}
	s.out.add(func(b []byte) []byte {
		b = appendID(append(b, `{"id":`...), id)
		b = append(b, `,"type":"result","success":true,"result":`...)
		return append(append(b, raw...), '}')
	})
	s.flushed()
}

func (s *Session) sendError(id json.RawMessage, e *Error) {
	text, err := json.Marshal(e)
	if err != nil {
		return // two strings always encode
	}
	s.out.add(func(b []byte) []byte {
		b = append(append(b, `{"id":`...), id...)
		b = append(b, `,"type":"result","success":false,"error":`...)
		return append(append(b, text...), '}')
	})
	s.flushed()
}

func appendID(b []byte, id int64) []byte { return strconv.AppendInt(b, id, 10) }
