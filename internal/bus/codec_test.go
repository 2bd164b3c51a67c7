package bus

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
)

// FuzzDecode is in package bus because the codec is not exported.
func FuzzDecode(f *testing.F) {
	for _, m := range encode(&concord.Batch{Kind: concord.BatchEvents, HomeID: 1, Epoch: 2, Records: []concord.Record{{State: &concord.State{EntityID: "a.b"}}}}, 1000) {
		f.Add(m)
	}
	for _, m := range encode(&concord.Batch{Kind: concord.BatchSnapshot, HomeID: 1, Snapshot: &concord.SnapshotInfo{Registry: &concord.RegistryParts{}}}, 1000) {
		f.Add(m)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := decode(data)
		if err != nil {
			return
		}
		for _, m := range encode(&b, 1<<20) {
			_, err := decode(m)
			require.NoError(t, err)
		}
	})
}
