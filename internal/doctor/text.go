package doctor

import (
	"fmt"
	"io"
	"strings"
)

// WriteText lays the story out for a terminal. What is meant to be pasted is never broken into lines.
func (s *Story) WriteText(w io.Writer) error {
	p := printer{width: s.Width}
	for _, line := range s.Verdict {
		p.line("", line)
	}
	s.textCauses(&p)
	s.textServer(&p)
	s.textChart(&p)
	p.list(say(s.Lang, "load"), s.Load)
	s.textLines(&p, "advice", s.Advice, true)
	s.textLines(&p, "unknown", s.Unknown, false)
	p.list(say(s.Lang, "files"), s.Files)
	if s.Bug != "" {
		p.heading(say(s.Lang, "bug_report"))
		p.verbatim("    ", s.Bug)
	}
	if text := p.String(); s.Height > 0 && strings.Count(text, "\n") >= s.Height {
		p.WriteByte('\n')
		p.line("↑ ", s.Verdict[0])
	}
	_, err := io.WriteString(w, p.String())
	return err
}

// printer gathers lines and breaks them to the terminal's width.
type printer struct {
	strings.Builder
	width int
}

func (p *printer) line(head, text string) { p.WriteString(wrapLine(head, text, p.width)) }

func (p *printer) heading(text string) {
	p.WriteByte('\n')
	p.line("", text)
}

func (p *printer) verbatim(indent, text string) {
	for line := range strings.Lines(text) {
		p.WriteString(strings.TrimRight(indent+line, " \n") + "\n")
	}
}

func (p *printer) list(heading string, lines []string) {
	if len(lines) == 0 {
		return
	}
	p.heading(heading)
	for _, line := range lines {
		p.line("  - ", line)
	}
}

func (s *Story) textCauses(p *printer) {
	if len(s.Causes)+len(s.Orphans) > 0 {
		p.heading(say(s.Lang, "incidents"))
	}
	for _, c := range s.Causes {
		p.line("  ", c.Head())
		p.line("    ", c.Numbers(s.Lang))
		if c.Application != "" {
			p.line("    ", c.Applications(s.Lang))
		}
		for _, note := range c.Notes {
			p.line("    ", note)
		}
	}
	if s.More != "" {
		p.line("  ", s.More)
	}
	for i, line := range s.Orphans {
		if i == 0 {
			p.line("  ", line)
		} else {
			p.line("    ", line)
		}
	}
}

// Head names a cause: SQLSTATE, kind, table, endpoint.
func (c Cause) Head() string {
	var parts []string
	for _, part := range []string{c.State, c.Kind, c.Table, c.Endpoint} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, " · ")
}

// Numbers tells how often it happened and how that ended.
func (c Cause) Numbers(lang string) string {
	text := say(lang, "numbers", count(c.Count), count(c.Cascades), count(c.Lost))
	if c.RetriedKnown {
		text += say(lang, "numbers_retried", count(c.Retried))
	}
	return text
}

// Applications tells which programs met it, and how often.
func (c Cause) Applications(lang string) string { return say(lang, "applications", c.Application) }

func (s *Story) textServer(p *printer) {
	if !s.Server {
		return
	}
	p.heading(say(s.Lang, "database"))
	if len(s.Findings) == 0 {
		p.line("  ", say(s.Lang, "database_clean"))
	}
	for _, f := range s.Findings {
		p.line(fmt.Sprintf("  %-4s", strings.Repeat("!", f.Weight)), f.Text)
		p.fix(f.Fix)
	}
	for _, fact := range s.Facts {
		p.line("  -   ", fact)
	}
}

func (p *printer) fix(sql string) {
	if sql != "" {
		p.verbatim("      ", sql)
	}
}

func (s *Story) textLines(p *printer, key string, lines []Line, numbered bool) {
	if len(lines) == 0 {
		return
	}
	p.heading(say(s.Lang, key))
	for i, line := range lines {
		head := "  - "
		if numbered {
			head = fmt.Sprintf("  %d. ", i+1)
		}
		p.line(head, line.Text)
		p.fix(line.Fix)
	}
}

func (s *Story) textChart(p *printer) {
	c := s.Chart
	if c == nil {
		return
	}
	p.heading(c.Title)
	conflicts, echoes := say(s.Lang, "chart_conflicts"), say(s.Lang, "col_cascades")
	pad := max(columnsOf(conflicts), columnsOf(echoes))
	row := func(name, text string) {
		p.WriteString("  " + name + strings.Repeat(" ", pad-columnsOf(name)+2) + text + "\n")
	}
	row(conflicts, spark(c.Conflicts))
	row(echoes, spark(c.Echoes))
	from, to := c.Axis()
	row("", from+strings.Repeat(" ", max(1, len(c.Conflicts)-len(from)-len(to)))+to)
}

var sparks = []rune(" ▁▂▃▄▅▆▇█")

// spark draws a chart in one line.
func spark(values []int64) string {
	var most int64 = 1
	for _, v := range values {
		most = max(most, v)
	}
	out := make([]rune, len(values))
	for i, v := range values {
		level := int(v * int64(len(sparks)-1) / most)
		if v > 0 && level == 0 {
			level = 1
		}
		out[i] = sparks[level]
	}
	return string(out)
}
