package bus

import (
	"context"
	"errors"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	storeFailed = 10077 // JetStream's code for a stream that takes no more
	maxStore    = 1 << 50
	maxMemory   = 256 << 20
)

// refused notes that a message was not taken, for the status.
func (b *Bus) refused(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return // the caller's doing
	}
	reason := "the spool does not take messages"
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == storeFailed {
		reason = "the spool is full"
	}
	b.setStatus(false, reason)
	if errors.Is(err, jetstream.ErrNoStreamResponse) && b.restore(ctx) {
		return
	}
	stuck := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, jetstream.ErrNoStreamResponse)
	if b.server != nil && stuck { // nothing else takes so long within one process
		b.revive()
	}
}

// revive starts the embedded JetStream anew: a stream that met a full disk
// takes nothing more, also when there is room again. What it took stays.
func (b *Bus) revive() {
	b.reviving.Lock()
	defer b.reviving.Unlock()
	if b.server.JetStreamEnabled() {
		if err := b.server.DisableJetStream(); err != nil {
			b.log.Warn("the spool cannot be switched off", "error", err)
		}
	}
	config := &server.JetStreamConfig{StoreDir: b.dir, MaxStore: maxStore, MaxMemory: maxMemory, SyncAlways: b.options.SyncEvery == 0, SyncInterval: b.options.SyncEvery}
	if err := b.server.EnableJetStream(config); err != nil {
		b.log.Warn("the spool stays off: is the disk full?", "error", err)
		return
	}
	b.log.Info("the spool was started anew")
}
