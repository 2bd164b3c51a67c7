package web

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"sync"
)

// flow is a connection that tells whether it is stuck: whether a write is under
// way. Who has more to say waits for it to end, so that what a slow screen does
// not take stays in its feeds, which are bounded, and not in buffers.
type flow struct {
	net.Conn
	mu    sync.Mutex
	idle  chan struct{} // closed when the write under way ends; nil when there is none
	bytes int64
}

// Write implements net.Conn.
func (f *flow) Write(b []byte) (int, error) {
	done := make(chan struct{})
	f.mu.Lock()
	f.idle = done
	f.mu.Unlock()
	n, err := f.Conn.Write(b)
	f.mu.Lock()
	f.idle = nil
	f.bytes += int64(n)
	f.mu.Unlock()
	close(done)
	return n, err
}

// wait returns when no write is under way, or with the context's error.
func (f *flow) wait(ctx context.Context) error {
	for {
		f.mu.Lock()
		idle := f.idle
		f.mu.Unlock()
		if idle == nil {
			return ctx.Err()
		}
		select {
		case <-idle:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// sent returns the bytes that were sent since the last call.
func (f *flow) sent() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.bytes
	f.bytes = 0
	return n
}

// flowWriter is a ResponseWriter whose hijacked connection is a flow.
type flowWriter struct {
	http.ResponseWriter
	flow *flow
}

// Hijack implements http.Hijacker.
func (w *flowWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if err := rw.Writer.Flush(); err != nil { // the header is in it
		conn.Close()
		return nil, nil, err
	}
	w.flow.Conn = conn
	rw.Writer.Reset(w.flow)
	return w.flow, rw, nil
}

// Unwrap lets http.ResponseController reach the connection.
func (w *flowWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
