package doctor_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/doctor"
	"github.com/concord-home/concord/internal/pglog"
)

// appendTo writes at the end of a file, as a server does.
func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = f.WriteString(text)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// readNews reads until something comes.
func readNews(t *testing.T, tail *doctor.Tail) string {
	t.Helper()
	buf := make([]byte, 64)
	for {
		n, err := tail.Read(buf)
		if n > 0 {
			return string(buf[:n])
		}
		require.ErrorIs(t, err, pglog.ErrIdle)
	}
}

func TestTailFollowsRotation(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "server.log")
	appendTo(t, path, "first\n")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	tail, err := doctor.NewTail(ctx, path, false)
	require.NoError(t, err)
	defer func() { require.NoError(t, tail.Close()) }()
	require.Equal(t, "first\n", readNews(t, tail))

	require.NoError(t, os.Rename(path, path+".1"))
	appendTo(t, path+".1", "late\n") // the server has the old file open still
	appendTo(t, path, "second\n")
	require.Equal(t, "late\n", readNews(t, tail))
	require.Equal(t, "second\n", readNews(t, tail))

	require.NoError(t, os.Truncate(path, 0))
	appendTo(t, path, "3\n")
	require.Equal(t, "3\n", readNews(t, tail))

	cancel()
	_, err = tail.Read(make([]byte, 8))
	require.ErrorIs(t, err, io.EOF)
}

func TestFollowTiesWhatIsWrittenLater(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "server.log")
	appendTo(t, path, "2026-11-22 10:00:00.100 UTC [7] u@d ERROR:  could not serialize access due to concurrent update\n"+
		"2026-11-22 10:00:00.100 UTC [7] u@d STATEMENT:  UPDATE a SET b = 1\n")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	tail, err := doctor.NewTail(ctx, path, false)
	require.NoError(t, err)
	defer func() { require.NoError(t, tail.Close()) }()
	written := false
	var got []pglog.Cascade
	_, err = pglog.Analyze(ctx, []pglog.Input{{Path: path, Name: "server.log", Reader: tail, Follow: true}}, pglog.Options{
		Prefix: "%m [%p] %q%u@%d ",
		Update: func(r *pglog.Result) {
			if r.Totals.Roots == 1 && !written {
				written = true
				appendTo(t, path, "2026-11-22 10:00:00.200 UTC [7] u@d ERROR:  current transaction is aborted, commands ignored until end of transaction block\n")
			}
		},
		Cascade: func(c pglog.Cascade) error {
			got = append(got, c)
			cancel()
			return nil
		},
	})
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, int64(3), got[0].Line)
	require.NotNil(t, got[0].Root)
	require.Equal(t, int64(1), got[0].Root.Line)
}
