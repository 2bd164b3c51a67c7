package pglog_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// pairs reads a log and gives the line of the root for the line of each cascade, 0 where none is named.
func pairs(t *testing.T, text string) map[int64]int64 {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x.log"), []byte(text), 0o600))
	result, cascades := analyze(t, dir, []string{"x.log"})
	t.Logf("%+v %v", result.Files, result.Unproven)
	out := map[int64]int64{}
	for _, c := range cascades {
		out[c.Line] = 0
		if c.Root != nil {
			out[c.Line] = c.Root.Line
		}
	}
	return out
}

// TestPrefixesThatMayBeMisread writes the same two interleaved sessions with prefixes that look like others.
func TestPrefixesThatMayBeMisread(t *testing.T) {
	t.Parallel()
	for name, form := range map[string]struct{ background, session, root, echo string }{
		"StateBehindNames": {"2026-11-22 10:00:00.000 UTC [7] ", "2026-11-22 10:00:00.000 UTC [PID] u@d 00000 ",
			"2026-11-22 10:00:00.000 UTC [PID] u@d 22012 ", "2026-11-22 10:00:00.000 UTC [PID] u@d 25P02 "},
		"NoVirtualID": {"2026-11-22 10:00:00.000 UTC [7]  0 ", "2026-11-22 10:00:00.000 UTC [PID]  0 u@d ",
			"2026-11-22 10:00:00.000 UTC [PID] PID/7 801 u@d ", "2026-11-22 10:00:00.000 UTC [PID] PID/7 801 u@d "},
		"Heroku": {"2026-11-22T10:00:00+00:00 app[postgres.7]: [DATABASE] [1-1]  sql_error_code = 00000 ",
			"2026-11-22T10:00:00+00:00 app[postgres.PID]: [DATABASE] [1-1]  sql_error_code = 00000 ",
			"2026-11-22T10:00:00+00:00 app[postgres.PID]: [DATABASE] [1-1]  sql_error_code = 22012 ",
			"2026-11-22T10:00:00+00:00 app[postgres.PID]: [DATABASE] [1-1]  sql_error_code = 25P02 "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var text strings.Builder
			text.WriteString(form.background + "LOG:  database system is ready to accept connections\n")
			want := map[int64]int64{}
			line := int64(1)
			say := func(prefix, pid, words string) {
				text.WriteString(strings.ReplaceAll(prefix, "PID", pid) + words + "\n")
				line++
			}
			for _, pid := range []string{"41", "42", "43", "44", "45"} {
				say(form.session, pid, "LOG:  connection authorized: user=u database=d")
			}
			for _, pid := range []string{"41", "42", "43", "44", "45"} {
				say(form.root, pid, "ERROR:  division by zero")
				say(form.root, pid, "STATEMENT:  SELECT 1/0")
			}
			for i, pid := range []string{"41", "42", "43", "44", "45"} {
				say(form.background, pid, "LOG:  checkpoint starting: time")
				say(form.echo, pid, "ERROR:  current transaction is aborted, commands ignored until end of transaction block")
				want[line] = int64(7 + 2*i)
				say(form.echo, pid, "STATEMENT:  SELECT 2")
				say(form.session, pid, "LOG:  disconnection: session time: 0:00:00.011 user=u database=d host=127.0.0.1 port=48586")
			}
			require.Equal(t, want, pairs(t, text.String()))
		})
	}
}

// TestErrorsOfAnAbortedTransaction has errors that come before the check for an aborted transaction: whether they came out
// of one is not known. What comes out of a running statement can only be the root of what follows.
func TestErrorsOfAnAbortedTransaction(t *testing.T) {
	t.Parallel()
	const prefix = head
	const echo = prefix + "ERROR:  current transaction is aborted, commands ignored until end of transaction block\n"
	for message, root := range map[string]int64{
		"syntax error at or near \"SELCT\" at character 1\n" + prefix + "STATEMENT:  SELCT 1":                               0,
		"unequal number of entries in row expressions at character 13\n" + prefix + "STATEMENT:  SELECT (1,2)=(1,2,3)":      3,
		"cursor \"c\" does not exist\n" + prefix + "STATEMENT:  FETCH c":                                                    3,
		"prepared statement \"s\" does not exist\n" + prefix + "LOG:  checkpoint starting: time":                            0,
		"savepoint \"s\" does not exist\n" + prefix + "STATEMENT:  ROLLBACK TO s":                                           0,
		"savepoint \"s\" does not exist\n" + prefix + "STATEMENT:  RELEASE s":                                               3,
		"invalid byte sequence for encoding \"UTF8\": 0xff\n" + prefix + "STATEMENT:  SELECT convert_from('\\xff', 'UTF8')": 3,
	} {
		text := prefix + "ERROR:  division by zero\n" + echo + prefix + "ERROR:  " + message + "\n" + echo
		require.Equal(t, map[int64]int64{2: 1, 5: root}, pairs(t, text), message)
	}
}

// TestUnseenTransactions has an echo behind which transactions lie that left no line. It is tied where the log shows that
// errors of the root's kind have echoes, and left open where they never had one beyond doubt.
func TestUnseenTransactions(t *testing.T) {
	t.Parallel()
	const echo = "ERROR:  current transaction is aborted, commands ignored until end of transaction block\n"
	at := func(pid, vxid string) string { return "2026-11-22 10:00:00.000 UTC [" + pid + "] " + vxid + " 0 u@d " }
	doubtful := at("42", "4/7") + "ERROR:  division by zero\n" + at("42", "4/7") + "STATEMENT:  SELECT 1/0 /* a */ + 5\n" +
		at("42", "4/0") + echo + at("42", "4/9") + "LOG:  checkpoint starting: time\n"
	require.Equal(t, map[int64]int64{3: 0}, pairs(t, doubtful))
	proof := at("41", "3/7") + "ERROR:  division by zero\n" + at("41", "3/7") + "STATEMENT:  SELECT  1/0 + 77\n" +
		at("41", "3/0") + echo + at("41", "3/8") + "LOG:  checkpoint starting: time\n"
	require.Equal(t, map[int64]int64{3: 1, 7: 5}, pairs(t, proof+doubtful))
	require.Equal(t, map[int64]int64{3: 1, 7: 5}, pairs(t, doubtful+proof), "the proof may come later")
}
