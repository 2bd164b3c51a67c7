package bus

import (
	"context"
	"fmt"
	"time"
)

// Depth is what waits in the spool, of all homes.
type Depth struct {
	Messages int64
	Bytes    int64
	Oldest   time.Time // when the oldest message came; zero when none waits
}

// MaxBytes asks for the size that the spool may reach.
func (b *Bus) MaxBytes(ctx context.Context) (int64, error) {
	info, err := b.stream.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("ask for the spool's size: %w", err)
	}
	return info.Config.MaxBytes, nil
}

// Depth asks for what waits to be written.
func (b *Bus) Depth(ctx context.Context) (Depth, error) {
	info, err := b.stream.Info(ctx)
	if err != nil {
		return Depth{}, fmt.Errorf("ask for the spool's depth: %w", err)
	}
	d := Depth{Messages: int64(info.State.Msgs), Bytes: int64(info.State.Bytes)} //nolint:gosec // counts
	if d.Messages > 0 {
		d.Oldest = info.State.FirstTime
	}
	return d, nil
}
