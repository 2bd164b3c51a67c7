package pglog

import (
	"bytes"
	"cmp"
	"slices"
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
	shape    uint64
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
	open        []*Root         // Odoo, several threads under one pid
	waiting     []*Root         // Odoo, outcome not yet known
	retried     []string        // Odoo, states retried since the last answer
	doubts      map[doubt]int   // Odoo, lines that ended one of several errors
	gaveUp      map[doubt]int   // Odoo, exhausted retries whose exception is still to come
	unexplained map[string]bool // Odoo, databases with cascades whose root is not among the open errors
	failed      bool            // Odoo, an exception or the end of the tries was logged since the last answer
}

// heldCascade waits for the session's next transaction: only then is it known whether another one lay in between.
type heldCascade struct {
	cascade  Cascade
	database string
	rec      *Record // for a join, else nil
}

// doubtful tells whether a cascade's root is shown by nothing but its place: the two have no transaction id to compare.
// The virtual transaction ids of what follows then decide.
func doubtful(c *Root, rec *Record) bool {
	return c.vxid != "" && strings.HasSuffix(rec.VXID, "/0") && !c.provedBy(rec)
}

// provedBy tells whether the transaction ids show beyond doubt that a cascade is the root's. Ids that differ were sorted
// out before.
func (r *Root) provedBy(rec *Record) bool {
	return r.hasXID && rec.HasXID && r.xid != 0 || r.vxid != "" && r.vxid == rec.VXID
}

// release decides the held cascades when the session's next transaction is seen. local is its virtual number, 0 when
// the session ended.
func (s *session) release(local uint64, st *stream) {
	if len(s.held) == 0 {
		return
	}
	own := localPart([]byte(s.held[0].cascade.Root.vxid))
	if local == own {
		return
	}
	for _, h := range s.held {
		if local > own+1 {
			st.doubt(h)
			continue
		}
		if local != 0 {
			st.prove(h.cascade.Root)
		}
		st.settle(h)
	}
	s.held = s.held[:0]
}

// releaseAt is release for a line that may not show a transaction.
func (s *session) releaseAt(local uint64, st *stream) {
	if local != 0 {
		s.release(local, st)
	}
}

// releaseBy releases by what a session's lines said.
func (s *session) releaseBy(a *activity, st *stream) {
	s.releaseAt(a.local, st)
	if a.flags&actBoundary != 0 {
		s.release(0, st)
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
	eager    bool            // the log has no end yet
	doubts   []heldCascade   // other transactions, which left no line, lie behind them
	echoing  map[uint64]bool // kinds of errors that have left an aborted transaction behind, beyond doubt
}

// bounds of the memory; a doubt beyond them is decided by what was read so far.
const (
	maxDoubts  = 50_000
	maxEchoing = 10_000
)

// prove notes that a cascade is tied beyond doubt: errors of this kind happen inside a transaction block, and their
// program goes on.
func (s *stream) prove(root *Root) {
	if len(s.echoing) < maxEchoing {
		s.echoing[root.shape] = true
	}
}

// doubt puts off a cascade behind which unseen transactions lie: one of them may have failed unseen and caused it. The
// rest of the log may show whether errors of the root's kind have cascades at all.
func (s *stream) doubt(h heldCascade) {
	if s.eager || len(s.doubts) >= maxDoubts {
		s.decide(h)
		return
	}
	s.doubts = append(s.doubts, h)
}

// decide names the root of a doubtful cascade if its kind is known to have cascades. A statement that runs outside
// transaction blocks never is.
func (s *stream) decide(h heldCascade) {
	if !s.echoing[h.cascade.Root.shape] {
		h.cascade.Root.cascades--
		h.cascade.Root, h.cascade.Why = nil, whyBetween
	}
	s.settle(h)
}

// finish decides all that waits.
func (s *stream) finish() {
	s.releaseAll(func(*session) bool { return true })
	for _, h := range s.doubts {
		s.decide(h)
	}
	s.doubts = nil
}

// releaseAll releases sessions in the order of their last lines, so that the order of what comes out is that of the log. It
// returns their keys.
func (s *stream) releaseAll(of func(*session) bool) []uint64 {
	var keys []uint64
	for key, x := range s.sessions {
		if of(x) {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b uint64) int { return cmp.Compare(s.sessions[a].seen, s.sessions[b].seen) })
	for _, key := range keys {
		s.sessions[key].release(0, s)
	}
	return keys
}

func newStream(salt uint64, settle func(heldCascade)) *stream {
	return &stream{salt: salt, sessions: map[uint64]*session{}, settle: settle, echoing: map[uint64]bool{}}
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
	for _, key := range s.releaseAll(func(x *session) bool { return x.cand == nil && len(x.open) == 0 || x.seen < limit }) {
		delete(s.sessions, key)
	}
}

// restart forgets every session of a source: the server has started anew.
func (s *stream) restart(source uint64) {
	for _, key := range s.releaseAll(func(x *session) bool { return x.source == source }) {
		delete(s.sessions, key)
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

// survives tells whether the error may have come out of an aborted transaction: of the parser, of ROLLBACK TO, or of a
// message of the protocol, which has no statement yet. What comes out of a running statement cannot.
func (r *Record) survives() bool {
	switch {
	case !survivable[r.SQLState]:
		return false
	case r.SQLState == "42601":
		return fromParser(r.Message)
	case r.SQLState == "3B001":
		return !is(sqlTokens(nil, r.Statement, 1), 0, "RELEASE")
	}
	return r.Statement == ""
}

// fromParser tells an error of the grammar from one of the analysis behind it, which has the same SQLSTATE. In other
// languages than English it cannot tell and says yes.
func fromParser(message string) bool {
	return strings.Contains(message, " at or near ") || strings.Contains(message, " at end of input") ||
		findState(message, nil, false) == ""
}

// newError makes an error the session's candidate.
func (s *session) newError(rec *Record, root *Root) {
	s.pending = false
	old := s.cand
	if old != nil && old.cascades > 0 && rec.survives() {
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

// shapeHash hashes an error's SQLSTATE and statement without what changes from one run to the next: numbers, literals,
// comments, white space.
func shapeHash(state, statement string) uint64 {
	h := hashBytes([]byte(state))
	for i := 0; i < len(statement); {
		switch c := statement[i]; {
		case c <= ' ' || c >= '0' && c <= '9':
			i++
		case c == '\'':
			i = literalEnd(statement, i)
		case c == '/' && strings.HasPrefix(statement[i:], "/*"):
			i = indexFrom(statement, i+2, "*/")
		case c == '-' && strings.HasPrefix(statement[i:], "--"):
			i = indexFrom(statement, i, "\n")
		default:
			h = (h ^ uint64(c)) * 1099511628211
			i++
		}
	}
	return h
}
