package hass_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord/hass"
)

func at(us int64) time.Time { return time.UnixMicro(us).UTC() }

func fold(t *testing.T, table *hass.Table, raw string) (e hass.EntitiesEvent) {
	t.Helper()
	require.NoError(t, e.Decode([]byte(raw)))
	require.NoError(t, table.Apply(&e, nil))
	return e
}

func TestFoldRules(t *testing.T) {
	t.Parallel()
	var table hass.Table
	fold(t, &table, `{"a":{"light.x":{"s":"on","a":{"brightness":1,"name":"X","old":[1,{"a":"}"}]},"c":{"id":"A","parent_id":"P","user_id":"U"},"lc":1795344179.1,"lu":1795344180.25}}}`)
	require.Equal(t, hass.State{
		EntityID: "light.x", State: "on", Attributes: json.RawMessage(`{"brightness":1,"name":"X","old":[1,{"a":"}"}]}`),
		LastChanged: at(1795344179100000), LastUpdated: at(1795344180250000), Context: hass.Context{ID: "A", ParentID: "P", UserID: "U"},
	}, *table.Get("light.x"))

	fold(t, &table, `{"c":{"light.x":{"+":{"lu":1795344181.9999999,"c":"B","a":{"brightness":2,"new":"\"\u00e9"}},"-":{"a":["old"]}}}}`)
	s := table.Get("light.x")
	require.Equal(t, `{"brightness":2,"name":"X","new":"\"\u00e9"}`, string(s.Attributes))
	require.Equal(t, at(1795344182000000), s.LastUpdated, "rounded to microseconds")
	require.Equal(t, at(1795344179100000), s.LastChanged)
	require.Equal(t, hass.Context{ID: "B", ParentID: "P", UserID: "U"}, s.Context, "text changes the id alone")

	fold(t, &table, `{"c":{"light.x":{"+":{"s":"off","lc":1795344190,"c":{"parent_id":null,"id":"C"}}}}}`)
	s = table.Get("light.x")
	require.Equal(t, at(1795344190000000), s.LastUpdated, "lc implies lu")
	require.Equal(t, hass.Context{ID: "C", UserID: "U"}, s.Context)

	fold(t, &table, `{"r":["light.x"],"a":{"light.y":{"s":"off","a":{},"c":"D","lc":1.5}}}`)
	require.Nil(t, table.Get("light.x"))
	require.Equal(t, at(1500000), table.Get("light.y").LastUpdated)
}

func TestBadRecordCostsThatRecord(t *testing.T) {
	t.Parallel()
	const good = `"light.good":{"s":"on","a":{},"c":"A","lc":1.0}`
	for name, bad := range map[string]string{
		"NoState":          `{"a":{},"c":"A","lc":1}`,
		"NoTime":           `{"s":"on","a":{},"c":"A"}`,
		"ImpossibleTime":   `{"s":"on","a":{},"c":"A","lc":1e300}`,
		"TimeIsText":       `{"s":"on","a":{},"c":"A","lc":"now"}`,
		"StateIsNumber":    `{"s":7,"a":{},"c":"A","lc":1}`,
		"AttributesAreNot": `{"s":"on","a":[1],"c":"A","lc":1}`,
		"InvalidUTF8":      "{\"s\":\"\xff\",\"a\":{},\"c\":\"A\",\"lc\":1}",
		"RawNUL":           "{\"s\":\"\x00\",\"a\":{},\"c\":\"A\",\"lc\":1}",
		"BadEscape":        `{"s":"\q","a":{},"c":"A","lc":1}`,
		"BadNumber":        `{"s":"on","a":{"b":01},"c":"A","lc":1}`,
		"TooDeep":          `{"s":"on","a":{"b":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `},"c":"A","lc":1}`,
		"NotAnObject":      `null`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var e hass.EntitiesEvent
			require.NoError(t, e.Decode([]byte(`{"a":{"light.bad":`+bad+`,`+good+`}}`)))
			require.Len(t, e.Added, 1)
			require.Equal(t, "light.good", e.Added[0].EntityID)
			require.Len(t, e.Invalid, 1)
			require.Equal(t, "light.bad", e.Invalid[0].EntityID)
			require.LessOrEqual(t, len(e.Invalid[0].Raw), 4096)
		})
	}
}

func TestEscapedNULIsKept(t *testing.T) {
	t.Parallel()
	var e hass.EntitiesEvent
	require.NoError(t, e.Decode([]byte(`{"a":{"sensor.x":{"s":"a\u0000b","a":{"k":"\u0000"},"c":"A","lc":1}}}`)))
	require.Equal(t, "a\x00b", e.Added[0].State)
}

func TestUnknownEntityIsReported(t *testing.T) {
	t.Parallel()
	var table hass.Table
	fold(t, &table, `{"a":{"light.x":{"s":"on","a":{},"c":"A","lc":1}}}`)
	var e hass.EntitiesEvent
	require.NoError(t, e.Decode([]byte(`{"c":{"light.y":{"+":{"s":"on"}},"light.x":{"+":{"s":"off","lc":2}}}}`)))
	var unknown *hass.UnknownEntitiesError
	require.ErrorAs(t, table.Apply(&e, nil), &unknown)
	require.Equal(t, []string{"light.y"}, unknown.EntityIDs)
	require.Equal(t, "off", table.Get("light.x").State)
}

func TestSnapshotRemovesWhatIsGone(t *testing.T) {
	t.Parallel()
	var table hass.Table
	fold(t, &table, `{"a":{"light.x":{"s":"on","a":{},"c":"A","lc":1},"light.y":{"s":"on","a":{},"c":"A","lc":1},"light.z":{"s":"on","a":{},"c":"A","lc":1}}}`)
	var e hass.EntitiesEvent
	require.NoError(t, e.Decode([]byte(`{"a":{"light.x":{"s":"on","a":{},"c":"A","lc":1},"light.z":{"s":3}}}`)))
	var gone []string
	require.NoError(t, table.Snapshot(&e, func(old, new *hass.State) {
		if new == nil {
			gone = append(gone, old.EntityID)
		}
	}))
	require.Equal(t, []string{"light.y"}, gone)
	require.NotNil(t, table.Get("light.z"), "unreadable is not gone")
}

func TestDiffRoundTrip(t *testing.T) {
	t.Parallel()
	base := hass.State{EntityID: "light.x", State: "on", Attributes: json.RawMessage(`{"a":1,"b":"x","c":null}`), LastChanged: at(1000001), LastUpdated: at(2000002), Context: hass.Context{ID: "A"}}
	change := func(f func(*hass.State)) hass.State { s := base; f(&s); return s }
	for name, next := range map[string]hass.State{
		"Nothing": base,
		"State":   change(func(s *hass.State) { s.State, s.LastChanged, s.LastUpdated = "off\n\"", at(3000000), at(3000000) }),
		"AttributesOnly": change(func(s *hass.State) {
			s.Attributes, s.LastUpdated = json.RawMessage(`{"a":2,"b":"x","c":null}`), at(3000003)
		}),
		"AttributeGone":   change(func(s *hass.State) { s.Attributes, s.LastUpdated = json.RawMessage(`{"a":1,"c":null}`), at(3000003) }),
		"AttributeNew":    change(func(s *hass.State) { s.Attributes = json.RawMessage(`{"a":1,"b":"x","c":null,"é\"":{}}`) }),
		"AllGone":         change(func(s *hass.State) { s.Attributes = json.RawMessage(`{}`) }),
		"ContextParent":   change(func(s *hass.State) { s.Context = hass.Context{ID: "B", ParentID: "P"} }),
		"ContextUserOnly": change(func(s *hass.State) { s.Context.UserID = "U" }),
		"ClockBack":       change(func(s *hass.State) { s.LastChanged, s.LastUpdated = at(5), at(6) }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var table hass.Table
			first := base
			table.Put(&first)
			raw := hass.AppendDiff(nil, &base, &next)
			require.True(t, json.Valid(raw), string(raw))
			fold(t, &table, string(raw))
			require.Equal(t, next, *table.Get("light.x"), string(raw))
		})
	}
}
