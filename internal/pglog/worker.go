package pglog

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
	main    flow
	flows   map[uint64]*flow
	sources map[uint64]string
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
	textRoom []byte // see unescaped
	clock    clockText
	plain    bool
	// same is the prefix of the line before, whose fields w.f still holds
	same []byte
	// remembered are the prefixes of sessions, hit the one of the present line
	remembered *[rememberedSlots]remembered
	hit        *remembered
	careful    bool // read every line in full, as a reference for skim
	records    *[rememberedSlots]rememberedRecord
	// shared holds names and messages, which repeat in most records
	shared map[string]string
	// statements holds the statements that repeat
	statements map[string]*statement
}

func newWorker(f *format, careful bool) *worker {
	w := &worker{format: f, words: loadWords(), remembered: new([rememberedSlots]remembered), careful: careful}
	if !careful {
		w.u.clock = new(clockText)
	}
	return w
}

// parse reads one chunk. The result does not depend on other chunks.
func (w *worker) parse(c *chunk) *parsed {
	w.out = newParsed(c)
	w.acts.reset()
	w.main, w.flows, w.sources, w.recent = flow{}, nil, nil, nil
	w.guesses, w.extra, w.line = 0, nil, 0
	w.use(0)
	w.chunk, w.lastTime, w.timeRoom = c.data, span{}, w.timeRoom[:0]
	w.plain, w.same = len(w.format.layers) == 0, nil
	w.u = unwrapped{scratch: w.u.scratch, clock: w.u.clock}
	switch {
	case w.format.csv && w.plain:
		w.parseCSV(c)
	case w.format.csv:
		w.parseWrappedCSV(c)
	default:
		w.parseLines(c)
	}
	w.finish()
	return w.out
}

// addLastTime reads the time that keepTime has kept.
func (w *worker) addLastTime() {
	last := w.timeRoom
	if len(last) == 0 {
		last = w.chunk[w.lastTime.from:w.lastTime.to]
	}
	if t, _, ok := parseTime(last, 0); ok {
		w.out.span.add(t)
	}
}

// finish settles the records and adds what the sessions said after their last error.
func (w *worker) finish() {
	w.addLastTime()
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
