package web

import "github.com/concord-home/concord/internal/web/hub"

// ReadyList is readyList, for tests: what it is about happens between two steps
// of a subscription.
type ReadyList struct{ *readyList }

// NewReadyList returns a ReadyList.
func NewReadyList() ReadyList { return ReadyList{newReadyList()} }

// Open is open.
func (l ReadyList) Open(id int64) { l.open(id) }

// Add is add.
func (l ReadyList) Add(id int64, feed *hub.Feed) { l.add(id, feed) }

// Remove is remove.
func (l ReadyList) Remove(id int64) { l.remove(id) }

// Woke is woke.
func (l ReadyList) Woke(id int64) { l.woke(id) }

// Next is next.
func (l ReadyList) Next() (int64, *hub.Feed) { return l.next() }
