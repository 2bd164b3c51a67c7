package hass

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/concord-home/concord/hass/internal/scan"
)

// message is one message of the home, taken apart no further than needed to
// route it.
type message struct {
	seq     int64
	id      int64
	kind    string
	success bool
	payload json.RawMessage // the result, error or event member
}

// parseFrame splits a frame into messages and numbers them from seq+1.
func parseFrame(data []byte, seq int64, into []message) ([]message, error) {
	i := scan.Space(data, 0)
	if i >= len(data) || data[i] != '[' {
		m, err := parseMessage(data)
		m.seq = seq + 1
		return append(into, m), err
	}
	it := scan.Array(data)
	for it.Next() {
		m, err := parseMessage(it.Value)
		if err != nil {
			return into, err
		}
		seq++
		m.seq = seq
		into = append(into, m)
	}
	if it.Err() != nil {
		return into, fmt.Errorf("%w: %w", ErrProtocol, it.Err())
	}
	return into, nil
}

func parseMessage(b []byte) (m message, err error) {
	it := scan.Object(b)
	for it.Next() {
		switch string(it.Key) {
		case "id":
			m.id, _ = strconv.ParseInt(string(it.Value), 10, 64)
		case "type":
			m.kind = kindOf(it.Value)
		case "success":
			m.success = string(it.Value) == "true"
		case "event", "result":
			m.payload = it.Value
		case "error":
			if m.payload == nil {
				m.payload = it.Value
			}
		}
	}
	if it.Err() != nil || m.kind == "" {
		return m, fmt.Errorf("%w: a message is not an object with a type", ErrProtocol)
	}
	return m, nil
}

func kindOf(v []byte) string {
	switch string(v) { // without allocation for the common ones
	case `"event"`:
		return "event"
	case `"result"`:
		return "result"
	}
	s, _ := scan.String(v)
	return s
}

// encodeCommand returns the command's JSON without its opening brace and
// without an id, so that an id can be put in front.
func encodeCommand(cmd any) ([]byte, error) {
	if kind, ok := cmd.(string); ok {
		cmd = map[string]string{"type": kind}
	}
	b, err := json.Marshal(cmd)
	if err != nil {
		return nil, fmt.Errorf("encode command: %w", err)
	}
	b = bytes.TrimSpace(b)
	if len(b) < 2 || b[0] != '{' {
		return nil, fmt.Errorf("encode command: %T is not a JSON object", cmd)
	}
	var hasType bool
	for it := scan.Object(b); it.Next(); {
		switch string(it.Key) {
		case "id":
			return nil, fmt.Errorf("encode command: the id is the client's to choose")
		case "type":
			hasType = true
		}
	}
	if !hasType {
		return nil, fmt.Errorf("encode command: no type")
	}
	return b[1:], nil
}
