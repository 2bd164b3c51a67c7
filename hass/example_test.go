package hass_test

import (
	"context"
	"fmt"
	"net/http/httptest"

	"github.com/concord-home/concord/hass"
	"github.com/concord-home/concord/hass/simhome"
)

// A client that follows a home, switches a light and sees the change.
func Example() {
	home, err := simhome.New(simhome.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	address := httptest.NewServer(home)
	defer address.Close()
	defer home.Close()

	client, err := hass.NewClient(hass.Options{URL: address.URL, Token: home.Token()})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	var event hass.EntitiesEvent
	var table hass.Table
	client.Subscribe("subscribe_entities", func(e hass.Event) {
		if err := event.Decode(e.Raw); err != nil {
			fmt.Println(err)
			return
		}
		if e.First {
			_ = table.Snapshot(&event, nil) // a snapshot has no diffs, so no unknown entities
			fmt.Println("the blind is", table.Get("cover.living_room_blind").State)
			go hass.CallService(ctx, client, "cover", "close_cover", nil, map[string]string{"entity_id": "cover.living_room_blind"}, false)
			return
		}
		_ = table.Apply(&event, func(old, new *hass.State) {
			fmt.Println(new.EntityID, "went from", old.State, "to", new.State)
			cancel()
		})
	})
	fmt.Println(client.Run(ctx))
	// Output:
	// the blind is open
	// cover.living_room_blind went from open to closing
	// context canceled
}

func ExampleEntitiesEvent_Decode() {
	var event hass.EntitiesEvent
	var table hass.Table
	for _, raw := range []string{
		`{"a":{"light.x":{"s":"off","a":{"friendly_name":"X"},"c":"01HZ","lc":1795344171.97}}}`,
		`{"c":{"light.x":{"+":{"s":"on","lc":1795344172.5,"a":{"brightness":120}}}}}`,
		`{"a":{"light.y":{"s":7}}}`,
	} {
		if err := event.Decode([]byte(raw)); err != nil {
			fmt.Println(err)
		}
		for _, bad := range event.Invalid {
			fmt.Println(bad.Error())
		}
		if err := table.Apply(&event, nil); err != nil {
			fmt.Println(err)
		}
	}
	s := table.Get("light.x")
	fmt.Println(s.State, string(s.Attributes), s.LastUpdated.Format("15:04:05.000"))
	// Output:
	// entity "light.y": the state is not text
	// on {"friendly_name":"X","brightness":120} 10:42:52.500
}
