package concord

import (
	"context"
	"time"
)

// Home is one Home Assistant installation that Concord follows.
type Home struct {
	ID          int64
	Name        string
	URL         string // WebSocket address, ws:// or wss://
	Description string
	Active      bool
	Sequence    int // order in lists, then ID
}

// LinkState is the state of the connection to a home.
type LinkState string

// The states of a link.
const (
	LinkConnecting   LinkState = "connecting"   // dialling, or waiting to dial again
	LinkConnected    LinkState = "connected"    // subscribed, and the first snapshot is in memory
	LinkAuthFailed   LinkState = "auth_failed"  // the home rejected the token: final until it is replaced
	LinkDisconnected LinkState = "disconnected" // switched off here
)

// HomeStatus is what is known of a home's link now.
type HomeStatus struct {
	Home
	Link        LinkState
	Since       time.Time // of Link
	LastMessage time.Time // when the home was last heard, heartbeats included; zero if never
	LastSync    time.Time // end of the last reconciliation that was committed; zero if never
	Version     string    // of Home Assistant
	Error       string    // why the link is down, for people; "" when it is up
	HasToken    bool
	Entities    int
	Areas       int
}

// HomeService keeps the list of homes in the database.
type HomeService interface {
	// FindHomes returns every home, ordered by Sequence, then ID.
	FindHomes(ctx context.Context) ([]Home, error)
	// EnsureHome returns the home with that URL and creates it when there is none.
	EnsureHome(ctx context.Context, name, url string) (Home, error)
}
