package notify_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/notify"
)

// incidents is an IncidentStore in memory.
type incidents struct {
	mu   sync.Mutex
	open map[string]time.Time
}

func (s *incidents) OpenIncident(_ context.Context, kind string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, isOpen := s.open[kind]
	if !isOpen {
		s.open[kind] = time.Now()
	}
	return !isOpen, nil
}

func (s *incidents) CloseIncident(_ context.Context, kind string) (bool, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	since, isOpen := s.open[kind]
	delete(s.open, kind)
	return isOpen, since, nil
}

type request struct {
	path, title string
	body        []byte
}

// receiver takes messages over HTTP.
func receiver(t *testing.T) (address string, got chan request) {
	t.Helper()
	got = make(chan request, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			got <- request{r.URL.Path, r.Header.Get("Title"), body}
		}
		io.WriteString(w, `{}`)
	}))
	t.Cleanup(server.Close)
	return server.URL, got
}

func health(rate float64) concord.ConflictHealth {
	h := concord.ConflictHealth{Status: concord.ConflictsHealthy, Window: time.Hour, FailureRate: rate, WorstEndpoint: "get_areas"}
	h.Transactions, h.Conflicted, h.Failures, h.Lost = 1000, int64(1000*rate), int64(1500*rate), 3
	if rate > 0.05 {
		h.Status = concord.ConflictsDegraded
	}
	if rate > 0.20 {
		h.Status = concord.ConflictsUnhealthy
	}
	return h
}

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(20 * time.Second):
		require.FailNow(t, "no message came")
		panic("unreachable")
	}
}

func TestIncidents(t *testing.T) {
	t.Parallel()
	type bundle struct {
		n     *notify.Notifier
		rate  float64
		got   chan request
		store *incidents
	}
	setup := func(t *testing.T) *bundle {
		address, got := receiver(t)
		b := &bundle{got: got, store: &incidents{open: map[string]time.Time{}}}
		var err error
		b.n, err = notify.New(notify.Options{
			URLs: []string{address + "/services/T/B/secret"}, Incidents: b.store, Quiet: -1, Server: "attic",
			Health: func() concord.ConflictHealth { return health(b.rate) },
		})
		require.NoError(t, err)
		return b
	}
	// walk looks at each rate three times and returns the titles that were sent.
	walk := func(t *testing.T, b *bundle, rates ...float64) []string {
		for _, b.rate = range rates {
			for range 3 {
				b.n.Look(t.Context())
			}
		}
		stopped, cancel := context.WithCancel(t.Context())
		cancel()
		b.n.Run(stopped) // waits for the messages under way
		var titles []string
		for len(b.got) > 0 {
			var m struct{ Text string }
			require.NoError(t, json.Unmarshal((<-b.got).body, &m))
			titles = append(titles, m.Text)
		}
		return titles
	}
	const begun, badly, over = "Concord: database conflicts disturb writing", "Concord: database conflicts disturb writing badly", "Concord: database conflicts are over"

	for _, c := range []struct {
		name  string
		rates []float64
		want  []string
	}{
		{"quiet", []float64{0, 0.05, 0.099}, nil},
		{"one incident, two messages", []float64{0, 0.1, 0.15, 0.12, 0.01}, []string{begun, over}},
		{"a rate that swings is one incident", []float64{0.11, 0.09, 0.11, 0.09, 0.11}, []string{begun}},
		{"worse is not another incident", []float64{0.15, 0.3}, []string{begun}},
		{"badly at once", []float64{0.3, 0}, []string{badly, over}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.ElementsMatch(t, c.want, walk(t, setup(t), c.rates...))
		})
	}
	t.Run("ARestartTellsNobodyAgain", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		require.Equal(t, []string{begun}, walk(t, b, 0.15))
		again, err := notify.New(b.n.Options)
		require.NoError(t, err)
		b.n = again
		require.Equal(t, []string{over}, walk(t, b, 0.15, 0))
	})
	t.Run("MessagesKeepTheirDistance", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.n.Quiet = time.Hour
		require.ElementsMatch(t, []string{begun, over}, walk(t, b, 0.15, 0, 0.15, 0, 0.15))
	})
}

func TestServices(t *testing.T) {
	t.Parallel()
	send := func(t *testing.T, address string) {
		n, err := notify.New(notify.Options{
			URLs: []string{address}, Incidents: &incidents{open: map[string]time.Time{}}, Server: "attic",
			Health: func() concord.ConflictHealth { return health(0.25) },
		})
		require.NoError(t, err)
		n.Look(t.Context())
	}
	t.Run("Slack", func(t *testing.T) {
		t.Parallel()
		address, got := receiver(t)
		send(t, address)
		var m struct {
			Text        string
			Attachments []struct{ Text, Color string }
		}
		require.NoError(t, json.Unmarshal(receive(t, got).body, &m))
		require.Equal(t, "Concord: database conflicts disturb writing badly", m.Text)
		var lines []string
		for _, a := range m.Attachments {
			require.Equal(t, "#FF0000", a.Color)
			lines = append(lines, a.Text)
		}
		text := strings.Join(lines, "\n")
		require.Contains(t, text, "Failure rate: 25.0 %")
		require.Contains(t, text, "Total: 250 of 1000 in 1h0m0s, 375 failed attempts, 3 lost")
		require.Contains(t, text, "Worst endpoint: get_areas")
		require.Contains(t, text, "Time: 20")
	})
	t.Run("Generic", func(t *testing.T) {
		t.Parallel()
		address, got := receiver(t)
		send(t, strings.Replace(address, "http://", "generic://", 1)+"/hook?template=json&disabletls=yes")
		r := receive(t, got)
		var m struct{ Title, Message, Color string }
		require.NoError(t, json.Unmarshal(r.body, &m))
		require.Equal(t, "/hook", r.path)
		require.Contains(t, m.Title, "badly")
		require.Contains(t, m.Message, "25.0 %")
		require.Equal(t, "#FF0000", m.Color)
	})
	t.Run("Ntfy", func(t *testing.T) {
		t.Parallel()
		address, got := receiver(t)
		send(t, strings.Replace(address, "http://", "ntfy://", 1)+"/alerts?scheme=http")
		r := receive(t, got)
		require.Contains(t, r.title, "badly")
		require.Contains(t, string(r.body), "25.0 %")
	})
	t.Run("Mail", func(t *testing.T) {
		t.Parallel()
		address, got := mailbox(t)
		send(t, "smtp://"+address+"/?from=concord@example.org&to=me@example.org&auth=None&encryption=None&usestarttls=No")
		mail := receive(t, got)
		require.Contains(t, mail, "Subject: Concord: database conflicts disturb writing badly")
		require.Contains(t, mail, "Worst endpoint: get_areas")
	})
}

// mailbox is a server that takes mail and keeps the text.
func mailbox(t *testing.T) (address string, got chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	got = make(chan string, 10)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { takeMail(conn, got) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String(), got
}

func takeMail(conn net.Conn, got chan<- string) {
	defer conn.Close()
	io.WriteString(conn, "220 test\r\n")
	var text strings.Builder
	data := false
	for in := bufio.NewScanner(conn); in.Scan(); {
		line := in.Text()
		switch {
		case data && line == ".":
			got <- text.String()
			data = false
			io.WriteString(conn, "250 ok\r\n")
		case data:
			text.WriteString(line + "\n")
		case line == "DATA":
			data = true
			io.WriteString(conn, "354 go on\r\n")
		case line == "QUIT":
			io.WriteString(conn, "221 bye\r\n")
			return
		default:
			io.WriteString(conn, "250 ok\r\n")
		}
	}
}

func TestNothingWaitsAndNoSecretIsTold(t *testing.T) {
	t.Parallel()
	t.Run("AReceiverThatHangs", func(t *testing.T) {
		t.Parallel()
		release := make(chan struct{})
		server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
		t.Cleanup(server.Close)
		t.Cleanup(func() { close(release) })
		n, err := notify.New(notify.Options{
			URLs: []string{server.URL}, Incidents: &incidents{open: map[string]time.Time{}},
			Health: func() concord.ConflictHealth { return health(0.25) },
		})
		require.NoError(t, err)
		n.Look(t.Context()) // returns although the message is not delivered
	})
	t.Run("AReceiverThatIsNotThere", func(t *testing.T) {
		t.Parallel()
		var log bytes.Buffer
		n, err := notify.New(notify.Options{
			URLs:      []string{"http://127.0.0.1:1/services/hunter2", "generic://127.0.0.1:1/hunter2?disabletls=yes"},
			Incidents: &incidents{open: map[string]time.Time{}}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			Health: func() concord.ConflictHealth { return health(0.25) },
		})
		require.NoError(t, err)
		n.Look(t.Context())
		stopped, cancel := context.WithCancel(t.Context())
		cancel()
		n.Run(stopped)
		require.Equal(t, 2, strings.Count(log.String(), "could not be delivered"))
		require.NotContains(t, log.String(), "hunter2")
	})
	t.Run("AnAddressThatIsWrong", func(t *testing.T) {
		t.Parallel()
		for _, address := range []string{"hunter2", "https:///hunter2", "nosuch://hunter2", "telegram://hunter2", "http://%zz/hunter2"} {
			_, err := notify.New(notify.Options{URLs: []string{"https://example.org", address}})
			require.ErrorContains(t, err, "address 2")
			require.NotContains(t, err.Error(), "hunter2")
		}
	})
}
