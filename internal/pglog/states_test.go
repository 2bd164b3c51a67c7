package pglog_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/encoding/charmap"
)

const head = "2026-11-22 10:00:00.000 UTC [41] u@d "

// TestStatesOfMessages reads messages as real servers wrote them, without an SQLSTATE.
func TestStatesOfMessages(t *testing.T) {
	t.Parallel()
	for line, state := range map[string]string{
		"ERROR:  table \"t\" does not exist":                                                             "42P01",
		"ERROR:  requested length too large":                                                             "54000",
		"ERROR:  could not open file \"/nonexistent\" for reading: No such file or directory":            "58P01",
		"ERROR:  could not open file \"/etc/shadow\" for reading: Permission denied":                     "42501",
		"ERROR:  permission denied for table t":                                                          "42501",
		"ERROR:  must be owner of table t":                                                               "42501",
		"ERROR:  tuple concurrently updated":                                                             "XX000",
		"ERROR:  cannot insert multiple commands into a prepared statement":                              "42601",
		"ERROR:  there is no unique or exclusion constraint matching the ON CONFLICT specification":      "42P10",
		"ERROR:  cannot drop table t because other objects depend on it":                                 "2BP01",
		"ERROR:  LIMIT must not be negative":                                                             "2201W",
		"ERROR:  SELECT DISTINCT ON expressions must match initial ORDER BY expressions at character 21": "42P10",
		"FATAL:  role \"u\" does not exist":                                                              "28000",
		"ERROR:  role \"u\" does not exist":                                                              "42704",
		"FATAL:  password authentication failed for user \"u\"":                                          "28P01",
		"FATAL:  Peer authentication failed for user \"u\"":                                              "28000",
		"ОШИБКА:  ошибка синтаксиса (примерное положение: \"SELCT\") (символ 1)":                         "42601",
		"ОШИБКА:  таблица \"t\" не существует":                                                           "42P01",
		"ОШИБКА:  ошибка блокировки индекса":                                                             "unknown",
		"错误:  \"2\" is not a valid binary digit 第 8 个字符处":                                                "22P02",
		"FEHLER:  Tabelle »t« existiert nicht":                                                           "42P01",
		"FEHLER:  LIMIT darf nicht negativ sein":                                                         "2201W",
	} {
		require.Equal(t, map[string]int64{state: 1}, statesOf(t, head+line+"\n"), line)
	}
	quoted, err := charmap.Windows1252.NewEncoder().String("ERROR:  no existe el \"savepoint\" «s»")
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"3B001": 1}, statesOf(t, head+quoted+"\n"),
		"a sign that the encoding does not have")
	for statement, state := range map[string]string{
		"SELECT raise_it('P0001', 'deadlock detected')":                                     "P0001",
		"SELECT raise_it('40001', 'deadlock detected')":                                     "40001",
		"SELECT raise_it('40001', 'x'), raise_it('P0001', 'deadlock detected') /* 22012 */": "P0001",
		"UPDATE t SET a = 1": "40P01",
	} {
		terse := head + "ERROR:  deadlock detected\n" + head + "STATEMENT:  " + statement + "\n"
		require.Equal(t, map[string]int64{state: 1}, statesOf(t, terse), statement)
	}
	deadlock := head + "ERROR:  canceling statement due to conflict with recovery\n" +
		head + "DETAIL:  User transaction caused buffer deadlock with recovery.\n"
	require.Equal(t, map[string]int64{"40P01": 1}, statesOf(t, deadlock))
}

func statesOf(t *testing.T, text string) map[string]int64 {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x.log"), []byte(text), 0o600))
	result, _ := analyze(t, dir, []string{"x.log"})
	return result.Totals.RootsByState
}
