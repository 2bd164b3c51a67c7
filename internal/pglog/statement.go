package pglog

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// maxTokens bounds the part of a statement that is read for its table and shape.
const maxTokens = 400

// sqlTokens splits a statement into words, quoted names, and single signs; comments and literals become "?".
func sqlTokens(out []string, sql string, limit int) []string {
	for i := 0; i < len(sql) && len(out) < limit; {
		tok, next := sqlToken(sql, i)
		if tok != "" {
			out = append(out, tok)
		}
		i = next
	}
	return out
}

// sqlToken reads one token at i; "" is white space or a comment.
func sqlToken(sql string, i int) (string, int) {
	c := sql[i]
	switch {
	case c <= ' ':
		return "", i + 1
	case strings.HasPrefix(sql[i:], "--"):
		return "", indexFrom(sql, i, "\n")
	case strings.HasPrefix(sql[i:], "/*"):
		return "", indexFrom(sql, i+2, "*/")
	case c == '\'':
		return "?", literalEnd(sql, i)
	case c == '"':
		j := indexFrom(sql, i+1, `"`)
		return sql[i:j], j
	case c == '$' && i+1 < len(sql):
		return "?", dollarEnd(sql, i)
	case c >= '0' && c <= '9':
		j := i
		for j < len(sql) && (wordByte(sql[j]) || sql[j] == '.') {
			j++
		}
		return "?", j
	case wordByte(c):
		j := i
		for j < len(sql) && wordByte(sql[j]) {
			j++
		}
		return sql[i:j], j
	}
	return sql[i : i+1], i + 1
}

func wordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// indexFrom gives the position behind the next end, or the end of the text.
func indexFrom(s string, i int, end string) int {
	if i > len(s) {
		return len(s)
	}
	j := strings.Index(s[i:], end)
	if j < 0 {
		return len(s)
	}
	return i + j + len(end)
}

func literalEnd(sql string, i int) int {
	for j := i + 1; j < len(sql); j++ {
		if sql[j] != '\'' {
			continue
		}
		if j+1 < len(sql) && sql[j+1] == '\'' {
			j++
			continue
		}
		return j + 1
	}
	return len(sql)
}

// dollarEnd passes a parameter ($1) or a dollar-quoted text.
func dollarEnd(sql string, i int) int {
	j := i + 1
	for j < len(sql) && wordByte(sql[j]) {
		j++
	}
	if j < len(sql) && sql[j] == '$' {
		return indexFrom(sql, j+1, sql[i:j+1])
	}
	return j
}

// TableOf names the table that a statement writes, or reads when it writes none; "" when the text shows none.
// The schema is left out.
func TableOf(sql string) string {
	var room [48]string
	tokens := sqlTokens(room[:0], sql, firstTokens)
	t, found := writtenTable(tokens, 2)
	if found && t != "" {
		return t
	}
	if tokens = sqlTokens(tokens[:0], sql, maxTokens); !found {
		t, _ = writtenTable(tokens, len(tokens))
	}
	if t != "" {
		return t
	}
	return readTable(tokens)
}

// firstTokens are read first: most statements that write say so in the first two, and what in the others.
const firstTokens = 8

// writtenTable looks for a word among the first tokens that writes; found tells that there is one.
func writtenTable(tokens []string, first int) (table string, found bool) {
	for i, tok := range tokens[:min(first, len(tokens))] {
		if len(tok) < 4 || len(tok) > 8 || !strings.ContainsRune("uifltcUIFLTCdD", rune(tok[0])) {
			continue // turning every token into upper case costs more than the rest
		}
		switch strings.ToUpper(tok) {
		case "UPDATE":
			if i > 0 && (is(tokens, i-1, "FOR") || is(tokens, i-1, "KEY") || is(tokens, i-1, "DO") || is(tokens, i-1, "ON")) {
				continue
			}
			return tableAt(tokens, i+1), true
		case "INTO":
			if i > 0 && (is(tokens, i-1, "INSERT") || is(tokens, i-1, "MERGE")) {
				return tableAt(tokens, i+1), true
			}
		case "FROM":
			if i > 0 && is(tokens, i-1, "DELETE") {
				return tableAt(tokens, i+1), true
			}
		case "LOCK", "TRUNCATE", "COPY":
			if i == 0 || tokens[i-1] == ";" {
				return tableAt(tokens, i+1), true
			}
		case "TABLE":
			if i > 0 && (is(tokens, i-1, "ALTER") || is(tokens, i-1, "DROP")) {
				return tableAt(tokens, i+1), true
			}
		}
	}
	return "", false
}

// readTable gives the first table behind FROM that is no common table expression of the same statement.
func readTable(tokens []string) string {
	ctes := map[string]bool{}
	for i := 0; i+2 < len(tokens); i++ {
		if is(tokens, i+1, "AS") && (tokens[i+2] == "(" || is(tokens, i+2, "MATERIALIZED") || is(tokens, i+2, "NOT")) {
			ctes[unquoteName(tokens[i])] = true
		}
	}
	for i := range tokens {
		if !is(tokens, i, "FROM") || i+1 >= len(tokens) || tokens[i+1] == "(" {
			continue
		}
		t := tableAt(tokens, i+1)
		if t != "" && !ctes[t] {
			return t
		}
	}
	return ""
}

func is(tokens []string, i int, word string) bool {
	return i < len(tokens) && strings.EqualFold(tokens[i], word)
}

// tableAt reads a table name, past ONLY, TABLE, IF EXISTS and the schema.
func tableAt(tokens []string, i int) string {
	for is(tokens, i, "ONLY") || is(tokens, i, "TABLE") || is(tokens, i, "IF") || is(tokens, i, "EXISTS") {
		i++
	}
	for i+2 < len(tokens) && tokens[i+1] == "." {
		i += 2
	}
	if i >= len(tokens) || !nameLike(tokens[i]) || i+1 < len(tokens) && tokens[i+1] == "(" && functionPlace(tokens, i) {
		return ""
	}
	return unquoteName(tokens[i])
}

// functionPlace tells a function in FROM from the column list of an INSERT or COPY.
func functionPlace(tokens []string, i int) bool {
	for j := i - 1; j >= 0 && j >= i-6; j-- {
		if is(tokens, j, "INTO") || is(tokens, j, "COPY") {
			return false
		}
	}
	return true
}

func nameLike(tok string) bool {
	return tok != "" && (tok[0] == '"' || wordByte(tok[0])) && !strings.EqualFold(tok, "SELECT")
}

func unquoteName(tok string) string {
	if len(tok) >= 2 && tok[0] == '"' {
		return strings.ReplaceAll(strings.Trim(tok, `"`), `""`, `"`)
	}
	return strings.ToLower(tok)
}

// ShapeOf gives a statement without its literals and comments, for grouping. Lists of values collapse to one.
func ShapeOf(sql string) string {
	tokens := sqlTokens(nil, sql, 60)
	var out []string
	for _, tok := range tokens {
		n := len(out)
		if tok == "?" && n >= 2 && out[n-1] == "," && out[n-2] == "?" {
			out = out[:n-1]
			continue
		}
		out = append(out, tok)
	}
	return tidy.Replace(strings.Join(out, " "))
}

var tidy = strings.NewReplacer(" . ", ".", " : : ", "::", "( ", "(", " )", ")", " ,", ",", " ;", ";")

// endsTransaction tells whether an error of this statement leaves no transaction behind: it failed in COMMIT, or it is a
// command that cannot run inside a transaction at all. Of several commands in one statement it does not.
func (r *Record) endsTransaction() bool {
	var room [12]string
	tokens := sqlTokens(room[:0], r.Statement, 1)
	ends := false
	switch {
	case is(tokens, 0, "COMMIT"), is(tokens, 0, "END"):
		ends = true
	case is(tokens, 0, "VACUUM"):
		ends = r.SQLState != "25001"
	case is(tokens, 0, "PREPARE"):
		tokens = sqlTokens(room[:0], r.Statement, 2)
		ends = is(tokens, 1, "TRANSACTION")
	case is(tokens, 0, "CREATE"), is(tokens, 0, "DROP"):
		tokens = sqlTokens(room[:0], r.Statement, 2)
		ends = (is(tokens, 1, "DATABASE") || is(tokens, 1, "TABLESPACE")) && r.SQLState != "25001"
	}
	if !ends {
		return false
	}
	tokens = sqlTokens(room[:0], r.Statement, len(room))
	semicolon := slices.Index(tokens, ";")
	return semicolon < 0 || semicolon == len(tokens)-1
}

var (
	contextSQL = regexp.MustCompile(`(?i)["«„“「]\s?((?:SELECT|UPDATE|INSERT|DELETE|MERGE|WITH)\s[^\x00]*)`)
	quotedName = regexp.MustCompile(`["«„“”「]\s?([^"»“”」«„]+?)\s?["»“”」]`)
)

// quotes are the signs that the languages put names in.
const quotes = "\"«„“「"

// hasQuote tells whether a text has one of the quotes; in plain ASCII there is only one to look for.
func hasQuote(text string) bool {
	for i := range len(text) {
		if text[i] == '"' || text[i] >= 0x80 {
			return strings.ContainsAny(text[i:], quotes)
		}
	}
	return false
}

// hasTuple tells whether a line names a row by its place: "(0,66)".
func hasTuple(line string) bool {
	for {
		open := strings.IndexByte(line, '(')
		if open < 0 {
			return false
		}
		line = line[open+1:]
		_, next, ok := parseUint([]byte(line[:min(len(line), 12)]), 0)
		if ok && next < len(line) && line[next] == ',' {
			rest := strings.TrimPrefix(line[next+1:], " ")
			_, next, ok = parseUint([]byte(rest[:min(len(rest), 12)]), 0)
			if ok && next < len(rest) && rest[next] == ')' {
				return true
			}
		}
	}
}

// Table names the table of the record's own statement; where the statement names none, the one that the innermost SQL
// of the context, or the message, names.
func (r *Record) Table() string {
	if r.settled {
		return r.table
	}
	if t := r.statementTable(); t != "" {
		return t
	}
	if t := contextTable(r.Context); t != "" {
		return t
	}
	if (r.SQLState == "55P03" || r.SQLState == "40001") && !r.raised() && hasQuote(r.Message) {
		if m := quotedName.FindStringSubmatch(r.Message); m != nil {
			return m[1]
		}
	}
	return ""
}

// ConflictTable names the table that the context says the conflict was on, "" when it says nothing.
func (r *Record) ConflictTable() string {
	if r.settled {
		return r.conflict
	}
	return contextTable(r.Context)
}

// settle works out, once and outside the merge, what the merge asks of every error.
func (r *Record) settle(cache *messageCache, langs []string) {
	r.settleState(cache, langs)
	if r.SQLState == StateAborted {
		return
	}
	r.conflict, r.table = r.ConflictTable(), r.Table()
	r.kind = kindOf(r)
	r.ends = r.endsTransaction()
	if r.VXID != "" {
		r.shape = shapeHash(r.SQLState, cmp.Or(r.Statement, r.Message))
	}
	r.settled, r.known = true, nil
}

func contextTable(context string) string {
	if context == "" {
		return ""
	}
	for line := range strings.Lines(context) {
		if !hasTuple(line) {
			continue
		}
		if m := quotedName.FindStringSubmatch(line); m != nil {
			return m[1]
		}
	}
	if m := contextSQL.FindStringSubmatch(context); m != nil {
		return TableOf(m[1])
	}
	return ""
}

var stateLiteral = regexp.MustCompile(`'([0-9A-Z]{5})'`)

// raised tells whether the message was made by RAISE of a PL/pgSQL function, whatever its words: the context says so, or,
// where a terse log has none, the statement gives the words.
func (r *Record) raised() bool {
	first, _, _ := strings.Cut(r.Context, "\n")
	return strings.Contains(first, "PL/pgSQL") && strings.Contains(first, "RAISE") || r.Context == "" && r.saysItself()
}

// saysItself tells whether the statement holds the message as a literal.
func (r *Record) saysItself() bool {
	i := strings.Index(r.Statement, r.Message)
	end := i + len(r.Message)
	return r.Message != "" && i > 0 && r.Statement[i-1] == '\'' && end < len(r.Statement) && r.Statement[end] == '\''
}

// stateRaised is the SQLSTATE that the statement names, the usual one where it names none or several.
func (r *Record) stateRaised() string {
	state := ""
	for _, m := range stateLiteral.FindAllStringSubmatch(r.Statement, -1) {
		if !knownStates()[m[1]] || m[1] == state {
			continue
		}
		if state != "" {
			return "P0001"
		}
		state = m[1]
	}
	return cmp.Or(state, "P0001")
}

// settleState finds the SQLSTATE where the log does not give it.
func (r *Record) settleState(cache *messageCache, langs []string) {
	if r.SQLState != "" {
		return
	}
	if r.raised() {
		r.SQLState = r.stateRaised()
		return
	}
	r.SQLState = cache.stateOf(r.Message, langs, r.torn)
	if first, _, more := strings.Cut(r.Message, "\n"); more && r.SQLState == "" {
		r.SQLState = cache.stateOf(first, langs, r.torn) // somebody else's line may have come in between
	}
	r.SQLState = cmp.Or(r.otherState(), r.SQLState, StateUnknown)
}

// otherState is the SQLSTATE of a message that has another one elsewhere; empty when it has not.
func (r *Record) otherState() string {
	switch {
	case r.SQLState == "40001" && strings.Contains(r.Detail, "buffer deadlock"):
		return "40P01"
	case r.SQLState == "42704" && r.Severity == Fatal:
		if m := quotedName.FindStringSubmatch(r.Message); m != nil && m[1] == cmp.Or(r.User, m[1]) {
			return "28000" // the role of a login
		}
	}
	return ""
}
