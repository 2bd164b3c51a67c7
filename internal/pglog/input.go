package pglog

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// headSize is how much of an input is looked at before it is read.
const headSize = 1 << 20

// Input is one file, or standard input.
type Input struct {
	Path string // "-" is standard input
	Name string // how answers name it
	// Reader is read instead of the path when it is set.
	Reader io.Reader
	// Follow keeps reading a file that grows.
	Follow bool
}

// opened is an input ready to be read.
type opened struct {
	io.Reader
	head   []byte
	raw    *countingReader
	size   int64 // bytes on disk, 0 unknown
	packed bool
	closer func()
}

// countingReader counts the bytes as they stand on disk, for the progress bar,
// which another goroutine draws.
type countingReader struct {
	in io.Reader
	n  atomic.Int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func (in *Input) open() (*opened, error) {
	raw, size, closer, err := in.raw()
	if err != nil {
		return nil, err
	}
	o := &opened{raw: &countingReader{in: raw}, size: size, closer: closer}
	if err := o.decode(); err != nil {
		o.closer()
		return nil, fmt.Errorf("read %s: %w", in.Name, err)
	}
	return o, nil
}

func (in *Input) raw() (io.Reader, int64, func(), error) {
	if in.Reader != nil {
		return in.Reader, 0, func() {}, nil
	}
	if in.Path == "-" {
		return os.Stdin, 0, func() {}, nil
	}
	file, err := os.Open(in.Path)
	if err != nil {
		return nil, 0, nil, err
	}
	info, err := file.Stat()
	if err != nil || info.IsDir() {
		_ = file.Close()
		if err == nil {
			err = fmt.Errorf("%s is a directory", in.Path)
		}
		return nil, 0, nil, err
	}
	return file, info.Size(), func() { _ = file.Close() }, nil
}

// decode undoes compression and UTF-16, told by the first bytes, and reads the head.
func (o *opened) decode() error {
	buffered := bufio.NewReaderSize(o.raw, 64<<10)
	magic, _ := buffered.Peek(6)
	var in io.Reader = buffered
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return err
		}
		in = z
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(128<<20), zstd.WithDecoderLowmem(true))
		if err != nil {
			return err
		}
		closer := o.closer
		o.closer = func() { z.Close(); closer() }
		in = z
	case bytes.HasPrefix(magic, []byte("BZh")):
		in = bzip2.NewReader(buffered)
	}
	o.packed = in != io.Reader(buffered)
	return o.readHead(in)
}

func (o *opened) readHead(in io.Reader) error {
	head, err := readSome(in, headSize)
	if err != nil {
		return err
	}
	if utf16 := bytes.HasPrefix(head, []byte{0xff, 0xfe}) || bytes.HasPrefix(head, []byte{0xfe, 0xff}); utf16 {
		all := io.MultiReader(bytes.NewReader(head), in)
		in = transform.NewReader(all, unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewDecoder())
		if head, err = readSome(in, headSize); err != nil {
			return err
		}
	}
	head = bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))
	o.head = head
	o.Reader = io.MultiReader(bytes.NewReader(head), in)
	return nil
}

// readSome reads up to limit bytes; a broken end of a compressed file counts as its end.
func readSome(in io.Reader, limit int) ([]byte, error) {
	buf := make([]byte, 0, limit)
	for len(buf) < limit {
		n, err := in.Read(buf[len(buf):min(cap(buf), limit)])
		buf = buf[:len(buf)+n]
		if err == io.EOF || err == ErrIdle {
			return buf, nil
		}
		if err != nil {
			if len(buf) > 0 {
				return buf, nil
			}
			return nil, err
		}
	}
	return buf, nil
}
