package pglog_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/internal/pglog"
)

// BenchmarkAnalyze reads the real logs in bench/doctor, repeated to 256 MB, from memory.
func BenchmarkAnalyze(b *testing.B) {
	for _, name := range []string{"devm.log", "devt.log", "devm.csv", "devm.json"} {
		b.Run(name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), name)
			size := repeatLog(b, filepath.Join("../../bench/doctor/testdata", name+".zst"), path, 256<<20)
			b.SetBytes(size)
			for b.Loop() {
				_, err := pglog.Analyze(context.Background(), []pglog.Input{{Path: path, Name: name}}, pglog.Options{})
				require.NoError(b, err)
			}
		})
	}
}

// repeatLog unpacks a log and writes it again and again until it has the size.
func repeatLog(tb testing.TB, from, to string, size int64) int64 {
	tb.Helper()
	packed, err := os.ReadFile(from)
	require.NoError(tb, err)
	z, err := zstd.NewReader(nil)
	require.NoError(tb, err)
	defer z.Close()
	text, err := z.DecodeAll(packed, nil)
	require.NoError(tb, err)
	f, err := os.Create(to)
	require.NoError(tb, err)
	var n int64
	for n < size {
		_, err := f.Write(text)
		require.NoError(tb, err)
		n += int64(len(text))
	}
	require.NoError(tb, f.Close())
	return n
}

// BenchmarkSmall reads a small log: what is left is the cost of finding out the format.
func BenchmarkSmall(b *testing.B) {
	for b.Loop() {
		_, err := pglog.Analyze(context.Background(), []pglog.Input{{Path: "testdata/labelled/pg_savepoint.log", Name: "x"}}, pglog.Options{})
		require.NoError(b, err)
	}
}
