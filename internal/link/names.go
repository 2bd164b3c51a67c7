package link

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/hass"
)

// renaming is an entity that got another name at a place of the stream.
type renaming struct {
	at       hass.Position
	from, to string
}

// askNames has the queue, but nothing else, wait for which entry of the registry has
// which name, so that the states that come next are taken for the right ones': names
// may have changed hands while nobody listened. Of a home that does not tell, what its
// next snapshot says must do.
func (o *Owner) askNames(ctx context.Context, conn *hass.Conn) {
	o.feeding.Lock()
	o.naming = conn.Number()
	o.feeding.Unlock()
	read := make(chan *concord.Batch, 1)
	o.queue.push(item{connection: conn.Number(), names: func() (*concord.Batch, bool) { names, there := <-read; return names, there }})
	go func() {
		defer close(read)
		if names := o.readNames(ctx, conn); ctx.Err() == nil {
			read <- names
		}
	}()
}

// readNames returns the names from before the connection's first event, nil when the
// home does not tell.
func (o *Owner) readNames(ctx context.Context, conn *hass.Conn) *concord.Batch {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	entries, at, err := hass.Entities(ctx, conn)
	if err == nil {
		err = handled(ctx, conn.Queued)
	}
	o.feeding.Lock()
	defer o.feeding.Unlock()
	if o.naming == conn.Number() {
		o.naming = 0
	}
	if err != nil {
		o.log.Warn("the home does not tell the names of its entities", "error", err)
		return nil
	}
	names := &concord.RegistryParts{Entities: make([]concord.Entity, len(entries))}
	for i, e := range entries {
		names.Entities[i] = concord.Entity{EntityID: e.EntityID, RegistryID: e.ID}
	}
	for _, r := range slices.Backward(o.renames) {
		if r.at.Connection == at.Connection && r.at.Seq < at.Seq {
			rename(names.Entities, r.to, r.from)
		}
	}
	return &concord.Batch{Kind: concord.BatchNames, HomeID: o.home.ID, Snapshot: &concord.SnapshotInfo{Cause: "connect", Registry: names}}
}

// entryChanged takes an event of the entity registry. Renames keep their place
// among the changes of states; all else is read again.
func (o *Owner) entryChanged(e hass.Event) {
	var event struct {
		Data struct {
			EntityID    string `json:"entity_id"`
			OldEntityID string `json:"old_entity_id"`
		} `json:"data"`
	}
	if err := json.Unmarshal(e.Raw, &event); err != nil {
		o.metrics.undecodable.Inc()
		o.log.Warn("the home sent an event of its registry that cannot be read", "error", err)
	}
	if from, to := event.Data.OldEntityID, event.Data.EntityID; from != "" && to != "" && from != to {
		o.renamed(renaming{e.Position, from, to})
	}
	o.syncs.ask("registry", "background_sync", nil)
}

func (o *Owner) renamed(r renaming) {
	o.feeding.Lock()
	defer o.feeding.Unlock()
	o.renames = append(o.renames, r)
	state := &concord.State{EntityID: r.to, Position: position(r.at)}
	o.queue.records(r.at.Connection, []concord.Record{{State: state, RenamedFrom: r.from}}, "")
}

// pushSnapshot hands a snapshot to the queue. What was said since it was made lies
// before it there: its registry gets the names that were given, and its states lose
// what was removed.
func (o *Owner) pushSnapshot(registryAt hass.Position, snapshot item) {
	o.feeding.Lock()
	defer o.feeding.Unlock()
	o.renames = slices.DeleteFunc(o.renames, func(r renaming) bool {
		return r.at.Connection != registryAt.Connection || r.at.Seq < registryAt.Seq && o.naming != r.at.Connection
	})
	snapshot.snapshot.Records = o.table.there(snapshot.snapshot.Records)
	for _, r := range o.renames {
		if r.at.Seq > registryAt.Seq {
			rename(snapshot.snapshot.Snapshot.Registry.Entities, r.from, r.to)
		}
	}
	o.table.opened(registryAt.Connection)
	o.queue.push(snapshot)
}

func rename(entities []concord.Entity, from, to string) {
	if i := slices.IndexFunc(entities, func(e concord.Entity) bool { return e.EntityID == from }); i >= 0 {
		entities[i].EntityID = to
	}
}
