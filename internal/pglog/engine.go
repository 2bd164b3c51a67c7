package pglog

import (
	"maps"
	"slices"
)

// engine does the pairing, in the order of the log. It is used by one goroutine.
type engine struct {
	options Options
	result  *Result
	book    *book
	series  series
	span    timeSpan
	streams map[string]*stream
	join    *joiner // nil unless both a server's log and Odoo's are given
	failed  error
}

// source is one input while it is being merged.
type source struct {
	name   string
	stream *stream
	format *format
	base   int64 // physical lines before the current chunk
	info   *FileInfo
}

func newEngine(o Options) *engine {
	return &engine{
		options: o, book: newBook(), streams: map[string]*stream{},
		result: &Result{
			Totals:   Totals{RootsByState: map[string]int64{}, ConflictRootsByName: map[string]int64{}},
			Unproven: map[string]int64{},
		},
	}
}

// merge takes in one chunk. Chunks of a source come in order.
func (e *engine) merge(p *parsed, src *source) {
	for i := range p.items {
		it := &p.items[i]
		switch {
		case it.act.flags&actRestart != 0:
			src.stream.restart(it.act.source)
		case it.event != nil:
			e.odooEvent(it, src)
		case it.rec != nil:
			it.rec.Line += src.base
			e.record(it, src)
		case it.key != 0:
			x := src.stream.session(it.key)
			x.releaseBy(&it.act, src.stream)
			x.apply(&it.act)
		}
	}
	src.base += p.lines
	src.info.Lines += p.lines
	src.info.Bytes += int64(p.bytes)
	e.span.add(p.span.first)
	e.span.add(p.span.last)
	e.result.Records += p.seen.records
	e.result.NoSession += p.seen.noSession
	e.result.NoState += p.seen.noState
	e.result.Restarts += p.seen.restarts
	if e.join == nil {
		p.release()
	}
}

func (e *engine) odooEvent(it *item, src *source) {
	switch it.event.outcome {
	case odooRetry:
		e.result.Retries++
	case odooGaveUp:
		e.result.GaveUp++
	case addonChanged, addonBatch, addonRetry, addonGaveUp:
		e.addonEvent(it, src)
		return
	}
	if it.key != 0 {
		src.stream.session(it.key).eventOdoo(it.event, src.format.shared)
	}
}

// addonEvent counts a line of the add-on's, and lets the end of the request know that it was tried again or given up.
func (e *engine) addonEvent(it *item, src *source) {
	if e.inRange(it.event.time) {
		e.result.Addon.count(it.event)
	}
	if it.key == 0 {
		return
	}
	switch s := src.stream.session(it.key); it.event.outcome {
	case addonRetry:
		s.retried = append(s.retried[:min(len(s.retried), 8)], it.event.state)
	case addonGaveUp:
		s.failed = true
	}
}

// record pairs and counts one error.
func (e *engine) record(it *item, src *source) {
	rec := it.rec
	var s *session
	if it.key != 0 {
		s = src.stream.session(it.key)
		if !it.fromOdoo() {
			s.releaseBy(&it.act, src.stream)
			s.releaseAt(localPart([]byte(rec.VXID)), src.stream)
			s.apply(&it.act)
		}
		if s.conn != nil {
			s.conn.fill(rec)
		}
	}
	where := Place{File: src.name, Line: rec.Line}
	if rec.SQLState == StateAborted {
		e.cascade(rec, s, where, src)
		return
	}
	e.root(rec, s, where, src, it.key)
}

// fill adds to a record what its session said when it connected.
func (c *connection) fill(rec *Record) {
	if rec.Application == "" {
		rec.Application = c.application
	}
	if rec.User == "" {
		rec.User = c.user
	}
	if rec.Database == "" {
		rec.Database = c.database
	}
}

func (e *engine) root(rec *Record, s *session, where Place, src *source, key uint64) {
	root := &Root{
		Place: where, SQLState: rec.SQLState, Time: rec.Time, touched: rec.Time, session: mix(src.stream.salt, key),
		shape: rec.shape, xid: rec.XID, hasXID: rec.HasXID, vxid: rec.VXID, user: rec.User, database: rec.Database, client: rec.Client,
	}
	counted := e.inRange(rec.Time)
	if counted {
		e.countRoot(rec)
	}
	if e.join != nil {
		e.join.root(rec, root)
	}
	if counted && !(e.join != nil && rec.Program == Odoo) {
		root.tally = e.book.count(rec, where)
	}
	if s == nil {
		return
	}
	if rec.Program == Odoo {
		s.errorOdoo(root, src.format.shared)
		return
	}
	s.newError(rec, root)
}

var conflictCodes = map[string]bool{"40001": true, "40P01": true, "55P03": true}

const maxTables = 20_000

// NoTable stands for "no record shows the table".
const NoTable = "(none)"

func (e *engine) countRoot(rec *Record) {
	t := &e.result.Totals
	t.ErrorRecords++
	t.Roots++
	t.RootsByState[rec.SQLState]++
	if !conflictCodes[rec.SQLState] {
		e.series.add(rec.Time, 2)
		return
	}
	e.series.add(rec.Time, 0)
	table := rec.Table()
	if _, known := t.ConflictRootsByName[table]; table == "" || !known && len(t.ConflictRootsByName) >= maxTables {
		table = NoTable
	}
	t.ConflictRootsByName[table]++
}

func (e *engine) cascade(rec *Record, s *session, where Place, src *source) {
	var root *Root
	why := whyNoKey
	if s != nil {
		s.pending = false
		if rec.Program == Odoo {
			root, why = s.rootOdoo(rec.Database, src.format.shared)
		} else {
			root, why = s.rootOf(rec)
		}
	}
	c := Cascade{Place: where, Time: rec.Time, Root: root, Why: why}
	if !e.inRange(rec.Time) {
		return
	}
	if root != nil && root.provedBy(rec) {
		src.stream.prove(root)
	}
	if rec.Program == Server && root != nil && doubtful(root, rec) {
		s.held = append(s.held, heldCascade{cascade: c, database: rec.Database, rec: e.joinRecord(rec)})
		return
	}
	e.passCascade(rec, c)
}

// joinRecord keeps a record that a join will want to see again.
func (e *engine) joinRecord(rec *Record) *Record {
	if e.join == nil {
		return nil
	}
	return rec
}

// passCascade hands a cascade to the join, or settles it.
func (e *engine) passCascade(rec *Record, c Cascade) {
	if e.join != nil && e.join.cascade(rec, c) {
		return
	}
	e.settleCascade(c, rec.Database)
}

// settleHeld is what a stream does with a cascade whose root is decided.
func (e *engine) settleHeld(h heldCascade) {
	if e.join != nil && h.rec != nil {
		e.passCascade(h.rec, h.cascade)
		return
	}
	e.settleCascade(h.cascade, h.database)
}

// settleCascade counts a cascade whose root is final and hands it out.
func (e *engine) settleCascade(c Cascade, database string) {
	t := &e.result.Totals
	t.ErrorRecords++
	t.Cascades++
	e.series.add(c.Time, 1)
	if c.Root == nil {
		e.result.Unproven[c.Why]++
		orphan := e.book.at(tallyKey{state: StateAborted, kind: KindOther})
		if orphan.Count == 0 {
			orphan.Orphan, orphan.Where, orphan.Database = true, c.Place, database
		}
		orphan.Count++
		orphan.Cascades++
		orphan.span(c.Time)
	} else {
		t.CascadesWithRoot++
		if tally := c.Root.tally; tally != nil {
			tally.Cascades++
			tally.span(c.Time)
			e.countLost(c.Root, tally)
		}
	}
	if e.options.Cascade != nil && e.failed == nil {
		e.failed = e.options.Cascade(c)
	}
}

// countLost counts a transaction as lost at its first cascade: its program went on without noticing. Odoo's own lines
// settle that for Odoo.
func (e *engine) countLost(root *Root, t *tally) {
	if root.lostCounted || t.Application == "odoo" && e.result.HasOdoo && !e.result.HasServer {
		return
	}
	root.lostCounted = true
	t.Lost++
}

func (e *engine) inRange(at int64) bool {
	if at == 0 {
		return true
	}
	if !e.options.Since.IsZero() && at < e.options.Since.UnixMicro() {
		return false
	}
	return e.options.Until.IsZero() || at <= e.options.Until.UnixMicro()
}

// finish closes the books.
func (e *engine) finish() *Result {
	for _, group := range slices.Sorted(maps.Keys(e.streams)) {
		e.streams[group].finish()
	}
	if e.join != nil {
		e.join.finish(e)
	}
	r := e.snapshot()
	return r
}

// snapshot gives the result so far.
func (e *engine) snapshot() *Result {
	r := e.result
	r.Incidents = e.book.list()
	r.Points, r.Step = e.series.points(), microseconds(e.series.step)
	r.First, r.Last = TimeOf(e.span.first), TimeOf(e.span.last)
	return r
}
