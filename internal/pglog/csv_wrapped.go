package pglog

import "bytes"

// wrappedCSV is what one source's carrier lines hold: csvlog, whose records may take several of them.
type wrappedCSV struct {
	source  uint64
	text    []byte
	lines   []int64 // physical line of each line of the text
	partial bool
}

// add appends the inside of a physical line.
func (p *wrappedCSV) add(inner []byte, partial bool, line int64) {
	if !p.partial {
		p.lines = append(p.lines, line)
	}
	for range bytes.Count(inner, []byte{'\n'}) {
		p.lines = append(p.lines, line)
	}
	p.text = append(p.text, inner...)
	if p.partial = partial; !partial {
		p.text = append(p.text, '\n')
	}
}

// parseWrappedCSV takes the carriers off, then reads source by source.
func (w *worker) parseWrappedCSV(c *chunk) {
	bySource := map[uint64]*wrappedCSV{}
	var order []*wrappedCSV
	lines := int64(0)
	for line := range bytes.Lines(c.data) {
		lines++
		partial := w.peel(trimCR(bytes.TrimSuffix(line, []byte{'\n'})))
		p := bySource[w.u.source]
		if p == nil {
			w.flowOf(w.u.source, w.u.name)
			p = &wrappedCSV{source: w.u.source}
			bySource[w.u.source] = p
			order = append(order, p)
		}
		p.add(trimCR(w.u.inner), partial, lines)
	}
	for _, p := range order {
		first := len(w.out.items)
		w.u = unwrapped{source: p.source, scratch: w.u.scratch, clock: w.u.clock}
		w.line = 0
		w.parseCSV(&chunk{data: p.text})
		w.addLastTime()
		for _, it := range w.out.items[first:] {
			if it.rec != nil {
				it.rec.Line = p.lines[min(it.rec.Line, int64(len(p.lines)))-1]
			}
		}
	}
	w.line, w.out.lines = lines, lines
}
