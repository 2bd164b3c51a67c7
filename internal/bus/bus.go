// Package bus keeps batches on disk in NATS JetStream, between the connection
// that heard them and the writer that commits them.
//
// One stream holds all homes, each under a subject of its own. A publish
// returns when the message is on disk: the embedded server runs with SyncAlways,
// which costs one fsync a message (docs/benchmarks.md has what each policy
// costs), so the publisher puts many changes into one message. When the stream
// is full, or its oldest message too old, publishing fails; nothing that was
// accepted is ever pushed out. What the writer has committed is purged.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/concord-home/concord"
)

const (
	streamName     = "CONCORD"
	subjectPrefix  = "concord.home."
	startTimeout   = 20 * time.Second
	requestTimeout = 5 * time.Second
)

// Options say which JetStream to use. One of URL and Dir is required.
type Options struct {
	URL      string // of a NATS server or cluster; "" starts one in this process
	Dir      string // store of the embedded server
	MaxBytes int64  // of the stream; 0 means a quarter of the free disk, 8 GiB at most
	// MaxAge is how long a home's message may wait before no more of it are taken; 0 is
	// any time.
	MaxAge time.Duration
	// Replicas of the stream in a cluster; 0 means 3, or 1 where URL is no cluster.
	Replicas int
	// SyncEvery is how long the embedded server may wait with what it took before it
	// is safe from a power failure; 0 means that each message is before it is
	// acknowledged. A crash of the process loses nothing either way.
	SyncEvery time.Duration
	// OnLost is told, once each time, that the stream was deleted with what was not
	// written, and made anew; may be nil.
	OnLost func()
	Logger *slog.Logger
}

// Bus is a connection to JetStream. Close it.
type Bus struct {
	log    *slog.Logger
	server *server.Server // nil when it is not ours
	conn   *nats.Conn
	js     jetstream.JetStream
	stream jetstream.Stream
	dir    string // of the embedded server

	options Options
	last    atomic.Uint64 // the last sequence that is known

	reviving sync.Mutex

	mu     sync.Mutex
	status concord.PartStatus
	oldest map[int64]oldest // of the homes that are heard here
}

// Open connects, starting the embedded server first when there is no URL, and
// makes sure that the stream exists.
func Open(ctx context.Context, o Options) (*Bus, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Bus{log: o.Logger, dir: o.Dir, options: o}
	if err := b.connect(o); err != nil {
		return nil, errors.Join(fmt.Errorf("open spool: %w", err), b.Close())
	}
	if _, err := b.ensureStream(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open spool: %w", err), b.Close())
	}
	b.setStatus(true, "")
	return b, nil
}

func (b *Bus) connect(o Options) error {
	options := []nats.Option{
		nats.Name("concord"), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(false),
		nats.ReconnectJitter(100*time.Millisecond, time.Second),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { b.setStatus(false, "the spool's server is not reachable") }),
		nats.ReconnectHandler(func(*nats.Conn) { b.setStatus(true, "") }),
	}
	if o.URL == "" {
		if err := b.startServer(o.Dir); err != nil {
			return err
		}
		options = append(options, nats.InProcessServer(b.server))
	}
	var err error
	if b.conn, err = nats.Connect(o.URL, options...); err != nil {
		if _, unreadable := errors.AsType[*url.Error](err); unreadable { // its message repeats the address, password and all
			return errors.New("the address cannot be read")
		}
		return err
	}
	b.js, err = jetstream.New(b.conn)
	return err
}

func (b *Bus) startServer(dir string) error {
	s, err := server.NewServer(&server.Options{
		ServerName: "concord", DontListen: true, JetStream: true, StoreDir: dir,
		SyncAlways: b.options.SyncEvery == 0, SyncInterval: b.options.SyncEvery, MaxPayload: 8 << 20, NoSigs: true, NoLog: true,
		JetStreamMaxStore: maxStore, JetStreamMaxMemory: maxMemory,
	})
	if err != nil {
		return err
	}
	b.server = s
	s.Start()
	if !s.ReadyForConnections(startTimeout) {
		return fmt.Errorf("the embedded JetStream in %s is not ready after %v", dir, startTimeout)
	}
	return nil
}

func (b *Bus) setStatus(up bool, reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.status.Up != up || b.status.Since.IsZero() {
		b.status = concord.PartStatus{Up: up, Since: time.Now(), Error: reason}
	}
}

// Status is how the spool is.
func (b *Bus) Status() concord.PartStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status
}

// Publish implements [concord.Spool].
func (b *Bus) Publish(ctx context.Context, batch *concord.Batch) (uint64, error) {
	if b.tooOld(ctx, batch.HomeID) {
		b.setStatus(false, tooOld)
		return 0, concord.Errorf(concord.CodeUnavailable, tooOld)
	}
	var seq uint64
	for part, payload := range encode(batch, int(b.conn.MaxPayload())-4096) {
		request, cancel := context.WithTimeout(ctx, requestTimeout)
		ack, err := b.js.PublishMsg(request, message(batch, part, payload))
		cancel()
		if errors.Is(err, nats.ErrMaxPayload) {
			return 0, &concord.Error{Code: concord.CodeInvalid, Message: "a message is larger than the spool takes", Err: err}
		}
		if err != nil {
			b.refused(ctx, err)
			return 0, &concord.Error{Code: concord.CodeUnavailable, Message: "the spool does not take messages", Err: err}
		}
		seq = ack.Sequence
		b.last.Store(max(b.last.Load(), seq)) // a repeated one was given its sequence before
	}
	b.setStatus(true, "")
	return seq, nil
}

// Discard implements [concord.Spool].
func (b *Bus) Discard(ctx context.Context, home int64, seq uint64) error {
	err := b.stream.Purge(ctx, jetstream.WithPurgeSubject(subject(home)), jetstream.WithPurgeSequence(seq+1))
	if err != nil {
		return fmt.Errorf("purge written messages: %w", err)
	}
	return nil
}

// Advance has every later message get a sequence above seq, which the database
// says to be written. A spool that is behind it is not the one that the
// database knows: without this its messages would be taken for written, and its
// epochs for old ones. What is in it is forgotten; the home is asked anew.
func (b *Bus) Advance(ctx context.Context, seq uint64) error {
	info, err := b.stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("compare the spool with the database: %w", err)
	}
	b.last.Store(max(seq, info.State.LastSeq))
	if info.State.LastSeq >= seq {
		return nil
	}
	b.log.Warn("this spool is older than what the database has, and begins behind it", "spool", info.State.LastSeq, "database", seq)
	if err := b.stream.Purge(ctx, jetstream.WithPurgeSequence(seq+1)); err != nil {
		return fmt.Errorf("begin the spool behind the database: %w", err)
	}
	return nil
}

// Close ends the connection, and the embedded server. It may be called twice.
func (b *Bus) Close() error {
	if b.conn != nil {
		b.conn.Close()
	}
	if b.server != nil {
		b.server.Shutdown()
		b.server.WaitForShutdown()
	}
	return nil
}

// traceHeader carries [concord.Batch.Trace] beside the message: what reads the
// spool without it, an earlier Concord too, passes over it.
const traceHeader = "traceparent"

// message is one part of a batch. The server keeps what has the same ID within
// two minutes once, and says where.
func message(b *concord.Batch, part int, payload []byte) *nats.Msg {
	m := nats.NewMsg(subject(b.HomeID))
	m.Data = payload
	if b.Trace != "" {
		m.Header[traceHeader] = []string{b.Trace}
	}
	if b.ID != "" {
		m.Header[jetstream.MsgIDHeader] = []string{b.ID + "." + strconv.Itoa(part)}
	}
	return m
}

func subject(home int64) string { return subjectPrefix + strconv.FormatInt(home, 10) }
