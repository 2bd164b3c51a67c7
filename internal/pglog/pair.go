package pglog

import (
	"bytes"
	"strings"
)

// Place is a record's file and line.
type Place struct {
	File string
	Line int64
}

// Root is an error that is not 25P02.
type Root struct {
	Place
	SQLState string
	Time     int64

	session  uint64
	xid      uint64
	hasXID   bool
	vxid     string
	user     string
	database string
	client   string
	cascades int
	inSub    bool // a cascade was seen in a subtransaction of the same transaction
	touched  int64
	tally    *tally
	joined   bool // the server's log holds the same error
	outcome  *outcome
	// lostCounted is set when the transaction is counted as lost
	lostCounted bool
}

// Cascade is a 25P02 with the error that aborted its transaction, nil when none is proven.
type Cascade struct {
	Place
	Time int64
	Root *Root
	Why  string // reason for no root, for the report
}

// reasons why no root is named.
const (
	whyNone      = "no earlier error of the session is in the log"
	whyHealthy   = "the session's last error was over: something succeeded after it"
	whySession   = "the pid belongs to another session by then"
	whyXID       = "the session's last error had another transaction id"
	whyGap       = "lines of the session are missing in between"
	whyCommit    = "the session's last error ended its transaction"
	whyBetween   = "other transactions of the session lie in between, and one of them may have failed unseen"
	whyTime      = "too much time lies between for the same transaction"
	whyAmbiguous = "several transactions are open under this pid"
	whyNoKey     = "the line does not tell its session"
)

// maxSilence is the time after which a pid without connection lines may well belong to another session.
const maxSilence = int64(2 * 3600 * 1e6)

// session is what is known of one session at a point of the log.
type session struct {
	source      uint64
	cand        *Root
	why         string // reason for no candidate
	conn        *connection
	pending     bool
	last        int64 // line number (%l)
	seen        uint64
	held        []heldCascade
	open        []*Root        // Odoo, several threads under one pid
	waiting     []*Root        // Odoo, outcome not yet known
	retried     []string       // Odoo, states retried since the last answer
	doubts      map[string]int // Odoo, lines that ended one of several errors, by SQLSTATE
	gaveUp      map[string]int // Odoo, exhausted retries whose exception is still to come
	unexplained int            // Odoo, cascades whose root is not among the open errors
	failed      bool           // Odoo, an exception or the end of the tries was logged since the last answer
}

// heldCascade waits for the session's next transaction: only then is it known whether another one lay in between.
type heldCascade struct {
	cascade  Cascade
	database string
	rec      *Record // for a join, else nil
}

// doubtful tells whether a cascade's root is shown by nothing but its place: neither of the two has a transaction id,
// though the log would show it. The virtual transaction ids then decide.
func doubtful(c *Root, rec *Record) bool {
	return c.hasXID && rec.HasXID && c.xid == 0 && rec.XID == 0 && c.vxid != "" && strings.HasSuffix(rec.VXID, "/0")
}

// release decides the held cascades when the session's next transaction is seen. local is its virtual number, 0 when
// the session ended.
func (s *session) release(local uint64, settle func(heldCascade)) {
	if len(s.held) == 0 {
		return
	}
	own := localPart([]byte(s.held[0].cascade.Root.vxid))
	if local == own {
		return
	}
	for _, h := range s.held {
		if local > own+1 {
			h.cascade.Root.cascades--
			h.cascade.Root, h.cascade.Why = nil, whyBetween
		}
		settle(h)
	}
	s.held = s.held[:0]
}

// releaseAt is release for a line that may not show a transaction.
func (s *session) releaseAt(local uint64, settle func(heldCascade)) {
	if local != 0 {
		s.release(local, settle)
	}
}

// releaseBy releases by what a session's lines said.
func (s *session) releaseBy(a *activity, settle func(heldCascade)) {
	s.releaseAt(a.local, settle)
	if a.flags&actBoundary != 0 {
		s.release(0, settle)
	}
}

// drop withdraws the candidate.
func (s *session) drop(why string) {
	s.cand, s.why = nil, why
}

// stream is a log that may span several files: one server's, in the order of writing.
type stream struct {
	settle   func(heldCascade)
	salt     uint64
	sessions map[uint64]*session
	clock    uint64
}

func newStream(salt uint64, settle func(heldCascade)) *stream {
	return &stream{salt: salt, sessions: map[uint64]*session{}, settle: settle}
}

// maxSessions bounds the memory; a session without a candidate needs none.
const maxSessions = 100_000

func (s *stream) session(key uint64) *session {
	s.clock++
	x := s.sessions[key]
	if x == nil {
		if len(s.sessions) >= maxSessions {
			s.evict()
		}
		x = &session{why: whyNone}
		s.sessions[key] = x
	}
	x.seen = s.clock
	return x
}

// evict forgets the sessions that said nothing for long.
func (s *stream) evict() {
	limit := s.clock - maxSessions/2
	for key, x := range s.sessions {
		if x.cand == nil && len(x.open) == 0 || x.seen < limit {
			x.release(0, s.settle)
			delete(s.sessions, key)
		}
	}
}

// restart forgets every session of a source: the server has started anew.
func (s *stream) restart(source uint64) {
	for key, x := range s.sessions {
		if x.source == source {
			x.release(0, s.settle)
			delete(s.sessions, key)
		}
	}
}

// apply takes in what a session's lines said since its last error.
func (s *session) apply(a *activity) {
	s.source = a.source
	if s.pending && a.flags&actSpoke != 0 {
		s.drop(whyHealthy)
	}
	if a.flags&actSpoke != 0 {
		s.pending = a.flags&actPending != 0
	}
	if a.first != 0 && s.last != 0 {
		if a.first <= s.last {
			a.flags |= actBoundary
		} else if a.first > s.last+1 {
			a.flags |= actGap
		}
	}
	if a.last != 0 {
		s.last = a.last
	}
	switch {
	case a.flags&actBoundary != 0:
		s.drop(whyNone)
		s.conn, s.pending = nil, a.flags&actPending != 0
	case a.flags&actHealthy != 0:
		s.drop(whyHealthy)
	case a.flags&actGap != 0 && s.cand != nil && (!s.cand.hasXID || s.cand.xid == 0):
		s.drop(whyGap)
	}
	if a.conn != nil {
		s.conn = a.conn
	}
}

// rootOf names the root of a 25P02, or the reason why there is none.
func (s *session) rootOf(rec *Record) (*Root, string) {
	c := s.cand
	if c == nil {
		return nil, s.why
	}
	switch {
	case differ(c.user, rec.User) || differ(c.database, rec.Database) || differ(c.client, rec.Client):
		s.drop(whySession)
	case c.hasXID && rec.HasXID && c.xid != rec.XID:
		s.drop(whyXID)
	case !sameVirtual(c, rec.VXID):
		s.drop(whyXID)
	case rec.Time != 0 && c.touched != 0 && rec.Time-c.touched > maxSilence:
		s.drop(whyTime)
	default:
		c.touched = max(rec.Time, c.touched)
		c.cascades++
		return c, ""
	}
	return nil, s.why
}

func differ(a, b string) bool { return a != "" && b != "" && a != b }

// sameVirtual compares virtual transaction ids. After an abort the local part is 0, except when only a subtransaction was
// aborted: then it still is the root's.
func sameVirtual(c *Root, vxid string) bool {
	backend, local, ok := strings.Cut(vxid, "/")
	if !ok || c.vxid == "" {
		return true
	}
	rootBackend, rootLocal, _ := strings.Cut(c.vxid, "/")
	if backend != rootBackend {
		return false
	}
	if local == "0" {
		return !c.inSub
	}
	c.inSub = local == rootLocal
	return c.inSub
}

// survivable lists errors that an aborted transaction can still raise, because they come before the check for 25P02:
// they need not be the root of what follows.
var survivable = map[string]bool{"42601": true, "26000": true, "34000": true, "08P01": true, "3B001": true, "22021": true}

// newError makes an error the session's candidate.
func (s *session) newError(rec *Record, root *Root) {
	s.pending = false
	old := s.cand
	if survivable[rec.SQLState] && old != nil && old.cascades > 0 {
		if strings.HasSuffix(rec.VXID, "/0") {
			return // raised inside the aborted transaction
		}
		if rec.VXID == "" || rec.VXID == old.vxid {
			s.drop(whyAmbiguous)
			return
		}
	}
	s.cand, s.why = root, ""
	if rec.ends {
		s.drop(whyCommit)
	}
}

// odooKeyed tells whether the item comes from an Odoo log.
func (it *item) fromOdoo() bool {
	return it.event != nil || it.rec != nil && it.rec.Program == Odoo
}

// shapeKey hashes a statement with its white space collapsed, for the join of two logs.
func shapeKey(state, statement string) uint64 {
	h := hashBytes([]byte(state))
	for word := range bytes.FieldsSeq([]byte(statement)) {
		h = mix(h, hashBytes(word))
	}
	return h
}
