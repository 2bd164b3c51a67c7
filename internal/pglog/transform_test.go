package pglog_test

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// transform rewrites a log line by line and gives the new text and where each old line went.
func transform(lines []string, each func(n int, line string) []string) (string, map[int64]int64) {
	var out strings.Builder
	moved := map[int64]int64{}
	at := int64(1)
	for i, line := range lines {
		moved[int64(i+1)] = at
		for _, text := range each(i, line) {
			out.WriteString(text + "\n")
			at++
		}
	}
	return out.String(), moved
}

func one(format string, args ...any) []string { return []string{fmt.Sprintf(format, args...)} }

var headForm = regexp.MustCompile(`^\S+ \S+ UTC \[(\d+)\] `)

var labelForm = regexp.MustCompile(` (DETAIL|HINT|CONTEXT|STATEMENT|QUERY):  `)

// syslogLines writes lines as PostgreSQL's own syslog does: a number per message, tabs escaped, the pid of the backend.
func syslogLines() func(int, string) []string {
	pid, message, chunk := "1", 0, 0
	return func(_ int, line string) []string {
		m := headForm.FindStringSubmatch(line)
		label := labelForm.MatchString(line[:min(len(line), 90)])
		if m != nil && !label {
			pid, chunk = m[1], 0
			message++
		}
		chunk++
		text := strings.ReplaceAll(headForm.ReplaceAllString(line, ""), "\t", "#011")
		return one("Nov 22 10:19:27 db-host postgres[%s]: [%d-%d] %s", pid, message, chunk, text)
	}
}

func carriersUnderTest() map[string]func(int, string) []string {
	stamp := func(n int) string { return fmt.Sprintf("2026-11-22T10:19:27.%09dZ", n) }
	return map[string]func(int, string) []string{
		"DockerJSON": func(n int, line string) []string {
			text, _ := json.Marshal(line + "\n")
			return one(`{"log":%s,"stream":"stderr","time":"%s"}`, text, stamp(n))
		},
		"DockerJSONSplit": func(n int, line string) []string {
			runes := []rune(line)
			half := len(runes) / 2
			a, _ := json.Marshal(string(runes[:half]))
			b, _ := json.Marshal(string(runes[half:]) + "\n")
			return []string{
				fmt.Sprintf(`{"log":%s,"stream":"stderr","time":"%s"}`, a, stamp(n)),
				fmt.Sprintf(`{"log":%s,"stream":"stderr","time":"%s"}`, b, stamp(n)),
			}
		},
		"CRI": func(n int, line string) []string { return one("%s stderr F %s", stamp(n), line) },
		"CRISplit": func(n int, line string) []string {
			half := len(line) / 2
			return []string{stamp(n) + " stderr P " + line[:half], stamp(n) + " stderr F " + line[half:]}
		},
		"Compose":       func(_ int, line string) []string { return one("db-1  | %s", line) },
		"ComposeColour": func(_ int, line string) []string { return one("\x1b[36mdb-1  |\x1b[0m %s", line) },
		"Stern":         func(_ int, line string) []string { return one("postgres-0 postgres %s", line) },
		"SternColour": func(_ int, line string) []string {
			return one("\x1b[38;5;2mpostgres-0\x1b[0m \x1b[38;5;3mpostgres\x1b[0m %s", line)
		},
		"JournaldUnix": func(n int, line string) []string {
			return one("1795342767.%06d db-host postgres[742]: %s", n, line)
		},
		"FluentdFile": func(_ int, line string) []string {
			text, _ := json.Marshal(line + "\n")
			return one("2026-11-22T10:19:27+00:00\tkube.postgres\t{\"log\":%s,\"stream\":\"stderr\"}", text)
		},
		"AzureEvents": func(n int, line string) []string {
			text, _ := json.Marshal(line)
			return one(`{"time":"%s","category":"PostgreSQLLogs","properties":{"timestamp":"%s","processId":17,"message":%s}}`, stamp(n), stamp(n), text)
		},
		"Kubectl": func(_ int, line string) []string { return one("[pod/postgres-0/postgres] %s", line) },
		"Journald": func(_ int, line string) []string {
			return one("Nov 22 10:19:27 db-host postgres[742]: %s", line)
		},
		"JournaldISO": func(_ int, line string) []string {
			return one("2026-11-22T10:19:27+0000 db-host postgres[742]: %s", line)
		},
		"JournaldJSON": func(_ int, line string) []string {
			text, _ := json.Marshal(line)
			return one(`{"_HOSTNAME":"db-host","SYSLOG_IDENTIFIER":"postgres","_PID":"742","MESSAGE":%s,"__REALTIME_TIMESTAMP":"1795342767754000"}`, text)
		},
		"RFC5424": func(_ int, line string) []string {
			return one("<134>1 2026-11-22T10:19:27.754+00:00 db-host postgres 742 - - %s", line)
		},
		"DockerTimestamps": func(n int, line string) []string { return one("%s %s", stamp(n), line) },
		"Fluent": func(_ int, line string) []string {
			text, _ := json.Marshal(line)
			return one(`{"log":%s,"kubernetes":{"pod_name":"postgres-0","container_name":"postgres"}}`, text)
		},
		"Syslog": syslogLines(),
		"CRLF":   func(_ int, line string) []string { return one("%s\r", line) },
		"NotUTF8": func(_ int, line string) []string {
			return one("%s", strings.Replace(line, "/* t", "/* \xe9\xff t", 1))
		},
		"Noise": func(n int, line string) []string {
			if n%7 < 3 && strings.Contains(line, " LOG:  ") || n%3 == 1 && strings.Contains(line, " ERROR:  ") {
				return []string{line, "something else wrote this line: 17"}
			}
			return one("%s", line)
		},
	}
}

// moveLabel lets the truth follow the lines to where they went.
func moveLabel(l label, file string, moved map[int64]int64) label {
	cascades := l.Cascades
	l.Cascades = nil
	for _, c := range cascades {
		c.File, c.Line = file, moved[c.Line]
		if c.Root != "" {
			c.RootFile, c.RootLine = file, moved[c.RootLine]
		}
		l.Cascades = append(l.Cascades, c)
	}
	return l
}

func readLines(t *testing.T, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

func TestCarriers(t *testing.T) {
	t.Parallel()
	for name, each := range carriersUnderTest() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, set := range []string{"pg_savepoint", "pg_default_C", "pg_ru"} {
				l := readLabel(t, "testdata/labelled/"+set+".json")
				lines := readLines(t, "testdata/labelled/"+set+".log")
				text, moved := transform(lines, each)
				dir := t.TempDir()
				require.NoError(t, os.WriteFile(filepath.Join(dir, "x.log"), []byte(text), 0o600))
				got := moveLabel(l, "x.log", moved)
				result, cascades := analyze(t, dir, []string{"x.log"})
				require.Equal(t, l.Totals.RootsByState, result.Totals.RootsByState, "%s %+v", set, result.Files)
				require.Equal(t, l.expectedTables(), result.Totals.ConflictRootsByName, "%s %+v", set, result.Files)
				require.Equal(t, expected(set+".json"), judge(&got, cascades), "%s %+v", set, result.Files)
			}
		})
	}
}

// TestCarriersOfCSV wraps csvlog, whose records may take several lines, and writes its records as operators do.
func TestCarriersOfCSV(t *testing.T) {
	t.Parallel()
	carriers := carriersUnderTest()
	for _, name := range []string{"DockerJSON", "DockerJSONSplit", "CRI", "CRISplit", "Compose", "Stern", "JournaldISO", "RFC5424", "DockerTimestamps", "Fluent"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, moved := transform(readLines(t, "testdata/labelled/pg_default_C_csv.log"), carriers[name])
			checkMoved(t, "pg_default_C_csv.json", text, moved)
		})
	}
	for name, wrap := range map[string]func(record map[string]string) any{
		"CloudNativePG": func(record map[string]string) any {
			return map[string]any{"level": "info", "ts": "2026-11-22T10:19:27Z", "logger": "postgres", "msg": "record", "logging_pod": "db-1", "record": record}
		},
		"PlainRecords": func(record map[string]string) any { return record },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, moved := csvAsJSON(t, "testdata/labelled/pg_default_C_csv.log", wrap)
			checkMoved(t, "pg_default_C_csv.json", text, moved)
		})
	}
}

// checkMoved compares the answer for a rewritten log with that for the log as it was.
func checkMoved(t *testing.T, label, text string, moved map[int64]int64) {
	t.Helper()
	l := readLabel(t, "testdata/labelled/"+label)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x.log"), []byte(text), 0o600))
	got := moveLabel(l, "x.log", moved)
	result, cascades := analyze(t, dir, []string{"x.log"})
	require.Equal(t, l.Totals.RootsByState, result.Totals.RootsByState, "%+v", result.Files)
	require.Equal(t, l.expectedTables(), result.Totals.ConflictRootsByName, "%+v", result.Files)
	require.Equal(t, expected(label), judge(&got, cascades), "%+v", result.Files)
}

var csvNames = strings.Fields(`log_time user_name database_name process_id connection_from session_id session_line_num command_tag
	session_start_time virtual_transaction_id transaction_id error_severity sql_state_code message detail hint internal_query
	internal_query_pos context query query_pos location application_name backend_type leader_pid query_id`)

// csvAsJSON writes each record of a csvlog as one JSON object under the names of its columns.
func csvAsJSON(t *testing.T, path string, wrap func(map[string]string) any) (string, map[int64]int64) {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	reader := csv.NewReader(file)
	reader.FieldsPerRecord = -1
	var out strings.Builder
	moved := map[int64]int64{}
	for n := int64(1); ; n++ {
		row, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return out.String(), moved
		}
		require.NoError(t, err)
		line, _ := reader.FieldPos(0)
		moved[int64(line)] = n
		record := map[string]string{}
		for i, value := range row {
			if value != "" {
				record[csvNames[i]] = value
			}
		}
		text, err := json.Marshal(wrap(record))
		require.NoError(t, err)
		out.WriteString(strings.ReplaceAll(string(text), `","`, `", "`) + "\n")
	}
}

func TestCompressedAndRotated(t *testing.T) {
	t.Parallel()
	l := readLabel(t, "testdata/labelled/nasty_rotated.json")
	old, err := os.ReadFile("testdata/labelled/nasty_rotated.log.1")
	require.NoError(t, err)
	current, err := os.ReadFile("testdata/labelled/nasty_rotated.log")
	require.NoError(t, err)
	dir := t.TempDir()
	var z bytes.Buffer
	gz := gzip.NewWriter(&z)
	_, err = gz.Write(old)
	require.NoError(t, err)
	require.NoError(t, gz.Close())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "nasty_rotated.log.1.gz"), z.Bytes(), 0o600))
	enc, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "nasty_rotated.log"), enc.EncodeAll(current, nil), 0o600))
	_, cascades := analyze(t, dir, []string{"nasty_rotated.log", "nasty_rotated.log.1.gz"})
	for i := range l.Cascades {
		if l.Cascades[i].File == "nasty_rotated.log.1" {
			l.Cascades[i].File += ".gz"
		}
		if l.Cascades[i].RootFile == "nasty_rotated.log.1" {
			l.Cascades[i].RootFile += ".gz"
		}
	}
	require.Equal(t, expected("nasty_rotated.json"), judge(&l, cascades))
}

// TestTwoHosts puts the same log of two hosts into one input: every pid is met twice, line by line.
func TestTwoHosts(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func(host, line string) string{
		"Stern":    func(host, line string) string { return "postgres-" + host + " postgres " + line },
		"Compose":  func(host, line string) string { return "db" + host + "  | " + line },
		"Journald": func(host, line string) string { return "Nov 22 10:19:27 db" + host + " postgres[742]: " + line },
		"Filebeat": func(host, line string) string {
			text, _ := json.Marshal(line)
			return fmt.Sprintf(`{"@timestamp":"2026-11-22T10:19:27Z","message":%s,"host":{"name":"db%s"}}`, text, host)
		},
		"SternJSON": func(host, line string) string {
			text, _ := json.Marshal(line)
			return fmt.Sprintf(`{"message":%s,"namespace":"db","podName":"postgres-%s","containerName":"postgres"}`, text, host)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := readLabel(t, "testdata/labelled/pg_savepoint.json")
			lines := readLines(t, "testdata/labelled/pg_savepoint.log")
			text, moved := transform(lines, func(n int, line string) []string {
				other := lines[(n+37)%len(lines)]
				return []string{wrap("1", line), wrap("2", other)}
			})
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "x.log"), []byte(text), 0o600))
			got := moveLabel(l, "x.log", moved)
			result, cascades := analyze(t, dir, []string{"x.log"})
			require.Equal(t, 2*l.Totals.ErrorRecords, result.Totals.ErrorRecords)
			require.Equal(t, verdict{tied: 147}, judge(&got, cascades), "%+v", result.Files)
		})
	}
}

// TestPrefixChange changes log_line_prefix in the middle of the file.
func TestPrefixChange(t *testing.T) {
	t.Parallel()
	prefix := regexp.MustCompile(`^(\S+ \S+)\.\d+ UTC \[(\d+)\] (\S+)@(\S+) `)
	for _, to := range []string{"$1 UTC [$2]: user=$3,db=$4 ", "$1 UTC:10.0.0.1(5432):$3@$4:[$2]:", "<$2> $3/$4 ", "$1.000 UTC [$2] $3@$4/psql "} {
		l := readLabel(t, "testdata/labelled/pg_default_C.json")
		lines := readLines(t, "testdata/labelled/pg_default_C.log")
		text, moved := transform(lines, func(n int, line string) []string {
			if n >= 700 {
				return []string{prefix.ReplaceAllString(line, to)}
			}
			return []string{line}
		})
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "x.log"), []byte(text), 0o600))
		got := moveLabel(l, "x.log", moved)
		result, cascades := analyze(t, dir, []string{"x.log"})
		require.Equal(t, l.Totals.RootsByState, result.Totals.RootsByState, "%s %+v", to, result.Files)
		v := judge(&got, cascades)
		require.Equal(t, 273, v.tied+v.missed, "%s %+v", to, result.Files)
		require.LessOrEqual(t, v.missed, 2, "%s %+v", to, result.Files)
	}
}

// TestReusedPIDs squeezes all sessions onto three pids.
func TestReusedPIDs(t *testing.T) {
	t.Parallel()
	text := `2026-11-22 10:00:00.000 UTC [7] u@d LOG:  connection authorized: user=u database=d application_name=one
2026-11-22 10:00:00.100 UTC [7] u@d ERROR:  could not serialize access due to concurrent update
2026-11-22 10:00:00.100 UTC [7] u@d STATEMENT:  UPDATE a SET b = 1
2026-11-22 10:00:00.200 UTC [7] u@d LOG:  disconnection: session time: 0:00:00.019 user=u database=d host=1 port=2
2026-11-22 10:00:00.300 UTC [7] u@d ERROR:  current transaction is aborted, commands ignored until end of transaction block
2026-11-22 10:00:00.400 UTC [8] u@d ERROR:  deadlock detected
2026-11-22 10:00:00.500 UTC [8] v@d ERROR:  current transaction is aborted, commands ignored until end of transaction block
2026-11-22 10:00:00.600 UTC [9] u@d ERROR:  deadlock detected
2026-11-22 10:00:00.700 UTC [1] LOG:  database system is ready to accept connections
2026-11-22 10:00:00.800 UTC [9] u@d ERROR:  current transaction is aborted, commands ignored until end of transaction block
2026-11-22 10:00:00.850 UTC [5] u@d ERROR:  could not serialize access due to read/write dependencies among transactions
2026-11-22 10:00:00.850 UTC [5] u@d STATEMENT:  COMMIT
2026-11-22 10:00:00.860 UTC [5] u@d ERROR:  current transaction is aborted, commands ignored until end of transaction block
2026-11-22 09:59:59.900 UTC [6] u@d ERROR:  canceling statement due to lock timeout
2026-11-22 09:00:00.000 UTC [6] u@d ERROR:  current transaction is aborted, commands ignored until end of transaction block
2026-11-22 09:00:00.000 UTC [4] u@d FATAL:  terminating connection due to administrator command
2026-11-22 09:00:00.000 UTC [4] u@d ERROR:  current transaction is aborted, commands ignored until end of transaction blo`
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x.log"), []byte(text), 0o600))
	result, cascades := analyze(t, dir, []string{"x.log"})
	roots := map[int64]int64{}
	for _, c := range cascades {
		roots[c.Line] = 0
		if c.Root != nil {
			roots[c.Line] = c.Root.Line
		}
	}
	require.Equal(t, map[int64]int64{5: 0, 7: 0, 10: 0, 13: 0, 15: 14, 17: 0}, roots)
	require.Equal(t, map[string]int64{"40001": 2, "40P01": 2, "55P03": 1, "57P01": 1}, result.Totals.RootsByState)
}

// TestCutAnywhere reads a log of many copies, so that chunks end everywhere, and expects many times the same answer.
func TestCutAnywhere(t *testing.T) {
	t.Parallel()
	for _, set := range []string{"pg_default_C.log", "pg_default_C_csv.log", "pg_default_C_json.log", "carrier_docker_json.log", "odoo_workers.log"} {
		t.Run(set, func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile("testdata/labelled/" + set)
			require.NoError(t, err)
			single, _ := analyze(t, "testdata/labelled", []string{set})
			copies := int64(5<<20/len(data) + 1)
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, set), bytes.Repeat(data, int(copies)), 0o600))
			many, _ := analyze(t, dir, []string{set})
			require.Equal(t, copies*single.Totals.ErrorRecords, many.Totals.ErrorRecords)
			require.Equal(t, copies*single.Totals.Cascades, many.Totals.Cascades)
			for table, n := range single.Totals.ConflictRootsByName {
				require.Equal(t, copies*n, many.Totals.ConflictRootsByName[table], table)
			}
			require.InDelta(t, copies*single.Totals.CascadesWithRoot, many.Totals.CascadesWithRoot, float64(2*copies))
		})
	}
}
