package chord

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// copier takes cells that other members hold into this node's shards, at a
// bounded rate.
type copier struct {
	node *Node
	st   *ringState
	pace *pace
	// copied is told of each page.
	copied func(keys, bytes int)
}

// noteBytes is what a key costs the limit for being looked at, which takes time at
// both ends.
const noteBytes = 64

// pace keeps copying from being felt by callers. With a rate it is that; without,
// whoever copies rests for some times as long as the work took, so that it takes
// the same small part of a slow machine as of a fast one.
type pace struct {
	limit *rate.Limiter // nil: by resting
	since time.Time     // when the work began
}

const (
	// restFor is how many times as long as the work a rest is, and maxRest its bound:
	// who was waited for in vain was no work.
	restFor = 6
	maxRest = 250 * time.Millisecond
)

// newPace makes a pace of bytes per second; 0 rests.
func newPace(bytesPerSecond int) *pace {
	p := &pace{since: time.Now()}
	if bytesPerSecond > 0 {
		p.limit = newLimiter(bytesPerSecond)
	}
	return p
}

// spend is called after each part of the work, with the bytes that it moved. It is
// not for several goroutines at a time.
func (p *pace) spend(ctx context.Context, n int) error {
	if p.limit != nil {
		return spend(ctx, p.limit, n)
	}
	if err := pause(ctx, min(restFor*time.Since(p.since), maxRest)); err != nil {
		return err
	}
	p.since = time.Now()
	return nil
}

// newLimiter makes a limiter of bytes per second. Its burst is a hundredth of a
// second, so that what is copied does not come in heaps.
func newLimiter(bytesPerSecond int) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(bytesPerSecond), max(bytesPerSecond/100, 1))
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

// wanted is a cell that another member is said to hold.
type wanted struct {
	key      string
	accepted register.Ballot
	// chosen: a majority holds it at that ballot.
	chosen bool
}

// takeWanted takes from a member those of the cells that are newer than what this
// node holds, and waits until all are durable here, or settled.
func (c *copier) takeWanted(ctx context.Context, from ring.Node, offered []wanted) error {
	var want []wanted
	size := 0
	for _, w := range offered {
		size += len(w.key)
		have, _, err := c.node.store.Load(w.key)
		if err != nil {
			return err
		}
		if have.Accepted.Less(w.accepted) {
			want = append(want, w)
		}
	}
	if err := c.pace.spend(ctx, size); err != nil {
		return err
	}
	for len(want) > 0 {
		n, err := c.take(ctx, from, want)
		if err != nil {
			return err
		}
		want = want[n:]
	}
	return nil
}

// take takes the first of the cells, and returns how many.
func (c *copier) take(ctx context.Context, from ring.Node, want []wanted) (int, error) {
	keys := make([]string, min(len(want), adoptKeys))
	for i := range keys {
		keys[i] = want[i].key
	}
	got, err := c.node.fetch(ctx, c.st.placement.Configuration().Epoch, from, keys)
	if err == nil {
		err = c.node.fences.receive(c.st, got.Fences)
	}
	if err != nil {
		return 0, err
	}
	var begun []adoption
	bytes := 0
	for i, b := range got.Cells {
		if len(b) == 0 {
			continue // dropped there meanwhile
		}
		bytes += len(b)
		cell, err := register.DecodeCell(b)
		if err != nil {
			return 0, fmt.Errorf("key %q: %w", want[i].key, err)
		}
		// A cell that has changed since it was noted may not be chosen yet.
		chosen := want[i].chosen && cell.Accepted == want[i].accepted
		begun = append(begun, c.node.copyCell(c.st, want[i].key, cell, chosen))
	}
	outcomes, err := c.node.settled(ctx, begun)
	if err != nil {
		return 0, err
	}
	for _, o := range outcomes {
		if o != register.Done {
			return 0, fmt.Errorf("taking over a cell: %v", o)
		}
	}
	c.copied(len(begun), bytes)
	return len(got.Cells), c.pace.spend(ctx, bytes)
}

// copyCell gives a cell that others hold to this node's shard.
func (n *Node) copyCell(st *ringState, key string, cell register.Cell, chosen bool) adoption {
	d := n.driver(st, key)
	epoch := st.placement.Configuration().Epoch
	token, result := d.begin(func(now register.Now, token uint64) {
		if chosen {
			d.shard.Learn(now, token, epoch, key, cell)
		} else {
			d.shard.Adopt(now, token, epoch, key, cell)
		}
	})
	return adoption{d, token, result}
}
