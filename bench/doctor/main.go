// Command doctor measures `concord doctor` on at least 1 GB of real log lines, beside pgBadger and grep in the same run.
//
// The logs in testdata are real; they are repeated with shifted times and pids, so that no session, transaction or pid
// goes on from one copy to the next. Peers that are not installed are left out, and said so.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// limits in MB/s, the input in the page cache, and the memory in MB.
var limits = map[string]float64{"stderr": 1000, "csvlog": 500, "jsonlog": 500, "docker": 300, "cri": 300, "zst": 300}

const memoryLimit = 200

// result is one measured run.
type result struct {
	Input    string  `json:"input"`
	Tool     string  `json:"tool"`
	MB       float64 `json:"mb"`
	Seconds  float64 `json:"seconds"`
	CPU      float64 `json:"cpu_seconds"`
	Rate     float64 `json:"mb_per_second"`
	PerCPU   float64 `json:"mb_per_cpu_second"` // what a loaded machine can still tell
	MemoryMB float64 `json:"memory_mb"`
	Limit    float64 `json:"limit,omitempty"`
	Reached  *bool   `json:"reached,omitempty"`
}

func main() { os.Exit(run()) }

func run() int {
	asJSON := flag.Bool("json", false, "print JSON only")
	size := flag.Int64("mb", 1024, "size of the stderr input")
	others := flag.Int64("other-mb", 256, "size of the inputs in other forms")
	budget := flag.Duration("budget", 150*time.Second, "no further input is made, and no run repeated, after this time")
	binary := flag.String("binary", "", "the concord to measure; it is built when not given")
	peers := flag.Int64("peer-mb", 32, "size of the input for slow peers; their rate is of this part")
	flag.Parse()
	b := bench{size: *size << 20, others: *others << 20, peers: *peers << 20, end: time.Now().Add(*budget)}
	results, err := b.measure(*binary)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench doctor:", err)
		return 1
	}
	if !*asJSON {
		printTable(results)
	}
	data, err := json.Marshal(map[string]any{"bench": "doctor", "cpus": runtime.NumCPU(), "results": results})
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench doctor:", err)
		return 1
	}
	fmt.Println(string(data))
	for _, r := range results {
		if r.Reached != nil && !*r.Reached {
			return 1
		}
	}
	return 0
}

// bench holds the sizes in bytes and the time after which nothing more is begun.
type bench struct {
	size, others, peers int64
	end                 time.Time
}

// late tells whether the time is used up, so that a loaded machine gets fewer runs instead of a longer bench.
func (b *bench) late() bool { return time.Now().After(b.end) }

// measure builds the program and the inputs, and runs all tools.
func (b *bench) measure(program string) ([]result, error) {
	dir, err := os.MkdirTemp("", "bench-doctor")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if program == "" {
		program = filepath.Join(dir, "concord")
		if out, err := exec.Command("go", "build", "-o", program, "./cmd/concord").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build concord: %w: %s", err, out)
		}
	}
	var all []result
	var stderr int64
	for _, form := range forms {
		if b.late() {
			fmt.Fprintf(os.Stderr, "bench doctor: %s left out: the time is used up (-budget)\n", form.name)
			continue
		}
		path := filepath.Join(dir, form.name)
		size := b.others
		if form.name == "stderr" {
			size = b.size
		}
		bytes, err := form.write(path, size)
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", form.name, err)
		}
		r, err := b.best(3, form.name, "concord doctor --json", bytes, program, "doctor", "--json", path)
		if err != nil {
			return nil, err
		}
		r.judge()
		all = append(all, r)
		if form.name == "stderr" {
			stderr = bytes // the peers read it, after all else
			continue
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	more, err := b.runPeers(dir, filepath.Join(dir, "stderr"), stderr)
	return append(all, more...), err
}

func (r *result) judge() {
	r.Limit = limits[r.Input]
	reached := r.Rate >= r.Limit && r.MemoryMB <= memoryLimit
	r.Reached = &reached
}

// runPeers measures what others do with the same log: reading alone, a search that pairs nothing, and pgBadger on a part.
func (b *bench) runPeers(dir, path string, bytes int64) ([]result, error) {
	var out []result
	if sh, err := exec.LookPath("sh"); err == nil { // what the machine can do at all
		r, err := b.best(2, "stderr", "cat > /dev/null", bytes, sh, "-c", `exec cat "$1" > /dev/null`, "sh", path)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	if grep, err := exec.LookPath("grep"); err == nil {
		r, err := b.best(2, "stderr", "grep -cE", bytes, grep, "-cE", "(ERROR|FATAL|PANIC):  (could not serialize|deadlock|current transaction)", path)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	badger, err := exec.LookPath("pgbadger")
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench doctor: pgbadger is not installed (apt-get install pgbadger): left out")
		return out, nil
	}
	part := filepath.Join(dir, "part.log")
	n, err := forms[0].write(part, b.peers)
	if err != nil {
		return nil, err
	}
	r, err := b.best(1, "stderr", "pgbadger -j 2", n, badger, "-q", "-j", "2", "-f", "stderr", "-p", "%m [%p] %q%u@%d ", "-o", filepath.Join(dir, "out.html"), part)
	if err != nil {
		return nil, err
	}
	return append(out, r), nil
}

// best runs a tool several times and keeps the quickest: the first run also fills the page cache.
func (b *bench) best(times int, input, tool string, bytes int64, name string, args ...string) (result, error) {
	var fastest result
	for n := range times {
		if n > 0 && b.late() {
			break
		}
		cmd := exec.Command(name, args...)
		cmd.Stdout, cmd.Stderr = io.Discard, os.Stderr
		started := time.Now()
		peak, err := runWatched(cmd)
		took := time.Since(started).Seconds()
		if _, ended := err.(*exec.ExitError); err != nil && (!ended || cmd.ProcessState.ExitCode() > 1) {
			return result{}, fmt.Errorf("run %s: %w", tool, err)
		}
		mb := float64(bytes) / 1e6
		r := result{Input: input, Tool: tool, MB: mb, Seconds: took, Rate: mb / took,
			CPU: (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()}
		r.PerCPU = mb / r.CPU
		r.MemoryMB = peak
		if fastest.Tool == "" || r.Rate > fastest.Rate {
			fastest = r
		}
	}
	return fastest, nil
}

// runWatched runs a command and returns the most memory that it had, in MB. The kernel's own account of a child begins with
// what its parent had, so the child is asked while it runs.
func runWatched(cmd *exec.Cmd) (peak float64, err error) {
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan struct{})
	watched := make(chan float64, 1)
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		most := 0.0
		for {
			most = max(most, residentPeak(cmd.Process.Pid))
			select {
			case <-ended:
				watched <- most
				return
			case <-tick.C:
			}
		}
	}()
	err = cmd.Wait()
	close(ended)
	return <-watched, err
}

// residentPeak reads VmHWM of a process, 0 when it is gone or the system does not tell.
func residentPeak(pid int) float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	var kB float64
	_, _ = fmt.Sscan(after, &kB) // stays 0
	return kB / 1024
}

func printTable(results []result) {
	fmt.Printf("%-8s %-22s %8s %9s %8s %9s %8s\n", "input", "tool", "MB", "MB/s", "MB/CPU s", "memory", "limit")
	for _, r := range results {
		mark := ""
		if r.Reached != nil && !*r.Reached {
			mark = " missed"
		}
		fmt.Printf("%-8s %-22s %8.0f %9.1f %8.1f %6.0f MB %8.0f%s\n", r.Input, r.Tool, r.MB, r.Rate, r.PerCPU, r.MemoryMB, r.Limit, mark)
	}
}
