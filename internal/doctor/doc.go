// Package doctor turns what the logs and a running server show into a report: what happened, how bad it is, what to do.
//
// Examine reads logs; Database asks a server. Both fill the same Report, which is written as text, HTML or JSON.
package doctor
