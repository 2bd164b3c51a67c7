package hass

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/concord-home/concord/hass/internal/scan"
)

// EntitiesEvent is one event of a subscribe_entities subscription, the
// compressed form: added, changed and removed entities.
//
// Decode may be called again and again on the same value; it reuses the
// slices. Attributes are parts of the raw message, so they live as long as it
// is not overwritten; strings are copies.
type EntitiesEvent struct {
	Added   []State
	Changed []Diff
	Removed []string
	Invalid []ItemError // records that could not be read; nothing of them is in the other lists

	ids map[string]string
}

// Fields says which members of a Diff are present.
type Fields uint8

// The members of a Diff.
const (
	HasState Fields = 1 << iota
	HasLastChanged
	HasLastUpdated
	HasContextID
	HasParentID
	HasUserID
)

// Diff is what changed of one entity.
type Diff struct {
	EntityID    string
	Has         Fields
	State       string
	LastChanged time.Time // sets LastUpdated too, unless that is present itself
	LastUpdated time.Time
	Context     Context  // only the members that Has names
	Attributes  []byte   // a JSON object with the attributes that are new or changed, or nil
	Gone        []string // names of attributes that are no longer there
}

// maxInterned bounds the memory that entity ids seen earlier may hold.
const maxInterned = 1 << 17

// Decode reads the "event" member of a message. Records that cannot be read
// are in Invalid; the error is about the message as a whole, and says that it
// is not in the compressed form.
func (e *EntitiesEvent) Decode(raw []byte) error {
	e.Added, e.Changed, e.Removed, e.Invalid = e.Added[:0], e.Changed[:0], e.Removed[:0], e.Invalid[:0]
	if e.ids == nil || len(e.ids) > maxInterned {
		e.ids = make(map[string]string)
	}
	it := scan.Object(raw)
	for it.Next() {
		if err := e.decodeMember(it.Key, it.Value); err != nil {
			return fmt.Errorf("entities event, member %q: %w", it.Key, err)
		}
	}
	if it.Err() != nil {
		return fmt.Errorf("entities event: %w", it.Err())
	}
	return nil
}

func (e *EntitiesEvent) decodeMember(key, value []byte) error {
	if len(key) != 1 {
		return nil // of a later version
	}
	switch key[0] {
	case 'a':
		return e.records(value, e.addState)
	case 'c':
		return e.records(value, e.addDiff)
	case 'r':
		return e.removed(value)
	}
	return nil
}

func (e *EntitiesEvent) records(value []byte, add func(id string, v []byte) error) error {
	it := scan.Object(value)
	for it.Next() {
		id := e.intern(it.Key)
		if !scan.Valid(it.Value) || !validText(it.Key) {
			e.Invalid = append(e.Invalid, itemError(id, it.Value, scan.ErrSyntax))
			continue
		}
		if err := add(id, it.Value); err != nil {
			e.Invalid = append(e.Invalid, itemError(id, it.Value, err))
		}
	}
	return it.Err()
}

func (e *EntitiesEvent) removed(value []byte) error {
	it := scan.Array(value)
	for it.Next() {
		id, ok := scan.String(it.Value)
		if !ok || !scan.Valid(it.Value) {
			e.Invalid = append(e.Invalid, itemError("", it.Value, scan.ErrSyntax))
			continue
		}
		e.Removed = append(e.Removed, id)
	}
	return it.Err()
}

func (e *EntitiesEvent) intern(key []byte) string {
	if id, ok := e.ids[string(key)]; ok {
		return id
	}
	id := string(key)
	e.ids[id] = id
	return id
}

func (e *EntitiesEvent) addState(id string, v []byte) error {
	var d Diff
	if err := d.members(v); err != nil {
		return err
	}
	if d.Has&HasState == 0 {
		return errors.New("no state")
	}
	if d.Has&HasLastChanged == 0 {
		return errors.New("no time of the last change")
	}
	if d.Has&HasLastUpdated == 0 {
		d.LastUpdated = d.LastChanged
	}
	if d.Attributes == nil {
		d.Attributes = emptyObject
	}
	e.Added = append(e.Added, State{id, d.State, d.Attributes, d.LastChanged, d.LastUpdated, d.Context})
	return nil
}

var emptyObject = []byte("{}")

func (e *EntitiesEvent) addDiff(id string, v []byte) error {
	d := Diff{EntityID: id}
	it := scan.Object(v)
	for it.Next() {
		if len(it.Key) != 1 {
			continue
		}
		var err error
		switch it.Key[0] {
		case '+':
			err = d.members(it.Value)
		case '-':
			err = d.gone(it.Value)
		}
		if err != nil {
			return err
		}
	}
	if it.Err() != nil {
		return it.Err()
	}
	e.Changed = append(e.Changed, d)
	return nil
}

func (d *Diff) members(v []byte) (err error) {
	it := scan.Object(v)
	for it.Next() && err == nil {
		switch string(it.Key) {
		case "s":
			var ok bool
			if d.State, ok = scan.String(it.Value); !ok {
				return errors.New("the state is not text")
			}
			d.Has |= HasState
		case "a":
			if it.Value[0] != '{' {
				return errors.New("the attributes are not an object")
			}
			d.Attributes = it.Value
		case "c":
			err = d.context(it.Value)
		case "lc":
			d.LastChanged, err = parseTime(it.Value)
			d.Has |= HasLastChanged
		case "lu":
			d.LastUpdated, err = parseTime(it.Value)
			d.Has |= HasLastUpdated
		}
	}
	if err != nil {
		return err
	}
	return it.Err()
}

func (d *Diff) context(v []byte) error {
	if id, ok := scan.String(v); ok {
		d.Context.ID = id
		d.Has |= HasContextID
		return nil
	}
	it := scan.Object(v)
	for it.Next() {
		text, _ := scan.String(it.Value) // null is ""
		switch string(it.Key) {
		case "id":
			d.Context.ID = text
			d.Has |= HasContextID
		case "parent_id":
			d.Context.ParentID = text
			d.Has |= HasParentID
		case "user_id":
			d.Context.UserID = text
			d.Has |= HasUserID
		}
	}
	if it.Err() != nil {
		return errors.New("the context is neither text nor an object")
	}
	return nil
}

func (d *Diff) gone(v []byte) error {
	it := scan.Object(v)
	for it.Next() {
		if string(it.Key) != "a" {
			continue
		}
		names := scan.Array(it.Value)
		for names.Next() {
			name, ok := scan.String(names.Value)
			if !ok {
				return errors.New("the name of a removed attribute is not text")
			}
			d.Gone = append(d.Gone, name)
		}
		if names.Err() != nil {
			return errors.New("removed attributes are not a list")
		}
	}
	return it.Err()
}

var errTime = errors.New("impossible time")

// parseTime reads seconds since 1970 and rounds to microseconds, as Home
// Assistant does when it prints the same time as text.
func parseTime(v []byte) (time.Time, error) {
	var sec, frac int64
	i := 0
	for ; i < len(v) && i < 12 && v[i] >= '0' && v[i] <= '9'; i++ {
		sec = sec*10 + int64(v[i]-'0')
	}
	if i == 0 || i < len(v) && v[i] != '.' {
		return parseOddTime(v)
	}
	scale := int64(1_000_000)
	for i++; i < len(v); i++ {
		if v[i] < '0' || v[i] > '9' {
			return parseOddTime(v)
		}
		if scale > 1 {
			scale /= 10
			frac += int64(v[i]-'0') * scale
		} else {
			if v[i] == '5' && i == len(v)-1 {
				return parseOddTime(v) // which way depends on the bits of the number
			}
			if v[i] >= '5' {
				frac++
			}
			break
		}
	}
	return checkTime(sec*1_000_000 + frac)
}

// parseOddTime rounds in the steps in which Python does.
func parseOddTime(v []byte) (time.Time, error) {
	f, err := strconv.ParseFloat(string(v), 64)
	if err != nil || math.Abs(f) > 1e12 {
		return time.Time{}, errTime
	}
	sec, frac := math.Modf(f)
	return checkTime(int64(sec)*1_000_000 + int64(math.RoundToEven(frac*1e6)))
}

// checkTime refuses what neither RFC 3339 nor a database can hold.
func checkTime(us int64) (time.Time, error) {
	t := time.UnixMicro(us).UTC()
	if y := t.Year(); y < 1 || y > 9999 {
		return time.Time{}, errTime
	}
	return t, nil
}
