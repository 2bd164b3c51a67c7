// Package pgembed runs a private PostgreSQL for a Concord that was given no
// other. It finds or downloads the binaries, creates the cluster once, starts
// it under an unprivileged user when Concord is root, starts it again when it
// dies, and leaves nothing behind that hinders the next start.
//
// The server listens on 127.0.0.1 only, on a port chosen once and kept while
// it is free, and wants a password (scram-sha-256) that stands in a 0600 file.
package pgembed

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	userName     = "concord"
	databaseName = "concord"

	startTimeout   = 60 * time.Second // crash recovery included
	stopTimeout    = 30 * time.Second
	firstRestart   = 100 * time.Millisecond
	longestRestart = 5 * time.Second
)

// Options say where the cluster lives. Dir is required.
type Options struct {
	Dir      string // Concord's data directory; the cluster goes into Dir/postgres
	BinDir   string // directory of initdb and postgres; "" finds or downloads one
	Major    int    // version of a new cluster, 15 to 18; 0 takes what is found, else the newest
	CacheDir string // for downloaded binaries; "" means Dir/cache
	Logger   *slog.Logger
	// Settings are added to the server's command line, for tests.
	Settings map[string]string
}

// Server is a running PostgreSQL. Stop it.
type Server struct {
	log      *slog.Logger
	cluster  cluster
	bin      string
	port     int
	password string
	settings map[string]string

	cancel context.CancelFunc
	done   chan struct{}

	mu  sync.Mutex
	pid int
}

// Start creates the cluster if there is none, starts PostgreSQL and returns
// when it takes connections. The caller must own Dir: see [Lock].
func Start(ctx context.Context, o Options) (*Server, error) {
	s, err := prepare(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("embedded PostgreSQL: %w", err)
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	go s.supervise(run)
	if err := s.awaitReady(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("embedded PostgreSQL: %w", err), s.Stop())
	}
	return s, nil
}

func prepare(ctx context.Context, o Options) (*Server, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.CacheDir == "" {
		o.CacheDir = filepath.Join(o.Dir, "cache")
	}
	s := &Server{log: o.Logger, settings: o.Settings, done: make(chan struct{})}
	account, err := serverAccount()
	if err != nil {
		return nil, err
	}
	if o.CacheDir, err = account.reachable(o.CacheDir); err != nil {
		return nil, err
	}
	if s.cluster, err = openCluster(o.Dir, account); err != nil {
		return nil, err
	}
	existing, err := s.cluster.major()
	if err != nil {
		return nil, err
	}
	if s.bin, err = findBinaries(ctx, o, cmp.Or(existing, o.Major)); err != nil {
		return nil, err
	}
	if s.password, err = readOrCreate(filepath.Join(o.Dir, "postgres-password"), rand.Text); err != nil {
		return nil, err
	}
	if err := s.cluster.stopLeftover(ctx); err != nil {
		return nil, err
	}
	if existing == 0 {
		if err := s.cluster.create(ctx, s.bin, s.password); err != nil {
			return nil, err
		}
	}
	s.port, err = choosePort(filepath.Join(o.Dir, "postgres-port"))
	return s, err
}

// URL is the connection string of Concord's database. It holds the password.
func (s *Server) URL() string { return s.url(databaseName) }

func (s *Server) url(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(userName, s.password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), Path: "/" + database,
	}
	return u.String()
}

// PID is the process number of the server, 0 while it is down.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pid
}

// LogDir is where the server writes its log, a file for each day of the week.
func (s *Server) LogDir() string { return filepath.Join(s.cluster.data, "log") }

// Stop shuts the server down, waits for it, and may be called twice.
func (s *Server) Stop() error {
	s.cancel()
	<-s.done
	return nil
}

func (s *Server) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.ensureDatabase(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready after %v, see %s: %w", startTimeout, s.LogDir(), err)
		case <-tick.C:
		}
	}
}

func (s *Server) ensureDatabase(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.url("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var exists bool
	err = conn.QueryRow(ctx, `select exists (select from pg_database where datname = $1)`, databaseName).Scan(&exists)
	if err != nil || exists {
		return err
	}
	_, err = conn.Exec(ctx, `create database `+databaseName)
	return err
}

// readOrCreate returns the content of a 0600 file, and writes it first when
// there is none.
func readOrCreate(path string, value func() string) (string, error) {
	b, err := os.ReadFile(path)
	if err == nil && len(b) > 0 {
		return strings.TrimSpace(string(b)), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	v := value()
	return v, writeSafely(path, v+"\n")
}

// writeSafely writes a 0600 file that is whole and on disk, or not there.
func writeSafely(path, content string) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// choosePort keeps the port of the last start while it is free.
func choosePort(path string) (int, error) {
	if b, err := os.ReadFile(path); err == nil {
		if port, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && portFree(port) {
			return port, nil
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	return port, os.WriteFile(path, []byte(strconv.Itoa(port)+"\n"), 0o600)
}

func portFree(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
