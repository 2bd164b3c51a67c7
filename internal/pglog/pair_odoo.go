package pglog

import "slices"

// doubt is what a line of Odoo's tells of the error that it ends.
type doubt struct{ state, database string }

// rootOdoo names the root of a 25P02 in an Odoo log. Where one process serves many requests, a root is named only while
// exactly one error of the database is open.
func (s *session) rootOdoo(database string, shared bool) (*Root, string) {
	if !shared {
		switch {
		case s.cand == nil:
			return nil, s.why
		case differ(s.cand.database, database):
			return nil, whySession
		}
		s.cand.cascades++
		return s.cand, ""
	}
	open := s.openIn(database)
	switch {
	case len(open) == 0:
		s.explainLater(database)
		return nil, whyNone
	case len(open) > 1 || s.doubtful(database):
		s.explainLater(database)
		return nil, whyAmbiguous
	}
	open[0].cascades++
	return open[0], ""
}

// openIn lists the open errors of a database.
func (s *session) openIn(database string) []*Root {
	var out []*Root
	for _, root := range s.open {
		if !differ(root.database, database) {
			out = append(out, root)
		}
	}
	return out
}

func (s *session) doubtful(database string) bool {
	for d := range s.doubts {
		if !differ(d.database, database) {
			return true
		}
	}
	return false
}

// explainLater notes that the end of a cascade without a root is still to come.
func (s *session) explainLater(database string) {
	if s.unexplained == nil {
		s.unexplained = map[string]bool{}
	}
	s.unexplained[database] = true
}

const maxOpen = 64

// errorOdoo notes an error of Odoo's.
func (s *session) errorOdoo(root *Root, shared bool) {
	s.cand, s.why = root, ""
	s.waiting = appendBounded(s.waiting, root)
	if shared {
		s.expire(root.Time)
		s.open = appendBounded(s.open, root)
	}
}

func appendBounded(list []*Root, root *Root) []*Root {
	if len(list) >= maxOpen {
		list = append(list[:0], list[1:]...)
	}
	return append(list, root)
}

// eventOdoo ends transactions and settles their outcome.
func (s *session) eventOdoo(e *odooEvent, shared bool) {
	s.drop(whyHealthy)
	if shared {
		s.closeShared(e)
	}
	switch e.outcome {
	case odooRetry:
		s.retried = append(s.retried[:min(len(s.retried), 8)], e.state)
	case odooGaveUp:
		s.failed = true
	case odooFailed:
		s.failed = true
		if e.endpoint != "" || len(s.waiting) >= maxOpen { // a job: no line about its request follows
			s.settle(e, false)
		}
	case odooDone:
		s.settle(e, e.status > 0 && e.status < 400 && !s.failed)
	}
}

// settle counts the errors that waited for the end of their request or job as retried or lost.
func (s *session) settle(e *odooEvent, fine bool) {
	retried := len(s.retried) > 0
	for _, root := range s.waiting {
		o := &outcome{endpoint: e.endpoint, retried: fine && retried && root.cascades == 0, lost: !fine || root.cascades > 0}
		if root.tally != nil {
			o.apply(root, root.tally)
			continue
		}
		root.outcome = o // the incident is known after the join
	}
	s.waiting = s.waiting[:0]
	s.retried = s.retried[:0]
	s.failed = false
}

// openFor is how long an error may stay open under a shared pid without a line that ends it, in µs.
const openFor = int64(10e6)

// expire forgets errors that were swallowed long ago.
func (s *session) expire(now int64) {
	kept := s.open[:0]
	for _, root := range s.open {
		if now-root.Time < openFor {
			kept = append(kept, root)
		}
	}
	if s.open = kept; len(kept) == 0 {
		clear(s.doubts)
	}
}

// closeShared ends open errors under a pid that several threads share. A line ends one error of its kind; when several
// are possible nobody can tell which, until as many such lines have come as there are errors.
func (s *session) closeShared(e *odooEvent) {
	if e.outcome == odooDone {
		return // most answers end a transaction without any error
	}
	key := doubt{e.state, e.database}
	if e.outcome == odooFailed && s.gaveUp[key] > 0 {
		s.gaveUp[key]-- // its error was ended by the line that gave up
		return
	}
	if e.outcome == odooGaveUp {
		if s.gaveUp == nil {
			s.gaveUp = map[doubt]int{}
		}
		s.gaveUp[key]++
	}
	possible := s.possible(e)
	ends := len(possible)
	if e.state == StateAborted && s.unexplained[e.database] {
		ends++ // or it ends a transaction whose root is not among the open
	}
	if len(possible) == 0 {
		if ends > 0 {
			delete(s.unexplained, e.database)
		}
		return
	}
	if s.doubts == nil {
		s.doubts = map[doubt]int{}
	}
	s.doubts[key]++
	if s.doubts[key] < ends {
		return
	}
	delete(s.doubts, key)
	delete(s.unexplained, e.database)
	for _, root := range possible {
		s.open = slices.DeleteFunc(s.open, func(r *Root) bool { return r == root })
	}
}

// possible lists the open errors that a line may end: conflicts that nothing followed, for a retry; what had cascades,
// for the end of a cascade.
func (s *session) possible(e *odooEvent) []*Root {
	var out []*Root
	for _, root := range s.openIn(e.database) {
		if e.state == StateAborted && root.cascades > 0 || e.state == root.SQLState && root.cascades == 0 {
			out = append(out, root)
		}
	}
	return out
}
