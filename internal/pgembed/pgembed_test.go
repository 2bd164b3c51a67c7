package pgembed_test

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/pgembed"
)

// dataDir is a directory that an unprivileged user can reach.
func dataDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o711))
	return filepath.Join(dir, "data")
}

func start(t *testing.T, dir string) *pgembed.Server {
	t.Helper()
	s, err := pgembed.Start(t.Context(), pgembed.Options{Dir: dir, Settings: map[string]string{"fsync": "off"}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop()) })
	return s
}

// removeClusterOf has the test take away what the link in dir leads to.
func removeClusterOf(t *testing.T, dir string) {
	t.Helper()
	target, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(target)) })
}

func exec(t *testing.T, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	_, err = conn.Exec(t.Context(), sql)
	require.NoError(t, err)
}

func query(t *testing.T, url, sql string, result any) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	require.NoError(t, conn.QueryRow(t.Context(), sql).Scan(result))
}

// awaitAnother waits until s runs in a process that is not old.
func awaitAnother(t *testing.T, s *pgembed.Server, old int) {
	t.Helper()
	require.Eventually(t, func() bool {
		conn, err := pgx.Connect(t.Context(), s.URL())
		if err != nil {
			return false
		}
		return conn.Close(t.Context()) == nil && s.PID() != old
	}, 30*time.Second, 20*time.Millisecond)
}

func TestServer(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL")
	}
	t.Parallel()

	t.Run("KeepsDataAndAddressOverARestart", func(t *testing.T) {
		t.Parallel()
		dir := dataDir(t)
		s := start(t, dir)
		exec(t, s.URL(), `create table kept (n int)`)
		url := s.URL()
		require.NoError(t, s.Stop())

		s = start(t, dir)
		require.Equal(t, url, s.URL())
		exec(t, s.URL(), `insert into kept values (1)`)
	})

	t.Run("NeverTakesADamagedClusterForNone", func(t *testing.T) {
		t.Parallel()
		for _, version := range []string{"", "x"} {
			dir := dataDir(t)
			data := filepath.Join(dir, "postgres", "data")
			require.NoError(t, os.MkdirAll(data, 0o700))
			precious := filepath.Join(data, "precious")
			require.NoError(t, os.WriteFile(precious, nil, 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(data, "PG_VERSION"), []byte(version), 0o600))
			_, err := pgembed.Start(t.Context(), pgembed.Options{Dir: dir})
			require.ErrorContains(t, err, "damaged")
			require.FileExists(t, precious)
		}
	})

	t.Run("KeepsTheDatabaseOfADirectoryThatWasMoved", func(t *testing.T) {
		t.Parallel()
		if os.Geteuid() != 0 {
			t.Skip("only root needs the link")
		}
		parent := t.TempDir()
		require.NoError(t, os.Chmod(parent, 0o700)) // nobody else passes
		dir := filepath.Join(parent, "data")
		s := start(t, dir)
		exec(t, s.URL(), `create table kept (n int)`)
		require.NoError(t, s.Stop())
		removeClusterOf(t, dir)
		require.NoError(t, os.Rename(dir, dir+".old"))

		require.NoError(t, start(t, dir).Stop())
		removeClusterOf(t, dir)
		s = start(t, dir+".old")
		exec(t, s.URL(), `insert into kept values (1)`)
	})

	t.Run("WritesItsLogToFilesThatAreThere", func(t *testing.T) {
		t.Parallel()
		s := start(t, dataDir(t))
		dir := filepath.Join(filepath.Dir(s.LogDir()), "pg_wal")
		made := make(map[string]os.FileInfo)
		for _, name := range []string{"000000010000000000000002", "000000010000000000000003", "000000010000000000000004"} {
			var err error
			made[name], err = os.Stat(filepath.Join(dir, name))
			require.NoError(t, err)
		}
		exec(t, s.URL(), `create table kept as select repeat(n::text, 100) from generate_series(1, 100000) n`)
		var name string
		query(t, s.URL(), `select pg_walfile_name(pg_current_wal_lsn())`, &name)
		require.Contains(t, made, name, "the log went on into another file")
		now, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.True(t, os.SameFile(made[name], now), "PostgreSQL made %s anew", name)

		old := s.PID()
		require.NoError(t, syscall.Kill(old, syscall.SIGKILL))
		awaitAnother(t, s, old)
		var n int
		query(t, s.URL(), `select count(*) from kept`, &n)
		require.Equal(t, 100_000, n, "what was committed in that file is recovered")
	})

	t.Run("ComesBackAfterSIGKILL", func(t *testing.T) {
		t.Parallel()
		s := start(t, dataDir(t))
		old := s.PID()
		require.NoError(t, syscall.Kill(old, syscall.SIGKILL))
		awaitAnother(t, s, old)
	})

	t.Run("DownloadsTheVersionThatIsNotThere", func(t *testing.T) {
		t.Parallel()
		cache, err := os.UserCacheDir()
		require.NoError(t, err)
		s, err := pgembed.Start(t.Context(), pgembed.Options{
			Dir: dataDir(t), Major: 18, CacheDir: filepath.Join(cache, "concord"), Settings: map[string]string{"fsync": "off"},
		})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Stop()) })
		exec(t, s.URL(), `do $$ begin assert current_setting('server_version_num')::int / 10000 = 18; end $$`)
	})

	t.Run("NamesWhoHasTheDirectory", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		unlock, err := pgembed.Lock(dir)
		require.NoError(t, err)
		_, err = pgembed.Lock(dir)
		require.ErrorContains(t, err, "in use by Concord process")
		require.NoError(t, unlock())
		unlock, err = pgembed.Lock(dir)
		require.NoError(t, err)
		require.NoError(t, unlock())
	})

	t.Run("RefusesADirectoryWithoutBinaries", func(t *testing.T) {
		t.Parallel()
		_, err := pgembed.Start(t.Context(), pgembed.Options{Dir: dataDir(t), BinDir: os.TempDir()})
		require.ErrorContains(t, err, "no PostgreSQL 15 to 18 in")
	})
}
