package bus

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/concord-home/concord"
)

// prefetch bounds the messages that wait in memory.
const prefetch = 64

type reader struct {
	messages chan concord.Spooled // decoded beside the caller's work
	consume  jetstream.ConsumeContext
	stopped  chan struct{}
	held     *concord.Spooled // read, but too many for the last call
}

// Consume implements [concord.Spool]. The consumer is ordered: after a lost
// connection it goes on behind the last message it delivered.
func (b *Bus) Consume(ctx context.Context, home int64, after uint64) (concord.SpoolReader, error) {
	info, err := b.stream.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("read spool: %w", err)
	}
	config := jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject(home)}, DeliverPolicy: jetstream.DeliverAllPolicy}
	if after >= info.State.FirstSeq && after <= info.State.LastSeq {
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, after+1
	}
	consumer, err := b.stream.OrderedConsumer(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("read spool: %w", err)
	}
	r := &reader{messages: make(chan concord.Spooled, prefetch), stopped: make(chan struct{})}
	r.consume, err = consumer.Consume(func(m jetstream.Msg) {
		select {
		case r.messages <- decodeMessage(m):
		case <-r.stopped:
		}
	}, jetstream.PullMaxMessages(prefetch))
	if err != nil {
		return nil, fmt.Errorf("read spool: %w", err)
	}
	return r, nil
}

// Next implements [concord.SpoolReader].
func (r *reader) Next(ctx context.Context, max int) ([]concord.Spooled, error) {
	var batches []concord.Spooled
	records := 0
	if r.held != nil {
		batches, records, r.held = append(batches, *r.held), len(r.held.Records), nil
	}
	for {
		s, ok := r.receive(ctx, len(batches) == 0)
		if !ok {
			if len(batches) == 0 {
				return nil, ctx.Err()
			}
			return batches, nil
		}
		if len(batches) > 0 && records+len(s.Records) > max {
			r.held = &s
			return batches, nil
		}
		batches = append(batches, s)
		records += len(s.Records)
	}
}

// receive returns the next message; false when ctx ended or, unless it shall
// wait, when none is there.
func (r *reader) receive(ctx context.Context, wait bool) (concord.Spooled, bool) {
	if wait {
		select {
		case s := <-r.messages:
			return s, true
		case <-ctx.Done():
			return concord.Spooled{}, false
		}
	}
	select {
	case s := <-r.messages:
		return s, true
	default:
		return concord.Spooled{}, false
	}
}

// Close implements [concord.SpoolReader].
func (r *reader) Close() {
	close(r.stopped)
	r.consume.Stop()
}

func decodeMessage(m jetstream.Msg) concord.Spooled {
	meta, err := m.Metadata()
	if err != nil {
		return concord.Spooled{Err: fmt.Errorf("a spooled message has no sequence: %w", err)}
	}
	batch, err := decode(m.Data())
	if err != nil {
		return concord.Spooled{Seq: meta.Sequence.Stream, Err: fmt.Errorf("spooled message %d: %w", meta.Sequence.Stream, err), Raw: m.Data()}
	}
	if h := m.Headers(); h != nil {
		batch.Trace = h.Get(traceHeader)
	}
	return concord.Spooled{Batch: batch, Seq: meta.Sequence.Stream}
}
