package pgretry

import "strings"

// endsTransaction tells that sql has a statement that ends the transaction: COMMIT, END, ABORT, ROLLBACK but to a
// savepoint, PREPARE TRANSACTION. One of several statements counts too, what stands in quotes or comments does not.
func endsTransaction(sql string) bool {
	for sql != "" {
		first, rest := word(sql)
		switch {
		case !wordEnds(rest): // such as the prepared statement end-of-day
		case isOneOf(first, "commit", "end", "abort"):
			return true
		case isOneOf(first, "rollback"):
			second, rest := word(rest)
			if isOneOf(second, "work", "transaction") {
				second, _ = word(rest)
			}
			return !isOneOf(second, "to")
		case isOneOf(first, "prepare"):
			second, _ := word(rest)
			return isOneOf(second, "transaction")
		case isOneOf(first, "create"):
			rest = pastAtomicBody(rest)
		}
		sql = afterStatement(rest)
	}
	return false
}

// pastAtomicBody returns what follows CREATE, without the body of a function or procedure that is written BEGIN ATOMIC …
// END: its statements end in semicolons, the last of them before an END that ends no transaction.
func pastAtomicBody(sql string) string {
	what, rest := word(sql)
	if isOneOf(what, "or") {
		_, rest = word(rest) // REPLACE
		what, rest = word(rest)
	}
	if !isOneOf(what, "function", "procedure") {
		return sql
	}
	body, found := atomicBody(rest)
	if !found {
		return sql
	}
	for body != "" {
		first, rest := word(body)
		if isOneOf(first, "end") {
			return rest
		}
		body = afterStatement(rest)
	}
	return ""
}

// atomicBody returns what follows BEGIN ATOMIC in the statement that sql begins with.
func atomicBody(sql string) (body string, found bool) {
	for i := 0; i < len(sql) && sql[i] != ';'; {
		end := i
		for end < len(sql) && isIdentifier(sql[end]) {
			end++
		}
		if isOneOf(sql[i:end], "begin") {
			if second, rest := word(sql[end:]); isOneOf(second, "atomic") {
				return rest, true
			}
		}
		i = max(end, pastQuote(sql, i), pastComment(sql, i), i+1)
	}
	return "", false
}

// mentionsNotify tells that sql may send a notification.
func mentionsNotify(sql string) bool {
	const keyword = "notify"
	for i := 0; i+len(keyword) <= len(sql); i++ {
		if sql[i]|0x20 == keyword[0] && isOneOf(sql[i:i+len(keyword)], keyword) {
			return true
		}
	}
	return false
}

func isOneOf(word string, keywords ...string) bool {
	for _, k := range keywords {
		if len(word) == len(k) && strings.EqualFold(word, k) {
			return true
		}
	}
	return false
}

// word returns the first word of sql, past spaces, comments and semicolons, and what follows it.
func word(sql string) (first, rest string) {
	i := 0
	for i < len(sql) && !isLetter(sql[i]) {
		next := pastComment(sql, i)
		if next == i && sql[i] > ' ' && sql[i] != ';' {
			return "", sql[i:]
		}
		i = max(next, i+1)
	}
	end := i
	for end < len(sql) && isIdentifier(sql[end]) {
		end++
	}
	return sql[i:end], sql[end:]
}

// wordEnds tells that what follows a word does not belong to it.
func wordEnds(rest string) bool {
	return rest == "" || rest[0] <= ' ' || rest[0] == ';' || pastComment(rest, 0) > 0
}

// afterStatement is what follows the next semicolon that ends a statement.
func afterStatement(sql string) string {
	if strings.IndexByte(sql, ';') < 0 {
		return ""
	}
	for i := 0; i < len(sql); {
		if sql[i] == ';' {
			return sql[i+1:]
		}
		i = max(pastQuote(sql, i), pastComment(sql, i), i+1)
	}
	return ""
}

// pastQuote returns the end of the quoted text that begins at i, and i where none does. A doubled quote inside makes
// two quoted texts, one behind the other, which comes to the same.
func pastQuote(sql string, i int) int {
	switch sql[i] {
	case '"':
		return i + 1 + past(sql[i+1:], `"`)
	case '\'':
		if i > 0 && (sql[i-1] == 'e' || sql[i-1] == 'E') && (i == 1 || !isIdentifier(sql[i-2])) {
			return pastEscaped(sql, i+1)
		}
		return i + 1 + past(sql[i+1:], `'`)
	case '$':
		if i > 0 && isIdentifier(sql[i-1]) {
			return i
		}
		end := i + 1
		for end < len(sql) && isIdentifier(sql[end]) && sql[end] != '$' {
			end++
		}
		if end == len(sql) || sql[end] != '$' || end > i+1 && isDigit(sql[i+1]) {
			return i
		}
		tag := sql[i : end+1]
		return end + 1 + past(sql[end+1:], tag)
	}
	return i
}

// pastEscaped returns the end of a string in which a backslash escapes.
func pastEscaped(sql string, i int) int {
	for ; i < len(sql) && sql[i] != '\''; i++ {
		if sql[i] == '\\' {
			i++
		}
	}
	return min(i+1, len(sql))
}

// pastComment returns the end of the comment that begins at i, and i where none does. Comments with /* may be nested.
func pastComment(sql string, i int) int {
	switch {
	case strings.HasPrefix(sql[i:], "--"):
		if end := strings.IndexAny(sql[i:], "\r\n"); end >= 0 {
			return i + end
		}
		return len(sql)
	case !strings.HasPrefix(sql[i:], "/*"):
		return i
	}
	for depth := 0; i < len(sql); {
		switch {
		case strings.HasPrefix(sql[i:], "/*"):
			depth, i = depth+1, i+2
		case strings.HasPrefix(sql[i:], "*/"):
			depth, i = depth-1, i+2
		default:
			i++
		}
		if depth == 0 {
			return i
		}
	}
	return i
}

// past is the index behind the first mark in text, the length of text if there is none.
func past(text, mark string) int {
	if i := strings.Index(text, mark); i >= 0 {
		return i + len(mark)
	}
	return len(text)
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func isIdentifier(c byte) bool { return isLetter(c) || isDigit(c) || c == '_' || c >= 0x80 }
