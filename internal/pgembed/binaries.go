package pgembed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// Oldest and newest major version that Concord runs on.
const (
	oldestMajor = 15
	newestMajor = 18
)

var downloadable = map[int]embeddedpostgres.PostgresVersion{
	15: embeddedpostgres.V15,
	16: embeddedpostgres.V16,
	17: embeddedpostgres.V17,
	18: embeddedpostgres.V18,
}

// findBinaries returns a directory that holds initdb and postgres of the
// wanted major version, or of any supported one when major is 0.
func findBinaries(ctx context.Context, o Options, major int) (string, error) {
	for _, dir := range candidateDirs(ctx, o.BinDir) {
		found, err := majorOf(ctx, dir)
		if err != nil {
			continue
		}
		if found == major || major == 0 && found >= oldestMajor && found <= newestMajor {
			return dir, nil
		}
	}
	if o.BinDir != "" {
		return "", fmt.Errorf("no PostgreSQL %s in %s", wanted(major), o.BinDir)
	}
	return download(o, cmp.Or(major, newestMajor))
}

func wanted(major int) string {
	if major == 0 {
		return fmt.Sprintf("%d to %d", oldestMajor, newestMajor)
	}
	return strconv.Itoa(major)
}

func candidateDirs(ctx context.Context, given string) []string {
	if given != "" {
		return []string{given}
	}
	var dirs []string
	if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	packaged, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // Debian; the pattern is valid
	slices.Reverse(packaged)
	dirs = append(dirs, packaged...)
	for _, pattern := range []string{"/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin"} {
		more, _ := filepath.Glob(pattern)
		slices.Reverse(more)
		dirs = append(dirs, more...)
	}
	return dirs
}

var versionNumber = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

func majorOf(ctx context.Context, dir string) (int, error) {
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return 0, err
	}
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return 0, err
	}
	m := versionNumber.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("unexpected version %q", out)
	}
	return strconv.Atoi(string(m[1]))
}

// download fetches the binaries once. The library has no call that only
// fetches, so it is asked to start a database in a scratch directory: as root
// that fails after the binaries are in place, which is all that is wanted.
func download(o Options, major int) (string, error) {
	version, ok := downloadable[major]
	if !ok {
		return "", fmt.Errorf("no binaries of PostgreSQL %d on this machine, and none to download", major)
	}
	home := filepath.Join(o.CacheDir, "postgresql-"+strconv.Itoa(major))
	bin := filepath.Join(home, "bin")
	if _, err := os.Stat(filepath.Join(bin, "postgres")); err == nil {
		return bin, nil
	}
	o.Logger.Info("downloading PostgreSQL", "version", string(version))
	scratch, err := os.MkdirTemp("", "concord-postgres-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(scratch)
	port, err := choosePort(filepath.Join(scratch, "port"))
	if err != nil {
		return "", err
	}
	db := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().Version(version).Port(uint32(port)).
		BinariesPath(home).CachePath(o.CacheDir).RuntimePath(filepath.Join(scratch, "run")).
		DataPath(filepath.Join(scratch, "data")).Logger(io.Discard))
	startErr := db.Start()
	if startErr == nil {
		startErr = db.Stop()
	}
	if _, err := os.Stat(filepath.Join(bin, "initdb")); err != nil {
		return "", fmt.Errorf("download PostgreSQL %s: %w", version, cmp.Or(startErr, err))
	}
	return bin, nil
}

var errNoAccount = errors.New(`PostgreSQL refuses to run as root, and there is neither a user "postgres" nor "nobody"`)
