// Command spool measures what it costs to have changes on disk before they
// count as heard: the embedded JetStream with each policy of fsync, and with few
// and many changes in a message. Beside it stands the limit of the disk in the
// same run: as many changes, as JSON, appended to a file with and without fsync.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/bus"
)

type cell struct {
	Policy   string  `json:"policy"`
	Changes  int     `json:"changes_per_message"`
	Messages float64 `json:"messages_per_second"`
	Rate     float64 `json:"changes_per_second"`
	Lost     string  `json:"lost_when_the_power_fails"`
}

// policies of fsync; a file stands for the disk's limit.
var policies = []struct {
	name, lost string
	open       func(ctx context.Context, dir string) (publish func(b *concord.Batch) error, end func() error, err error)
}{
	{"each message (default)", "nothing", jetStream(0)},
	{"SPOOL_SYNC=100ms", "0.1 s", jetStream(100 * time.Millisecond)},
	{"SPOOL_SYNC=1m", "a minute", jetStream(time.Minute)},
	{"a file, fsync each", "nothing", file(true)},
	{"a file, no fsync", "what the kernel holds", file(false)},
}

func main() {
	length := flag.Duration("duration", 2*time.Second, "time per cell")
	asJSON := flag.Bool("json", false, "print JSON")
	flag.Parse()
	cells, err := run(context.Background(), *length)
	if err != nil {
		fmt.Fprintln(os.Stderr, "spool:", err)
		os.Exit(1)
	}
	if *asJSON {
		_ = json.NewEncoder(os.Stdout).Encode(cells) // plain numbers
		return
	}
	fmt.Printf("%-24s %8s %10s %12s  %s\n", "fsync", "changes", "messages/s", "changes/s", "lost when the power fails")
	for _, c := range cells {
		fmt.Printf("%-24s %8d %10.0f %12.0f  %s\n", c.Policy, c.Changes, c.Messages, c.Rate, c.Lost)
	}
}

func run(ctx context.Context, length time.Duration) (cells []cell, err error) {
	for _, p := range policies {
		for _, changes := range []int{1, 100, 1000} {
			c, err := measure(ctx, length, changes, p.open)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p.name, err)
			}
			c.Policy, c.Lost = p.name, p.lost
			cells = append(cells, c)
		}
	}
	return cells, nil
}

func measure(ctx context.Context, length time.Duration, changes int, open func(context.Context, string) (func(*concord.Batch) error, func() error, error)) (c cell, err error) {
	dir, err := os.MkdirTemp("", "concord-spool-")
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	publish, end, err := open(ctx, dir)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, end()) }()
	batch := batchOf(changes)
	begin, n := time.Now(), 0
	for time.Since(begin) < length {
		if err := publish(batch); err != nil {
			return c, err
		}
		n++
	}
	seconds := time.Since(begin).Seconds()
	return cell{Changes: changes, Messages: float64(n) / seconds, Rate: float64(n*changes) / seconds}, nil
}

func batchOf(changes int) *concord.Batch {
	b := &concord.Batch{Kind: concord.BatchEvents, HomeID: 1, Epoch: 1}
	now := time.Now()
	for i := range changes {
		b.Records = append(b.Records, concord.Record{State: &concord.State{
			EntityID: fmt.Sprintf("sensor.of_a_usual_name_%d", i), State: fmt.Sprint(i), LastChanged: now, LastUpdated: now,
			Attributes: json.RawMessage(`{"state_class":"measurement","unit_of_measurement":"W","device_class":"power","friendly_name":"Power"}`),
			Position:   concord.Position{Epoch: 1, Seq: int64(i)},
		}})
	}
	return b
}

func jetStream(sync time.Duration) func(ctx context.Context, dir string) (func(b *concord.Batch) error, func() error, error) {
	return func(ctx context.Context, dir string) (func(b *concord.Batch) error, func() error, error) {
		b, err := bus.Open(ctx, bus.Options{Dir: dir, SyncEvery: sync})
		if err != nil {
			return nil, nil, err
		}
		return func(batch *concord.Batch) error {
			batch.Epoch++ // another message, not the same again
			_, err := b.Publish(ctx, batch)
			return err
		}, b.Close, nil
	}
}

func file(sync bool) func(ctx context.Context, dir string) (func(b *concord.Batch) error, func() error, error) {
	return func(_ context.Context, dir string) (func(b *concord.Batch) error, func() error, error) {
		f, err := os.Create(filepath.Join(dir, "file"))
		if err != nil {
			return nil, nil, err
		}
		var text []byte
		return func(b *concord.Batch) error {
			if text == nil {
				if text, err = json.Marshal(b); err != nil {
					return err
				}
			}
			if _, err := f.Write(text); err != nil || !sync {
				return err
			}
			return f.Sync()
		}, f.Close, nil
	}
}
