package pglog

import "bytes"

// activity is what the lines of a session say between two of its errors.
type activity struct {
	flags  uint8
	first  int64 // line number within the session (%l) of the first line, 0 unknown
	last   int64
	local  uint64 // local part of the first virtual transaction id seen, 0 unknown
	conn   *connection
	source uint64
}

const (
	actBoundary uint8 = 1 << iota // a session began or ended
	actHealthy                    // a statement succeeded, so no transaction was aborted
	actSpoke                      // a statement or its duration was logged
	actPending                    // the last such line announced a statement whose outcome is open
	actGap                        // line numbers are missing
	actRestart                    // the server started: every session is gone
)

// connection is what a "connection authorized" line tells.
type connection struct {
	user, database, application string
}

// item is what the merge gets from a chunk, in the order of the log: an error, an event of Odoo, or what is left over.
type item struct {
	key   uint64
	rec   *Record
	event *odooEvent
	act   activity
}

// activities is a table of the sessions of a chunk: open addressing, because a lookup stands on the path of every line.
type activities struct {
	chunk   uint32  // counts the chunks, so that an index can be told from one of an earlier chunk
	slots   []int32 // index into entries + 1
	entries []actEntry
}

type actEntry struct {
	key  uint64
	last int64 // survives an emitted error, to find gaps
	act  activity
}

func (a *activities) reset() {
	if a.slots == nil {
		a.slots = make([]int32, 1024)
	}
	a.chunk++
	clear(a.slots)
	a.entries = a.entries[:0]
}

// entry finds or makes the entry of a session. The pointer holds until the next call.
func (a *activities) entry(key uint64) *actEntry { return &a.entries[a.index(key)] }

// index is entry for callers that come back: it holds until reset.
func (a *activities) index(key uint64) int32 {
	mask := uint64(len(a.slots) - 1)
	for i := mix(key, 0) & mask; ; i = (i + 1) & mask {
		n := a.slots[i]
		if n == 0 {
			a.entries = append(a.entries, actEntry{key: key})
			a.slots[i] = int32(len(a.entries))
			if len(a.entries)*2 > len(a.slots) {
				a.grow()
			}
			return int32(len(a.entries) - 1)
		}
		if a.entries[n-1].key == key {
			return n - 1
		}
	}
}

func (a *activities) grow() {
	a.slots = make([]int32, 2*len(a.slots))
	mask := uint64(len(a.slots) - 1)
	for n := range a.entries {
		i := mix(a.entries[n].key, 0) & mask
		for a.slots[i] != 0 {
			i = (i + 1) & mask
		}
		a.slots[i] = int32(n + 1)
	}
}

// number notes the line number of a session's line. A step back means that another session has the pid now.
func (e *actEntry) number(n int64) {
	if n == 0 {
		return
	}
	switch {
	case e.last == 0:
		if e.act.first == 0 {
			e.act.first = n
		}
	case n <= e.last:
		e.act.flags |= actBoundary
	case n > e.last+1:
		e.act.flags |= actGap
	}
	e.last, e.act.last = n, n
}

// virtual notes the virtual transaction id of a session's line.
func (e *actEntry) virtual(vxid []byte) {
	if e.act.local == 0 && len(vxid) > 0 {
		e.act.local = localPart(vxid)
	}
}

// localPart gives the part of a virtual transaction id behind the slash.
func localPart(vxid []byte) uint64 {
	slash := bytes.LastIndexByte(vxid, '/')
	if slash < 0 {
		return 0
	}
	n, _, _ := parseUint(vxid, slash+1)
	return n
}

// take hands the activity over and starts afresh.
func (e *actEntry) take() activity {
	act := e.act
	e.act = activity{}
	return act
}

// note applies what a line that is no error says about its session.
func (a *activity) note(name string) {
	switch name {
	case "duration", "duration statement", "duration extended":
		a.flags = a.flags&^actPending | actHealthy | actSpoke
	case "statement", "execute", "execute statement", "duration fetch":
		if a.flags&actPending != 0 {
			a.flags |= actHealthy
		}
		a.flags |= actSpoke | actPending
	case "connection received", "connection authorized", "disconnection":
		a.flags = a.flags&^(actPending) | actBoundary
	case "still waiting", "acquired", "detected deadlock", "no transaction", "already in transaction":
		a.flags |= actHealthy
	}
}
