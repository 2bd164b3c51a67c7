package pglog

import (
	"bytes"
	"regexp"
	"time"
)

// unwrapped is a line without what its carrier put around it.
type unwrapped struct {
	inner   []byte
	source  uint64 // hash of host, pod or container, 0 none
	name    []byte // what the hash was made of
	pid     uint32 // of a syslog identifier
	time    int64
	stamp   []byte     // time as it stands in the line, when time is 0
	clock   *clockText // the time of the line before, nil to read every time in full
	partial bool       // the rest of the line follows in the next one
	chunk   int        // PostgreSQL's own syslog numbering "[5-2]": 2, 0 without
	scratch []byte
}

// carrier takes its wrapping off a line; false when the line is not of its form.
type carrier struct {
	name   string
	unwrap func(line []byte, u *unwrapped) bool
}

// carriers in the order in which they are tried on a sample.
var carriers = []carrier{
	{"json", unwrapJSON},
	{"cri", unwrapCRI},
	{"kubectl", unwrapKubectl},
	{"compose", unwrapCompose},
	{"syslog5424", unwrap5424},
	{"syslog", unwrapSyslog},
	{"loki", unwrapLoki},
	{"fluentd", unwrapFluentd},
	{"logplex", unwrapLogplex},
	{"timestamp", unwrapTimestamp},
	{"stern", unwrapStern},
}

// add joins the name of a further layer to the source.
func (u *unwrapped) add(name []byte) {
	u.source = mix(u.source, hashBytes(name))
	u.name = name
}

// unwrapJSON reads one JSON object per line whose text stands under a usual key: docker's json-file driver, journald's
// export, shippers, cloud services.
func unwrapJSON(line []byte, u *unwrapped) bool {
	if len(line) < 8 || line[0] != '{' {
		return false
	}
	if u.clock != nil && unwrapDocker(line, u) {
		return true
	}
	var text []byte
	found, server, docker := false, false, false
	ok := scanObject(line, func(key, value []byte, isString bool) bool {
		switch string(key) {
		case "log", "message", "MESSAGE", "msg", "textPayload", "line", "log_message":
			if isString && !found {
				text, found, docker = value, true, string(key) == "log"
			}
		case "_HOSTNAME", "host", "hostname", "pod_name", "container_name", "CONTAINER_NAME", "container_id", "pod", "container", "namespace", "namespace_name", "instance", "unit", "_SYSTEMD_UNIT", "podName", "containerName", "logging_pod":
			if isString {
				u.add(value)
			} else {
				addNested(value, u)
			}
		case "kubernetes", "resource", "labels", "attrs", "docker":
			if !isString {
				addNested(value, u)
			}
		case "properties": // of Azure
			if !isString && !found {
				text, found = nestedText(value)
			}
		case "error_severity", "record":
			server = true // PostgreSQL's own jsonlog, or a record as an object
		}
		return !server
	})
	if server || !ok || !found {
		return false
	}
	u.scratch = unescapeJSON(u.scratch[:0], text)
	u.inner = u.scratch
	u.partial = docker
	if n := len(u.inner); n > 0 && u.inner[n-1] == '\n' {
		u.inner, u.partial = u.inner[:n-1], false
	}
	return true
}

// nestedText reads the message of an object.
func nestedText(object []byte) (text []byte, found bool) {
	scanObject(object, func(key, value []byte, isString bool) bool {
		if isString && string(key) == "message" {
			text, found = value, true
		}
		return !found
	})
	return text, found
}

// addNested takes the names of pod and container out of a shipper's metadata.
func addNested(object []byte, u *unwrapped) {
	if len(object) == 0 || object[0] != '{' {
		return
	}
	scanObject(object, func(key, value []byte, isString bool) bool {
		switch string(key) {
		case "pod_name", "container_name", "namespace_name", "host", "instance_id", "database_id", "pod", "name", "hostname":
			if isString {
				u.add(value)
			}
		case "labels":
			if !isString {
				addNested(value, u)
			}
		}
		return true
	})
}

// unwrapCRI reads "2026-11-22T10:19:27.191000016Z stderr F text".
func unwrapCRI(line []byte, u *unwrapped) bool {
	at, ok := u.pass(line)
	if !ok || line[10] != 'T' || at+10 > len(line) || line[at] != ' ' {
		return false
	}
	stamp := line[:at]
	if !hasPrefixAt(line, at, " stderr ") && !hasPrefixAt(line, at, " stdout ") {
		return false
	}
	at += 8
	if line[at] != 'F' && line[at] != 'P' || at+1 < len(line) && line[at+1] != ' ' && line[at+1] != ':' {
		return false
	}
	u.stamp, u.partial = stamp, line[at] == 'P'
	if at++; at < len(line) && line[at] == ':' { // further tags
		if at = indexByteFrom(line, at, ' '); at < 0 {
			return false
		}
	}
	u.inner = line[min(at+1, len(line)):]
	return true
}

func indexByteFrom(b []byte, at int, c byte) int {
	i := bytes.IndexByte(b[at:], c)
	if i < 0 {
		return -1
	}
	return at + i
}

// unwrapKubectl reads "[pod/name/container] text".
func unwrapKubectl(line []byte, u *unwrapped) bool {
	if !bytes.HasPrefix(line, []byte("[pod/")) {
		return false
	}
	end := bytes.IndexByte(line, ']')
	if end < 0 {
		return false
	}
	u.add(line[1:end])
	u.inner = bytes.TrimPrefix(line[end+1:], []byte(" "))
	return true
}

// unwrapCompose reads "db-1  | text", with or without colours.
func unwrapCompose(line []byte, u *unwrapped) bool {
	line = stripColour(line)
	bar := bytes.IndexByte(line[:min(len(line), 120)], '|')
	if bar < 1 || line[bar-1] != ' ' {
		return false
	}
	name := bytes.TrimRight(line[:bar], " ")
	if len(name) == 0 || digitByte(name[0]) && bytes.IndexByte(name, ':') >= 0 {
		return false
	}
	for _, c := range name {
		if !wordByte(c) && c != '-' && c != '.' && c != '@' && c != '/' {
			return false
		}
	}
	u.add(name)
	rest := bytes.TrimPrefix(stripColour(line[bar+1:]), []byte(" "))
	u.inner = stripColour(rest)
	return true
}

// stripColour removes terminal escapes from the start of a line.
func stripColour(line []byte) []byte {
	for len(line) > 2 && line[0] == 0x1b && line[1] == '[' {
		end := bytes.IndexByte(line[:min(len(line), 16)], 'm')
		if end < 0 {
			return line
		}
		line = line[end+1:]
	}
	return line
}

// unwrap5424 reads "<134>1 2026-11-22T10:19:27.191Z host postgres 20265 - - text".
func unwrap5424(line []byte, u *unwrapped) bool {
	_, at, ok := syslogPriority(line)
	if !ok || !hasPrefixAt(line, at, "1 ") {
		return false
	}
	words := bytes.SplitN(line[at+2:], []byte(" "), 6)
	if len(words) < 6 {
		return false
	}
	t, _, ok := parseTime(words[0], 0)
	if !ok && string(words[0]) != "-" {
		return false
	}
	u.time = t
	u.add(words[1])
	pid, _, _ := parseUint(words[3], 0)
	u.pid = uint32(pid)
	u.inner = sequenced(structured(words[5]), u)
	return true
}

func syslogPriority(line []byte) (n uint64, next int, ok bool) {
	if len(line) < 4 || line[0] != '<' {
		return 0, 0, false
	}
	n, next, ok = parseUint(line, 1)
	if !ok || next >= len(line) || line[next] != '>' || next > 4 {
		return 0, 0, false
	}
	return n, next + 1, true
}

// structured passes the structured data of RFC 5424 ("-" or "[…]") and the byte order mark.
func structured(rest []byte) []byte {
	switch {
	case bytes.HasPrefix(rest, []byte("- ")):
		rest = rest[2:]
	case len(rest) > 0 && rest[0] == '[' && bytes.Contains(rest, []byte("] ")) && bytes.IndexByte(rest, '=') > 0 && bytes.IndexByte(rest, '=') < bytes.Index(rest, []byte("] ")):
		rest = rest[bytes.Index(rest, []byte("] "))+2:]
	}
	return bytes.TrimPrefix(rest, []byte("\xef\xbb\xbf"))
}

var months = map[string]time.Month{
	"Jan": 1, "Feb": 2, "Mar": 3, "Apr": 4, "May": 5, "Jun": 6, "Jul": 7, "Aug": 8, "Sep": 9, "Oct": 10, "Nov": 11, "Dec": 12,
}

// unwrapSyslog reads the classic form, journald's short forms and rsyslog's ISO form:
// "Nov 22 10:19:27 host postgres[20265]: text", also with the time in seconds.
func unwrapSyslog(line []byte, u *unwrapped) bool {
	at := 0
	if _, next, ok := syslogPriority(line); ok {
		at = next
	}
	t, next, ok := syslogTime(line, at)
	epoch := false
	if !ok {
		t, next, ok = parseEpoch(line, at)
		epoch = ok
	}
	at = next
	if !ok || at >= len(line) || line[at] != ' ' {
		return false
	}
	at++
	host := indexByteFrom(line, at, ' ')
	if host < 0 || host == at || host-at > 255 {
		return false
	}
	end := syslogTag(line, host+1, u)
	if end < 0 {
		return false
	}
	if epoch && u.pid == 0 {
		return false // so may a log_line_prefix begin
	}
	u.time = t
	u.add(line[at:host])
	u.inner = sequenced(line[end:], u)
	return true
}

// syslogTag reads "postgres[20265]: " and gives the position behind it, -1 when it is none.
func syslogTag(line []byte, at int, u *unwrapped) int {
	colon := bytes.IndexByte(line[at:min(len(line), at+160)], ':')
	if colon < 1 {
		return -1
	}
	tag := line[at : at+colon]
	if !letterByte(tag[0]) && tag[0] != '_' && tag[0] != '(' && tag[0] != '/' {
		return -1
	}
	if open := bytes.IndexByte(tag, '['); open > 0 && tag[len(tag)-1] == ']' {
		pid, next, ok := parseUint(tag, open+1)
		if !ok || next != len(tag)-1 {
			return -1
		}
		u.pid = uint32(pid)
	} else if bytes.IndexByte(tag, ' ') >= 0 {
		return -1
	}
	end := at + colon + 1
	if end < len(line) && line[end] == ' ' {
		end++
	}
	return end
}

var weekday = regexp.MustCompile(`^(Mon|Tue|Wed|Thu|Fri|Sat|Sun) `)

func syslogTime(line []byte, at int) (micros int64, next int, ok bool) {
	if at+16 > len(line) {
		return 0, at, false
	}
	if weekday.Match(line[at:]) && at+24 < len(line) {
		at += 4
	}
	if t, next, ok := parseTime(line, at); ok {
		return t, next, true
	}
	month, ok := months[string(line[at:at+3])]
	if !ok || line[at+3] != ' ' {
		return 0, at, false
	}
	day, next, ok := parseUint(line, skipSpaces(line, at+4))
	if !ok || next+9 > len(line) || line[next] != ' ' || line[next+3] != ':' {
		return 0, at, false
	}
	hour, ok1 := digits(line, next+1, 2)
	minute, ok2 := digits(line, next+4, 2)
	second, ok3 := digits(line, next+7, 2)
	fraction, end := parseFraction(line, next+9)
	year := time.Now().UTC().Year() // the classic form has none
	micros = (daysFromCivil(year, int(month), int(day))*86400 + int64(hour*3600+minute*60+second)) * 1e6
	return micros + fraction, end, ok1 && ok2 && ok3
}

// sequenced reads the "[5-1] " that PostgreSQL puts before each piece it hands to syslog.
func sequenced(rest []byte, u *unwrapped) []byte {
	if len(rest) < 6 || rest[0] != '[' {
		return rest
	}
	_, dash, ok := parseUint(rest, 1)
	if !ok || dash >= len(rest) || rest[dash] != '-' {
		return rest
	}
	n, end, ok := parseUint(rest, dash+1)
	if !ok || end >= len(rest) || rest[end] != ']' {
		return rest
	}
	u.chunk = int(n)
	return bytes.TrimPrefix(rest[end+1:], []byte(" "))
}

// unwrapLoki reads `2026-11-22T10:19:27Z {app="postgres"} text`.
func unwrapLoki(line []byte, u *unwrapped) bool {
	t, at, ok := parseTime(line, 0)
	if !ok || !hasPrefixAt(line, at, " {") {
		return false
	}
	end := bytes.Index(line, []byte("} "))
	if end < 0 {
		return false
	}
	u.time = t
	u.add(line[at+1 : end+1])
	u.inner = line[end+2:]
	return true
}

// unwrapFluentd reads "2026-11-22T10:19:27+00:00<tab>tag<tab>{…}", whose object is the next layer.
func unwrapFluentd(line []byte, u *unwrapped) bool {
	t, at, ok := parseTime(line, 0)
	if !ok || at >= len(line) || line[at] != '\t' {
		return false
	}
	tag, rest, ok := bytes.Cut(line[at+1:], []byte("\t"))
	if !ok || len(rest) == 0 || rest[0] != '{' {
		return false
	}
	u.time = t
	u.add(tag)
	u.inner = rest
	return true
}

// unwrapLogplex reads Heroku's "2026-11-22T10:19:27+00:00 app[postgres.29]: [DATABASE] [5-1]  text".
func unwrapLogplex(line []byte, u *unwrapped) bool {
	t, at, ok := parseTime(line, 0)
	if !ok || !hasPrefixAt(line, at, " app[postgres.") {
		return false
	}
	pid, at, ok := parseUint(line, at+len(" app[postgres."))
	if !ok || !hasPrefixAt(line, at, "]: ") {
		return false
	}
	u.time, u.pid = t, uint32(pid)
	rest := line[at+len("]: "):]
	if end := bytes.Index(rest, []byte("] ")); end > 1 && rest[0] == '[' && !digitByte(rest[1]) {
		u.add(rest[1:end])
		rest = rest[end+2:]
	}
	u.inner = sequenced(rest, u)
	return true
}

// unwrapTimestamp reads "2026-11-22T10:19:27.191Z text", as `docker logs -t` and cloud exports write it.
func unwrapTimestamp(line []byte, u *unwrapped) bool {
	t, at, ok := parseTime(line, 0)
	if !ok || line[10] != 'T' || at >= len(line) || line[at] != ' ' {
		return false
	}
	u.time = t
	u.inner = line[at+1:]
	return true
}

var sternForm = regexp.MustCompile(`^([a-z0-9][a-z0-9.-]*) ([a-z0-9][a-z0-9.-]*) `)

// unwrapStern reads "pod container text", with or without colours.
func unwrapStern(line []byte, u *unwrapped) bool {
	if bytes.IndexByte(line[:min(len(line), 120)], 0x1b) >= 0 {
		line = stripEscapes(line)
	}
	m := sternForm.FindSubmatchIndex(line)
	if m == nil || !letterByte(line[m[2]]) && bytes.IndexByte(line[m[2]:m[3]], '-') < 0 {
		return false
	}
	u.add(line[m[2]:m[5]])
	u.inner = line[m[1]:]
	return true
}
