package pglog

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

// flow is the state of one source within a chunk: what the next continuation line belongs to.
type flow struct {
	rec     *Record
	key     uint64
	part    lineKind
	open    bool       // rec takes continuation lines
	event   *odooEvent // whose traceback may follow
	partial []byte     // a line that the carrier has split
	first   int64      // physical line where partial began
}

// span is a part of a text by its position. Unlike a slice it can be kept for every line without the collector noticing.
type span struct{ from, to int }

// worker turns chunks into items. It is used by one goroutine at a time.
type worker struct {
	format  *format
	words   *words
	cache   messageCache
	acts    activities
	items   int // room for the next chunk's
	main    flow
	flows   map[uint64]*flow
	names   map[uint64]string
	last    int     // template that matched last
	lasting *Prefix // the same, nil when its lines are not for skim
	guesses int
	extra   []*Prefix
	out     *parsed
	line    int64
	begin   int64 // physical line where the current (joined) line began
	u       unwrapped
	f       fields
	chunk   []byte // the data of the current one
	next    int    // in chunk, behind the current line
	recent  map[uint64]*Record
	torn    bool
	// lastTime is where the time of the last line stands: in chunk, or in timeRoom when that is not empty
	lastTime span
	timeRoom []byte
	clock    clockText
	plain    bool
	// same is the prefix of the line before, whose fields w.f still holds
	same []byte
	// remembered are the prefixes of sessions, hit the one of the present line
	remembered *[rememberedSlots]remembered
	hit        *remembered
	careful    bool // read every line in full, as a reference for skim
	// shared holds names and messages, which repeat in most records
	shared map[string]string
}

func newWorker(f *format, careful bool) *worker {
	return &worker{format: f, words: loadWords(), remembered: new([rememberedSlots]remembered), careful: careful}
}

// parse reads one chunk. The result does not depend on other chunks.
func (w *worker) parse(c *chunk) *parsed {
	w.out = &parsed{index: c.index, bytes: len(c.data), items: make([]item, 0, w.items)}
	w.acts.reset()
	w.main, w.flows, w.names, w.recent = flow{}, nil, nil, nil
	w.guesses, w.extra, w.line = 0, nil, 0
	w.use(0)
	w.chunk, w.lastTime, w.timeRoom = c.data, span{}, w.timeRoom[:0]
	if w.format.csv {
		w.parseCSV(c)
	} else {
		w.parseLines(c)
	}
	w.finish()
	w.items = len(w.out.items) + len(w.out.items)/4
	return w.out
}

// finish settles the records and adds what the sessions said after their last error.
func (w *worker) finish() {
	last := w.timeRoom
	if len(last) == 0 {
		last = w.chunk[w.lastTime.from:w.lastTime.to]
	}
	if t, _, ok := parseTime(last, 0); ok {
		w.out.span.add(t)
	}
	w.chunk = nil
	for i := range w.out.items {
		if rec := w.out.items[i].rec; rec != nil {
			rec.settle(&w.cache, w.langsOf(rec))
		}
	}
	for i := range w.acts.entries {
		e := &w.acts.entries[i]
		if e.act != (activity{}) {
			w.out.items = append(w.out.items, item{key: e.key, act: e.take()})
		}
	}
}

// langsOf lists the languages that a record may be written in.
func (w *worker) langsOf(rec *Record) []string {
	if rec.Program == Odoo || len(rec.langs) == 0 {
		return languages
	}
	return rec.langs
}
