package link

import "time"

// LastMessage is when the home was last heard, heartbeats included; zero if
// never.
func (o *Owner) LastMessage() time.Time { return o.client.Status().LastMessage }
