// Package line is the way of a state change from a simulated home to its
// committed rows, for benchmarks: home → link → spool → writer → PostgreSQL.
package line

import (
	"context"
	"os"
	"path/filepath"
	"slices"

	"github.com/concord-home/concord/internal/bus"
	"github.com/concord-home/concord/internal/pgembed"
)

// Ground is what lines stand on: a directory, a private PostgreSQL and, once it
// is opened, a spool. Close it.
type Ground struct {
	Dir    string
	Server *pgembed.Server
	Bus    *bus.Bus // see OpenSpool

	closers []func()
}

// Open starts the PostgreSQL of the benchmark with that name; settings are
// added to the server's.
func Open(ctx context.Context, name string, settings map[string]string) (*Ground, error) {
	g := &Ground{}
	if err := g.open(ctx, name, settings); err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

func (g *Ground) open(ctx context.Context, name string, settings map[string]string) (err error) {
	if g.Dir, err = os.MkdirTemp("", "concord-bench-"+name+"-"); err != nil {
		return err
	}
	g.OnClose(func() { os.RemoveAll(g.Dir) })
	if err := os.Chmod(g.Dir, 0o711); err != nil { // PostgreSQL runs as another user
		return err
	}
	if g.Server, err = pgembed.Start(ctx, pgembed.Options{Dir: g.Dir, Settings: settings}); err != nil {
		return err
	}
	g.OnClose(func() { _ = g.Server.Stop() })
	return nil
}

// OpenSpool opens the spool that lines need.
func (g *Ground) OpenSpool(ctx context.Context) (err error) {
	if g.Bus, err = bus.Open(ctx, bus.Options{Dir: filepath.Join(g.Dir, "spool")}); err != nil {
		return err
	}
	g.OnClose(func() { _ = g.Bus.Close() })
	return nil
}

// OnClose has f called by Close, before what was opened earlier is closed.
func (g *Ground) OnClose(f func()) { g.closers = append(g.closers, f) }

// Close closes everything.
func (g *Ground) Close() {
	for _, f := range slices.Backward(g.closers) {
		f()
	}
}
