package bus_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/bus"
)

// deaf stands before a server: once mute is set, the next answer of the server
// is lost, and the connection with it.
func deaf(t *testing.T, server string, mute *atomic.Bool) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	forward := func(to, from net.Conn, lose bool) {
		defer to.Close()
		defer from.Close()
		buffer := make([]byte, 64<<10)
		for {
			n, err := from.Read(buffer)
			if err != nil || lose && mute.CompareAndSwap(true, false) {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("tcp", server)
			if err != nil {
				c.Close()
				continue
			}
			go forward(s, c, false)
			go forward(c, s, true)
		}
	}()
	return "nats://" + l.Addr().String()
}

func TestPublishAgainAfterALostAnswer(t *testing.T) {
	t.Parallel()
	server, admin := external(t)
	var mute atomic.Bool
	b, err := bus.Open(t.Context(), bus.Options{URL: deaf(t, server[len("nats://"):], &mute)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })

	batch := &concord.Batch{Kind: concord.BatchEvents, HomeID: 1, Epoch: 5, ID: "a1", Records: []concord.Record{{State: state("a.a", 1)}}}
	mute.Store(true)
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = b.Publish(short, batch)
	require.Error(t, err)
	stream, err := admin.Stream(t.Context(), "CONCORD")
	require.NoError(t, err)
	first := stream.CachedInfo().State.LastSeq
	require.EqualValues(t, 1, stream.CachedInfo().State.Msgs, "the server has it, only its answer was lost")

	var seq uint64
	require.Eventually(t, func() bool {
		seq, err = b.Publish(t.Context(), batch)
		return err == nil
	}, 20*time.Second, 10*time.Millisecond)
	require.Equal(t, first, seq, "where it is")
	batch.ID = "a2"
	_, err = b.Publish(t.Context(), batch)
	require.NoError(t, err)
	depth, err := b.Depth(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 2, depth.Messages)
}
