package pglog

import "sync"

// chunk is a piece of an input that starts and ends at records.
type chunk struct {
	index int
	data  []byte
	last  bool // the input ends here
}

// parsed is what a worker made of a chunk.
type parsed struct {
	index int
	items []item
	lines int64
	bytes int
	span  timeSpan
	seen  seen
	// slabs hold the records; used of them are in use
	slabs []*[slabSize]Record
	used  int
}

// slabSize is the number of records that are allocated at once.
const slabSize = 128

// parsedPool keeps what is merged for the next chunks: errors are frequent in the logs that people look at, and without it
// the collector would run most of the time.
var parsedPool sync.Pool

func newParsed(c *chunk) *parsed {
	p, ok := parsedPool.Get().(*parsed)
	if !ok {
		p = &parsed{}
	}
	*p = parsed{index: c.index, bytes: len(c.data), items: p.items[:0], slabs: p.slabs}
	return p
}

// release gives the memory back. Nobody may hold on to a record by then.
func (p *parsed) release() { parsedPool.Put(p) }

// record gives room for a record, which holds what an earlier one has left.
func (p *parsed) record() *Record {
	if p.used == len(p.slabs)*slabSize {
		p.slabs = append(p.slabs, new([slabSize]Record))
	}
	rec := &p.slabs[p.used/slabSize][p.used%slabSize]
	p.used++
	return rec
}

// seen collects what the log's form would have to show for better answers.
type seen struct {
	records   int64
	noSession int64 // errors whose session could not be told
	noState   int64 // errors without SQLSTATE in the log
	restarts  int
}

// timeSpan is the first and last time met.
type timeSpan struct{ first, last int64 }

func (s *timeSpan) add(t int64) {
	if t == 0 {
		return
	}
	if s.first == 0 || t < s.first {
		s.first = t
	}
	if t > s.last {
		s.last = t
	}
}
