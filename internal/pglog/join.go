package pglog

import (
	"time"
)

func microseconds(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

// joiner ties the records of an Odoo log to those of the server's log: the same statement with the same SQLSTATE at the
// same time is the same error. So a cascade that Odoo logged gets the root that the server's session proves.
type joiner struct {
	roots    map[uint64][]joinRoot // of the server
	cascades map[uint64][]joinCascade
	odoo     []odooRoot
	waiting  []odooCascade
	count    int
}

type joinRoot struct {
	time int64
	root *Root
	used bool
}

type joinCascade struct {
	time int64
	root *Root
	used bool
}

type odooRoot struct {
	shape uint64
	rec   *Record
	root  *Root
}

type odooCascade struct {
	shape    uint64
	cascade  Cascade
	database string
}

// maxJoin bounds the memory of the join; beyond it Odoo's records stand on their own.
const maxJoin = 400_000

func newJoiner() *joiner {
	return &joiner{roots: map[uint64][]joinRoot{}, cascades: map[uint64][]joinCascade{}}
}

func (j *joiner) room() bool {
	j.count++
	return j.count <= maxJoin
}

// root notes an error of either log.
func (j *joiner) root(rec *Record, root *Root) {
	if rec.Program == Odoo {
		j.odoo = append(j.odoo, odooRoot{shape: shapeKey(rec.SQLState, rec.Statement), rec: rec, root: root})
		return
	}
	if rec.Statement != "" && j.room() {
		shape := shapeKey(rec.SQLState, rec.Statement)
		j.roots[shape] = append(j.roots[shape], joinRoot{time: rec.Time, root: root})
	}
}

// cascade notes a 25P02; true when it is kept back until the end.
func (j *joiner) cascade(rec *Record, c Cascade) bool {
	shape := shapeKey(rec.SQLState, rec.Statement)
	if rec.Program == Odoo {
		j.waiting = append(j.waiting, odooCascade{shape: shape, cascade: c, database: rec.Database})
		return true
	}
	if c.Root != nil && j.room() {
		j.cascades[shape] = append(j.cascades[shape], joinCascade{time: c.Time, root: c.Root})
	}
	return false
}

// joinWindow is how far the two clocks may lie apart once the zone is taken out.
const joinWindow = int64(1500_000)

// quarter is the grain of time zones, in µs.
const quarter = int64(15 * 60 * 1e6)

// offset finds the difference of the two logs' zones: the one that most unique statements agree on.
func (j *joiner) offset() int64 {
	votes := map[int64]int{}
	vote := func(at, other int64) {
		d := at - other
		zone := (d + quarter/2) / quarter
		if d+quarter/2 < 0 {
			zone--
		}
		if rest := d - zone*quarter; rest > -joinWindow && rest < joinWindow {
			votes[zone*quarter]++
		}
	}
	for _, o := range j.odoo {
		for _, r := range j.roots[o.shape] {
			vote(o.root.Time, r.time)
		}
	}
	for _, o := range j.waiting {
		for _, r := range j.cascades[o.shape] {
			vote(o.cascade.Time, r.time)
		}
	}
	best, most := int64(0), 0
	for zone, n := range votes {
		if n > most || n == most && abs(zone) < abs(best) {
			best, most = zone, n
		}
	}
	return best
}

func abs(n int64) int64 { return max(n, -n) }

// finish joins and counts what was kept back.
func (j *joiner) finish(e *engine) {
	zone := j.offset()
	own := map[*Root]*Root{} // server's root → the same error in Odoo's log
	for _, o := range j.odoo {
		i := nearest(j.roots[o.shape], o.root.Time-zone, func(r joinRoot) (int64, bool) { return r.time, r.used })
		if i < 0 {
			if e.inRange(o.root.Time) {
				adopt(o.root, e.book.count(o.rec, o.root.Place))
			}
			continue
		}
		match := &j.roots[o.shape][i]
		match.used = true
		own[match.root] = o.root
		adopt(o.root, match.root.tally)
		o.root.joined = true
	}
	for _, o := range j.waiting {
		c := o.cascade
		i := nearest(j.cascades[o.shape], c.Time-zone, func(r joinCascade) (int64, bool) { return r.time, r.used })
		if i >= 0 {
			match := &j.cascades[o.shape][i]
			match.used = true
			c.Root = match.root
			if mine := own[match.root]; mine != nil {
				c.Root = mine
			}
		}
		e.settleCascade(c, o.database)
	}
}

// adopt gives a root its incident, together with the outcome that was found before the incident was known.
func adopt(root *Root, t *tally) {
	root.tally = t
	if root.outcome != nil && t != nil {
		root.outcome.apply(root, t)
	}
}

// nearest finds the unused entry next in time, -1 when none is near.
func nearest[T any](list []T, at int64, of func(T) (int64, bool)) int {
	best := -1
	distance := joinWindow
	for i := range list {
		t, used := of(list[i])
		if d := abs(t - at); !used && d <= distance {
			best, distance = i, d
		}
	}
	return best
}

// outcome is how the request of an error ended.
type outcome struct {
	endpoint      string
	retried, lost bool
}

func (o *outcome) apply(root *Root, t *tally) { t.settle(root, o.endpoint, o.retried, o.lost) }
