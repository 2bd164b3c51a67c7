// Package trial runs a whole Concord with a simulated home, for tests and
// benchmarks that ask whether all of it holds together.
package trial

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/concord-home/concord/hass/simhome"
	"github.com/concord-home/concord/internal/app"
)

// Password is admin's.
const Password = "trial password"

const (
	patience = 60 * time.Second
	look     = 20 * time.Millisecond // between two looks at what is waited for
)

// Options of a trial; the zero value is a still family house.
type Options struct {
	Home   simhome.Options
	Binary string            // runs this concord as a process of its own; "" runs one in this process
	Env    map[string]string // for Binary
	Config func(*app.Config) // changes the settings of a Concord in this process
	// HAURL and HAToken name another home than the simulated one.
	HAURL, HAToken string
	Dir            string // Concord's data directory, which stays; "" makes one that Stop removes
}

// Trial is a running Concord with its home. Stop it.
type Trial struct {
	Home   *simhome.Home
	Dir    string // Concord's data directory
	URL    string // of Concord's web server
	DB     string // connection string of its database
	HomeID int64
	HTTP   *http.Client // signed in as admin

	options Options
	homeWeb *http.Server
	homeURL string
	endHome context.CancelFunc
	homeEnd sync.WaitGroup
	stop    func() error // of Concord
	process *os.Process
}

// Start runs a home and a Concord, and returns when somebody is signed in,
// every row equals the home, and its areas are known.
func Start(ctx context.Context, o Options) (*Trial, error) {
	t := &Trial{options: o}
	var err error
	if t.Home, err = simhome.New(o.Home); err != nil {
		return nil, err
	}
	if t.Dir = o.Dir; t.Dir == "" {
		if t.Dir, err = os.MkdirTemp("", "concord-trial-"); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(os.Chmod(t.Dir, 0o711), t.HomeOn()); err != nil {
		return nil, err
	}
	var home context.Context
	home, t.endHome = context.WithCancel(context.WithoutCancel(ctx))
	t.homeEnd.Go(func() { t.Home.Run(home) }) //nolint:errcheck // returns with its context
	if err := t.StartConcord(ctx); err != nil {
		return nil, errors.Join(err, t.Stop())
	}
	if o.HAURL == "" {
		// The registry follows the states.
		known := func(context.Context) error { return t.Areas(false) }
		if err := errors.Join(t.AwaitEqual(ctx), await(ctx, look, known)); err != nil {
			return nil, errors.Join(err, t.Stop())
		}
	}
	return t, nil
}

// await tries every so often until it goes well, or says what went wrong last
// when patience or ctx is at its end.
func await(ctx context.Context, every time.Duration, try func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited up to %v: %w", patience, err)
		case <-tick.C:
		}
	}
}

// HomeOn lets the home answer, at the same address as before.
func (t *Trial) HomeOn() error {
	listener, err := net.Listen("tcp", cmp.Or(strings.TrimPrefix(t.homeURL, "ws://"), "127.0.0.1:0"))
	if err != nil {
		return err
	}
	t.homeURL = "ws://" + listener.Addr().String()
	t.homeWeb = &http.Server{Handler: t.Home, ReadHeaderTimeout: 10 * time.Second}
	server := t.homeWeb
	t.homeEnd.Go(func() { server.Serve(listener) }) //nolint:errcheck // returns when closed
	return nil
}

// HomeOff makes the home unreachable.
func (t *Trial) HomeOff() {
	t.homeWeb.Close()
	t.Home.Disconnect()
}

// StartConcord starts Concord on the trial's data directory and signs in.
func (t *Trial) StartConcord(ctx context.Context) error {
	start := t.startHere
	if t.options.Binary != "" {
		start = t.startProcess
	}
	if err := start(ctx); err != nil {
		return err
	}
	var err error
	if t.DB, err = app.DatabaseURL(t.Dir); err != nil {
		return err
	}
	return t.login(ctx)
}

// HomeAddress is where the home is, and its token.
func (t *Trial) HomeAddress() (url, token string) {
	if t.options.HAURL != "" {
		return t.options.HAURL, t.options.HAToken
	}
	return t.homeURL + "/api/websocket", t.Home.Token()
}

func (t *Trial) startHere(ctx context.Context) error {
	url, token := t.HomeAddress()
	config := app.Config{Listen: "127.0.0.1:0", DataDir: t.Dir, AdminPassword: Password, HAURL: url, HAToken: token}
	if t.options.Config != nil {
		t.options.Config(&config)
	}
	a, err := app.New(ctx, config)
	if err != nil {
		return err
	}
	t.URL = "http://" + a.Addr()
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stopped := make(chan error, 1)
	go func() { stopped <- a.Run(work) }()
	t.stop = func() error {
		cancel()
		return <-stopped
	}
	return nil
}

func (t *Trial) startProcess(ctx context.Context) error {
	url, token := t.HomeAddress()
	cmd := exec.CommandContext(ctx, t.options.Binary, "serve")
	cmd.Env = append(os.Environ(), "LISTEN=127.0.0.1:0", "CONCORD_DATA="+t.Dir, "CONCORD_ADMIN_PASSWORD="+Password,
		"HA_URL="+url, "HA_TOKEN="+token, "DATABASE_URL=", "NATS_URL=")
	for name, value := range t.options.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	log, err := os.OpenFile(filepath.Join(t.Dir, "concord.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	t.process = cmd.Process
	t.stop = func() error {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may be dead already
		_, err := cmd.Process.Wait()
		return err
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if _, address, ok := strings.Cut(lines.Text(), "Concord is ready: "); ok {
			t.URL = strings.Replace(address, "localhost", "127.0.0.1", 1)
			go io.Copy(io.Discard, out) //nolint:errcheck // until the process ends
			return nil
		}
	}
	reason, _ := os.ReadFile(log.Name())
	return fmt.Errorf("concord did not start: %.2000s", reason)
}

// KillConcord sends SIGKILL to Concord's process and waits for its end.
func (t *Trial) KillConcord() error {
	if err := t.process.Kill(); err != nil {
		return err
	}
	_, err := t.process.Wait()
	t.stop = nil
	return err
}

// StopConcord ends Concord in good order.
func (t *Trial) StopConcord() error {
	if t.stop == nil {
		return nil
	}
	err := t.stop()
	t.stop = nil
	return err
}

// Stop ends everything and removes the data.
func (t *Trial) Stop() error {
	err := t.StopConcord()
	t.homeWeb.Close()
	t.endHome()
	t.Home.Close()
	t.homeEnd.Wait()
	if t.options.Dir != "" {
		return err
	}
	return errors.Join(err, os.RemoveAll(t.Dir))
}

func (t *Trial) login(ctx context.Context) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	t.HTTP = &http.Client{Jar: jar, Timeout: 2 * time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 200}}
	// The database may just have been killed, and comes back by itself.
	return await(ctx, 100*time.Millisecond, func(context.Context) error {
		var session struct{}
		return t.Call("/web/session/authenticate", map[string]any{"db": "concord", "login": "admin", "password": Password}, &session)
	})
}

// Call posts params in a JSON-RPC envelope and decodes the result. The error
// says what was answered instead.
func (t *Trial) Call(path string, params map[string]any, into any) error {
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "params": params})
	if err != nil {
		return err
	}
	resp, err := t.HTTP.Post(t.URL+path, "application/json", strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var envelope struct {
		Result json.RawMessage `json:"result"`
		Error  json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(answer, &envelope); err != nil || envelope.Error != nil {
		return fmt.Errorf("%s: %s: %.300s", path, resp.Status, answer)
	}
	return json.Unmarshal(envelope.Result, into)
}

// LiveState is the state of an entity in Concord's live model.
func (t *Trial) LiveState(entityID string) (string, error) {
	resp, err := t.HTTP.Get(t.URL + "/api/states/" + entityID)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var s struct {
		State string `json:"state"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		return "", fmt.Errorf("state of %s: %s: %w", entityID, resp.Status, err)
	}
	return s.State, nil
}

// Areas asks for the areas; the error says why that is no success.
func (t *Trial) Areas(sync bool) error {
	params := map[string]any{}
	if sync {
		params["sync"] = true
	}
	var result struct {
		Success bool              `json:"success"`
		Areas   []json.RawMessage `json:"areas"`
		Error   string            `json:"error"`
	}
	if err := t.Call("/odoo_ha_addon/areas", params, &result); err != nil {
		return err
	}
	if !result.Success || len(result.Areas) == 0 {
		return fmt.Errorf("%d areas: %s", len(result.Areas), result.Error)
	}
	return nil
}
