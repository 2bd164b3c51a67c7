// Package signin knows who is asking: passwords, sessions, and the limits on
// attempts to sign in.
//
// Sessions are kept in memory and in the database. Memory answers every
// request, so a page goes on working while the database is down; a sign-in at
// such a time works for users whose row was seen before, and its session is
// stored when the database is back. What other instances store or delete is
// seen within [Options].RefreshEvery.
package signin
