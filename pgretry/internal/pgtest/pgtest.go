// Package pgtest starts a private PostgreSQL for the tests of a package.
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
//
// The binaries are found through PG_BIN, then pg_config, then /usr/lib/postgresql. With PGRETRY_TEST_DATABASE_URL set,
// that server is used and none is started. Under -short no server is needed: URL skips the test, and examples do not run.
package pgtest

import (
	"flag"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// EnvURL names a server to use instead of a private one. The role must be a superuser.
const EnvURL = "PGRETRY_TEST_DATABASE_URL"

var server struct {
	once    sync.Once
	cluster *Cluster
	url     string
	err     error
}

// Main runs the tests and removes the cluster that they started.
func Main(m *testing.M) int {
	flag.Parse()
	if testing.Short() {
		_ = flag.Set("test.skip", "^Example")
	}
	defer func() {
		if server.cluster != nil {
			server.cluster.Stop()
		}
	}()
	return m.Run()
}

// URL returns the address of the package's server, and starts it on the first call. It skips the test under -short.
func URL(tb testing.TB) string {
	tb.Helper()
	if testing.Short() {
		tb.Skip("needs PostgreSQL; run without -short")
	}
	url, err := Server()
	if err != nil {
		tb.Fatalf("start PostgreSQL: %v", err)
	}
	return url
}

// Server is [URL] for examples.
func Server() (string, error) {
	server.once.Do(start)
	return server.url, server.err
}

func start() {
	if server.url = os.Getenv(EnvURL); server.url != "" {
		return
	}
	server.cluster, server.err = Start()
	if server.err != nil {
		server.err = fmt.Errorf("private cluster (set PG_BIN or %s): %w", EnvURL, server.err)
		return
	}
	server.url = server.cluster.URL()
}

// Addr returns the host and port of the package's server.
func Addr(tb testing.TB) string {
	tb.Helper()
	config, err := pgx.ParseConfig(URL(tb))
	require.NoError(tb, err)
	return net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))
}
