// Package pgtest gives tests a real PostgreSQL: one private server for the
// tests of a package, and a database of its own for each test that asks.
package pgtest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/pgembed"
)

var (
	once     sync.Once
	server   *pgembed.Server
	startErr error
	dir      string
	count    atomic.Int64
)

// Main runs the tests of a package, then cleans up and ends the server. Call it
// from TestMain.
func Main(m *testing.M, cleanups ...func()) {
	code := m.Run()
	for _, cleanup := range cleanups {
		cleanup()
	}
	if server != nil {
		if err := server.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if dir != "" {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// Server returns the package's server, starting it for the first test.
func Server(t testing.TB) *pgembed.Server {
	t.Helper()
	if testing.Short() {
		t.Skip("needs PostgreSQL")
	}
	once.Do(func() {
		if dir, startErr = os.MkdirTemp("", "concord-pgtest-"); startErr != nil {
			return
		}
		server, startErr = pgembed.Start(context.Background(), pgembed.Options{
			Dir: dir, CacheDir: cacheDir(), Settings: map[string]string{"fsync": "off", "max_connections": "300", "max_prepared_transactions": "10"},
		})
	})
	require.NoError(t, startErr)
	return server
}

// cacheDir keeps downloaded binaries between runs.
func cacheDir() string {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	return filepath.Join(cache, "concord")
}

// URL creates an empty database and returns its connection string.
func URL(t testing.TB) string {
	t.Helper()
	admin := Server(t).URL()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, admin)
	require.NoError(t, err)
	defer conn.Close(ctx)
	name := fmt.Sprintf("test%d", count.Add(1))
	_, err = conn.Exec(ctx, `create database `+name)
	require.NoError(t, err)
	u, err := url.Parse(admin)
	require.NoError(t, err)
	u.Path = "/" + name
	return u.String()
}
