package pgtest

import (
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Proxy passes TCP connections on to a server and cuts one after a given number of bytes.
type Proxy struct {
	listener net.Listener
	target   string

	mu     sync.Mutex
	cut    *Cut
	active map[net.Conn]struct{}
}

// Cut ends every connection once so many bytes have passed in one direction since it was armed.
type Cut struct {
	// Answer counts the server's bytes; else the client's.
	Answer bool
	// After is the number of bytes that still pass.
	After int
}

// NewProxy starts a proxy to the server at target.
func NewProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	p := &Proxy{listener: l, target: target, active: map[net.Conn]struct{}{}}
	var wg sync.WaitGroup
	wg.Go(func() { p.serve(&wg) })
	tb.Cleanup(func() {
		_ = l.Close()
		p.CutAll()
		wg.Wait()
	})
	return p
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() *net.TCPAddr { return p.listener.Addr().(*net.TCPAddr) }

// Arm sets the cut; the first connection that reaches it spends it.
func (p *Proxy) Arm(c Cut) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = &c
}

// Disarm takes the cut back and tells whether it was still unspent.
func (p *Proxy) Disarm() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	unspent := p.cut != nil
	p.cut = nil
	return unspent
}

// CutAll ends all connections.
func (p *Proxy) CutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.active {
		_ = c.Close()
	}
}

func (p *Proxy) serve(wg *sync.WaitGroup) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.track(client, server)
		wg.Go(func() { p.pump(server, client, false) })
		wg.Go(func() { p.pump(client, server, true) })
	}
}

func (p *Proxy) track(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.active[c] = struct{}{}
	}
}

// pump copies from src to dst until either ends.
func (p *Proxy) pump(dst, src net.Conn, answer bool) {
	defer p.drop(dst, src)
	buf := make([]byte, 16<<10)
	for {
		n, err := src.Read(buf)
		pass, cut := p.allow(n, answer)
		if _, werr := dst.Write(buf[:pass]); werr != nil || cut || err != nil {
			return
		}
	}
}

func (p *Proxy) drop(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
		delete(p.active, c)
	}
}

// allow tells how many of n bytes pass, and whether the connection is cut behind them.
func (p *Proxy) allow(n int, answer bool) (pass int, cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut == nil || p.cut.Answer != answer {
		return n, false
	}
	if n < p.cut.After {
		p.cut.After -= n
		return n, false
	}
	pass = p.cut.After
	p.cut = nil
	return pass, true
}
