package app

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// leastMemory is the memory that Concord aims to stay below where its data
// allow it: reading a home of 10,000 entities makes garbage several times the
// size of what is kept, which the collector would else let grow.
const leastMemory = 110 << 20

// boundMemory keeps the collector's limit a little above what is in use, so that
// a large home gets what it needs and a small one gives back what it does not.
// GOMEMLIMIT, when it is set, has the last word.
func boundMemory(ctx context.Context) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for {
		metrics.Read(live)
		debug.SetMemoryLimit(max(leastMemory, int64(live[0].Value.Uint64())*5/4+16<<20)) //nolint:gosec // a size
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
