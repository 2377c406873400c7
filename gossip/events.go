package gossip

import (
	"context"
	"sync"

	metrics "github.com/hashicorp/go-metrics/compat"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// maxPending bounds the nodes with news that wait for a slow listener.
const maxPending = 2 * MaxNodes

// events hands news of nodes to a listener, from one goroutine, without ever
// making memberlist wait: of each node only the latest state is kept, in the
// place in the line that its first unheard news had.
type events struct {
	fn     func(Node)
	labels []metrics.Label
	wake   chan struct{}

	mu      sync.Mutex
	order   []ring.ID
	pending map[ring.ID]Node
}

func newEvents(fn func(Node), labels []metrics.Label) *events {
	return &events{fn: fn, labels: labels, wake: make(chan struct{}, 1), pending: map[ring.ID]Node{}}
}

// add queues news of a node. Over the limit, news of nodes that are not yet in
// the queue is dropped and counted.
func (q *events) add(n Node) {
	if q.fn == nil {
		return
	}
	q.mu.Lock()
	if _, ok := q.pending[n.ID]; !ok {
		if len(q.order) >= maxPending {
			q.mu.Unlock()
			metrics.IncrCounterWithLabels([]string{"gossip", "events", "dropped"}, 1, q.labels)
			return
		}
		q.order = append(q.order, n.ID)
	}
	q.pending[n.ID] = n
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *events) next() (Node, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.order) == 0 {
		return Node{}, false
	}
	id := q.order[0]
	q.order = q.order[1:]
	n := q.pending[id]
	delete(q.pending, id)
	return n, true
}

// run calls the listener until ctx ends. What is queued then is not heard.
func (q *events) run(ctx context.Context) {
	for {
		select {
		case <-q.wake:
		case <-ctx.Done():
			return
		}
		for ctx.Err() == nil {
			n, ok := q.next()
			if !ok {
				break
			}
			q.fn(n)
		}
	}
}
