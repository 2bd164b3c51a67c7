// Package hass speaks Home Assistant's WebSocket API.
//
// A [Client] keeps one connection to a home for ever: it authenticates,
// subscribes, notices silence, reconnects with backoff, and restores what was
// subscribed. A wrong token is a final error, [ErrAuthInvalid].
//
//	client, err := hass.NewClient(hass.Options{URL: "ws://home:8123", Token: token})
//	client.Subscribe("subscribe_entities", func(e hass.Event) { … })
//	err = client.Run(ctx) // until ctx ends, or the token is refused
//
// # Order
//
// One goroutine per connection calls the handlers, in the order in which the
// home sent the events. [Position] numbers the messages of a connection, the
// answers to commands too, so an answer can be placed among the events: events
// with a smaller Seq were sent before it. The home's own times say nothing about
// order, because its clock may step. On a new connection the first event of
// subscribe_entities is a full snapshot ([Event.First]): fold it with
// [Table.Snapshot], and nothing that was missed meanwhile stays wrong.
//
// # Back-pressure
//
// Handlers may take their time. Up to [Options.QueueBytes] wait for them; then
// the client stops reading, and [Options.OnSlow], the log and [Status] say so.
// When the home loses patience it cuts the connection, which is restored. So
// nothing is ever dropped in silence.
//
// # Compressed states
//
// [EntitiesEvent] decodes the events of subscribe_entities and [Table] folds
// them to full states. A record that cannot be read costs that record: it is in
// [EntitiesEvent.Invalid]. The functions Append… write the same form, for
// servers. Traps that they take care of: "lc" implies "lu"; a context given as
// text changes the context's id alone; times are rounded as Home Assistant
// rounds them, so they equal the ones in its other answers to the microsecond.
//
// What history answers ([HistoryDuringPeriod]) differs from what events said in
// two ways: there are no contexts, and attributes that an integration marks as
// not to be recorded are missing.
//
// # Serving
//
// Package server is the other half of the protocol, and package simhome a home
// that exists only in memory, for tests and demonstrations.
package hass
