package link

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/hass"
)

// rename is an entity that got another name at a place of the stream.
type rename struct {
	at       hass.Position
	from, to string
}

// readNames passes on which entity of the registry has which name, so that the
// states that come next are taken for the right ones': names may have changed
// hands while nobody listened. Of a home that does not tell, what its next
// snapshot says must do.
func (o *Owner) readNames(ctx context.Context, conn *hass.Conn) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	entries, at, err := hass.Entities(ctx, conn)
	if err != nil {
		o.log.Warn("the home does not tell the names of its entities", "error", err)
		return
	}
	o.names = at
	names := &concord.RegistryParts{Entities: make([]concord.Entity, len(entries))}
	for i, e := range entries {
		names.Entities[i] = concord.Entity{EntityID: e.EntityID, RegistryID: e.ID}
	}
	o.queue.push(item{connection: conn.Number(), names: &concord.Batch{
		Kind: concord.BatchNames, HomeID: o.home.ID, Snapshot: &concord.SnapshotInfo{Seq: at.Seq, RegistrySeq: at.Seq, Cause: "connect", Registry: names},
	}})
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
	known := e.Position.Connection == o.names.Connection && e.Position.Seq < o.names.Seq
	if from, to := event.Data.OldEntityID, event.Data.EntityID; from != "" && to != "" && from != to && !known {
		o.renamed(rename{e.Position, from, to})
	}
	o.syncs.ask("registry", "background_sync", nil)
}

func (o *Owner) renamed(r rename) {
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
	o.renames = slices.DeleteFunc(o.renames, func(r rename) bool {
		return r.at.Connection != registryAt.Connection || r.at.Seq < registryAt.Seq
	})
	snapshot.snapshot.Records = o.table.there(snapshot.snapshot.Records)
	entities := snapshot.snapshot.Snapshot.Registry.Entities
	for _, r := range o.renames {
		if i := slices.IndexFunc(entities, func(e concord.Entity) bool { return e.EntityID == r.from }); i >= 0 {
			entities[i].EntityID = r.to
		}
	}
	o.table.opened(registryAt.Connection)
	o.queue.push(snapshot)
}
