package link

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/hass"
	"github.com/concord-home/concord/internal/spans"
)

const (
	// maxQueued bounds the records that wait while the spool takes none: at
	// 500 bytes each about 100 MB.
	maxQueued = 200_000
	// maxMessage bounds the records of one message, so that the writer's
	// transactions stay short.
	maxMessage = 5_000
	// maxTraces bounds the traces that one message names.
	maxTraces = 100

	firstPublishWait   = 50 * time.Millisecond
	longestPublishWait = 5 * time.Second
	drainTimeout       = 2 * time.Second
)

var (
	errConnectionGone = errors.New("the connection that the snapshot came from is gone")
	errStopped        = errors.New("the link is stopped")
	errOverflow       = errors.New("the spool takes no messages")
)

// queue hands what the home said to the spool, in order, on a goroutine of its
// own. While a message is being made safe on disk the next one gathers, so the
// busier the home the more records share one fsync.
type queue struct {
	home    int64
	spool   concord.Spool
	log     *slog.Logger
	metrics *Metrics
	tracer  *spans.Tracer
	current func() []concord.Record // the states that the home has now
	name    string                  // of this queue among all, the beginning of its batches' IDs

	most int // records that wait
	wake chan struct{}

	mu         sync.Mutex
	items      []item
	waiting    int   // records
	epoch      int64 // of the connection below; only the running goroutine sets these
	connection int64

	published int64 // batches; only the running goroutine uses it
}

// item is one step: a new connection, the names and the states at its beginning,
// records, or a snapshot.
type item struct {
	connection int64
	open       bool
	names      func() (names *concord.Batch, there bool) // waits for them; nil when the home does not tell
	states     func() []concord.Record
	records    []concord.Record
	snapshot   *concord.Batch
	traces     []string // traceparents of what brought it
	reply      func(seq uint64, err error)
}

func newQueue(home int64, spool concord.Spool, log *slog.Logger, m *Metrics, tracer *spans.Tracer, current func() []concord.Record) *queue {
	return &queue{home: home, spool: spool, log: log, metrics: m, tracer: tracer, current: current, most: maxQueued, name: rand.Text(), wake: make(chan struct{}, 1)}
}

func (q *queue) open(connection int64) { q.push(item{connection: connection, open: true}) }

// states passes on what the home has when a connection opens.
func (q *queue) states(connection int64, states []*concord.State) {
	all := records(states)
	q.push(item{connection: connection, states: func() []concord.Record { return all }})
}

func (q *queue) records(connection int64, records []concord.Record, trace string) {
	if len(records) > 0 {
		q.push(item{connection: connection, records: records, traces: traces(trace)})
	}
}

func traces(one string) []string {
	if one == "" {
		return nil
	}
	return []string{one}
}

// bad passes on a record that could not be read, for the quarantine: its
// attributes hold the record as it came, which no table takes.
func (q *queue) bad(connection int64, e hass.ItemError) {
	s := &concord.State{EntityID: e.EntityID, State: e.Err.Error(), Attributes: e.Raw}
	q.push(item{connection: connection, records: []concord.Record{{State: s}}})
}

func (q *queue) push(i item) {
	q.mu.Lock()
	if q.waiting+len(i.records) > q.most {
		q.overflow()
	}
	if i.snapshot != nil {
		q.dropOlderSnapshot(&i)
	}
	if n := len(q.items); n > 0 && i.records != nil && q.items[n-1].records != nil &&
		q.items[n-1].connection == i.connection && len(q.items[n-1].records)+len(i.records) <= maxMessage {
		q.items[n-1].records = append(q.items[n-1].records, i.records...)
		if len(q.items[n-1].traces) < maxTraces {
			q.items[n-1].traces = append(q.items[n-1].traces, i.traces...)
		}
	} else {
		q.items = append(q.items, i)
	}
	q.waiting += len(i.records)
	q.metrics.queued.Set(float64(q.waiting))
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// dropOlderSnapshot takes a waiting snapshot out: the new one says all that it
// says, and who waits for it is served by the new one.
func (q *queue) dropOlderSnapshot(newer *item) {
	for n, old := range q.items {
		if old.snapshot == nil || old.connection != newer.connection {
			continue
		}
		first, second := old.reply, newer.reply
		newer.reply = func(seq uint64, err error) {
			first(seq, err)
			second(seq, err)
		}
		q.items = append(q.items[:n:n], q.items[n+1:]...)
		return
	}
}

// overflow drops the waiting records, but not what says whose names are whose. As
// after a lost connection, the states of that moment follow and the home's own
// history is asked for the rest.
func (q *queue) overflow() {
	kept, names := q.items[:0], 0
	connection := q.connection
	for _, i := range q.items {
		connection = max(connection, i.connection)
		if i.snapshot != nil {
			i.reply(0, errOverflow)
		}
		i.records = slices.DeleteFunc(i.records, func(r concord.Record) bool { return r.RenamedFrom == "" })
		if i.open || i.names != nil || len(i.records) > 0 {
			kept, names = append(kept, i), names+len(i.records)
		}
	}
	q.metrics.dropped.Add(float64(q.waiting - names))
	q.log.Error("the spool takes no messages: waiting changes are dropped and will be asked of the home again", "records", q.waiting-names)
	q.items = append(kept, item{connection: connection, open: true}, item{connection: connection, states: q.current})
	q.waiting = names
}

func (q *queue) take() (item, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) == 0 {
		return item{}, false
	}
	i := q.items[0]
	q.items[0] = item{}
	q.items = q.items[1:]
	q.waiting -= len(i.records)
	q.metrics.queued.Set(float64(q.waiting))
	return i, true
}

// run publishes until ctx ends and then what waits, for drainTimeout at most:
// what was heard is made safe if the spool takes it.
func (q *queue) run(ctx context.Context) {
	defer q.refuseAll()
	publish, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(drainTimeout, cancel) })()
	for publish.Err() == nil {
		i, ok := q.take()
		if !ok {
			select {
			case <-ctx.Done():
				return
			case <-q.wake:
			}
			continue
		}
		seq, err := q.follow(publish, i)
		if i.reply != nil {
			i.reply(seq, err)
		}
	}
}

// follow handles a step within the traces of what brought it.
func (q *queue) follow(ctx context.Context, i item) (uint64, error) {
	ctx, span := q.tracer.Follow(ctx, "spool publish", spans.Producer, i.traces...)
	span.SetNumber("concord.records", len(i.records))
	seq, err := q.handle(ctx, i)
	span.End(err, "the spool did not take it")
	return seq, err
}

func (q *queue) refuseAll() {
	for i, ok := q.take(); ok; i, ok = q.take() {
		if i.reply != nil {
			i.reply(0, errStopped)
		}
	}
}

func (q *queue) handle(ctx context.Context, i item) (uint64, error) {
	switch {
	case i.open:
		seq, err := q.publish(ctx, &concord.Batch{Kind: concord.BatchOpened, HomeID: q.home})
		if err == nil {
			q.mu.Lock()
			q.epoch, q.connection = int64(seq), i.connection //nolint:gosec // sequences start at the clock in µs
			q.mu.Unlock()
		}
		return seq, err
	case i.connection != q.connection:
		return 0, errConnectionGone
	case i.names != nil:
		return q.handleNames(ctx, i)
	case i.states != nil:
		return q.publish(ctx, &concord.Batch{Kind: concord.BatchStates, HomeID: q.home, Epoch: q.epoch, Records: i.states()})
	case i.snapshot != nil:
		i.snapshot.Epoch = q.epoch
		return q.publish(ctx, i.snapshot)
	default:
		return q.publish(ctx, &concord.Batch{Kind: concord.BatchEvents, HomeID: q.home, Epoch: q.epoch, Records: i.records})
	}
}

// handleNames drops what was heard of a connection that ended before it said whose
// that is: it is missed, and asked of the next one.
func (q *queue) handleNames(ctx context.Context, i item) (uint64, error) {
	names, there := i.names()
	if !there {
		q.mu.Lock()
		q.connection = 0
		q.mu.Unlock()
		return 0, errConnectionGone
	}
	if names == nil {
		return 0, nil
	}
	names.Epoch = q.epoch
	return q.publish(ctx, names)
}

// publish tries until the spool takes the batch or ctx ends.
func (q *queue) publish(ctx context.Context, b *concord.Batch) (uint64, error) {
	wait := firstPublishWait
	b.Trace = q.tracer.Parent(ctx)
	q.published++
	b.ID = q.name + strconv.FormatInt(q.published, 36)
	for {
		begin := time.Now()
		seq, err := q.spool.Publish(ctx, b)
		if err == nil {
			q.metrics.publish.Observe(time.Since(begin).Seconds())
			q.metrics.published.Add(float64(len(b.Records)))
			return seq, nil
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		q.metrics.publishErrors.Inc()
		if concord.ErrorCode(err) == concord.CodeInvalid { // it never will
			q.metrics.dropped.Add(float64(len(b.Records)))
			q.log.Error("a message that no spool takes is dropped", "kind", b.Kind, "records", len(b.Records), "error", err)
			return 0, err
		}
		q.log.Warn("the spool does not take a message, trying again", "error", err, "wait", wait)
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(wait):
		}
		wait = min(2*wait, longestPublishWait)
	}
}
