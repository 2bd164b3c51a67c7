package link

// QueueAtMost has more than n waiting records be dropped.
func (o *Owner) QueueAtMost(n int) {
	o.queue.mu.Lock()
	defer o.queue.mu.Unlock()
	o.queue.most = n
}
