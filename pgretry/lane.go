package pgretry

import (
	"container/heap"
	"time"
)

// lane is a queue at a gate, for the transactions of one name: oldest first, retries keep their age. Lanes share the
// time inside the gate in proportion to their weights, so that many short readers leave room for one long writer.
type lane struct {
	name    string
	weight  float64
	virtual float64 // nanoseconds inside so far, divided by weight
	queue   ageHeap
}

func (l *lane) first() *ticket {
	if len(l.queue) == 0 {
		return nil
	}
	return l.queue[0]
}

// push adds t. A lane that was empty starts at the gate's clock: idling earns no credit.
func (l *lane) push(t *ticket, clock float64) {
	if len(l.queue) == 0 {
		l.virtual = max(l.virtual, clock)
	}
	heap.Push(&l.queue, t)
}

func (l *lane) remove(t *ticket) { heap.Remove(&l.queue, t.index) }

func (l *lane) spent(d time.Duration) { l.virtual += float64(d) / l.weight }

// ageHeap orders tickets by whether they must be alone, then by age.
type ageHeap []*ticket

func (h ageHeap) Len() int { return len(h) }

func (h ageHeap) Less(i, j int) bool {
	if h[i].alone != h[j].alone {
		return h[i].alone
	}
	return h[i].age < h[j].age
}

func (h ageHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *ageHeap) Push(x any) {
	t := x.(*ticket)
	t.index = len(*h)
	*h = append(*h, t)
}

func (h *ageHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = -1
	return t
}
