// Command start measures how long `concord serve` takes until it serves the
// page, on data that exist, and how much memory it holds with 10,000 entities,
// PostgreSQL not counted. It runs the binary that -binary names.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/concord-home/concord/hass/simhome"
	"github.com/concord-home/concord/internal/trial"
)

type report struct {
	Starts   []float64 `json:"page_served_seconds"` // sorted
	Median   float64   `json:"median_seconds"`
	Limit    float64   `json:"limit_seconds"`
	Resident float64   `json:"resident_mb"`
	LimitMB  float64   `json:"limit_mb"`
	Entities int       `json:"entities"`
}

func main() {
	binary := flag.String("binary", "bin/concord", "the concord to measure")
	entities := flag.Int("entities", 10_000, "entities of the home")
	times := flag.Int("times", 5, "starts")
	asJSON := flag.Bool("json", false, "print JSON")
	flag.Parse()
	r, err := run(context.Background(), *binary, *entities, *times)
	if err != nil {
		fmt.Fprintln(os.Stderr, "start:", err)
		os.Exit(1)
	}
	if *asJSON {
		_ = json.NewEncoder(os.Stdout).Encode(r) // plain numbers
		return
	}
	fmt.Printf("page served after %.2f s (median of %d starts, %.2f to %.2f; limit %.0f s)\n", r.Median, *times, r.Starts[0], r.Starts[len(r.Starts)-1], r.Limit)
	fmt.Printf("resident with %d entities: %.0f MB (limit %.0f MB, PostgreSQL not counted)\n", r.Entities, r.Resident, r.LimitMB)
}

func run(ctx context.Context, binary string, entities, times int) (report, error) {
	r := report{Limit: 2, LimitMB: 150, Entities: entities}
	binary, err := filepath.Abs(binary)
	if err != nil {
		return r, err
	}
	t, err := trial.Start(ctx, trial.Options{Binary: binary, Home: simhome.Options{Entities: entities, Seed: 1}})
	if err != nil {
		return r, err
	}
	defer t.Stop() //nolint:errcheck // the figures are taken by then
	if err := t.StopConcord(); err != nil {
		return r, err
	}
	for range times {
		seconds, resident, err := once(ctx, t, binary)
		if err != nil {
			return r, err
		}
		r.Starts = append(r.Starts, seconds)
		r.Resident = max(r.Resident, resident)
	}
	slices.Sort(r.Starts)
	r.Median = r.Starts[len(r.Starts)/2]
	return r, nil
}

// once starts, waits for the page, lets the home be read and written, measures
// and stops.
func once(ctx context.Context, t *trial.Trial, binary string) (seconds, resident float64, err error) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, 0, err
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		return 0, 0, err
	}
	url, token := t.HomeAddress()
	cmd := exec.CommandContext(ctx, binary, "serve")
	cmd.Env = append(os.Environ(), "LISTEN="+address, "CONCORD_DATA="+t.Dir, "HA_URL="+url, "HA_TOKEN="+token)
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	defer func() {
		err = errors.Join(err, cmd.Process.Signal(syscall.SIGTERM), cmd.Wait())
	}()
	for !served("http://" + address + "/login") {
		if time.Since(begin) > time.Minute {
			return 0, 0, errors.New("no page after a minute")
		}
		time.Sleep(5 * time.Millisecond)
	}
	seconds = time.Since(begin).Seconds()
	time.Sleep(5 * time.Second) // the home is read, compared and written
	resident, err = residentMB(cmd.Process.Pid)
	return seconds, resident, err
}

func served(url string) bool {
	resp, err := http.Get(url)
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
}

func residentMB(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			var kb float64
			_, err := fmt.Sscan(value, &kb)
			return kb / 1024, err
		}
	}
	return 0, errors.New("no VmRSS")
}
