package pgtest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// PgBouncer starts PgBouncer in transaction mode before the server at url and returns its port. It skips the test
// where no pgbouncer is installed, unless CI is set.
func PgBouncer(tb testing.TB, url string) uint16 {
	tb.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		if os.Getenv("CI") == "" {
			tb.Skip("pgbouncer is not installed")
		}
		tb.Fatal("CI needs pgbouncer")
	}
	config, err := pgx.ParseConfig(url)
	require.NoError(tb, err)
	port, err := freePort()
	require.NoError(tb, err)
	dir, err := os.MkdirTemp("", "pgretry-bouncer")
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	cred, err := unprivileged()
	require.NoError(tb, err)
	if cred != nil {
		require.NoError(tb, os.Chown(dir, int(cred.Uid), int(cred.Gid)))
	}
	ini := fmt.Sprintf("[databases]\n* = host=%s port=%d user=%s\n[pgbouncer]\nlisten_addr=127.0.0.1\nlisten_port=%d\n"+
		"unix_socket_dir=\nauth_type=any\npool_mode=transaction\nmax_client_conn=100\ndefault_pool_size=10\n",
		config.Host, config.Port, config.User, port)
	file := filepath.Join(dir, "pgbouncer.ini")
	require.NoError(tb, os.WriteFile(file, []byte(ini), 0o644))
	cmd := exec.Command(program, "-q", file)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	endWithParent(cmd.SysProcAttr)
	require.NoError(tb, cmd.Start())
	tb.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGQUIT)
		_ = cmd.Wait()
	})
	require.Eventually(tb, func() bool {
		c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, 10*time.Second, 10*time.Millisecond)
	return uint16(port)
}
