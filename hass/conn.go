package hass

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// Conn is one connection to a home, given to Options.OnConnect.
type Conn struct {
	client  *Client
	ws      *websocket.Conn
	version string
	number  int64
	queue   *frameQueue
	lastIn  atomic.Int64 // Unix ns of the last byte
	seq     int64        // of the last message; reader only

	ctx   context.Context // ends with the connection
	end   context.CancelCauseFunc
	owned sync.WaitGroup

	writing sync.Mutex // ids go out in order
	id      int64

	mu       sync.Mutex
	waiting  map[int64]chan answer // nil once the connection has ended
	active   map[int64]*activeSub
	restored map[*Subscription]bool // subscriptions that were sent
	stopped  bool
}

type answer struct {
	message
	err error
}

type activeSub struct {
	*Subscription
	begun bool
	last  int // index of its last event in the frame being delivered
}

// Number is the connection's number, as in Position.Connection.
func (c *Conn) Number() int64 { return c.number }

// Queued is how much is received and not yet handled, and how old the oldest of it is,
// as in Status.
func (c *Conn) Queued() (bytes int, behind time.Duration) {
	bytes, behind, _ = c.queue.lag()
	return bytes, behind
}

// HAVersion is the version that the home said it has.
func (c *Conn) HAVersion() string { return c.version }

// dial connects and authenticates.
func dial(ctx context.Context, client *Client) (*Conn, error) {
	o := &client.opts
	dialCtx, cancel := context.WithTimeout(ctx, o.DialTimeout)
	defer cancel()
	ws, resp, err := websocket.Dial(dialCtx, o.URL, &websocket.DialOptions{HTTPClient: o.HTTPClient})
	if err != nil {
		if resp != nil && resp.StatusCode != 101 {
			return nil, explained{fmt.Sprintf("no WebSocket at the home's URL (HTTP status %d)", resp.StatusCode), err}
		}
		return nil, explain(err, o.ReadLimit)
	}
	ws.SetReadLimit(o.ReadLimit)
	version, err := authenticate(dialCtx, ws, o.Token)
	if err != nil {
		ws.CloseNow()
		return nil, explain(err, o.ReadLimit)
	}
	return newConn(client, ws, version), nil
}

func newConn(client *Client, ws *websocket.Conn, version string) *Conn {
	c := &Conn{
		client: client, ws: ws, version: version,
		queue:   newFrameQueue(client.opts.QueueBytes),
		waiting: make(map[int64]chan answer),
		active:  make(map[int64]*activeSub), restored: make(map[*Subscription]bool),
	}
	c.ctx, c.end = context.WithCancelCause(context.Background())
	c.lastIn.Store(time.Now().UnixNano())
	client.mu.Lock()
	client.status.Connection++
	client.status.HAVersion = version
	c.number = client.status.Connection
	client.mu.Unlock()
	c.spawn(c.read)
	return c
}

// spawn runs f in a goroutine that stop waits for.
func (c *Conn) spawn(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopped {
		c.owned.Go(f)
	}
}

// authenticate runs the phase before the first command.
func authenticate(ctx context.Context, ws *websocket.Conn, token string) (version string, err error) {
	type hello struct {
		Type    string `json:"type"`
		Version string `json:"ha_version"`
	}
	read := func() (h hello, err error) {
		kind, data, err := ws.Read(ctx)
		if err != nil {
			return h, err
		}
		if kind != websocket.MessageText || json.Unmarshal(data, &h) != nil {
			return h, ErrProtocol
		}
		return h, nil
	}
	h, err := read()
	if err != nil {
		return "", err
	}
	if h.Type != "auth_required" {
		return "", ErrProtocol
	}
	auth, err := json.Marshal(map[string]string{"type": "auth", "access_token": token})
	if err != nil {
		return "", err
	}
	if err := ws.Write(ctx, websocket.MessageText, auth); err != nil {
		return "", err
	}
	switch h, err = read(); {
	case err != nil:
		return "", err
	case h.Type == "auth_invalid":
		return "", ErrAuthInvalid
	case h.Type != "auth_ok":
		return "", ErrProtocol
	}
	return h.Version, nil
}

// prepare does what comes before the first event.
func (c *Conn) prepare(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { c.end(ctx.Err()) })
	defer stop()
	c.spawn(c.heartbeat)
	callCtx, cancel := context.WithTimeout(c.ctx, c.client.opts.DialTimeout)
	defer cancel()
	features := map[string]any{"type": "supported_features", "features": map[string]int{"coalesce_messages": 1}}
	var refused *CommandError // by a version that does not know it: it sends one message a frame
	if _, err := c.Call(callCtx, features, nil); err != nil && !errors.As(err, &refused) {
		return fmt.Errorf("announce features: %w", err)
	}
	if c.client.opts.OnConnect == nil {
		return nil
	}
	if err := c.client.opts.OnConnect(c.ctx, c); err != nil {
		return fmt.Errorf("prepare connection: %w", err)
	}
	return nil
}

// serve delivers events until the connection has ended and all that it brought
// is handled. The error says why it ended.
func (c *Conn) serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { c.end(ctx.Err()) })
	defer stop()
	var spare []frame
	for {
		frames := c.queue.take(spare)
		if frames == nil {
			return c.cause(nil)
		}
		for i := range frames {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			c.queue.begin(frames[i])
			c.deliver(frames[i].messages)
			c.queue.done(frames[i])
			frames[i].messages = nil
		}
		spare = frames
	}
}

// cause is the reason why the connection ended, or err.
func (c *Conn) cause(err error) error {
	if cause := context.Cause(c.ctx); cause != nil {
		return cause
	}
	return err
}

// stop ends the connection and waits for its goroutines.
func (c *Conn) stop() {
	c.end(ErrConnectionLost)
	c.ws.CloseNow()
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.owned.Wait()
}

// read takes in frames until the connection ends.
func (c *Conn) read() {
	stop := context.AfterFunc(c.ctx, func() { c.queue.close(); c.ws.CloseNow() })
	defer stop()
	err := c.readFrames()
	c.end(explain(err, c.client.opts.ReadLimit))
	c.queue.close()
	c.failWaiting()
}

func (c *Conn) readFrames() error {
	var buf []byte
	for {
		kind, r, err := c.ws.Reader(context.Background()) // ended by CloseNow
		if err != nil {
			return err
		}
		if buf, err = c.readAll(r, buf[:0]); err != nil {
			return err
		}
		if kind != websocket.MessageText {
			return fmt.Errorf("%w: a binary frame", ErrProtocol)
		}
		data := buf
		if len(buf) > 1<<20 {
			buf = nil // handed on; a large frame is not worth a copy
		} else {
			data = append(make([]byte, 0, len(buf)), buf...)
		}
		messages, err := parseFrame(data, c.seq, nil)
		if err != nil {
			return err
		}
		c.seq += int64(len(messages))
		if !c.route(messages, len(data)) {
			return ErrConnectionLost
		}
	}
}

func (c *Conn) readAll(r io.Reader, buf []byte) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, make([]byte, max(4096, cap(buf)))...)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if n > 0 {
			c.lastIn.Store(time.Now().UnixNano())
		}
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}

// route queues the events, then hands answers to those who wait for them: an
// event that comes before an answer counts as queued when that is there.
func (c *Conn) route(messages []message, size int) bool {
	events := messages[:0]
	var answers []message
	for _, m := range messages {
		if m.kind == "event" {
			events = append(events, m)
		} else {
			answers = append(answers, m)
		}
	}
	if len(events) > 0 && !c.queue.push(frame{events, size, time.Now()}) {
		return false
	}
	for _, m := range answers {
		c.mu.Lock()
		ch := c.waiting[m.id]
		delete(c.waiting, m.id)
		c.mu.Unlock()
		if ch != nil {
			ch <- answer{message: m}
		}
	}
	return true
}

func (c *Conn) failWaiting() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, ch := range c.waiting {
		delete(c.waiting, id)
		ch <- answer{err: ErrConnectionLost}
	}
	c.waiting = nil
}

func (c *Conn) lastMessage() time.Time { return time.Unix(0, c.lastIn.Load()) }

// deliver calls the handlers for the events of one frame.
func (c *Conn) deliver(messages []message) {
	subs := make([]*activeSub, len(messages))
	c.mu.Lock()
	for i, m := range messages {
		if s := c.active[m.id]; s != nil {
			subs[i], s.last = s, i
		}
	}
	c.mu.Unlock()
	for i, s := range subs {
		if s == nil {
			continue // unsubscribed in the meantime
		}
		m := &messages[i]
		s.handler(Event{Position{c.number, m.seq}, m.payload, !s.begun, s.last == i})
		s.begun = true
	}
}

// send writes a command and returns its id. before is called with the id
// before anything is written.
func (c *Conn) send(cmd []byte, before func(id int64)) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.id++
	b := make([]byte, 0, len(cmd)+24)
	b = append(b, `{"id":`...)
	b = strconv.AppendInt(b, c.id, 10)
	b = append(append(b, ','), cmd...)
	before(c.id)
	ctx, cancel := context.WithTimeout(c.ctx, c.client.opts.WriteTimeout)
	defer cancel()
	if err := c.ws.Write(ctx, websocket.MessageText, b); err != nil {
		c.end(explain(err, c.client.opts.ReadLimit))
		return ErrConnectionLost
	}
	return nil
}

// start sends a command; its answer comes in the channel.
func (c *Conn) start(cmd []byte, onID func(id int64)) (chan answer, error) {
	ch := make(chan answer, 1)
	err := c.send(cmd, func(id int64) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.waiting == nil {
			ch <- answer{err: ErrConnectionLost}
			return
		}
		c.waiting[id] = ch
		if onID != nil {
			onID(id)
		}
	})
	return ch, err
}

// Call is Client.Call on this connection.
func (c *Conn) Call(ctx context.Context, cmd any, into any) (Position, error) {
	b, err := encodeCommand(cmd)
	if err != nil {
		return Position{}, err
	}
	ch, err := c.start(b, nil)
	if err != nil {
		return Position{}, err
	}
	select {
	case a := <-ch:
		return c.result(a, into)
	case <-ctx.Done():
		return Position{}, ctx.Err()
	}
}

func (c *Conn) result(a answer, into any) (Position, error) {
	if a.err != nil {
		return Position{}, a.err
	}
	at := Position{c.number, a.seq}
	if a.kind == "pong" {
		return at, nil
	}
	if !a.success {
		refused := &CommandError{Code: CodeUnknown, Message: "the home refused the command"}
		if json.Unmarshal(a.payload, refused) != nil {
			return at, ErrProtocol
		}
		return at, refused
	}
	return at, decodeResult(a.payload, into)
}
