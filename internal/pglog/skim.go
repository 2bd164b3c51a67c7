package pglog

import "encoding/binary"

// What stands behind the prefix of the lines that skim knows, eight bytes at a time.
var (
	skimLog       = eight("LOG:  du")
	skimDuration  = eight("ration: ")
	skimDetail    = eight("DETAIL: ")
	skimStatement = eight("STATEMEN")
)

func eight(text string) uint64 { return binary.LittleEndian.Uint64([]byte(text)) }

// skim steps over a line that says nothing new; most logs consist of little else. It knows two kinds: the duration of a
// statement in a session of which this chunk has already said so, and what belongs to a record that nobody wants. False
// means that take must read the line: skim may leave out work, but not decide anything that take would decide otherwise.
func (w *worker) skim(line []byte, f *flow) bool {
	at := w.clock.end
	if len(line) < at+32 || w.recent != nil || !w.clock.repeats(line) {
		return len(line) > 0 && w.recent == nil &&
			(line[0] == '\t' && !f.open && f.event == nil || line[0] == '{' && w.skimJSON(line, f))
	}
	rest := line[at:]
	m := &w.remembered[slotOf(rest)]
	if m.owner == nil || m.owner != w.lasting || len(rest) < m.n+16 || !m.begins(rest) {
		return false
	}
	word := rest[m.n:]
	switch binary.LittleEndian.Uint64(word) {
	case skimLog:
		return binary.LittleEndian.Uint64(word[8:]) == skimDuration && w.skimDuration(line, m, f)
	case skimDetail:
		return word[8] == ' ' && !f.open
	case skimStatement:
		return string(word[8:11]) == "T: " && !f.open
	}
	return false
}

// skimDuration leaves out a duration whose session is known to be healthy.
func (w *worker) skimDuration(line []byte, m *remembered, f *flow) bool {
	if m.chunk != w.acts.chunk || m.source != w.u.source || w.out.span.first == 0 {
		return false
	}
	if w.acts.entries[m.entry].act.flags&(actPending|actHealthy|actSpoke) != actHealthy|actSpoke {
		return false
	}
	f.open = false
	w.out.seen.records++
	w.keepTime(line[:min(len(line), maxTime)])
	return true
}
