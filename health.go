package concord

import "time"

// PartStatus is the health of one part that Concord stands on.
type PartStatus struct {
	Up    bool
	Since time.Time // of Up
	Error string    // why it is down, or soon will be, for people: no address, no secret
}

// Health tells how the parts are that pages do not depend on but people should
// know about. It answers from memory.
type Health interface {
	// Database is the primary that rows are written to.
	Database() PartStatus
	// Spool is the queue between the homes and the database.
	Spool() PartStatus
	// SpoolPending is how many messages wait to be written.
	SpoolPending() int64
	// Server is what the database's server said of itself some seconds ago; nil
	// while it does not answer. Nobody changes what it points to.
	Server() *ServerStats
}
