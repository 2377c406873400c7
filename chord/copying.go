package chord

import (
	"context"
	"fmt"

	"golang.org/x/time/rate"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// copier takes cells that other members hold into this node's shards, at a
// bounded rate.
type copier struct {
	node  *Node
	st    *ringState
	limit *rate.Limiter // of bytes
	// copied is told of each page.
	copied func(keys, bytes int)
}

// noteBytes is what a key costs the limit besides its name: that it is looked at
// takes time at both ends.
const noteBytes = 64

// newLimiter makes a limiter of bytes per second. Its burst is a tenth of a
// second, so that what is copied does not come in heaps.
func newLimiter(bytesPerSecond int) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(bytesPerSecond), max(bytesPerSecond/10, 1))
}

// spend waits until n bytes may be copied.
func spend(ctx context.Context, l *rate.Limiter, n int) error {
	for n > 0 {
		part := min(n, l.Burst())
		if err := l.WaitN(ctx, part); err != nil {
			return err
		}
		n -= part
	}
	return nil
}

// takeNewer takes from a member the cells of a page that are newer than those of
// this node, and waits until all are durable here, or settled. It returns how many
// it took.
func (c *copier) takeNewer(ctx context.Context, from ring.Node, copies []copyNote) (int, error) {
	var want []string
	size := 0
	for i := range copies {
		note := &copies[i]
		size += noteBytes + len(note.Key)
		have, _, err := c.node.store.Load(note.Key)
		if err != nil {
			return 0, err
		}
		if have.Accepted.Less(note.accepted()) {
			want = append(want, note.Key)
		}
	}
	if err := spend(ctx, c.limit, size); err != nil {
		return 0, err
	}
	taken := 0
	for len(want) > 0 {
		n, err := c.take(ctx, from, want)
		if err != nil {
			return taken, err
		}
		taken += n
		want = want[n:]
	}
	return taken, nil
}

// take takes the cells of the first of the keys, and returns of how many.
func (c *copier) take(ctx context.Context, from ring.Node, keys []string) (int, error) {
	epoch := c.st.placement.Configuration().Epoch
	callCtx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	var reply cellsReply
	if err := c.node.mesh.Call(callCtx, from, callCells, &cellsRequest{Epoch: epoch, Keys: keys}, &reply); err != nil {
		return 0, err
	}
	if len(reply.Cells) == 0 || len(reply.Cells) > len(keys) {
		return 0, fmt.Errorf("%d cells for %d keys", len(reply.Cells), len(keys))
	}
	results := make([]<-chan register.Result, 0, len(reply.Cells))
	bytes := 0
	for i, b := range reply.Cells {
		if len(b) == 0 {
			continue // dropped there meanwhile
		}
		bytes += len(b)
		cell, err := register.DecodeCell(b)
		if err != nil {
			return 0, fmt.Errorf("key %q: %w", keys[i], err)
		}
		results = append(results, c.node.adopt(c.st, keys[i], cell))
	}
	if err := c.node.adopted(ctx, results); err != nil {
		return 0, err
	}
	if c.copied != nil {
		c.copied(len(results), bytes)
	}
	return len(reply.Cells), spend(ctx, c.limit, bytes)
}

// adopt gives a cell that another owner holds to this node's shard.
func (n *Node) adopt(st *ringState, key string, cell register.Cell) <-chan register.Result {
	d := n.driver(st, key)
	_, result := d.begin(func(now register.Now, token uint64) {
		d.shard.Adopt(now, token, st.placement.Configuration().Epoch, key, cell)
	})
	return result
}

// adopted waits until all cells are durable, or settled.
func (n *Node) adopted(ctx context.Context, results []<-chan register.Result) error {
	for _, result := range results {
		select {
		case res := <-result:
			if res.Outcome != register.Done {
				return fmt.Errorf("taking over a cell: %v", res.Outcome)
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-n.ctx.Done():
			return n.ctx.Err()
		}
	}
	return nil
}
