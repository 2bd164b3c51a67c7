package doctor

import (
	"fmt"
	"io"
	"strings"
)

// WriteText lays the story out for a terminal.
func (s *Story) WriteText(w io.Writer) error {
	var b strings.Builder
	for _, line := range s.Verdict {
		b.WriteString(line + "\n")
	}
	s.textCauses(&b)
	s.textServer(&b)
	if s.ChartSay != "" {
		fmt.Fprintf(&b, "\n%s\n  %s\n", s.ChartSay, spark(s.Chart))
	}
	s.textList(&b, "advice", s.Advice, true)
	s.textList(&b, "unknown", s.Unknown, false)
	s.textList(&b, "files", s.Files, false)
	if s.Bug != "" && (len(s.Causes) > 0 || len(s.Orphans) > 0) {
		fmt.Fprintf(&b, "\n%s\n", say(s.Lang, "bug_report"))
		for line := range strings.Lines(s.Bug) {
			b.WriteString("    " + line)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s *Story) textCauses(b *strings.Builder) {
	if len(s.Causes) > 0 {
		fmt.Fprintf(b, "\n%s\n", say(s.Lang, "incidents"))
	}
	for _, c := range s.Causes {
		var head []string
		for _, part := range []string{c.State, c.Kind, c.Table, c.Application, c.Endpoint} {
			if part != "" {
				head = append(head, part)
			}
		}
		fmt.Fprintf(b, "  %s\n    %s %s, %s %s, %s %s, %s %s\n", strings.Join(head, " · "),
			say(s.Lang, "col_count"), count(c.Count), say(s.Lang, "col_cascades"), count(c.Cascades),
			say(s.Lang, "col_retried"), count(c.Retried), say(s.Lang, "col_lost"), count(c.Lost))
		for _, note := range c.Notes {
			b.WriteString("    " + note + "\n")
		}
	}
	for i, line := range s.Orphans {
		if i == 0 {
			b.WriteString("  " + line + "\n")
		} else {
			b.WriteString("    " + line + "\n")
		}
	}
}

func (s *Story) textServer(b *strings.Builder) {
	if !s.Server {
		return
	}
	fmt.Fprintf(b, "\n%s\n", say(s.Lang, "database"))
	if len(s.Findings) == 0 {
		b.WriteString("  " + say(s.Lang, "database_clean") + "\n")
	}
	for _, f := range s.Findings {
		b.WriteString("  " + strings.Repeat("!", f.Weight) + " " + f.Text + "\n")
		if f.Fix != "" {
			b.WriteString("      " + f.Fix + "\n")
		}
	}
}

func (s *Story) textList(b *strings.Builder, key string, lines []string, numbered bool) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", say(s.Lang, key))
	for i, line := range lines {
		if numbered {
			fmt.Fprintf(b, "  %d. %s\n", i+1, line)
		} else {
			fmt.Fprintf(b, "  - %s\n", line)
		}
	}
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
