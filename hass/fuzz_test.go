package hass_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/hass"
)

func seeds(f *testing.F, names ...string) {
	for _, version := range versions {
		for _, name := range names {
			for i, m := range received(f, version, name) {
				if len(m.Event) > 0 && i < 40 {
					f.Add([]byte(m.Event))
				}
				if len(m.Result) > 0 && len(m.Result) < 1<<16 {
					f.Add([]byte(m.Result))
				}
			}
		}
	}
	for _, s := range []string{"", "{", "[", `{"a":{"x":{}}}`, `{"c":{"x":{"+":{"lc":-1e9}}}}`, `{"r":["\ud800"]}`, "{\"a\":{\"\\u0000\":null}}", `{"a":{"x":{"s":"","lc":1e999}}}`} {
		f.Add([]byte(s))
	}
}

// Whatever comes in, nothing panics, and what is taken is sound: attributes
// are JSON, and writing a state out and reading it again gives the same.
func FuzzEntitiesEvent(f *testing.F) {
	seeds(f, "subscribe_entities", "entity_renamed")
	f.Fuzz(func(t *testing.T, raw []byte) {
		var e hass.EntitiesEvent
		if e.Decode(raw) != nil {
			return
		}
		var table hass.Table
		_ = table.Apply(&e, func(old, s *hass.State) {
			if s == nil {
				return
			}
			require.True(t, json.Valid(s.Attributes), "%q", s.Attributes)
			if old != nil {
				require.True(t, json.Valid(hass.AppendDiff(nil, old, s)))
			}
			var back hass.EntitiesEvent
			require.NoError(t, back.Decode(hass.AppendAdded(nil, s)))
			require.Empty(t, back.Invalid)
			require.Equal(t, *s, back.Added[0])
		})
	})
}

func FuzzDecodeStates(f *testing.F) {
	seeds(f, "get_states", "history")
	f.Fuzz(func(_ *testing.T, raw []byte) {
		_, _, _ = hass.DecodeStates(raw)
		_, _ = hass.DecodeHistory(raw)
	})
}
