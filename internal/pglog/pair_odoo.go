package pglog

// rootOdoo names the root of a 25P02 in an Odoo log. Where one process serves many requests, a root is named only while
// exactly one error is open.
func (s *session) rootOdoo(shared bool) (*Root, string) {
	if !shared {
		if s.cand == nil {
			return nil, s.why
		}
		s.cand.cascades++
		return s.cand, ""
	}
	switch {
	case len(s.open) == 0:
		return nil, whyNone
	case len(s.open) > 1 || s.open[0].closed:
		return nil, whyAmbiguous
	}
	s.open[0].cascades++
	return s.open[0], ""
}

const maxOpen = 64

// errorOdoo notes an error of Odoo's.
func (s *session) errorOdoo(root *Root, shared bool) {
	s.cand, s.why = root, ""
	s.waiting = appendBounded(s.waiting, root)
	if shared {
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

// closeShared ends open errors under a pid that several threads share. A line ends one of them; when more than one is
// possible all of them become doubtful.
func (s *session) closeShared(e *odooEvent) {
	var possible []int
	for i, root := range s.open {
		switch {
		case e.state != "" && root.SQLState != e.state:
		case e.took > 0 && root.Time < e.time-e.took-50_000:
		default:
			possible = append(possible, i)
		}
	}
	if len(possible) == 1 {
		i := possible[0]
		s.open = append(s.open[:i], s.open[i+1:]...)
		return
	}
	for _, i := range possible {
		s.open[i].closed = true
	}
}
