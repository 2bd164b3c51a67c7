// Package ingest writes what homes said into the database.
//
// Each home has one writer: a goroutine that reads the home's batches from the
// spool in order and commits them. It is the only part of Concord that writes
// the rows of a home, so Concord never conflicts with itself; conflicts with
// others are absorbed by the retries of the store.
//
// What a batch needs is committed together with its sequence in the spool. A
// writer that is killed at any moment goes on behind the last commit: nothing
// is lost and nothing is applied twice. While the database is away the writer
// waits and tries again; the spool keeps what arrives.
package ingest

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/spans"
)

const (
	// maxRecords bounds the records of one transaction: long enough to be worth
	// an fsync, short enough to lose little to a conflict.
	maxRecords = 5_000
	// maxRaw is what the quarantine keeps of a message that cannot be read.
	maxRaw = 64 << 10
	// discardEvery is how often written messages are removed from the spool.
	discardEvery = 2 * time.Second

	firstWait   = 100 * time.Millisecond
	longestWait = 5 * time.Second
	// alertShare of failed records in a reconciliation is worth an alert.
	alertShare = 0.10
)

// Options of a [Writer]. Store, Spool and Home are required.
type Options struct {
	Home    int64
	Store   concord.Store
	Spool   concord.Spool
	Syncs   *Syncs // who waits for reconciliations; nil when nobody does
	Logger  *slog.Logger
	Metrics *Metrics // nil counts nothing
	Tracer  *spans.Tracer
	// OnLost is told that a spooled message could not be read. What it held is asked
	// of the home when it is connected to anew; may be nil.
	OnLost func(home int64)
	// OnSync is told of each finished reconciliation; may be nil.
	OnSync func(home int64, at time.Time)
}

// Writer writes one home's rows.
type Writer struct {
	Options
	log       *slog.Logger
	snapshot  *assembly
	committed uint64
	discarded uint64
	lastPurge time.Time
}

// New returns a writer; Run it.
func New(o Options) *Writer {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	if o.Syncs == nil {
		o.Syncs = NewSyncs()
	}
	return &Writer{Options: o, log: o.Logger.With("home", o.Home)}
}

// Run writes until ctx ends.
func (w *Writer) Run(ctx context.Context) {
	for ctx.Err() == nil {
		var reader concord.SpoolReader
		err := w.retry(ctx, "open the spool", func() (err error) {
			if w.committed, err = w.Store.SpoolPosition(ctx, w.Home); err != nil {
				return err
			}
			reader, err = w.Spool.Consume(ctx, w.Home, w.committed)
			return err
		})
		if err != nil {
			return
		}
		w.snapshot = nil
		w.consume(ctx, reader)
		reader.Close()
	}
}

func (w *Writer) consume(ctx context.Context, reader concord.SpoolReader) {
	for {
		wait, cancel := context.WithTimeout(ctx, discardEvery)
		batches, err := reader.Next(wait, maxRecords)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			w.log.Warn("the spool cannot be read, opening it again", "error", err)
			return
		}
		if w.write(ctx, batches) != nil {
			return
		}
		w.discard(ctx)
	}
}

// write commits batches in order; neighbouring events share a transaction. The
// error is that of ctx.
func (w *Writer) write(ctx context.Context, batches []concord.Spooled) error {
	var events []concord.Record
	var traces []string
	var seq uint64
	lost := false
	flush := func() error {
		if seq == 0 {
			return nil
		}
		ctx, span := w.Tracer.Follow(ctx, "write events", spans.Consumer, traces...)
		span.SetNumber("concord.records", len(events))
		err := w.writeEvents(ctx, events, seq)
		span.End(err, "not written")
		events, traces, seq = nil, nil, 0
		return err
	}
	for i := range batches {
		b := &batches[i]
		if b.Err != nil || b.Kind != concord.BatchEvents {
			lost = lost || b.Err != nil
			if err := errors.Join(flush(), w.writeOther(ctx, b)); err != nil {
				return err
			}
			continue
		}
		events, seq = append(events, b.Records...), b.Seq
		if b.Trace != "" {
			traces = append(traces, b.Trace)
		}
	}
	if lost && w.OnLost != nil {
		w.OnLost(w.Home)
	}
	return flush()
}

// writeOther takes what stands alone between events.
func (w *Writer) writeOther(ctx context.Context, b *concord.Spooled) error {
	if b.Err != nil {
		return w.loseMessage(ctx, b)
	}
	switch b.Kind {
	case concord.BatchSnapshot, concord.BatchNames:
		return w.addSnapshot(ctx, b)
	case concord.BatchStates:
		return w.commit(ctx, "write the states of a new connection", b.Seq, func() error {
			_, err := w.Store.WriteStates(ctx, w.Home, b.Records, b.Seq)
			return err
		})
	case concord.BatchOpened:
		return w.commit(ctx, "note a new connection", b.Seq, func() error { return w.Store.OpenConnection(ctx, w.Home, b.Seq) })
	}
	return w.commit(ctx, "pass over a message", b.Seq, func() error { return w.Store.SetSpoolPosition(ctx, w.Home, b.Seq) })
}

// commit runs fn until it moved the position to seq.
func (w *Writer) commit(ctx context.Context, action string, seq uint64, fn func() error) error {
	err := w.retry(ctx, action, fn)
	if err == nil {
		w.committed = seq
	}
	return err
}

func (w *Writer) writeEvents(ctx context.Context, events []concord.Record, seq uint64) error {
	if w.snapshot != nil {
		// Parts of a snapshot lie before these events and are not written yet. Moving
		// the position past them is safe: a snapshot that is lost half-way in a crash is
		// replaced by the one that every start takes.
		w.log.Debug("events between the parts of a snapshot")
	}
	begin := time.Now()
	var counts concord.EventCounts
	err := w.retry(ctx, "write events", func() (err error) {
		counts, err = w.Store.WriteEvents(ctx, w.Home, events, seq)
		return err
	})
	if err != nil {
		return err
	}
	w.committed = seq
	w.Metrics.observeEvents(counts, events, time.Since(begin))
	if counts.Failed > 0 {
		w.log.Warn("bad records put in quarantine", "records", counts.Failed)
	}
	return nil
}

func (w *Writer) loseMessage(ctx context.Context, b *concord.Spooled) error {
	w.log.Error("a spooled message cannot be read and is put in quarantine: what it held is asked of the home again", "sequence", b.Seq, "error", b.Err)
	return w.commit(ctx, "quarantine a message", b.Seq, func() error {
		return w.Store.LoseMessage(ctx, w.Home, concord.BadRecord{Reason: b.Err.Error(), Record: b.Raw[:min(len(b.Raw), maxRaw)]}, b.Seq)
	})
}

// discard removes written messages from the spool now and then. Failing is
// harmless: the position in the database says what is written.
func (w *Writer) discard(ctx context.Context) {
	if w.committed == w.discarded || time.Since(w.lastPurge) < discardEvery {
		return
	}
	w.lastPurge = time.Now()
	if err := w.Spool.Discard(ctx, w.Home, w.committed); err != nil {
		w.log.Warn("written messages stay in the spool for now", "error", err)
		return
	}
	w.discarded = w.committed
}

// retry runs fn until it succeeds or ctx ends. Only the first failure and each
// change of its code are logged as warnings: an hour's outage is one line.
func (w *Writer) retry(ctx context.Context, action string, fn func() error) error {
	wait := firstWait
	var last concord.Code
	for {
		err := fn()
		if err == nil {
			if last != "" {
				w.log.Info("writing again", "action", action)
			}
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if code := concord.ErrorCode(err); code != last {
			last = code
			w.log.Warn("writing waits", "action", action, "error", err)
		}
		w.Metrics.retries.Inc()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		wait = min(2*wait, longestWait)
	}
}
