package link

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/hass"
)

// syncRequests gathers the wishes for a reconciliation. Those that come while
// one is under way share the next: what has begun may have asked the home too
// early for them.
type syncRequests struct {
	mu      sync.Mutex
	waiting []syncRequest
	wake    chan struct{}
}

type syncRequest struct {
	cause         string
	endpoint      string
	correlationID string                      // of the request that asks
	trace         string                      // its traceparent
	reply         func(seq uint64, err error) // nil when nobody waits
}

func newSyncRequests() *syncRequests { return &syncRequests{wake: make(chan struct{}, 1)} }

func (r *syncRequests) ask(cause, endpoint string, reply func(uint64, error)) {
	r.add(syncRequest{cause: cause, endpoint: endpoint, reply: reply})
}

func (r *syncRequests) add(w syncRequest) {
	r.mu.Lock()
	r.waiting = append(r.waiting, w)
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *syncRequests) take() []syncRequest {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.waiting
	r.waiting = nil
	return taken
}

// Snapshot asks the home for everything and puts it into the spool. It returns
// the sequence of its last part, which is written once the writer has passed it.
// Calls that come together share one snapshot.
func (o *Owner) Snapshot(ctx context.Context, endpoint string) (uint64, error) {
	type result struct {
		seq uint64
		err error
	}
	done := make(chan result, 1)
	o.syncs.add(syncRequest{
		cause: "request", endpoint: endpoint, correlationID: concord.CorrelationID(ctx), trace: o.tracer.Parent(ctx),
		reply: func(seq uint64, err error) { done <- result{seq, err} },
	})
	select {
	case r := <-done:
		if r.err != nil {
			return 0, explain(r.err)
		}
		return r.seq, nil
	case <-ctx.Done():
		return 0, explain(ctx.Err())
	}
}

// reconcile serves the wishes, and has one of its own every period.
func (o *Owner) reconcile(ctx context.Context) {
	tick := time.NewTicker(o.period)
	defer tick.Stop()
	heard := time.NewTicker(time.Second)
	defer heard.Stop()
	for {
		select {
		case <-ctx.Done():
			for _, r := range o.syncs.take() {
				r.answer(0, errStopped)
			}
			return
		case <-heard.C:
			last := o.client.Status().LastMessage
			o.feed.UpdateStatus(o.home.ID, func(s *concord.HomeStatus) { s.LastMessage = later(s.LastMessage, last) })
			continue
		case <-tick.C:
			o.syncs.ask("periodic", "background_sync", nil)
			continue
		case <-o.syncs.wake:
		}
		o.serve(ctx, o.syncs.take())
	}
}

func (r syncRequest) answer(seq uint64, err error) {
	if r.reply != nil {
		r.reply(seq, err)
	}
}

func (o *Owner) serve(ctx context.Context, requests []syncRequest) {
	if len(requests) == 0 {
		return
	}
	wanted := requests[0]
	if i := slices.IndexFunc(requests, func(r syncRequest) bool { return r.reply != nil }); i >= 0 {
		wanted = requests[i] // a person waits: no pause, and the metrics name the endpoint
	} else if wanted.cause == "registry" {
		select {
		case <-ctx.Done():
		case <-time.After(registryQuiet):
		}
		requests = append(requests, o.syncs.take()...)
	}
	answer := func(seq uint64, err error) {
		for _, r := range requests {
			r.answer(seq, err)
		}
	}
	batch, registryAt, err := o.fetch(ctx, wanted)
	if err != nil {
		if ctx.Err() == nil {
			o.log.Warn("the home could not be read for a reconciliation", "cause", wanted.cause, "error", err)
			o.feed.UpdateStatus(o.home.ID, func(s *concord.HomeStatus) {
				if s.Link == concord.LinkConnecting && s.Error == "" {
					s.Error = concord.ErrorMessage(explain(err))
				}
			})
			time.AfterFunc(fetchAgain, func() { o.syncs.ask(wanted.cause, "background_sync", nil) })
		}
		answer(0, err)
		return
	}
	o.pushSnapshot(registryAt, item{connection: registryAt.Connection, snapshot: batch, reply: answer, traces: traces(wanted.trace)})
}

// fetch reads the registries, which are of the place that it returns, and the
// states. Right after connecting the states are those of the subscription's
// first event; otherwise the home is asked, so that a missed event is found.
func (o *Owner) fetch(ctx context.Context, r syncRequest) (*concord.Batch, hass.Position, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	parts, registryAt, err := fetchRegistry(ctx, o.client)
	if err != nil {
		return nil, registryAt, err
	}
	config, _, err := hass.GetConfig(ctx, o.client)
	if err != nil {
		return nil, registryAt, fmt.Errorf("read configuration: %w", err)
	}
	parts.KeepOrder = ordersItself(config.Version)
	info := &concord.SnapshotInfo{Cause: r.cause, Endpoint: r.endpoint, Registry: parts, CorrelationID: r.correlationID}
	batch := &concord.Batch{Kind: concord.BatchSnapshot, HomeID: o.home.ID, Snapshot: info}

	states, at, err := o.fetchStates(ctx, batch)
	if err != nil {
		return nil, registryAt, err
	}
	if at.Connection != registryAt.Connection {
		return nil, registryAt, errConnectionGone
	}
	info.Seq, info.RegistrySeq = at.Seq, registryAt.Seq
	o.feed.SetRegistry(o.home.ID, concord.NewRegistry(slices.Clone(parts.Floors), slices.Clone(parts.Areas),
		slices.Clone(parts.Devices), slices.Clone(parts.Entities), slices.Clone(parts.Labels), parts.KeepOrder))
	o.feed.UpdateStatus(o.home.ID, func(s *concord.HomeStatus) {
		if o.client.Status().State == hass.StateConnected {
			s.Link, s.Error = concord.LinkConnected, ""
		}
		if config.LocationName != "" {
			s.Name = config.LocationName
		}
	})
	if err := handled(ctx, o.queued); err != nil {
		return nil, registryAt, err
	}
	o.repair(states, at)
	return batch, registryAt, nil
}

// fetchStates gives a snapshot its states, which are of the place that it
// returns. Those that a home answered are returned, too.
func (o *Owner) fetchStates(ctx context.Context, batch *concord.Batch) ([]hass.State, hass.Position, error) {
	if batch.Snapshot.Cause == "connect" {
		states, at := o.table.all()
		batch.Records = records(states)
		return nil, at, nil
	}
	states, bad, at, err := hass.GetStates(ctx, o.client)
	if err != nil {
		return nil, at, fmt.Errorf("read states: %w", err)
	}
	for i := range bad {
		o.queue.bad(at.Connection, bad[i])
	}
	batch.Records = recordsOf(states, at)
	return states, at, nil
}

func (o *Owner) queued() (bytes int, behind time.Duration) {
	s := o.client.Status()
	return s.QueuedBytes, s.Behind
}

// handled waits until the events are handled that came before now.
func handled(ctx context.Context, queued func() (bytes int, behind time.Duration)) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for now := time.Now(); ; {
		bytes, behind := queued()
		if bytes == 0 || behind > 0 && behind < time.Since(now) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("handle what the home said before: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// repair corrects the live model where the home's answer differs from what the
// events before it, which are handled, added up to.
func (o *Owner) repair(states []hass.State, at hass.Position) {
	if states == nil {
		return
	}
	o.feeding.Lock()
	defer o.feeding.Unlock()
	u := o.table.repair(states, at)
	if len(u.changes) == 0 {
		return
	}
	o.metrics.drift.Add(float64(len(u.changes)))
	o.log.Warn("the events did not add up to the home's states, which were taken over", "entities", len(u.changes))
	o.feed.Apply(o.home.ID, u.changes)
}

func records(states []*concord.State) []concord.Record {
	r := make([]concord.Record, len(states))
	for i, s := range states {
		r[i].State = s
	}
	return r
}

// recordsOf gives states that get_states answered the place of that answer.
func recordsOf(states []hass.State, at hass.Position) []concord.Record {
	r := make([]concord.Record, len(states))
	for i := range states {
		r[i].State = convert(&states[i], at)
	}
	return r
}

// ordersItself tells homes that keep an order of floors and areas (since
// 2025.12) from those that show them by level and name.
func ordersItself(version string) bool {
	var year, month int
	if _, err := fmt.Sscanf(version, "%d.%d", &year, &month); err != nil {
		return false
	}
	return year > 2025 || year == 2025 && month >= 12
}

// fetchRegistry returns the place at which the entities were read, too.
func fetchRegistry(ctx context.Context, c hass.Caller) (*concord.RegistryParts, hass.Position, error) {
	var at hass.Position
	areas, _, err := hass.Areas(ctx, c)
	if err != nil {
		return nil, at, fmt.Errorf("read areas: %w", err)
	}
	floors, _, err := hass.Floors(ctx, c)
	if err != nil {
		return nil, at, fmt.Errorf("read floors: %w", err)
	}
	devices, _, err := hass.Devices(ctx, c)
	if err != nil {
		return nil, at, fmt.Errorf("read devices: %w", err)
	}
	labels, _, err := hass.Labels(ctx, c)
	if err != nil {
		return nil, at, fmt.Errorf("read labels: %w", err)
	}
	entities, at, err := hass.Entities(ctx, c)
	if err != nil {
		return nil, at, fmt.Errorf("read entity registry: %w", err)
	}
	return convertRegistry(floors, areas, devices, entities, labels), at, nil
}

func convertRegistry(floors []hass.Floor, areas []hass.Area, devices []hass.Device, entities []hass.EntityEntry, labels []hass.Label) *concord.RegistryParts {
	p := &concord.RegistryParts{
		Floors: make([]concord.Floor, len(floors)), Areas: make([]concord.Area, len(areas)),
		Devices: make([]concord.Device, len(devices)), Entities: make([]concord.Entity, len(entities)),
		Labels: make([]concord.Label, len(labels)),
	}
	for i, f := range floors {
		p.Floors[i] = concord.Floor{ID: f.FloorID, Name: f.Name, Icon: f.Icon, Level: f.Level}
	}
	for i, a := range areas {
		p.Areas[i] = concord.Area{
			ID: a.AreaID, FloorID: a.FloorID, Name: a.Name, Icon: a.Icon, Picture: a.Picture, Labels: a.Labels,
			TemperatureEntityID: a.TemperatureEntityID, HumidityEntityID: a.HumidityEntityID,
		}
	}
	for i := range devices {
		p.Devices[i] = convertDevice(&devices[i])
	}
	for i := range entities {
		p.Entities[i] = convertEntity(&entities[i])
	}
	for i, l := range labels {
		p.Labels[i] = concord.Label{ID: l.LabelID, Name: l.Name, Icon: l.Icon, Color: l.Color}
	}
	return p
}

func convertDevice(d *hass.Device) concord.Device {
	device := concord.Device{
		ID: d.ID, AreaID: d.AreaID, Name: d.Name, NameByUser: d.NameByUser, Manufacturer: d.Manufacturer, Model: d.Model,
		SWVersion: d.SWVersion, ViaDeviceID: d.ViaDeviceID, EntryType: d.EntryType, DisabledBy: d.DisabledBy, Labels: d.Labels,
	}
	if len(d.ConfigEntries) > 0 {
		device.ConfigEntryID = d.ConfigEntries[0]
	}
	for _, pair := range d.Identifiers {
		if len(pair) >= 2 {
			device.Identifiers = append(device.Identifiers, [2]string{fmt.Sprint(pair[0]), fmt.Sprint(pair[1])})
		}
	}
	return device
}

func convertEntity(e *hass.EntityEntry) concord.Entity {
	entity := concord.Entity{
		EntityID: e.EntityID, RegistryID: e.ID, UniqueID: string(e.UniqueID), Platform: e.Platform, DeviceID: e.DeviceID,
		AreaID: e.AreaID, Name: e.Name, OriginalName: e.OriginalName, HasEntityName: e.HasEntityName, Icon: e.Icon,
		OriginalIcon: e.OriginalIcon, DeviceClass: e.DeviceClass, Category: e.EntityCategory, HiddenBy: e.HiddenBy,
		DisabledBy: e.DisabledBy, TranslationKey: e.TranslationKey, Labels: e.Labels, Precision: e.Precision(), Unit: e.Unit,
		Options: validOptions(e.Options),
	}
	if entity.DeviceClass == "" {
		entity.DeviceClass = e.OriginalDeviceClass
	}
	return entity
}

func validOptions(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 || strings.TrimSpace(string(raw)) == "null" {
		return nil
	}
	return raw
}
