package hass_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/hass"
	"github.com/concord-home/concord/hass/simhome"
)

// BenchmarkDecode decodes and folds the diffs of the recordings.
func BenchmarkDecode(b *testing.B) {
	var raws [][]byte
	var table hass.Table
	var event hass.EntitiesEvent
	for i, m := range received(b, "2025.4.4", "subscribe_entities") {
		if m.Type != "event" {
			continue
		}
		require.NoError(b, event.Decode(m.Event))
		if len(event.Added) > 0 {
			require.NoError(b, table.Apply(&event, nil))
		} else if i < 1000 {
			raws = append(raws, m.Event)
		}
	}
	for name, fold := range map[string]bool{"Decode": false, "DecodeAndFold": true} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if event.Decode(raws[i%len(raws)]) != nil {
					b.Fatal("not decoded")
				}
				if fold {
					_ = table.Apply(&event, nil) // renamed ones are not in it
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkHome has a simulated home of 1,000 entities send changes to a client
// in the same process, which decodes and folds all of them: both ends share
// the machine.
func BenchmarkHome(b *testing.B) {
	w := link(b, simhome.Options{Entities: 1000, MaxPending: 1 << 20}, nil)
	got := make(chan int, 1000)
	var table hass.Table
	var event hass.EntitiesEvent
	w.client.Subscribe("subscribe_entities", func(e hass.Event) {
		if event.Decode(e.Raw) != nil || table.Apply(&event, nil) != nil {
			b.Error("not decoded")
		}
		got <- len(event.Changed)
	})
	w.run(b)
	<-w.up
	<-got // the snapshot
	const burst = 2000
	b.ResetTimer()
	sent, seen := 0, 0
	for seen < b.N {
		for sent < b.N && sent-seen < 4*burst {
			n := min(burst, b.N-sent)
			w.home.Emit(n)
			sent += n
		}
		seen += <-got
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkEmit is the cost of a change in the home when nobody listens.
func BenchmarkEmit(b *testing.B) {
	home, err := simhome.New(simhome.Options{Entities: 1000})
	require.NoError(b, err)
	defer home.Close()
	b.ReportAllocs()
	b.ResetTimer()
	home.Emit(b.N)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
