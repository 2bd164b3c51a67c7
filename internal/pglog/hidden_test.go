package pglog_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// What plain stderr cannot tell: two sessions leave the same lines, and the error
// before the echo is its root in one and not in the other. So no rule names the
// one without naming the other.
func TestPlainStderrHasTheSameLinesForAHiddenRoot(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts PostgreSQL")
	}
	c := startCluster(t, setting{lang: "C", encoding: "UTF8", conf: "log_line_prefix = '%m [%p] %q%u@%d '"})
	inBlock := c.session(t, "begin", "select nosuch", "select 1", "rollback")
	hidden := c.session(t, "select nosuch", "begin", "set local log_min_messages = 'fatal'", "select 1/0", "select 1", "rollback")
	require.NotEqual(t, inBlock, hidden)
	c.stop(t)
	text, err := os.ReadFile(filepath.Join(c.dir, "data", "log", "server.log"))
	require.NoError(t, err)
	require.NotEmpty(t, linesOf(string(text), inBlock))
	require.Equal(t, linesOf(string(text), inBlock), linesOf(string(text), hidden))
}

// session sends statements over a connection of their own, whatever comes of
// them, and returns its pid.
func (c *cluster) session(t *testing.T, statements ...string) uint32 {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.url("hidden"))
	require.NoError(t, err)
	defer conn.Close(t.Context())
	for _, sql := range statements {
		_, _ = conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol) // some are to fail
	}
	return conn.PgConn().PID()
}

// linesOf returns a session's lines without their times and pid.
func linesOf(log string, pid uint32) (lines []string) {
	head := regexp.MustCompile(`^\S+ \S+ UTC \[(\d+)\] `)
	for line := range strings.Lines(log) {
		if m := head.FindStringSubmatch(line); m != nil && m[1] == strconv.Itoa(int(pid)) {
			lines = append(lines, head.ReplaceAllString(line, ""))
		}
	}
	return lines
}
