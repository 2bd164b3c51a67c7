package faulttest

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// proxy passes TCP connections on to PostgreSQL, and harms them.
type proxy struct {
	listener net.Listener
	target   string
	slow     atomic.Int64 // ns before each piece
	left     atomic.Int64 // bytes until a connection is cut; negative for never
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
}

func newProxy(target string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: l, target: target, conns: make(map[net.Conn]bool)}
	p.left.Store(-1)
	p.wg.Go(p.accept)
	return p, nil
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil { // down: the client sees a closed connection
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		p.wg.Go(func() { p.pass(client, server) })
		p.wg.Go(func() { p.pass(server, client) })
	}
}

// pass copies until either side ends, then ends both.
func (p *proxy) pass(from, to net.Conn) {
	defer func() {
		from.Close()
		to.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, from)
		delete(p.conns, to)
	}()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if wait := p.slow.Load(); wait > 0 {
			time.Sleep(time.Duration(wait))
		}
		if p.left.Load() >= 0 && p.left.Add(-int64(n)) < 0 {
			return // with the bytes
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) delay(d time.Duration) { p.slow.Store(int64(d)) }

// cutAfter cuts the connection that passes that many bytes from now on.
func (p *proxy) cutAfter(bytes int64) { p.left.Store(bytes) }

func (p *proxy) cutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

func (p *proxy) close() {
	p.listener.Close()
	p.cutAll()
	p.wg.Wait()
}
