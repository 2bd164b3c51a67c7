package pgembed

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// account is the user that PostgreSQL runs as; the zero value is Concord's own.
type account struct {
	uid, gid int
	switched bool
	name     string
}

// serverAccount finds an unprivileged user when Concord is root.
func serverAccount() (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.Atoi(u.Uid)
		gid, gidErr := strconv.Atoi(u.Gid)
		if uidErr == nil && gidErr == nil {
			return account{uid: uid, gid: gid, switched: true, name: name}, nil
		}
	}
	return account{}, errNoAccount
}

// reachable makes dir, or a directory of all Concords on this machine where the
// account cannot pass an ancestor of dir, and returns it.
func (a account) reachable(dir string) (string, error) {
	if a.switched && !passable(existing(dir)) {
		dir = "/var/lib/concord/cache"
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// existing is the deepest directory of path that exists.
func existing(path string) string {
	for {
		if _, err := os.Stat(path); err == nil || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

// cluster is a PostgreSQL data directory.
type cluster struct {
	account account
	data    string // PGDATA, reached by the account
}

// openCluster makes dir/postgres a directory that the account owns and can
// reach. Where it cannot pass an ancestor of dir (/root, say), the cluster
// lives under /var/lib/concord and dir/postgres is a link to it.
func openCluster(dir string, a account) (cluster, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return cluster{}, err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return cluster{}, err
	}
	root := filepath.Join(dir, "postgres")
	if a.switched {
		if err := os.Chmod(dir, 0o711); err != nil { // passage for the account, not reading
			return cluster{}, err
		}
		if !passable(filepath.Dir(dir)) {
			if root, err = linkedRoot(root); err != nil {
				return cluster{}, err
			}
		}
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return cluster{}, err
	}
	if a.switched {
		if err := os.Chown(root, a.uid, a.gid); err != nil {
			return cluster{}, err
		}
	}
	return cluster{account: a, data: filepath.Join(root, "data")}, nil
}

// passable reports whether any user may pass through dir and all above it.
func passable(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return true
		}
		dir = parent
	}
}

func linkedRoot(link string) (string, error) {
	sum := sha256.Sum256([]byte(link))
	target := filepath.Join("/var/lib/concord/clusters", hex.EncodeToString(sum[:6]))
	if _, err := os.Lstat(link); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(target), 0o711); err != nil {
			return "", err
		}
		if err := os.Mkdir(target, 0o711); errors.Is(err, fs.ErrExist) {
			// The cluster of a data directory that had this name. It may only have been
			// moved, link and all, so it stays.
			if target, err = os.MkdirTemp(filepath.Dir(target), filepath.Base(target)+"-"); err != nil {
				return "", err
			}
		} else if err != nil {
			return "", err
		}
		return target, os.Symlink(target, link)
	}
	return filepath.EvalSymlinks(link)
}

// major is the version that made the cluster, 0 when there is none. What is
// there and cannot be read is an error: nobody may take it for nothing.
func (c cluster) major() (int, error) {
	if _, err := os.Lstat(c.data); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	b, err := os.ReadFile(filepath.Join(c.data, "PG_VERSION"))
	if err != nil {
		return 0, fmt.Errorf("read the database in %s: %w", c.data, err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("the database in %s is damaged: its PG_VERSION says %q", c.data, b)
	}
	return n, nil
}

// create runs initdb beside the final place and moves the result there, so a
// crash half-way leaves nothing that looks like a cluster.
func (c cluster) create(ctx context.Context, bin, password string) error {
	fresh := c.data + ".new"
	pwfile := c.data + ".password"
	defer os.Remove(pwfile)
	if err := errors.Join(os.RemoveAll(fresh), os.WriteFile(pwfile, []byte(password), 0o600)); err != nil {
		return err
	}
	if c.account.switched {
		if err := os.Chown(pwfile, c.account.uid, c.account.gid); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "--pgdata", fresh, "--username", userName,
		"--pwfile", pwfile, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--data-checksums")
	cmd.Dir = filepath.Dir(c.data)
	cmd.SysProcAttr = c.account.attributes(0)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, strings.TrimSpace(string(out)))
	}
	if err := c.account.logAhead(filepath.Join(fresh, "pg_wal")); err != nil {
		return fmt.Errorf("make room for the log of transactions: %w", err)
	}
	return os.Rename(fresh, c.data)
}

// stopLeftover ends a server that a crashed Concord left running on this
// cluster. The caller holds the lock of the data directory, so nobody uses it.
func (c cluster) stopLeftover(ctx context.Context) error {
	pid := c.runningPID()
	if pid == 0 {
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGINT); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop the PostgreSQL of an earlier start (process %d): %w", pid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for c.runningPID() == pid {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the PostgreSQL of an earlier start (process %d) does not stop", pid)
		case <-tick.C:
		}
	}
	return nil
}

// runningPID reads postmaster.pid and makes sure that the process is a
// PostgreSQL on this directory: numbers are reused.
func (c cluster) runningPID() int {
	b, err := os.ReadFile(filepath.Join(c.data, "postmaster.pid"))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid <= 1 || syscall.Kill(pid, 0) != nil || !isServer(pid, c.data) {
		return 0
	}
	return pid
}
