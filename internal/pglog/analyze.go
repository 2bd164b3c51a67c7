package pglog

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
)

// Options say what to read and how. The zero value reads everything.
type Options struct {
	Prefix  string // log_line_prefix; empty: it is guessed
	Since   time.Time
	Until   time.Time
	Workers int // 0: one per processor
	// Progress is called now and then with the bytes read and, where known, the bytes to read.
	Progress func(read, total int64)
	// Cascade is called for every 25P02, in no promised order. An error ends the analysis.
	Cascade func(Cascade) error
	// careful reads every line in full; the answer is the same.
	careful bool
	// Update is called after each chunk while a file is followed. The result is valid during the call only.
	Update func(*Result)
}

// ErrNothingRead is returned when no input could be read.
var ErrNothingRead = errors.New("no input could be read")

// Analyze reads the inputs and pairs. An input that cannot be read is noted in the result; only when none can, or when the
// context ends, an error is returned, and then with what was read until then.
func Analyze(ctx context.Context, inputs []Input, o Options) (*Result, error) {
	e := newEngine(o)
	var prefix *Prefix
	if o.Prefix != "" {
		var err error
		if prefix, err = CompilePrefix(o.Prefix); err != nil {
			return nil, err
		}
	}
	order, err := arrange(inputs, prefix)
	if err != nil {
		return nil, err
	}
	e.prepare(order)
	read := 0
	total := totalSize(order)
	var done int64
	for _, a := range order {
		e.result.Files = append(e.result.Files, FileInfo{Name: a.Name})
		info := &e.result.Files[len(e.result.Files)-1]
		if a.err == nil {
			a.err = e.readInput(ctx, a, prefix, info, func(n int64) { e.progress(done+n, total) })
		}
		if ctx.Err() != nil && !a.Follow {
			return e.finish(), ctx.Err()
		}
		if e.failed != nil {
			return nil, e.failed
		}
		if info.Err = a.err; a.err == nil {
			read++
		}
		done += a.size
	}
	if read == 0 {
		return e.finish(), fmt.Errorf("%w: %w", ErrNothingRead, firstError(order))
	}
	return e.finish(), nil
}

func firstError(order []*arranged) error {
	for _, a := range order {
		if a.err != nil {
			return a.err
		}
	}
	return errors.New("no input was given")
}

func totalSize(order []*arranged) int64 {
	var n int64
	for _, a := range order {
		if a.size == 0 {
			return 0
		}
		n += a.size
	}
	return n
}

func (e *engine) progress(read, total int64) {
	if e.options.Progress != nil {
		e.options.Progress(read, total)
	}
}

// prepare looks whether both programs' logs are among the inputs.
func (e *engine) prepare(order []*arranged) {
	for _, a := range order {
		if a.format != nil {
			e.result.HasOdoo = e.result.HasOdoo || a.format.odoo
			e.result.HasServer = e.result.HasServer || a.format.server
		}
	}
	if e.result.HasOdoo && e.result.HasServer {
		e.join = newJoiner()
	}
}

// readInput runs one input through the workers.
func (e *engine) readInput(ctx context.Context, a *arranged, prefix *Prefix, info *FileInfo, progress func(int64)) error {
	in, err := a.open()
	if err != nil {
		return err
	}
	defer in.closer()
	f := a.format
	if f == nil {
		f = sniff(in.head, prefix)
		a.format = f
		e.prepare([]*arranged{a})
	}
	describe(info, f)
	st := e.streams[a.group]
	if st == nil {
		st = newStream(hashBytes([]byte(a.group)), e.settleHeld)
		st.eager = a.Follow
		e.streams[a.group] = st
	}
	src := &source{name: a.Name, stream: st, format: f, info: info}
	ch := &chunker{in: in, format: f, pool: &chunkPool, eager: a.Follow, slow: in.packed}
	err = e.pump(ctx, ch, src, func() { progress(in.raw.n.Load()) })
	info.Broken = ch.broken
	return err
}

func describe(info *FileInfo, f *format) {
	for _, l := range f.layers {
		info.Carriers = append(info.Carriers, l.name)
	}
	for _, p := range f.prefixes {
		info.Prefixes = append(info.Prefixes, p.Text)
	}
	switch {
	case f.csv:
		info.Format = "csvlog"
	case len(f.prefixes) > 0 && f.odoo:
		info.Format = "stderr+odoo"
	case len(f.prefixes) > 0:
		info.Format = "stderr"
	case f.odoo:
		info.Format = "odoo"
	case f.server:
		info.Format = "jsonlog"
	default:
		info.Format = "unknown"
	}
}

var chunkPool sync.Pool

// pump reads chunks, has them parsed in parallel, and merges them in order. All goroutines have ended when it returns.
func (e *engine) pump(ctx context.Context, ch *chunker, src *source, progress func()) error {
	workers := e.options.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan *parsed, workers)
	var readErr error
	var group sync.WaitGroup
	next := (&sharedChunker{chunker: ch, err: &readErr}).next
	if ch.slow {
		next = readAhead(ctx, next)
	}
	for range workers {
		group.Go(func() {
			w := newWorker(src.format, e.options.careful)
			for c := next(ctx); c != nil; c = next(ctx) {
				results <- w.parse(c)
				ch.release(c)
			}
		})
	}
	go func() {
		group.Wait()
		close(results)
	}()
	e.collect(results, src, cancel, progress)
	return readErr
}

// collect merges results in the order of their chunks.
func (e *engine) collect(results <-chan *parsed, src *source, cancel func(), progress func()) {
	early := map[int]*parsed{}
	next := 0
	for p := range results {
		early[p.index] = p
		for early[next] != nil {
			e.merge(early[next], src)
			delete(early, next)
			next++
			progress()
			if e.options.Update != nil {
				e.options.Update(e.snapshot())
			}
		}
		if e.failed != nil {
			cancel()
		}
	}
}
