package app_test

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/hass/simhome"
	"github.com/concord-home/concord/internal/app"
	"github.com/concord-home/concord/internal/pgtest"
	"github.com/concord-home/concord/internal/trial"
)

// metric reads one value from /metrics.
func metric(t *testing.T, c *trial.Trial, name string) float64 {
	t.Helper()
	resp, err := c.HTTP.Get(c.URL + "/metrics")
	require.NoError(t, err)
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			f, err := strconv.ParseFloat(value, 64)
			require.NoError(t, err)
			return f
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestBadSettingsStopTheStartWithOneLine(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts PostgreSQL")
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { busy.Close() })
	for _, c := range []struct {
		name   string
		change func(*app.Config)
		want   string
	}{
		{"PortInUse", func(c *app.Config) { c.Listen = busy.Addr().String() }, "LISTEN: "},
		{"HomeWithoutToken", func(c *app.Config) { c.HAURL = "ws://127.0.0.1:1" }, "HA_TOKEN: missing"},
		{"HomeIsNoAddress", func(c *app.Config) { c.HAURL, c.HAToken = "homeassistant", "t" }, "HA_URL: "},
		{"HomeWithAPassword", func(c *app.Config) { c.HAURL, c.HAToken = "ws://u:hunter2@home/", "t" }, "HA_URL: put the token into HA_TOKEN"},
		{"HomeWithAPasswordThatCannotBeRead", func(c *app.Config) { c.HAURL, c.HAToken = "ws://u:hunter2@[bad/", "t" }, "HA_URL: "},
		{"HomeIsAToken", func(c *app.Config) { c.HAURL, c.HAToken = strings.Repeat("hunter", 20)+"hunter2", "t" }, "HA_URL: "},
		{"HomeWithAnotherScheme", func(c *app.Config) { c.HAURL, c.HAToken = "ftp://x/", "t" }, "HA_URL: the scheme is \"ftp\""},
		{"UnreachableDatabase", func(c *app.Config) { c.DatabaseURL = "postgres://u:hunter2@127.0.0.1:1/x" }, "DATABASE_URL: open database 127.0.0.1:1/x: cannot be reached"},
		{"UnreachableSpool", func(c *app.Config) { c.NATSURL = "nats://127.0.0.1:1" }, "NATS_URL: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			require.NoError(t, os.Chmod(filepath.Dir(dir), 0o711)) // passage for the user that PostgreSQL runs as
			config := app.Config{Listen: "127.0.0.1:0", DataDir: dir, DatabaseWait: 1}
			c.change(&config)
			_, err := app.New(t.Context(), config)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "\n")
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
}

// concordCommand runs the binary and returns what it printed.
func concordCommand(t *testing.T, env []string, stdin string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the binary")
	}
	path, err := binary()
	require.NoError(t, err)
	var out, log strings.Builder
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), strings.NewReader(stdin), &out, &log
	err = cmd.Run()
	return out.String(), log.String(), err
}

func TestAPasswordInAFlagIsRefused(t *testing.T) {
	t.Parallel()
	_, stderr, err := concordCommand(t, []string{"CONCORD_DATA=" + t.TempDir()}, "", "serve", "--nats-url", "nats://u:hunter2@127.0.0.1:1")
	require.Error(t, err)
	require.Contains(t, stderr, "--nats-url: all users of this machine see")
	require.NotContains(t, stderr, "hunter2")
	_, stderr, err = concordCommand(t, []string{"NATS_URL=nats://u:hunter2@127.0.0.1:1", "CONCORD_DATA=" + t.TempDir(), "DATABASE_URL=postgres://u@127.0.0.1:1/x", "DATABASE_WAIT=1ms", "LISTEN=127.0.0.1:0"}, "", "serve")
	require.Error(t, err)
	require.Contains(t, stderr, "DATABASE_URL: ", "the variable is no flag")
	require.NotContains(t, stderr, "hunter2")

	for _, args := range [][]string{{"--database", "postgres://u:hunter2@127.0.0.1:1/x"}, {"--database=postgres://u:hunter2@127.0.0.1:1/x"}} {
		_, stderr, _ = concordCommand(t, nil, "", append([]string{"doctor"}, args...)...)
		require.Contains(t, stderr, "see the password")
		require.NotContains(t, stderr, "hunter2")
	}
	_, stderr, _ = concordCommand(t, []string{"CONCORD_DOCTOR_DATABASE=postgres://u:hunter2@127.0.0.1:1/x"}, "", "doctor")
	require.NotContains(t, stderr, "see the password")
}

func TestALostPasswordIsReplaced(t *testing.T) {
	t.Parallel()
	c := start(t, onDatabase(pgtest.URL(t), simhome.Options{}))
	env := []string{"DATABASE_URL=" + c.DB}
	out, stderr, err := concordCommand(t, env, "", "user", "password")
	require.NoError(t, err, stderr)
	require.Contains(t, out, "login     admin")
	require.Contains(t, out, "1 sessions ended")
	_, made, _ := strings.Cut(out, "password  ")
	made, _, _ = strings.Cut(made, " ")
	signIn := func(password string) error {
		var session struct{}
		return c.Call("/web/session/authenticate", map[string]any{"login": "admin", "password": password}, &session)
	}
	require.NoError(t, signIn(made))
	require.Error(t, signIn(trial.Password))
	_, stderr, err = concordCommand(t, env, "my own words\n", "user", "password", "admin", "--stdin")
	require.NoError(t, err, stderr)
	require.NoError(t, signIn("my own words"))
	_, stderr, err = concordCommand(t, env, "", "user", "password", "nobody")
	require.Error(t, err)
	require.Contains(t, stderr, "nobody: There is no such user")
}

// A home that is wrong in some way must not harm the server: it says so, and
// goes on.
func TestBadHomes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		home http.HandlerFunc
		want string // in the link's error
	}{
		{"NotAHome", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }, ""},
		{"Garbage", func(w http.ResponseWriter, r *http.Request) { speak(w, r, "\x00\xff garbage") }, ""},
		{"WrongToken", func(w http.ResponseWriter, r *http.Request) {
			speak(w, r, `{"type":"auth_required","ha_version":"2025.4.4"}`, `{"type":"auth_invalid","message":"Invalid access token or password"}`)
		}, "token"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(c.home)
			defer server.Close()
			var log logText
			tr := start(t, trial.Options{
				HAURL: "ws" + strings.TrimPrefix(server.URL, "http"), HAToken: "secret-token",
				Config: func(o *app.Config) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) },
			})
			var status struct {
				Data struct {
					StatusText string `json:"status_text"`
				}
			}
			require.NoError(t, tr.Call("/odoo_ha_addon/websocket_status", map[string]any{}, &status))
			require.Equal(t, "Disconnected", status.Data.StatusText)
			resp, err := tr.HTTP.Get(tr.URL + "/")
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, http.StatusOK, resp.StatusCode)
			require.NoError(t, tr.StopConcord())
			require.NotContains(t, log.String(), "secret-token")
			require.Contains(t, log.String(), c.want)
		})
	}
}

func speak(w http.ResponseWriter, r *http.Request, messages ...string) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	for _, m := range messages {
		if conn.Write(r.Context(), websocket.MessageText, []byte(m)) != nil {
			return
		}
	}
	conn.Read(r.Context()) //nolint:errcheck // until the client goes
}
