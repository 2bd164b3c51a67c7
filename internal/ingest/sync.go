package ingest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/spans"
)

// assembly gathers the parts of a snapshot.
type assembly struct {
	concord.Snapshot
	cause string
	next  int // the part that comes next
}

// addSnapshot takes one part, and reconciles, or writes names, when it is the
// last. A snapshot whose beginning is missing is dropped: a fresh one follows
// each connection.
func (w *Writer) addSnapshot(ctx context.Context, b *concord.Spooled) error {
	info := b.Snapshot
	if info.Part == 0 {
		w.snapshot = &assembly{cause: info.Cause, Snapshot: concord.Snapshot{
			HomeID: w.Home, Position: concord.Position{Epoch: b.Epoch, Seq: info.Seq}, Endpoint: info.Endpoint,
			RegistryAt: concord.Position{Epoch: b.Epoch, Seq: info.RegistrySeq}, Registry: new(concord.RegistryParts),
		}}
	}
	s := w.snapshot
	if s == nil || info.Part != s.next || b.Epoch != s.Position.Epoch || info.Seq != s.Position.Seq {
		w.snapshot = nil
		return w.skip(ctx, b.Seq)
	}
	s.next++
	merge(s.Registry, info.Registry)
	s.States = append(s.States, b.Records...)
	if !info.Last {
		return nil
	}
	w.snapshot = nil
	if b.Kind == concord.BatchNames {
		return w.commit(ctx, "write the names of a new connection", b.Seq, func() error {
			return w.Store.WriteNames(ctx, w.Home, slices.Clone(s.Registry.Entities), s.RegistryAt, b.Seq)
		})
	}
	if info.CorrelationID != "" {
		ctx = concord.WithCorrelationID(ctx, info.CorrelationID)
	}
	ctx, span := w.Tracer.Follow(ctx, "reconcile", spans.Consumer, b.Trace)
	span.SetNumber("concord.records", len(s.States))
	err := w.reconcile(ctx, s, b.Seq)
	span.End(err, "not written")
	return err
}

func (w *Writer) skip(ctx context.Context, seq uint64) error {
	return w.commit(ctx, "skip an incomplete snapshot", seq, func() error { return w.Store.SetSpoolPosition(ctx, w.Home, seq) })
}

func merge(all, part *concord.RegistryParts) {
	if part == nil {
		return
	}
	all.Floors = append(all.Floors, part.Floors...)
	all.Areas = append(all.Areas, part.Areas...)
	all.Devices = append(all.Devices, part.Devices...)
	all.Entities = append(all.Entities, part.Entities...)
	all.Labels = append(all.Labels, part.Labels...)
	all.KeepOrder = all.KeepOrder || part.KeepOrder
}

var stages = []concord.Stage{concord.StageAreas, concord.StageEntities, concord.StageRelations}

// reconcile makes the rows equal to the snapshot, stage by stage. A stage that
// fails is tried again for ever; who waits for the reconciliation is told of
// the first failure.
func (w *Writer) reconcile(ctx context.Context, s *assembly, seq uint64) error {
	begin := time.Now()
	var done []concord.StageCounts
	for _, stage := range stages {
		var counts concord.StageCounts
		err := w.retry(ctx, "sync "+string(stage), func() (err error) {
			counts, err = w.Store.SyncStage(ctx, stage, &s.Snapshot)
			if err != nil {
				w.Syncs.finish(w.Home, seq, done, err)
			}
			return err
		})
		if err != nil {
			return err
		}
		done = append(done, counts)
		w.report(counts)
	}
	if err := w.retry(ctx, "finish a reconciliation", func() error { return w.Store.FinishSync(ctx, w.Home, seq) }); err != nil {
		return err
	}
	w.committed = seq
	w.Metrics.syncs.WithLabelValues(s.cause).Inc()
	w.Metrics.syncSeconds.Observe(time.Since(begin).Seconds())
	if w.OnSync != nil {
		w.OnSync(w.Home, time.Now())
	}
	w.Syncs.finish(w.Home, seq, done, nil)
	return nil
}

// report logs the stage's summary in the words that existing log watchers look
// for, and counts it.
func (w *Writer) report(c concord.StageCounts) {
	w.Metrics.observeStage(c)
	message := fmt.Sprintf("Batch update summary: %d created, %d updated, %d errors", c.Created, c.Updated, c.Failed)
	w.log.Info(message, "stage", c.Stage, "unchanged", c.Unchanged, "deleted", c.Deleted, "transactions", c.Attempts, "took", c.Took)
	if total := c.Total(); total > 0 && float64(c.Failed) > alertShare*float64(total) {
		w.log.Error("more than 10 % of the records of a stage failed", "stage", c.Stage, "failed", c.Failed, "total", total)
	}
}
