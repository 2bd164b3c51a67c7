package postgres

import "time"

// clockSlack is how far a change may lie before the newest one without being
// taken for a step of the clock: homes send a little out of order.
const clockSlack = 5 * time.Second

// homeClock follows the clock of a home. An epoch begins with each step back,
// so that the same time may come twice.
type homeClock struct {
	epoch int32
	time  time.Time // of the newest change since the last step
}

// setEpoch gives all rows one epoch: what is not heard in its turn stands in the
// present one.
func (r *historyRows) setEpoch(epoch int32) {
	for i := range r.clocks {
		r.clocks[i] = epoch
	}
}

// follow gives each row the epoch in which the home made it.
func (c *homeClock) follow(rows *historyRows) {
	for i, at := range rows.updated {
		switch {
		case rows.late[i]:
		case !c.time.IsZero() && at.Before(c.time.Add(-clockSlack)):
			c.epoch++
			c.time = at
		case at.After(c.time):
			c.time = at
		}
		rows.clocks[i] = c.epoch
	}
}
