package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/web"
)

// differences lists where got lacks a key that want has, or has a value of
// another type there. Lists are compared by their first elements. null and false
// both mean "nothing", and stand for any type; attributes are the entity's own.
func differences(path string, want, got any) []string {
	if empty(want) || empty(got) || strings.HasSuffix(path, ".attributes") {
		return nil
	}
	switch w := want.(type) {
	case map[string]any:
		g, isObject := got.(map[string]any)
		if !isObject {
			return []string{fmt.Sprintf("%s: want an object, got %T", path, got)}
		}
		var list []string
		for k, v := range w {
			if _, has := g[k]; !has {
				list = append(list, path+"."+k+": missing")
				continue
			}
			list = append(list, differences(path+"."+k, v, g[k])...)
		}
		return list
	case []any:
		g, isList := got.([]any)
		if !isList {
			return []string{fmt.Sprintf("%s: want a list, got %T", path, got)}
		}
		if len(w) == 0 || len(g) == 0 {
			return nil
		}
		return differences(path+"[0]", w[0], g[0])
	}
	if fmt.Sprintf("%T", want) == fmt.Sprintf("%T", got) {
		return nil
	}
	return []string{fmt.Sprintf("%s: want %T, got %T (%v)", path, want, got, got)}
}

func empty(v any) bool { return v == nil || v == false }

// captured reads an answer of the original.
func captured(t *testing.T, name string) map[string]any {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "odoo", name+".json"))
	require.NoError(t, err)
	var c struct {
		Response map[string]any `json:"response"`
	}
	require.NoError(t, json.Unmarshal(raw, &c))
	return c.Response
}

func withAnswers(b *bundle, _ *web.Options) {
	b.link.callService = func(context.Context, int64, concord.ServiceCall) (json.RawMessage, error) {
		return json.RawMessage(`{"context":{"id":"c1","parent_id":null,"user_id":"u"}}`), nil
	}
	b.link.command = func(_ context.Context, _ int64, command json.RawMessage) (json.RawMessage, error) {
		var c struct{ Type, Endpoint string }
		_ = json.Unmarshal(command, &c)
		switch c.Type + c.Endpoint {
		case "supervisor/api/hardware/info":
			return json.RawMessage(`{"devices":[{"name":"ttyUSB0","dev_path":"/dev/ttyUSB0","subsystem":"tty"}],"drives":[]}`), nil
		case "supervisor/api/network/info":
			return json.RawMessage(`{"interfaces":[{"interface":"eth0","enabled":true,"connected":true,"ipv4":{"address":["192.0.2.5/24"]}}],"host_internet":true}`), nil
		case "network/url":
			return json.RawMessage(`{"internal":"http://homeassistant.local:8123","external":null,"cloud":null}`), nil
		case "search/related":
			return json.RawMessage(`{"area":["kitchen"],"device":["lamp"],"label":["favourite"],"automation":["automation.morning"]}`), nil
		}
		return nil, concord.Errorf(concord.CodeInvalid, "Unknown command.")
	}
}

// Every answer has at least the keys and types of the captured one.
func TestJSONRPCHasTheShapeOfTheOriginal(t *testing.T) {
	t.Parallel()
	b := setup(t, withAnswers)
	b.signIn(t)
	kitchen := concord.AreaKey("kitchen")
	for _, c := range []struct {
		file, route string
		params      map[string]any
	}{
		{"areas", "areas", map[string]any{}},
		{"areas_instance_1", "areas", map[string]any{"ha_instance_id": 1}},
		{"areas_bad_instance", "areas", map[string]any{"ha_instance_id": 999}},
		{"entities_by_area", "entities_by_area", map[string]any{"area_id": kitchen}},
		{"entities_by_area_bad", "entities_by_area", map[string]any{"area_id": "x"}},
		{"entities_by_area_missing", "entities_by_area", map[string]any{}},
		{"area_dashboard_data", "area_dashboard_data", map[string]any{"area_id": kitchen}},
		{"area_dashboard_data_unassigned", "area_dashboard_data", map[string]any{"area_id": "unassigned"}},
		{"area_dashboard_data_notfound", "area_dashboard_data", map[string]any{"area_id": 9999}},
		{"call_service", "call_service", map[string]any{"domain": "light", "service": "turn_on", "service_data": map[string]any{"entity_id": "light.ceiling"}}},
		{"call_service_no_entity", "call_service", map[string]any{"domain": "light", "service": "turn_on"}},
		{"get_instances", "get_instances", map[string]any{}},
		{"unknown_param", "get_instances", map[string]any{"bogus": 1}},
		{"switch_instance", "switch_instance", map[string]any{"instance_id": 1}},
		{"switch_instance_bad", "switch_instance", map[string]any{"instance_id": 77}},
		{"websocket_status", "websocket_status", map[string]any{}},
		{"hardware_info", "hardware_info", map[string]any{}},
		{"network_info", "network_info", map[string]any{}},
		{"ha_urls", "ha_urls", map[string]any{}},
		{"glances_devices", "glances_devices", map[string]any{}},
		{"glances_device_entities", "glances_device_entities", map[string]any{"device_id": "server"}},
		{"entity_related", "entity_related", map[string]any{"entity_id": "light.ceiling"}},
	} {
		t.Run(c.file, func(t *testing.T) {
			got := b.rpc(t, "/odoo_ha_addon/"+c.route, c.params)
			require.Empty(t, differences("", captured(t, c.file), got))
		})
	}
	t.Run("ErrorTexts", func(t *testing.T) {
		require.Equal(t, "HA instance with ID 999 not found or access denied", failure(t, b, "areas", map[string]any{"ha_instance_id": 999}))
		require.Equal(t, "Area not found (ID: 9999)", failure(t, b, "area_dashboard_data", map[string]any{"area_id": 9999}))
		require.Equal(t, "Invalid area_id: must be a numeric ID", failure(t, b, "entities_by_area", map[string]any{"area_id": "x"}))
		require.Equal(t, "Instance not found (ID: 77)", failure(t, b, "switch_instance", map[string]any{"instance_id": 77}))
		require.Equal(t, "entity_id is required in service_data", failure(t, b, "call_service", map[string]any{"domain": "a", "service": "b"}))
		require.Equal(t, "domain and service are required", failure(t, b, "call_service", map[string]any{}))
	})
}

func result(t *testing.T, b *bundle, route string, params map[string]any) map[string]any {
	t.Helper()
	r, isObject := b.rpc(t, "/odoo_ha_addon/"+route, params)["result"].(map[string]any)
	require.True(t, isObject)
	return r
}

func failure(t *testing.T, b *bundle, route string, params map[string]any) any {
	t.Helper()
	r := result(t, b, route, params)
	require.Equal(t, false, r["success"])
	return r["error"]
}

func TestAuthenticateHasTheShapeOfTheOriginal(t *testing.T) {
	t.Parallel()
	b := setup(t)
	got := b.rpc(t, "/web/session/authenticate", map[string]any{"db": "x", "login": "admin", "password": password})
	r := got["result"].(map[string]any)
	require.NotEmpty(t, r["session_id"])
	require.Equal(t, "x", r["db"])
	for key := range captured(t, "authenticate")["result"].(map[string]any) {
		require.Contains(t, r, key)
	}
	bad := b.rpc(t, "/web/session/authenticate", map[string]any{"db": "x", "login": "admin", "password": "nope"})
	want := captured(t, "authenticate_bad")
	require.Empty(t, differences("", want, bad))
	require.Equal(t, want["error"].(map[string]any)["data"].(map[string]any)["name"], bad["error"].(map[string]any)["data"].(map[string]any)["name"])
}

func TestNoSessionIsAnsweredAsInTheOriginal(t *testing.T) {
	t.Parallel()
	b := setup(t)
	got := b.rpc(t, "/odoo_ha_addon/get_instances", map[string]any{})
	want := captured(t, "no_session")
	require.Empty(t, differences("", want, got))
	require.Nil(t, got["id"])
	require.EqualValues(t, 100, got["error"].(map[string]any)["code"])
}

func TestAreas(t *testing.T) {
	t.Parallel()
	t.Run("CountsInheritedEntitiesAndHasBothShapes", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.signIn(t)
		r := result(t, b, "areas", nil)
		require.Equal(t, r["areas"], r["data"].(map[string]any)["areas"])
		var names []string
		counts := map[string]any{}
		for _, a := range r["areas"].([]any) {
			area := a.(map[string]any)
			names = append(names, area["name"].(string))
			counts[area["area_id"].(string)] = area["entity_count"]
		}
		require.Equal(t, []string{"Hall", "Kitchen", "Bath"}, names) // floor by level, then name
		require.Equal(t, map[string]any{"kitchen": 6.0, "hall": 1.0, "bath": 2.0}, counts)
	})
	t.Run("FollowsTheRegistry", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.signIn(t)
		require.Len(t, result(t, b, "areas", nil)["areas"], 3)
		b.live.setRegistry(concord.NewRegistry(nil, []concord.Area{{ID: "loft", Name: "Loft"}}, nil, nil, nil, false))
		require.Len(t, result(t, b, "areas", nil)["areas"], 1)
	})
	t.Run("SyncRunsFirst", func(t *testing.T) {
		t.Parallel()
		var asked []int64
		b := setup(t, func(_ *bundle, o *web.Options) {
			o.Reconciler = reconciler(func(_ context.Context, home int64) ([]concord.StageCounts, error) {
				asked = append(asked, home)
				return nil, nil
			})
		})
		b.signIn(t)
		require.Equal(t, true, result(t, b, "areas", map[string]any{"sync": true})["success"])
		require.Equal(t, []int64{1}, asked)
	})
	t.Run("ConflictThatOutlivesRetries", func(t *testing.T) {
		t.Parallel()
		b := setup(t, func(_ *bundle, o *web.Options) {
			o.Reconciler = reconciler(func(context.Context, int64) ([]concord.StageCounts, error) {
				return nil, fmt.Errorf("sync entities: %w", concord.Errorf(concord.CodeConflict, "conflict"))
			})
		})
		b.signIn(t)
		require.Equal(t, "Database conflict, please try again", failure(t, b, "areas", map[string]any{"sync": true}))
		_, text := b.do(t, "GET", "/metrics", "", nil)
		require.Contains(t, text, `concord_jsonrpc_calls_total{endpoint="get_areas",outcome="conflict"} 1`)
	})
	t.Run("UnforeseenFailureTellsNothing", func(t *testing.T) {
		t.Parallel()
		b := setup(t, func(_ *bundle, o *web.Options) {
			o.Reconciler = reconciler(func(context.Context, int64) ([]concord.StageCounts, error) {
				return nil, fmt.Errorf("dial 10.1.2.3: secret")
			})
		})
		b.signIn(t)
		r := result(t, b, "areas", map[string]any{"sync": true})
		require.Equal(t, "Unexpected error", r["error"])
		require.NotEmpty(t, r["correlation_id"])
	})
	t.Run("PanicCostsOneRequest", func(t *testing.T) {
		t.Parallel()
		b := setup(t, func(_ *bundle, o *web.Options) {
			o.Reconciler = reconciler(func(context.Context, int64) ([]concord.StageCounts, error) { panic("boom") })
		})
		b.signIn(t)
		body := `{"jsonrpc":"2.0","params":{"sync":true},"id":1}`
		resp, text := b.do(t, "POST", "/odoo_ha_addon/areas", body, map[string][]string{"Content-Type": {"application/json"}, "X-Request-Id": {"abc-1"}})
		require.Equal(t, 200, resp.StatusCode)
		require.JSONEq(t, `{"jsonrpc":"2.0","id":1,"result":{"success":false,"error":"Unexpected error","error_type":"system_error","correlation_id":"abc-1"}}`, text)
		require.Equal(t, true, result(t, b, "areas", nil)["success"])
		_, text = b.do(t, "GET", "/metrics", "", nil)
		require.Contains(t, text, "concord_http_panics_total 1")
	})
}

func TestDashboard(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signIn(t)
	data := result(t, b, "area_dashboard_data", map[string]any{"area_id": concord.AreaKey("kitchen")})["data"].(map[string]any)
	devices := data["devices"].([]any)
	require.Len(t, devices, 1)
	lamp := devices[0].(map[string]any)
	require.EqualValues(t, 3, lamp["entity_count"])
	i := slices.IndexFunc(lamp["entities"].([]any), func(e any) bool { return e.(map[string]any)["entity_id"] == "binary_sensor.door" })
	require.Equal(t, "Hall", lamp["entities"].([]any)[i].(map[string]any)["area_override"].(map[string]any)["area_name"])
	require.Len(t, data["standalone_entities"], 4)

	hall := result(t, b, "area_dashboard_data", map[string]any{"area_id": concord.AreaKey("hall")})["data"].(map[string]any)
	door := hall["standalone_entities"].([]any)[0].(map[string]any)
	require.Equal(t, "Lamp", door["source_device"].(map[string]any)["device_name"])
	require.Equal(t, "2026-11-22T12:00:00", door["last_changed"])

	none := result(t, b, "area_dashboard_data", map[string]any{"area_id": 0})["data"].(map[string]any)
	require.Len(t, none["devices"], 1)
	require.Len(t, none["standalone_entities"], 2) // an automation, and the sun, which has no entry
}

func TestCallServiceKeepsNumbersAsTheyAre(t *testing.T) {
	t.Parallel()
	var sent concord.ServiceCall
	b := setup(t, func(b *bundle, _ *web.Options) {
		b.link.callService = func(_ context.Context, _ int64, call concord.ServiceCall) (json.RawMessage, error) {
			sent = call
			return nil, nil
		}
	})
	b.signIn(t)
	const data = `{"entity_id":"script.notify","number":9007199254740993,"rate":0.1}`
	result(t, b, "call_service", map[string]any{"domain": "script", "service": "notify", "service_data": json.RawMessage(data)})
	require.Equal(t, data, string(sent.Data))
}

func TestCallServiceClampsNumbers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		value, want string
	}{
		{"above", `1000`, `20`}, {"below", `-3`, `5`}, {"between", `7.5`, `7.5`},
		{"text", `"1000"`, `20`}, {"no number", `"much"`, `"much"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var sent concord.ServiceCall
			b := setup(t, func(b *bundle, _ *web.Options) {
				b.link.callService = func(_ context.Context, _ int64, call concord.ServiceCall) (json.RawMessage, error) {
					sent = call
					return nil, nil
				}
			})
			b.signIn(t)
			result(t, b, "call_service", map[string]any{"domain": "number", "service": "set_value",
				"service_data": map[string]any{"entity_id": "number.limit", "value": json.RawMessage(c.value)}})
			require.JSONEq(t, `{"entity_id":"number.limit","value":`+c.want+`}`, string(sent.Data))
		})
	}
}
