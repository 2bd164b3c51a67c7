package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Cluster is a running PostgreSQL of its own, on a random port of the loopback address.
type Cluster struct {
	// Bin is the directory of its programs.
	Bin string

	dir  string
	port int
	cred *syscall.Credential
	cmd  *exec.Cmd
	done chan struct{}
}

// Start creates a cluster with fsync on and starts it with further settings, such as "max_connections=20".
func Start(settings ...string) (*Cluster, error) {
	bin, err := findBin()
	if err != nil {
		return nil, err
	}
	c := &Cluster{Bin: bin}
	if c.cred, err = unprivileged(); err != nil {
		return nil, err
	}
	if c.dir, err = os.MkdirTemp("", "pgretry-pg"); err != nil {
		return nil, err
	}
	if err := c.init(settings); err != nil {
		_ = os.RemoveAll(c.dir)
		return nil, err
	}
	if err := c.Boot(); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

// URL is the address of the cluster's database postgres, for its superuser.
func (c *Cluster) URL() string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", c.port)
}

// Addr is the host and port it listens on.
func (c *Cluster) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)) }

// Run runs one of the cluster's programs as the user that owns the cluster.
func (c *Cluster) Run(program string, args ...string) error {
	cmd := c.command(program, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, out)
	}
	return nil
}

func (c *Cluster) init(settings []string) error {
	if c.cred != nil {
		if err := os.Chown(c.dir, int(c.cred.Uid), int(c.cred.Gid)); err != nil {
			return err
		}
	}
	err := c.Run("initdb", "-D", c.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
	if err != nil {
		return err
	}
	if c.port, err = freePort(); err != nil {
		return err
	}
	conf := append([]string{
		"listen_addresses='127.0.0.1'", "unix_socket_directories=''", "port=" + strconv.Itoa(c.port),
		"max_connections=200", "max_prepared_transactions=10", "shared_buffers=64MB", "wal_level=replica",
	}, settings...)
	file := filepath.Join(c.data(), "postgresql.auto.conf")
	return os.WriteFile(file, []byte(strings.Join(conf, "\n")+"\n"), 0o644)
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

func (c *Cluster) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(c.Bin, program), args...)
	cmd.Dir = c.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.cred}
	return cmd
}

// Boot starts the server, again after [Cluster.Halt], and waits until it answers.
func (c *Cluster) Boot() error {
	log, err := os.OpenFile(filepath.Join(c.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	c.cmd = c.command("postgres", "-D", c.data())
	c.cmd.Stdout, c.cmd.Stderr = log, log
	endWithParent(c.cmd.SysProcAttr)
	if err := c.cmd.Start(); err != nil {
		return err
	}
	c.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait()
		close(done)
	}(c.cmd, c.done)
	return c.await()
}

func (c *Cluster) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, c.URL())
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-tick.C:
		case <-c.done:
			log, _ := os.ReadFile(filepath.Join(c.dir, "log"))
			return fmt.Errorf("postgres ended: %s", log)
		case <-ctx.Done():
			return err
		}
	}
}

// Halt sends the server a signal and waits until it has ended: SIGQUIT is a crash, SIGINT a fast shutdown.
func (c *Cluster) Halt(sig os.Signal) {
	if c.cmd == nil || c.cmd.Process == nil {
		return
	}
	_ = c.cmd.Process.Signal(sig)
	<-c.done
}

// Stop ends the server and removes its files.
func (c *Cluster) Stop() {
	c.Halt(syscall.SIGQUIT)
	_ = os.RemoveAll(c.dir)
}

func findBin() (string, error) {
	candidates := []string{os.Getenv("PG_BIN")}
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		candidates = append(candidates, strings.TrimSpace(string(out)))
	}
	installed, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	for _, dir := range append(candidates, installed...) {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); dir != "" && err == nil {
			return dir, nil
		}
	}
	return "", errors.New("no PostgreSQL binaries found")
}

// unprivileged is the user to run the server as when this process is root, which PostgreSQL refuses; else nil.
func unprivileged() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			uid, _ := strconv.ParseUint(u.Uid, 10, 32)
			gid, _ := strconv.ParseUint(u.Gid, 10, 32)
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("root without a user postgres or nobody to run the server")
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
