package pglog

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// chunkSize is the aim, so that a chunk stays in the processor's second cache from reading to parsing; a chunk ends at the
// last record that starts in it. A record that is longer makes it grow, up to hugeChunk.
const (
	chunkSize = 1 << 20
	hugeChunk = 2 << 20
)

// ErrIdle is what the reader of a growing file returns when nothing came for a while.
var ErrIdle = errors.New("nothing to read for now")

// chunker cuts a stream into chunks of whole records.
type chunker struct {
	in     io.Reader
	format *format
	rest   []byte // read, not yet handed out
	index  int
	eof    bool
	eager  bool // hand out what there is instead of waiting for a full chunk
	slow   bool // reading takes about as long as parsing
	idle   bool
	broken bool // a compressed input ended in the middle
	pool   *sync.Pool
}

// next gives the next chunk, nil at the end. The data belong to the caller until release.
func (c *chunker) next() (*chunk, error) {
	for {
		buf := c.buffer()
		filled, err := c.fill(buf)
		if err != nil {
			return nil, err
		}
		n := c.cut(filled)
		if n == 0 && c.eof {
			return nil, nil
		}
		if n == 0 {
			c.rest = append(c.rest[:0], filled...)
			continue
		}
		c.rest = append(c.rest[:0], filled[n:]...)
		out := &chunk{index: c.index, data: filled[:n], last: c.eof && n == len(filled)}
		c.index++
		return out, nil
	}
}

func (c *chunker) buffer() []byte {
	if b, ok := c.pool.Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return make([]byte, 0, chunkSize+chunkSize/8)
}

// release gives a chunk's memory back.
func (c *chunker) release(ch *chunk) {
	if cap(ch.data) <= 2*chunkSize {
		b := ch.data[:0]
		c.pool.Put(&b)
	}
}

// fill reads behind what was left over until the buffer is full or the input ends.
func (c *chunker) fill(buf []byte) ([]byte, error) {
	buf = append(buf, c.rest...)
	c.idle = false
	want := max(chunkSize, len(c.rest)+chunkSize/2)
	for !c.eof && len(buf) < want {
		if cap(buf)-len(buf) < 64<<10 {
			buf = append(buf, make([]byte, chunkSize/2)...)[:len(buf)]
		}
		n, err := c.in.Read(buf[len(buf):min(cap(buf), want)])
		buf = buf[:len(buf)+n]
		switch {
		case errors.Is(err, io.EOF):
			c.eof = true
		case err != nil && len(buf) > 0 && !errors.Is(err, ErrIdle) && brokenEnd(err):
			c.eof, c.broken = true, true
		case errors.Is(err, ErrIdle):
			c.idle = true
			return buf, nil
		case err != nil:
			return buf, err
		case c.eager && n > 0:
			return buf, nil
		}
	}
	return c.bound(buf)
}

// brokenEnd tells a compressed file that was cut off, as a rotation under way leaves it.
func brokenEnd(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, gzip.ErrChecksum) || errors.Is(err, zstd.ErrCRCMismatch)
}

// bound shortens a line that fills the whole buffer: its start is kept, the rest of it is read and dropped.
func (c *chunker) bound(buf []byte) ([]byte, error) {
	if c.eof || len(buf) < hugeChunk || bytes.IndexByte(buf, '\n') >= 0 {
		return buf, nil
	}
	kept := buf[:maxLine]
	scratch := make([]byte, 256<<10)
	for {
		n, err := c.in.Read(scratch)
		if i := bytes.IndexByte(scratch[:n], '\n'); i >= 0 {
			return append(kept, scratch[i:n]...), nil
		}
		if errors.Is(err, io.EOF) {
			c.eof = true
			return kept, nil
		}
		if err != nil && !errors.Is(err, ErrIdle) {
			return kept, err
		}
	}
}

// cut finds where the chunk ends.
func (c *chunker) cut(buf []byte) int {
	if c.eof {
		return len(buf)
	}
	last := bytes.LastIndexByte(buf, '\n') + 1
	if c.idle {
		return last
	}
	if c.format.csv && len(c.format.layers) == 0 {
		return cutCSV(buf, last)
	}
	tries := 0
	for end := last; end > 1 && tries < 20000; tries++ {
		start := bytes.LastIndexByte(buf[:end-1], '\n') + 1
		if start > 0 && c.format.startsRecord(buf[start:end-1]) {
			return start
		}
		end = start
	}
	if len(buf) >= hugeChunk {
		return last
	}
	return 0
}

// cutCSV finds the last line start that is outside quotes and looks like a record.
func cutCSV(buf []byte, last int) int {
	quotes := bytes.Count(buf[:last], []byte{'"'})
	for end := last; end > 1; {
		start := bytes.LastIndexByte(buf[:end-1], '\n') + 1
		quotes -= bytes.Count(buf[start:end], []byte{'"'})
		if start == 0 {
			break
		}
		if quotes%2 == 0 && csvStartAt(buf, start) {
			return start
		}
		end = start
	}
	return cutTornCSV(buf, last)
}

// cutTornCSV gives up on quotes: a torn record has turned inside and outside round.
func cutTornCSV(buf []byte, last int) int {
	for end := last; end > 1; {
		start := bytes.LastIndexByte(buf[:end-1], '\n') + 1
		if start > 0 && csvStartAt(buf, start) {
			return start
		}
		end = start
	}
	if len(buf) >= hugeChunk {
		return last
	}
	return 0
}
