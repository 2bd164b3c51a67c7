package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/klauspost/compress/zstd"
)

// form is a way to write the logs.
type form struct {
	name  string
	from  string
	wrap  func(n int, line []byte) []byte
	zst   bool
	write func(path string, size int64) (int64, error)
}

var forms = func() []form {
	list := []form{
		{name: "stderr", from: "devm.log.zst"},
		{name: "csvlog", from: "devm.csv.zst"},
		{name: "jsonlog", from: "devm.json.zst"},
		{name: "docker", from: "devm.log.zst", wrap: wrapDocker},
		{name: "cri", from: "devm.log.zst", wrap: wrapCRI},
		{name: "zst", from: "devm.log.zst", zst: true},
	}
	for i := range list {
		list[i].write = list[i].repeat
	}
	return list
}()

func wrapDocker(n int, line []byte) []byte {
	text, err := json.Marshal(string(line) + "\n")
	if err != nil {
		return line
	}
	return fmt.Appendf(nil, `{"log":%s,"stream":"stderr","time":"2026-11-22T10:23:24.%09dZ"}`, text, n%1e9)
}

func wrapCRI(n int, line []byte) []byte {
	return fmt.Appendf(nil, "2026-11-22T10:23:24.%09dZ stderr F %s", n%1e9, line)
}

// repeat writes copies of the log until the size is reached; it gives the size before compression.
func (f *form) repeat(path string, size int64) (int64, error) {
	original, err := unpack(filepath.Join("bench", "doctor", "testdata", f.from))
	if err != nil {
		return 0, err
	}
	file, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }()
	var out io.WriteCloser = file
	if f.zst {
		if out, err = zstd.NewWriter(file, zstd.WithEncoderLevel(zstd.SpeedFastest)); err != nil {
			return 0, err
		}
	}
	buffered := bufio.NewWriterSize(out, 1<<20)
	var written int64
	for n := 0; written < size; n++ {
		text := f.wrapped(upTo(shift(original, n), size-written))
		if _, err := buffered.Write(text); err != nil {
			return 0, err
		}
		written += int64(len(text))
	}
	if err := buffered.Flush(); err != nil {
		return 0, err
	}
	if f.zst {
		err = out.Close()
	}
	return written, err
}

// upTo cuts a log behind the line that reaches the size.
func upTo(text []byte, size int64) []byte {
	if int64(len(text)) <= size {
		return text
	}
	end := bytes.IndexByte(text[size:], '\n')
	if end < 0 {
		return text
	}
	return text[:size+int64(end)+1]
}

func (f *form) wrapped(text []byte) []byte {
	if f.wrap == nil {
		return text
	}
	var out bytes.Buffer
	n := 0
	for line := range bytes.Lines(text) {
		n++
		out.Write(f.wrap(n, bytes.TrimSuffix(line, []byte("\n"))))
		out.WriteByte('\n')
	}
	return out.Bytes()
}

func unpack(path string) ([]byte, error) {
	packed, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	z, err := zstd.NewReader(nil)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	return z.DecodeAll(packed, nil)
}

// shift turns a copy into a log of its own, in place: the hour and day of its times move on, and so do the pids of stderr
// lines and the session ids of csvlog and jsonlog.
func shift(original []byte, n int) []byte {
	text := bytes.Clone(original)
	day := []byte("2026-11-22 10:")
	moved := fmt.Appendf(nil, "2026-11-%02d %02d:", min(22+(10+n)/24, 30), (10+n)%24)
	session := []byte("6b02c")
	id := fmt.Appendf(nil, "%04xc", 0x6b02+n)
	for at := 0; at < len(text); {
		end := bytes.IndexByte(text[at:], '\n')
		if end < 0 {
			end = len(text) - at - 1
		}
		line := text[at : at+end+1]
		replaceAll(line, day, moved)
		replaceAll(line, session, id)
		shiftPID(line, n)
		at += end + 1
	}
	return text
}

// replaceAll puts a text of the same length in the place of another.
func replaceAll(line, old, text []byte) {
	for at := 0; ; {
		i := bytes.Index(line[at:], old)
		if i < 0 {
			return
		}
		copy(line[at+i:], text)
		at += i + len(old)
	}
}

// pidAt is where the pid stands in "2026-11-22 10:23:24.168 UTC [4553] …".
const pidAt = 29

// shiftPID changes a pid to another with as many digits.
func shiftPID(line []byte, n int) {
	if len(line) < pidAt+8 || line[pidAt-1] != '[' {
		return
	}
	end := pidAt
	for line[end] >= '0' && line[end] <= '9' {
		end++
	}
	pid, err := strconv.Atoi(string(line[pidAt:end]))
	if err != nil {
		return
	}
	least := 1
	for range end - pidAt - 1 {
		least *= 10
	}
	strconv.AppendInt(line[pidAt:pidAt], int64(least+(pid-least+n*37)%(9*least)), 10)
}
