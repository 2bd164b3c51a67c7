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
	dir, err := os.MkdirTemp("", "concord-bench-"+name+"-")
	if err != nil {
		return nil, err
	}
	g := &Ground{Dir: dir}
	g.OnClose(func() { os.RemoveAll(dir) })
	return g.opened(ctx, settings)
}

// OpenAt does it in a directory that is kept, with what it already holds.
func OpenAt(ctx context.Context, dir string, settings map[string]string) (*Ground, error) {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, err
	}
	return (&Ground{Dir: dir}).opened(ctx, settings)
}

func (g *Ground) opened(ctx context.Context, settings map[string]string) (*Ground, error) {
	if err := g.open(ctx, settings); err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

func (g *Ground) open(ctx context.Context, settings map[string]string) (err error) {
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
