// Package pglog reads PostgreSQL and Odoo logs and ties every "current transaction is aborted" (SQLSTATE 25P02)
// to the error that aborted its transaction.
//
// The way of the bytes: a chunker cuts an input into chunks of whole records; workers turn chunks into items, in
// parallel, keeping only errors and a few bits of evidence per session ("something succeeded here", "the session
// began here"); one goroutine merges the items in the order of the log and does the pairing. So memory depends on
// the number of sessions alive at once, never on the size of the log, and the answer does not depend on how the
// input was cut.
//
// Nearly all lines of a busy log say nothing new about their session: another statement that succeeded, the parameters of one.
// Before a line is read in full, skim compares it with what is remembered of its session and steps over it. It may only leave
// out what changes nothing; the tests read everything both ways and expect the same answer. Searching for the errors alone is
// no way out: it takes longer than splitting into lines, and every error needs the lines between it and its root.
//
// The rule of the pairing: a root is named only while nothing in the log contradicts it. The last error of the
// session is the candidate; a line that proves the transaction healthy again, a new session on the same pid, another
// transaction id, a missing line, or an ambiguity withdraws it, and the answer is then "no root proven".
package pglog
