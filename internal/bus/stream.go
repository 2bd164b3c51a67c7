package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	mostBytes  = 8 << 30
	leastBytes = 64 << 20
)

// ensureStream makes the stream, with a first sequence taken from the clock
// (µs), so that a stream that replaces a lost one never repeats a sequence:
// sequences serve as epochs, and those must only grow. One that exists gets the
// size that is set now.
func (b *Bus) ensureStream(ctx context.Context) (created bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	stream, err := b.js.Stream(ctx, streamName)
	if err == nil {
		if b.stream == nil { // a handle goes by the stream's name: one is enough
			b.stream = stream
		}
		b.resize(ctx, stream.CachedInfo())
		return false, nil
	}
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return false, err
	}
	first := max(uint64(time.Now().UnixMicro()), b.last.Load()+1) //nolint:gosec // after 1970
	stream, err = b.createStream(ctx, jetstream.StreamConfig{
		Name: streamName, Description: "What homes said, until it is written.",
		Subjects: []string{subjectPrefix + "*"}, Storage: jetstream.FileStorage,
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew,
		MaxBytes: b.maxBytes(0), Replicas: b.options.Replicas, FirstSeq: first,
	})
	if err != nil {
		return false, err
	}
	if b.stream == nil {
		b.stream = stream
	}
	return true, nil
}

// usualReplicas survive the loss of one server of a cluster.
const usualReplicas = 3

// createStream makes the stream with as many replicas as are set; when that is
// left open, with the usual ones where there is a cluster.
func (b *Bus) createStream(ctx context.Context, config jetstream.StreamConfig) (jetstream.Stream, error) {
	if config.Replicas > 0 {
		return b.js.CreateStream(ctx, config)
	}
	if b.server == nil {
		config.Replicas = usualReplicas
		stream, err := b.js.CreateStream(ctx, config)
		if !tooFewServers(err) {
			return stream, err
		}
		b.log.Warn("the spool has one copy: its server is no cluster of three", "error", err)
	}
	config.Replicas = 1
	return b.js.CreateStream(ctx, config)
}

// JetStream's codes for replicas that it cannot place.
const (
	noPeers      = 10005
	notClustered = 10074
)

func tooFewServers(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (api.ErrorCode == noPeers || api.ErrorCode == notClustered)
}

// maxBytes is how large the stream may become: what was set, else a quarter of
// the disk that is free or the stream's own, between 64 MiB and 8 GiB.
func (b *Bus) maxBytes(used int64) int64 {
	if b.options.MaxBytes > 0 {
		return b.options.MaxBytes
	}
	if b.server == nil {
		return mostBytes // the disk is another machine's
	}
	free := freeDisk(b.dir)
	if free <= 0 {
		return mostBytes
	}
	return min(max((free+used)/4, leastBytes), mostBytes)
}

// resize gives the stream the size that is set now, but never less than what is
// in it. Failing is no reason not to start.
func (b *Bus) resize(ctx context.Context, info *jetstream.StreamInfo) {
	used := int64(info.State.Bytes) //nolint:gosec // a size
	config := info.Config
	wanted := max(b.maxBytes(used), used)
	if b.options.MaxBytes == 0 {
		if b.server == nil {
			return // whoever runs that server has set it
		}
		wanted = max(wanted, 2*used) // an outage may go on
	}
	if config.MaxBytes == wanted {
		return
	}
	before := config.MaxBytes
	config.MaxBytes = wanted
	if _, err := b.js.UpdateStream(ctx, config); err != nil {
		b.log.Warn("the spool keeps its size", "bytes", before, "wanted", wanted, "error", err)
		return
	}
	b.log.Info("the spool has another size", "bytes", wanted, "before", before)
}

// restore makes the stream anew when somebody has deleted it. What was in it and
// not written is lost, so whoever hears the homes is told.
func (b *Bus) restore(ctx context.Context) (restored bool) {
	b.reviving.Lock()
	defer b.reviving.Unlock()
	created, err := b.ensureStream(context.WithoutCancel(ctx))
	if err != nil {
		b.log.Warn("the spool's stream cannot be made", "error", fmt.Errorf("restore spool: %w", err))
		return false
	}
	if !created {
		return false
	}
	b.log.Error("the spool's stream was deleted and is made anew: what was not written is asked of the homes again")
	if b.options.OnLost != nil {
		b.options.OnLost()
	}
	return true
}
