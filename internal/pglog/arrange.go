package pglog

import (
	"cmp"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// arranged is an input with its place in the order of reading.
type arranged struct {
	Input
	group  string // files of one group are one log, cut by rotation
	number int    // of the rotation, -1 the current file
	date   string // of the rotation
	first  int64
	size   int64
	format *format // nil until the input is open, for what can be opened only once
	err    error
}

var (
	compressed  = regexp.MustCompile(`(?i)\.(gz|zst|zstd|bz2)$`)
	numbered    = regexp.MustCompile(`\.(\d{1,4})$`)
	dated       = regexp.MustCompile(`[-_.]?(\d{4}-\d\d-\d\d([-_T]\d\d[-:]?\d\d([-:]?\d\d)?)?|\d{8}([-_T]?\d{4,6})?|\d{10})`)
	weekdayName = regexp.MustCompile(`(?i)[-_.](mon|tue|wed|thu|fri|sat|sun)\b`)
	oldSuffix   = regexp.MustCompile(`(?i)\.(old|prev|previous|bak)$`)
)

// rotation takes a file name apart: what all files of the log share, and the place in their order.
func rotation(name string) (stem string, number int, date string) {
	stem, number = compressed.ReplaceAllString(name, ""), -1
	if m := numbered.FindStringSubmatch(stem); m != nil {
		number, _ = strconv.Atoi(m[1])
		stem = strings.TrimSuffix(stem, m[0])
	}
	if oldSuffix.MatchString(stem) {
		stem, number = oldSuffix.ReplaceAllString(stem, ""), 0
	}
	if m := dated.FindStringSubmatch(stem); m != nil {
		date = m[1]
		stem = strings.Replace(stem, m[0], "", 1)
	}
	return weekdayName.ReplaceAllString(stem, ""), number, date
}

// arrange puts the inputs in the order in which they were written.
func arrange(inputs []Input, prefix *Prefix) ([]*arranged, error) {
	var out []*arranged
	for _, in := range inputs {
		a := &arranged{Input: in, group: in.Path, number: -1}
		out = append(out, a)
		if in.Reader != nil || in.Path == "-" || in.Follow {
			a.group += in.Name
			continue
		}
		stem, number, date := rotation(filepath.Base(in.Path))
		a.group = filepath.Join(filepath.Dir(in.Path), stem)
		a.number, a.date = number, date
		a.err = a.look(prefix)
	}
	shareFormats(out)
	slices.SortStableFunc(out, func(x, y *arranged) int { return compareInputs(x, y, out) })
	return out, nil
}

// look reads the beginning of a file: its format, and when it starts.
func (a *arranged) look(prefix *Prefix) error {
	in, err := a.open()
	if err != nil {
		return err
	}
	defer in.closer()
	a.size = in.size
	a.format = sniff(in.head, prefix)
	for _, line := range headLines(in.head) {
		inner, _ := a.format.innerOf(line)
		if a.first = firstTime(inner); a.first != 0 {
			break
		}
	}
	return nil
}

// firstTime finds the time in the first bytes of a line.
func firstTime(line []byte) int64 {
	for at := 0; at < len(line) && at < 80; at++ {
		if !digitByte(line[at]) {
			continue
		}
		if t, _, ok := parseTime(line, at); ok {
			return t
		}
		if t, _, ok := parseEpoch(line, at); ok {
			return t
		}
		for at < len(line) && digitByte(line[at]) {
			at++
		}
	}
	return 0
}

// shareFormats lets the files of one log know each other's prefixes: one of them may be too short to guess from.
func shareFormats(list []*arranged) {
	for _, a := range list {
		if a.format == nil || a.format.fixed {
			continue
		}
		known := map[string]bool{}
		for _, p := range a.format.prefixes {
			known[p.Text] = true
		}
		for _, b := range list {
			if b.group != a.group || b.format == nil || b == a || a.format.csv {
				continue
			}
			for _, p := range b.format.prefixes {
				if !known[p.Text] && p.identifies() && len(a.format.prefixes) < 2*maxTemplates {
					known[p.Text] = true
					a.format.prefixes = append(a.format.prefixes[:len(a.format.prefixes):len(a.format.prefixes)], p)
				}
			}
		}
	}
}

// compareInputs orders groups by their first line, and files within a group by rotation number, date in the name, or
// first line.
func compareInputs(x, y *arranged, all []*arranged) int {
	if x.group != y.group {
		return cmp.Or(cmp.Compare(groupStart(x.group, all), groupStart(y.group, all)), cmp.Compare(x.group, y.group))
	}
	if x.number != y.number && (x.date == y.date || x.date == "" || y.date == "") {
		return cmp.Compare(y.number, x.number)
	}
	if x.date != y.date {
		return compareDates(x, y)
	}
	return cmp.Or(cmp.Compare(x.first, y.first), cmp.Compare(x.Name, y.Name))
}

// compareDates puts the file without a date last: it is the one being written.
func compareDates(x, y *arranged) int {
	switch {
	case x.date == "":
		return 1
	case y.date == "":
		return -1
	case x.first != 0 && y.first != 0 && len(x.date) != len(y.date):
		return cmp.Compare(x.first, y.first)
	}
	return cmp.Compare(x.date, y.date)
}

func groupStart(group string, all []*arranged) int64 {
	var first int64
	for _, a := range all {
		if a.group == group && a.first != 0 && (first == 0 || a.first < first) {
			first = a.first
		}
	}
	return first
}
