package pglog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/pglog"
)

// answer is all that a reading says.
type answer struct {
	Result   *pglog.Result
	Cascades []pglog.Cascade
	Roots    []pglog.Root
}

func readText(tb testing.TB, text []byte, o pglog.Options) answer {
	tb.Helper()
	var a answer
	o.Cascade = func(c pglog.Cascade) error {
		if c.Root != nil {
			a.Roots = append(a.Roots, pglog.Root{Place: c.Root.Place, SQLState: c.Root.SQLState, Time: c.Root.Time})
			c.Root = nil
		}
		a.Cascades = append(a.Cascades, c)
		return nil
	}
	var err error
	in := pglog.Input{Path: "x.log", Name: "x.log", Reader: bytes.NewReader(text)}
	a.Result, err = pglog.Analyze(context.Background(), []pglog.Input{in}, o)
	require.NoError(tb, err)
	return a
}

// requireSame reads a text in both ways.
func requireSame(tb testing.TB, text []byte, o pglog.Options) answer {
	tb.Helper()
	quick, careful := readText(tb, text, o), readText(tb, text, pglog.Careful(o))
	require.Equal(tb, careful, quick)
	return quick
}

// TestQuickReadingOfRealLogs expects of the quick ways what the full reading of every line says.
func TestQuickReadingOfRealLogs(t *testing.T) {
	t.Parallel()
	carriers := carriersUnderTest()
	for _, name := range []string{"devm.log", "devt.log", "devm.csv", "devm.json"} {
		packed, err := os.ReadFile(filepath.Join("../../bench/doctor/testdata", name+".zst"))
		require.NoError(t, err)
		z, err := zstd.NewReader(bytes.NewReader(packed))
		require.NoError(t, err)
		text := make([]byte, 3<<20)
		_, err = io.ReadFull(z, text)
		require.NoError(t, err)
		z.Close()
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := requireSame(t, text, pglog.Options{Workers: 2})
			require.NotZero(t, a.Result.Totals.CascadesWithRoot)
		})
		around := map[string][]string{
			"devm.log": {"DockerJSON", "CRI", "CRISplit", "Compose", "Syslog", "FluentdFile", "JournaldUnix", "AzureEvents", "CRLF"},
			"devm.csv": {"DockerJSON", "CRI", "CRISplit", "Compose"},
		}
		for _, carrier := range around[name] {
			t.Run(name+carrier, func(t *testing.T) {
				t.Parallel()
				wrapped, _ := transform(strings.Split(string(text[:1<<20]), "\n"), carriers[carrier])
				a := requireSame(t, []byte(wrapped), pglog.Options{Workers: 2})
				require.NotZero(t, a.Result.Totals.CascadesWithRoot)
				if carrier == "Syslog" {
					return // its times stand in the carrier
				}
				plain := readText(t, text[:1<<20], pglog.Options{}).Result
				require.Equal(t, []time.Time{plain.First, plain.Last}, []time.Time{a.Result.First, a.Result.Last})
			})
		}
	}
}

func TestQuickReadingOfLabelledLogs(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/labelled/*.log*")
	require.NoError(t, err)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		requireSame(t, text, pglog.Options{})
	}
}

// TestTimesOfSources reads two sources of which the one that is heard first is also heard last.
func TestTimesOfSources(t *testing.T) {
	t.Parallel()
	lines := strings.Split(strings.TrimSpace(string(madeLog(formCSV, make([]byte, 30)))), "\n")
	for i := range lines {
		lines[i] = fmt.Sprintf("db-%d  | %s", i%29%2+1, lines[i])
	}
	r := requireSame(t, []byte(strings.Join(lines, "\n")+"\n"), pglog.Options{}).Result
	require.EqualValues(t, len(lines), r.Records)
	require.Equal(t, "10:10:00.000 10:10:04.073", r.First.Format("15:04:05.000 ")+r.Last.Format("15:04:05.000"))
}

// forms in which madeLog writes.
const (
	formStderr = iota
	formCSV
	formJSON
	formDocker
	formCRI
	formCSVInCRI
	formVirtual
	formNoFraction
	forms
)

// log_line_prefix of madeLog.
const (
	madePrefix    = "%m [%p] %q%u@%d "
	virtualPrefix = "%m [%p] %v %x %q%u@%d "
)

// madeLog writes a log of three sessions by a script: each byte picks a session and one of the kinds of lines that the
// quick ways tell apart, in orders that a server would not write too.
func madeLog(form int, script []byte) []byte {
	var out strings.Builder
	m := maker{form: form}
	for i, b := range script {
		m.n = i
		m.line(&out, int(b>>5)%3, int(b&31))
	}
	return []byte(out.String())
}

type maker struct{ form, n int }

var madeMessages = []string{
	"duration: 0.010 ms  statement: SELECT 1", "duration: 0.010 ms  statement: SELECT 1", "duration: 0.010 ms  execute P_1: UPDATE t SET a = $1",
	"duration: 0.002 ms  parse <unnamed>: ", "statement: BEGIN", "connection received: host=1 port=2",
	"connection authorized: user=u database=d application_name=app", "disconnection: session time: 0:00:00.003 user=u database=d host=1 port=2",
	"process 7 acquired ShareLock on transaction 5 after 3 ms", "duration: 1 \\ \"x\" ms  statement: ",
}

var madeErrors = []string{
	"could not serialize access due to concurrent update", "current transaction is aborted, commands ignored until end of transaction block",
	"deadlock detected", "division by zero", "syntax error at or near \"x\"",
}

func (m *maker) line(out *strings.Builder, session, kind int) {
	switch {
	case kind < 20:
		m.record(out, session, "LOG", madeMessages[kind%len(madeMessages)])
	case kind < 25:
		m.record(out, session, "ERROR", madeErrors[kind-20])
	case kind < 28:
		m.label(out, session, []string{"DETAIL:  parameters: $1 = '5'", "STATEMENT:  UPDATE t SET a = 1", "HINT:  try again"}[kind-25])
	case kind == 28:
		m.raw(out, "\tcontinued")
	case kind == 29:
		m.raw(out, "somebody else's line")
	case kind == 30:
		m.raw(out, "2026-11-22 10:23:27")
	default:
		m.record(out, session, "FATAL", "terminating connection due to administrator command")
	}
}

func (m *maker) stamp() string {
	second := m.n / 7
	fraction := fmt.Sprintf(".%03d", m.n*37%1000)
	if m.form == formNoFraction && m.n%5 == 0 {
		fraction = ""
	}
	return fmt.Sprintf("2026-11-22 10:%02d:%02d%s UTC", 10+second/60%50, second%60, fraction)
}

func (m *maker) record(out *strings.Builder, session int, severity, message string) {
	state := map[bool]string{true: "00000", false: "40001"}[severity == "LOG"]
	if strings.HasPrefix(message, "current transaction") {
		state = "25P02"
	}
	pid, vxid := 4570+session, m.vxid(session, state)
	switch m.form {
	case formCSV, formCSVInCRI:
		if m.form == formCSVInCRI {
			fmt.Fprintf(out, "2026-11-22T10:23:24.%dZ stderr F ", m.n*7919%1000)
		}
		fmt.Fprintf(out, "%s,\"u\",\"d\",%d,\"127.0.0.1:4%d\",6b02c29c.%x,%d,\"SELECT\",2026-11-22 10:00:00 UTC,%s,0,%s,%s,\"%s\",,,,,,,,,\"app\",\"client backend\",,0\n",
			m.stamp(), pid, session, pid, m.n, vxid, severity, state, strings.ReplaceAll(message, `"`, `""`))
	case formJSON:
		text, _ := json.Marshal(message)
		fmt.Fprintf(out, `{"timestamp":"%s","user":"u","dbname":"d","pid":%d,"remote_host":"127.0.0.1","remote_port":4%d,"session_id":"6b02c29c.%x",`+
			`"line_num":%d,"ps":"SELECT","session_start":"2026-11-22 10:00:00 UTC","vxid":"%s","txid":0,"error_severity":"%s","message":%s}`+"\n",
			m.stamp(), pid, session, pid, m.n, vxid, severity, text)
	default:
		m.label(out, session, severity+":  "+message)
	}
}

// vxid is a virtual transaction id; an aborted transaction has none.
func (m *maker) vxid(session int, state string) string {
	if state == "25P02" {
		return fmt.Sprintf("%d/0", session+3)
	}
	return fmt.Sprintf("%d/%d", session+3, m.n/9)
}

func (m *maker) label(out *strings.Builder, session int, text string) {
	if m.form == formVirtual {
		state := map[bool]string{true: "25P02"}[strings.Contains(text, "ERROR:  current transaction")]
		m.raw(out, fmt.Sprintf("%s [%d] %s 0 u@d %s", m.stamp(), 4570+session, m.vxid(session, state), text))
		return
	}
	m.raw(out, fmt.Sprintf("%s [%d] u@d %s", m.stamp(), 4570+session, text))
}

// raw writes a line of no form of its own.
func (m *maker) raw(out *strings.Builder, text string) {
	switch m.form {
	case formDocker:
		end := "\n"
		if m.n%11 == 0 {
			end = "" // the rest follows in the next line
		}
		line, _ := json.Marshal(text + end)
		text = fmt.Sprintf(`{"log":%s,"stream":"stderr","time":"2026-11-22T10:23:24.%dZ"}`, line, m.n*7919%1000)
	case formCRI:
		tag := map[bool]string{true: "P", false: "F"}[m.n%13 == 0]
		text = fmt.Sprintf("2026-11-22T10:23:24.%dZ stderr %s %s", m.n*7919%1000, tag, text)
	case formCSV, formCSVInCRI:
		return // a csvlog has nothing but records
	}
	out.WriteString(text + "\n")
}

func madeOptions(form int) pglog.Options {
	switch form {
	case formCSV, formJSON, formCSVInCRI:
		return pglog.Options{Workers: 1}
	case formVirtual:
		return pglog.Options{Workers: 1, Prefix: virtualPrefix}
	}
	return pglog.Options{Workers: 1, Prefix: madePrefix}
}

func TestQuickReadingOfMadeLogs(t *testing.T) {
	t.Parallel()
	for form := range forms {
		r := rand.New(rand.NewPCG(uint64(form), 1))
		cascades := int64(0)
		for range 300 {
			script := make([]byte, r.IntN(150))
			for i := range script {
				script[i] = byte(r.Uint32())
			}
			cascades += requireSame(t, madeLog(form, script), madeOptions(form)).Result.Totals.CascadesWithRoot
		}
		require.NotZero(t, cascades, form)
	}
}

// FuzzQuickReading breaks made logs somewhere, and expects both readings to make the same of it.
func FuzzQuickReading(f *testing.F) {
	for form := range forms {
		f.Add(uint8(form), []byte{0, 0, 32, 20, 26, 0, 21, 52, 53, 1, 64, 25, 28, 5, 6, 7, 0, 0, 21}, uint16(300), []byte("x\n"))
	}
	f.Fuzz(func(t *testing.T, form uint8, script []byte, at uint16, patch []byte) {
		which := int(form) % forms
		text := madeLog(which, script[:min(len(script), 200)])
		if int(at) < len(text) {
			text = append(text[:at:at], append(patch, text[min(len(text), int(at)+len(patch)/2):]...)...)
		}
		requireSame(t, text, madeOptions(which))
	})
}
