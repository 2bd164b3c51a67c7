package pgembed

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// supervise keeps the server running until ctx ends. It owns the operating
// system's thread: the kernel's parent-death signal follows the thread that
// started the child, not the process.
func (s *Server) supervise(ctx context.Context) {
	defer close(s.done)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	wait := firstRestart
	for ctx.Err() == nil {
		began := time.Now()
		err := s.runOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > time.Minute {
			wait = firstRestart
		}
		s.log.Warn("PostgreSQL ended and is started again", "error", err, "wait", wait, "log", s.LogDir())
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, longestRestart)
	}
}

func (s *Server) runOnce(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "postgres"), s.arguments()...)
	cmd.Dir = s.cluster.data
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	cmd.SysProcAttr = s.cluster.account.attributes(syscall.SIGINT)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) } // fast shutdown
	cmd.WaitDelay = stopTimeout
	out, err := os.OpenFile(s.cluster.data+".out", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return err
	}
	s.setPID(cmd.Process.Pid)
	defer s.setPID(0)
	return cmd.Wait()
}

func (s *Server) setPID(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pid = pid
}

// arguments are the server's settings. The log is kept for a week, with what
// finding the error behind an error needs: process, SQLSTATE, application.
func (s *Server) arguments() []string {
	settings := map[string]string{
		"port":                     strconv.Itoa(s.port),
		"listen_addresses":         "127.0.0.1",
		"unix_socket_directories":  "",
		"max_connections":          "100",
		"shared_buffers":           "128MB",
		"max_wal_size":             "2GB",
		"checkpoint_timeout":       "15min",
		"wal_compression":          "on",
		"jit":                      "off",
		"deadlock_timeout":         "10ms", // others' deadlocks hold rows for as long
		"random_page_cost":         "1.1",
		"timezone":                 "UTC",
		"logging_collector":        "on",
		"log_directory":            "log",
		"log_filename":             "postgresql-%a.log",
		"log_truncate_on_rotation": "on",
		"log_rotation_age":         "1d",
		"log_rotation_size":        "0",
		"log_line_prefix":          "%m [%p] %q%u@%d app=%a sqlstate=%e ",
		"log_timezone":             "UTC",
		"lc_messages":              "C",
	}
	for name, value := range s.settings {
		settings[name] = value
	}
	args := []string{"-D", s.cluster.data}
	for name, value := range settings {
		args = append(args, "-c", name+"="+value)
	}
	return args
}
