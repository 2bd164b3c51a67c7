package pglog

import "time"

// parseUint reads decimal digits at a position.
func parseUint(b []byte, at int) (n uint64, next int, ok bool) {
	next = at
	for next < len(b) && b[next] >= '0' && b[next] <= '9' && next-at < 20 {
		n = n*10 + uint64(b[next]-'0')
		next++
	}
	return n, next, next > at
}

func parseHex(b []byte, at int) (n uint64, next int, ok bool) {
	next = at
	for next < len(b) && next-at < 16 {
		d := hexDigit(b[next])
		if d > 15 {
			break
		}
		n = n<<4 | uint64(d)
		next++
	}
	return n, next, next > at
}

func hexDigit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

func digits(b []byte, at, n int) (int, bool) {
	if at+n > len(b) {
		return 0, false
	}
	v := 0
	for _, c := range b[at : at+n] {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + int(c-'0')
	}
	return v, true
}

// parseTime reads "2026-11-22 10:19:27.773 UTC": the fraction, with point or comma, and the zone may be missing; T may
// stand for the blank. The result is in µs since 1970; an unknown zone name counts as UTC.
func parseTime(b []byte, at int) (micros int64, next int, ok bool) {
	if at+19 > len(b) || b[at+4] != '-' || b[at+13] != ':' || b[at+10] != ' ' && b[at+10] != 'T' {
		return 0, at, false
	}
	year, ok1 := digits(b, at, 4)
	month, ok2 := digits(b, at+5, 2)
	day, ok3 := digits(b, at+8, 2)
	hour, ok4 := digits(b, at+11, 2)
	minute, ok5 := digits(b, at+14, 2)
	second, ok6 := digits(b, at+17, 2)
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || month < 1 || month > 12 || b[at+7] != '-' || b[at+16] != ':' {
		return 0, at, false
	}
	micros = (daysFromCivil(year, month, day)*86400 + int64(hour*3600+minute*60+second)) * 1e6
	next = at + 19
	fraction, next := parseFraction(b, next)
	offset, next := parseZone(b, next)
	return micros + fraction - offset, next, true
}

func parseFraction(b []byte, at int) (micros int64, next int) {
	if at+1 >= len(b) || b[at] != '.' && b[at] != ',' || b[at+1] < '0' || b[at+1] > '9' {
		return 0, at
	}
	scale := int64(100000)
	next = at + 1
	for next < len(b) && b[next] >= '0' && b[next] <= '9' {
		micros += scale * int64(b[next]-'0')
		scale /= 10
		next++
	}
	return micros, next
}

// parseZone reads " UTC", " +03", "Z", "+00:00" …; the offset is in µs east of Greenwich.
func parseZone(b []byte, at int) (offset int64, next int) {
	i := at
	if i < len(b) && b[i] == 'Z' {
		return 0, i + 1
	}
	blank := i < len(b) && b[i] == ' '
	if blank {
		i++
	}
	if i >= len(b) {
		return 0, at
	}
	end := i
	switch {
	case b[i] == '+' || b[i] == '-':
		end++
		for end < len(b) && end-i < 6 && (digitByte(b[end]) || !blank && b[end] == ':' && end-i == 3) {
			end++
		}
		if end-i < 3 {
			return 0, at
		}
	case blank:
		for end < len(b) && end-i < 8 && letterByte(b[end]) {
			end++
		}
		if end-i < 2 || end < len(b) && b[end] == ':' && end+1 < len(b) && b[end+1] == ' ' {
			return 0, at // a word such as "LOG: "
		}
	default:
		return 0, at
	}
	return zoneOffset(b[i:end]), end
}

func digitByte(c byte) bool  { return c >= '0' && c <= '9' }
func letterByte(c byte) bool { return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' }

// zoneOffset knows the numeric zones and the names that stand for one offset everywhere.
func zoneOffset(zone []byte) int64 {
	if h, ok := namedZones[string(zone)]; ok {
		return int64(h * 3600e6)
	}
	if len(zone) < 3 || zone[0] != '+' && zone[0] != '-' {
		return 0
	}
	hours, _ := digits(zone, 1, 2)
	minutes := 0
	if len(zone) >= 5 {
		minutes, _ = digits(zone, len(zone)-2, 2)
	}
	offset := int64(hours*60+minutes) * 60e6
	if zone[0] == '-' {
		offset = -offset
	}
	return offset
}

var namedZones = map[string]float64{
	"CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "WEST": 1, "BST": 1, "MSK": 3, "JST": 9, "KST": 9, "HKT": 8,
	"EST": -5, "EDT": -4, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7, "SAST": 2, "AEST": 10, "AEDT": 11,
}

// parseEpoch reads "1795342767.773".
func parseEpoch(b []byte, at int) (micros int64, next int, ok bool) {
	seconds, next, ok := parseUint(b, at)
	if !ok || next-at < 9 {
		return 0, at, false
	}
	fraction, next := parseFraction(b, next)
	return int64(seconds)*1e6 + fraction, next, true
}

// daysFromCivil counts the days from 1970-01-01 to a date of the Gregorian calendar.
func daysFromCivil(y, m, d int) int64 {
	if m <= 2 {
		y--
	}
	era := y / 400
	yoe := y - era*400
	doy := (153*((m+9)%12)+2)/5 + d - 1
	doe := yoe*365 + yoe/4 - yoe/100 + doy
	return int64(era)*146097 + int64(doe) - 719468
}

// TimeOf turns a record's time into a time.Time, zero when unknown.
func TimeOf(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

// hashBytes is FNV-1a, for keys that need no secrecy.
func hashBytes(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// mix spreads the bits of two numbers over one.
func mix(a, b uint64) uint64 {
	x := a ^ (b+0x9e3779b97f4a7c15)*0xbf58476d1ce4e5b9
	x ^= x >> 29
	x *= 0x94d049bb133111eb
	return x ^ x>>32
}
