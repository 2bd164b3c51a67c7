package bus

import (
	"slices"

	"github.com/concord-home/concord"
)

// registryChunk is how many devices or entries travel in one part: at 1 kB
// each well below any server's limit on a message.
const registryChunk = 500

// split cuts a batch into parts whose messages stay below limit bytes.
func split(b *concord.Batch, limit int) []concord.Batch {
	var parts []concord.Batch
	if b.Snapshot != nil {
		parts = registryParts(b)
	}
	for _, records := range splitRecords(b.Records, limit) {
		part := *b
		part.Records = records
		if b.Snapshot != nil {
			part.Snapshot = describe(b.Snapshot, nil)
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		part := *b
		if b.Snapshot != nil {
			part.Snapshot = describe(b.Snapshot, nil)
		}
		parts = append(parts, part)
	}
	if last := parts[len(parts)-1].Snapshot; last != nil {
		last.Last = true
	}
	return parts
}

func splitRecords(records []concord.Record, limit int) [][]concord.Record {
	var chunks [][]concord.Record
	begin, size := 0, 0
	if slices.ContainsFunc(records, func(r concord.Record) bool { return sizeOf(r) > limit }) {
		records = cutOversized(records, limit)
	}
	for i, r := range records {
		n := sizeOf(r)
		if i > begin && size+n > limit {
			chunks = append(chunks, records[begin:i])
			begin, size = i, 0
		}
		size += n
	}
	if begin < len(records) {
		chunks = append(chunks, records[begin:])
	}
	return chunks
}

func sizeOf(r concord.Record) int {
	s := r.State
	return recordOverhead + len(r.RenamedFrom) + len(s.EntityID) + len(s.State) + len(s.Attributes) + len(s.Context.ID) + len(s.Context.ParentID) + len(s.Context.UserID)
}

// cutTo is what remains of each text of a record that no message can hold.
const cutTo = 1024

// cutOversized returns records with the beginning of those that are larger than
// a message. The spool would refuse such a record for ever, and all that follows
// it; what is left of it is nothing that a table takes, so it goes to quarantine.
func cutOversized(records []concord.Record, limit int) []concord.Record {
	records = slices.Clone(records)
	for i, r := range records {
		if sizeOf(r) <= limit {
			continue
		}
		s := *r.State
		s.EntityID, s.State = s.EntityID[:min(len(s.EntityID), cutTo)], s.State[:min(len(s.State), cutTo)]
		s.Attributes, s.Context = s.Attributes[:min(len(s.Attributes), cutTo)], concord.EventContext{}
		records[i].State, records[i].RenamedFrom = &s, r.RenamedFrom[:min(len(r.RenamedFrom), cutTo)]
	}
	return records
}

func registryParts(b *concord.Batch) []concord.Batch {
	all := b.Snapshot.Registry
	if all == nil {
		return nil
	}
	part := func(r *concord.RegistryParts) concord.Batch {
		p := concord.Batch{Kind: b.Kind, HomeID: b.HomeID, Epoch: b.Epoch}
		r.KeepOrder = all.KeepOrder
		p.Snapshot = describe(b.Snapshot, r)
		return p
	}
	parts := []concord.Batch{part(&concord.RegistryParts{Floors: all.Floors, Areas: all.Areas, Labels: all.Labels})}
	for rest := all.Devices; len(rest) > 0; {
		n := min(len(rest), registryChunk)
		parts = append(parts, part(&concord.RegistryParts{Devices: rest[:n]}))
		rest = rest[n:]
	}
	for rest := all.Entities; len(rest) > 0; {
		n := min(len(rest), registryChunk)
		parts = append(parts, part(&concord.RegistryParts{Entities: rest[:n]}))
		rest = rest[n:]
	}
	return parts
}

func describe(s *concord.SnapshotInfo, r *concord.RegistryParts) *concord.SnapshotInfo {
	d := *s
	d.Registry, d.Last = r, false
	return &d
}
