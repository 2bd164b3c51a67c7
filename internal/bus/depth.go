package bus

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Depth is what waits in the spool, of all homes.
type Depth struct {
	Messages int64
	Bytes    int64
	Oldest   time.Time // when the oldest message came; zero when none waits
	MaxBytes int64     // that the spool may reach
	Room     int64     // bytes that it still takes: up to MaxBytes, and what is free on the disk when that is ours
	// Aged is the part of [Options.MaxAge] that the oldest message of a home that is heard here has waited.
	Aged float64
}

// fewRoom is the part of its size, or age, that a spool which is filling up has
// left. At 100 events a second and 8 GiB that is hours before it takes no more.
const fewRoom = 0.25

// Filling tells a spool that still takes everything, and will not for long
// unless it is written.
func (d Depth) Filling() bool { return d.Full() > 1-fewRoom }

// Full is the part of the spool that is used, that the disk does not have, or of
// the time that a message may wait, from 0 to 1.
func (d Depth) Full() float64 {
	used := 0.0
	if d.MaxBytes > 0 {
		used = 1 - float64(d.Room)/float64(d.MaxBytes)
	}
	return min(max(used, d.Aged), 1)
}

const tooOld = "the oldest change in the spool waits longer than SPOOL_MAX_AGE"

// oldest is when the first message of a home came that still waits.
type oldest struct {
	looked, came time.Time // came is zero when none waits
}

// waitsSince returns when the oldest message of a home came, as of at most a
// second ago; zero when none waits or nobody can tell. Messages of homes that are
// run no more count for none.
func (b *Bus) waitsSince(ctx context.Context, home int64) time.Time {
	b.mu.Lock()
	o := b.oldest[home]
	b.mu.Unlock()
	if time.Since(o.looked) < time.Second {
		return o.came
	}
	o = oldest{looked: time.Now()}
	if m, err := b.stream.GetMsg(ctx, 1, jetstream.WithGetMsgSubject(subject(home))); err == nil {
		o.came = m.Time
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.oldest == nil {
		b.oldest = make(map[int64]oldest)
	}
	b.oldest[home] = o
	return o.came
}

// tooOld tells that a home's oldest message has waited too long.
func (b *Bus) tooOld(ctx context.Context, home int64) bool {
	if b.options.MaxAge <= 0 {
		return false
	}
	came := b.waitsSince(ctx, home)
	return !came.IsZero() && time.Since(came) > b.options.MaxAge
}

// aged is the part of MaxAge that the oldest message of the homes that are heard
// here has waited.
func (b *Bus) aged(ctx context.Context) (part float64) {
	if b.options.MaxAge <= 0 {
		return 0
	}
	b.mu.Lock()
	homes := slices.Collect(maps.Keys(b.oldest))
	b.mu.Unlock()
	for _, home := range homes {
		if came := b.waitsSince(ctx, home); !came.IsZero() {
			part = max(part, float64(time.Since(came))/float64(b.options.MaxAge))
		}
	}
	return part
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
	d := Depth{Messages: int64(info.State.Msgs), Bytes: int64(info.State.Bytes), MaxBytes: info.Config.MaxBytes} //nolint:gosec // counts
	d.Room = max(d.MaxBytes-d.Bytes, 0)
	if b.server != nil {
		if free := freeDisk(b.dir); free > 0 {
			d.Room = min(d.Room, free)
		}
	}
	if d.Messages > 0 {
		d.Oldest = info.State.FirstTime
	}
	d.Aged = b.aged(ctx)
	return d, nil
}
