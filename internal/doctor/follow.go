package doctor

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/concord-home/concord/internal/pglog"
)

// poll is how often a growing file is looked at; after idle without news what was read is handed on.
const (
	poll = 250 * time.Millisecond
	idle = 500 * time.Millisecond
)

// Tail reads a file that grows and may be replaced by rotation. It ends when its context does.
type Tail struct {
	ctx   context.Context
	path  string
	file  *os.File
	quiet time.Duration
}

// NewTail starts at the beginning of the file, or at its end when only news count.
func NewTail(ctx context.Context, path string, fromEnd bool) (*Tail, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if fromEnd {
		if _, err := file.Seek(0, io.SeekEnd); err != nil {
			_ = file.Close()
			return nil, err
		}
	}
	return &Tail{ctx: ctx, path: path, file: file}, nil
}

// Read waits for more. It returns pglog.ErrIdle when nothing came for a while, and io.EOF when the context has ended.
func (t *Tail) Read(p []byte) (int, error) {
	for {
		n, err := t.file.Read(p)
		if n > 0 {
			t.quiet = 0
			return n, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if t.reopened() {
			continue
		}
		select {
		case <-t.ctx.Done():
			return 0, io.EOF
		case <-time.After(poll):
		}
		if t.quiet += poll; t.quiet >= idle {
			t.quiet = 0 // said again and again: the one who looks at the beginning of the file hears the first
			return 0, pglog.ErrIdle
		}
	}
}

// reopened follows a rotation: the path names another file now, or the file was cut to nothing.
func (t *Tail) reopened() bool {
	now, err := os.Stat(t.path)
	if err != nil {
		return false
	}
	old, err := t.file.Stat()
	if err != nil {
		return false
	}
	if os.SameFile(now, old) {
		at, err := t.file.Seek(0, io.SeekCurrent)
		if err == nil && now.Size() < at {
			_, err = t.file.Seek(0, io.SeekStart)
			return err == nil
		}
		return false
	}
	file, err := os.Open(t.path)
	if err != nil {
		return false
	}
	_ = t.file.Close()
	t.file = file
	return true
}

// Close releases the file.
func (t *Tail) Close() error { return t.file.Close() }
