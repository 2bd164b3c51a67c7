// Command pgbin downloads PostgreSQL binaries once and prints their directory.
//
//	PG_BIN=$(go run . 18) go test ./...
package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	embedded "github.com/fergusstrange/embedded-postgres"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: pgbin MAJOR")
		os.Exit(2)
	}
	dir, err := binaries(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "pgbin:", err)
		os.Exit(1)
	}
	fmt.Println(dir)
}

var versions = map[string]embedded.PostgresVersion{
	"15": embedded.V15, "16": embedded.V16, "17": embedded.V17, "18": embedded.V18,
}

// binaries returns the directory of a major version's programs. It lies where every user may read it, for tests that
// run as root start the server as another.
func binaries(major string) (string, error) {
	version, ok := versions[major]
	if !ok {
		return "", fmt.Errorf("no version %q", major)
	}
	dir := filepath.Join(os.TempDir(), "pgretry-postgres-"+string(version))
	bin := filepath.Join(dir, "bin")
	if _, err := os.Stat(filepath.Join(bin, "postgres")); err == nil {
		return bin, nil
	}
	if err := download(dir, version); err != nil {
		return "", err
	}
	return bin, exec.Command("chmod", "-R", "a+rX", dir).Run()
}

// download has the library fetch and unpack the binaries. It also starts the server, which fails for root, after that.
func download(dir string, version embedded.PostgresVersion) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	port := uint32(l.Addr().(*net.TCPAddr).Port)
	_ = l.Close()
	var log strings.Builder
	server := embedded.NewDatabase(embedded.DefaultConfig().Version(version).Port(port).Logger(&log).
		BinariesPath(dir).RuntimePath(dir + "-runtime").CachePath(dir + "-cache"))
	defer os.RemoveAll(dir + "-runtime")
	if err = server.Start(); err == nil {
		return server.Stop()
	}
	if _, missing := os.Stat(filepath.Join(dir, "bin", "postgres")); missing != nil {
		return fmt.Errorf("download: %w\n%s", err, log.String())
	}
	return nil
}
