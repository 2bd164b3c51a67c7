package bus_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/bus"
)

// clusterNode has this program be a server of a cluster: JSON of a node.
const clusterNode = "CONCORD_TEST_CLUSTER_NODE"

type node struct {
	Name          string
	Client, Route int // ports
	Routes, Store string
}

func TestMain(m *testing.M) {
	if text := os.Getenv(clusterNode); text != "" {
		if err := runNode(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func runNode(text string) error {
	var n node
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		return err
	}
	s, err := server.NewServer(&server.Options{
		ServerName: n.Name, Host: "127.0.0.1", Port: n.Client, JetStream: true, StoreDir: n.Store, SyncAlways: true, NoSigs: true, NoLog: true,
		Cluster: server.ClusterOpts{Name: "concord", Host: "127.0.0.1", Port: n.Route}, Routes: server.RoutesFromStr(n.Routes),
	})
	if err != nil {
		return err
	}
	s.Start()
	s.WaitForShutdown()
	return nil
}

// cluster starts three servers, each a process of its own, by name.
func cluster(t *testing.T) (url string, nodes map[string]*exec.Cmd) {
	t.Helper()
	if testing.Short() {
		t.Skip("runs a cluster")
	}
	ports := freePorts(t, 6)
	var urls, routes []string
	for i := range 3 {
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", ports[i]))
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", ports[3+i]))
	}
	nodes = make(map[string]*exec.Cmd)
	for i := range 3 {
		n := node{Name: fmt.Sprint("n", i), Client: ports[i], Route: ports[3+i], Routes: strings.Join(routes, ","), Store: t.TempDir()}
		text, err := json.Marshal(n)
		require.NoError(t, err)
		cmd := exec.Command(os.Args[0])
		cmd.Env, cmd.Stderr = append(os.Environ(), clusterNode+"="+string(text)), os.Stderr
		require.NoError(t, cmd.Start())
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() }) //nolint:errcheck // it may be gone
		nodes[n.Name] = cmd
	}
	return strings.Join(urls, ","), nodes
}

func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port) //nolint:forcetypeassert // of TCP
	}
	return ports
}

// Nothing that was accepted is lost, or comes twice, when the server that leads
// the stream is killed.
func TestAServerOfTheClusterIsKilled(t *testing.T) {
	t.Parallel()
	url, nodes := cluster(t)
	var b *bus.Bus
	require.Eventually(t, func() bool {
		var err error
		b, err = bus.Open(t.Context(), bus.Options{URL: url})
		return err == nil
	}, 30*time.Second, 100*time.Millisecond)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	conn, err := nats.Connect(url)
	require.NoError(t, err)
	defer conn.Close()
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	stream, err := js.Stream(t.Context(), "CONCORD")
	require.NoError(t, err)
	require.Equal(t, 3, stream.CachedInfo().Config.Replicas)

	const changes = 120
	var accepted []int64
	for seq := int64(1); seq <= changes; seq++ {
		if seq == changes/3 {
			leader := stream.CachedInfo().Cluster.Leader
			require.NotNil(t, nodes[leader], leader)
			require.NoError(t, nodes[leader].Process.Kill())
		}
		batch := &concord.Batch{Kind: concord.BatchEvents, HomeID: 1, Epoch: 7, Records: []concord.Record{{State: state("light.a", seq)}}}
		require.Eventually(t, func() bool { _, err := b.Publish(t.Context(), batch); return err == nil }, 60*time.Second, 50*time.Millisecond)
		accepted = append(accepted, seq)
	}

	var r concord.SpoolReader
	require.Eventually(t, func() bool { // the servers may still choose who leads
		var err error
		r, err = b.Consume(t.Context(), 1, 0)
		return err == nil
	}, 60*time.Second, 50*time.Millisecond)
	defer r.Close()
	var got []int64
	for len(got) == 0 || got[len(got)-1] < changes {
		batches, err := r.Next(t.Context(), 100)
		require.NoError(t, err)
		for _, s := range batches {
			for _, record := range s.Records {
				got = append(got, record.State.Position.Seq)
			}
		}
	}
	require.Equal(t, accepted, got)
}

func TestTheSpoolTakesNoMoreWhenItsOldestWaitsTooLong(t *testing.T) {
	t.Parallel()
	b, err := bus.Open(t.Context(), bus.Options{Dir: t.TempDir(), MaxAge: 300 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	var last uint64
	publish := func() error {
		seq, err := b.Publish(t.Context(), &concord.Batch{Kind: concord.BatchOpened, HomeID: 1})
		last = max(last, seq)
		return err
	}
	_, err = b.Publish(t.Context(), &concord.Batch{Kind: concord.BatchOpened, HomeID: 2}) // which nobody reads any more
	require.NoError(t, err)
	require.NoError(t, publish())
	var filling bool
	require.Eventually(t, func() bool {
		d, err := b.Depth(t.Context())
		require.NoError(t, err)
		filling = filling || d.Filling()
		err = publish()
		return concord.ErrorCode(err) == concord.CodeUnavailable && strings.Contains(err.Error(), "SPOOL_MAX_AGE")
	}, 10*time.Second, 20*time.Millisecond)
	require.True(t, filling, "it says so before")
	require.False(t, b.Status().Up)

	require.NoError(t, b.Discard(t.Context(), 1, last))
	require.Eventually(t, func() bool { return publish() == nil }, 10*time.Second, 20*time.Millisecond)
	require.True(t, b.Status().Up)
}
