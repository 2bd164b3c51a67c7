package bus

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/concord-home/concord"
)

// The form of a message, version 1: version, kind, home, epoch, length and JSON
// of the snapshot's description (length 0 for others), number of records, then
// the records. Numbers are varints, texts have their length first, times are µs
// since 1970. JSON would take three times the processor time.
const formatVersion = 1

const (
	flagRemoved = 1 << iota
	flagParent
	flagUser
	flagRenamed
)

// recordOverhead bounds what a record takes beside its texts.
const recordOverhead = 64

// encode turns a batch into messages of at most limit bytes each. A record that
// is larger is cut: see cutOversized.
func encode(b *concord.Batch, limit int) [][]byte {
	var messages [][]byte
	for i, part := range split(b, limit) {
		m := make([]byte, 0, 512)
		m = append(m, formatVersion, byte(b.Kind))
		m = binary.AppendUvarint(m, uint64(b.HomeID))
		m = binary.AppendUvarint(m, uint64(b.Epoch))
		if part.Snapshot != nil {
			part.Snapshot.Part = i
		}
		m = appendSnapshot(m, part.Snapshot)
		m = binary.AppendUvarint(m, uint64(len(part.Records)))
		for _, r := range part.Records {
			m = appendRecord(m, r)
		}
		messages = append(messages, m)
	}
	return messages
}

func appendSnapshot(m []byte, s *concord.SnapshotInfo) []byte {
	if s == nil {
		return append(m, 0)
	}
	description, err := json.Marshal(s)
	if err != nil { // plain structs and raw JSON that was parsed before
		panic(fmt.Sprintf("snapshot description: %v", err))
	}
	return appendBytes(m, description)
}

func appendRecord(m []byte, r concord.Record) []byte {
	s := r.State
	var flags byte
	if r.Removed {
		flags |= flagRemoved
	}
	if r.RenamedFrom != "" {
		flags |= flagRenamed
	}
	if s.Context.ParentID != "" {
		flags |= flagParent
	}
	if s.Context.UserID != "" {
		flags |= flagUser
	}
	m = append(m, flags)
	m = binary.AppendUvarint(m, uint64(s.Position.Seq))
	m = appendBytes(m, s.EntityID)
	if r.RenamedFrom != "" {
		return appendBytes(m, r.RenamedFrom)
	}
	if r.Removed {
		return m
	}
	m = appendBytes(m, s.State)
	m = appendBytes(m, s.Attributes)
	m = binary.AppendVarint(m, s.LastChanged.UnixMicro())
	m = binary.AppendVarint(m, s.LastUpdated.UnixMicro())
	m = appendBytes(m, s.Context.ID)
	if flags&flagParent != 0 {
		m = appendBytes(m, s.Context.ParentID)
	}
	if flags&flagUser != 0 {
		m = appendBytes(m, s.Context.UserID)
	}
	return m
}

func appendBytes[T ~string | ~[]byte](m []byte, v T) []byte {
	m = binary.AppendUvarint(m, uint64(len(v)))
	return append(m, v...)
}

// errTruncated is all that a reader of a damaged message needs to know.
var errTruncated = errors.New("the message ends too early")

// decode reads one message. It shares data with the result.
func decode(data []byte) (concord.Batch, error) {
	d := decoder{data: data}
	if v := d.byte(); v != formatVersion {
		return concord.Batch{}, fmt.Errorf("message format %d, this Concord reads %d", v, formatVersion)
	}
	b := concord.Batch{Kind: concord.BatchKind(d.byte()), HomeID: int64(d.uvarint()), Epoch: int64(d.uvarint())}
	if description := d.bytes(); len(description) > 0 {
		b.Snapshot = new(concord.SnapshotInfo)
		if err := json.Unmarshal(description, b.Snapshot); err != nil {
			return concord.Batch{}, fmt.Errorf("description of the snapshot: %w", err)
		}
	}
	n := d.uvarint()
	if n > uint64(len(d.data)) { // every record has more than one byte
		return concord.Batch{}, errTruncated
	}
	b.Records = make([]concord.Record, 0, n)
	states := make([]concord.State, n)
	for i := range states {
		r := d.record(&states[i])
		states[i].Position.Epoch = b.Epoch
		b.Records = append(b.Records, r)
	}
	if d.failed {
		return concord.Batch{}, errTruncated
	}
	return b, nil
}

type decoder struct {
	data   []byte
	failed bool
}

func (d *decoder) record(s *concord.State) concord.Record {
	flags := d.byte()
	s.Position.Seq = int64(d.uvarint())
	s.EntityID = string(d.bytes())
	switch {
	case flags&flagRenamed != 0:
		return concord.Record{State: s, RenamedFrom: string(d.bytes())}
	case flags&flagRemoved != 0:
		return concord.Record{State: s, Removed: true}
	}
	s.State = string(d.bytes())
	s.Attributes = d.bytes()
	s.LastChanged = time.UnixMicro(d.varint()).UTC()
	s.LastUpdated = time.UnixMicro(d.varint()).UTC()
	s.Context.ID = string(d.bytes())
	if flags&flagParent != 0 {
		s.Context.ParentID = string(d.bytes())
	}
	if flags&flagUser != 0 {
		s.Context.UserID = string(d.bytes())
	}
	return concord.Record{State: s}
}

func (d *decoder) byte() byte {
	if len(d.data) == 0 {
		d.failed = true
		return 0
	}
	v := d.data[0]
	d.data = d.data[1:]
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.data)
	if n <= 0 {
		d.failed, d.data = true, nil
		return 0
	}
	d.data = d.data[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.data)
	if n <= 0 {
		d.failed, d.data = true, nil
		return 0
	}
	d.data = d.data[n:]
	return v
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.data)) {
		d.failed, d.data = true, nil
		return nil
	}
	v := d.data[:n:n]
	d.data = d.data[n:]
	return v
}
