package chord

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/chord/store"
)

// A node goes through the ring's configurations one by one, in order. Entering
// one means, in this order: it is durable; every shard works by it; what the
// shards accepted before is durable. Only then does the node say that it has
// entered, so that whoever copies from it finds everything. And before it goes on
// it has dropped what it does not own.

// enterTimeout bounds the entering of what one answer brought.
const enterTimeout = 30 * time.Second

// errGap: configurations between this node's and those offered are not to be had.
var errGap = errors.New("configurations between are missing")

// enter moves the node, which has a ring, to newer configurations, oldest first.
// Those that it has are passed over.
func (n *Node) enter(ctx context.Context, confs []*ring.Configuration) error {
	n.activating.Lock()
	defer n.activating.Unlock()
	for _, conf := range confs {
		st := n.ring.Load()
		have := st.placement.Configuration()
		switch {
		case conf.RingID != have.RingID:
			return fmt.Errorf("a configuration of ring %s, this node is in %s", conf.RingID, have.RingID)
		case conf.Epoch == have.Epoch && conf.Forced != have.Forced, conf.Epoch == have.Epoch && conf.Forced && !bytes.Equal(conf.Encode(), have.Encode()):
			return fmt.Errorf("another configuration of epoch %d, which this node works by: two operators, or one and a quorum, decided apart", conf.Epoch)
		case conf.Epoch <= have.Epoch:
			continue
		case conf.Epoch != have.Epoch+1 && !n.maySkip(have):
			return fmt.Errorf("epoch %d after %d: %w", conf.Epoch, have.Epoch, errGap)
		}
		if err := n.enterOne(ctx, st, conf); err != nil {
			return fmt.Errorf("enter epoch %d: %w", conf.Epoch, err)
		}
	}
	return nil
}

// maySkip reports whether configurations after have may be left out: who owns
// nothing by it, and so has nothing, has nothing that could be stale.
func (n *Node) maySkip(have *ring.Configuration) bool {
	_, member := have.Member(n.id)
	return n.store == nil || !member
}

func (n *Node) enterOne(ctx context.Context, st *ringState, conf *ring.Configuration) error {
	// What this node did not own in the last configuration must be gone before it
	// can be owned again: it may have been deleted and forgotten meanwhile.
	select {
	case <-st.purged:
	case <-ctx.Done():
		return ctx.Err()
	case <-n.ctx.Done():
		return n.ctx.Err()
	}
	if n.store != nil {
		if err := n.store.Install(conf); err != nil {
			return err
		}
	}
	next := n.newState(conf, st.drivers)
	for _, d := range next.drivers {
		d.input(func(now register.Now) {
			if d.shard.Epoch() < conf.Epoch { // else: from a try that was cut short
				d.shard.Reconfigure(now, next.placement)
			}
		})
	}
	if err := n.flush(ctx); err != nil {
		return err
	}
	n.ring.Store(next)
	n.mesh.SetRing(conf.RingID, conf.Epoch)
	if err := n.gossip.SetRing(conf.RingID, conf.Epoch); err != nil {
		n.fail(err) // it has entered, and nobody can be told
		return err
	}
	n.log.Info("entered a configuration of the ring", "epoch", conf.Epoch, "joint", conf.Joint(), "members", len(conf.New.Members))
	n.wg.Go(func() { n.purge(next) })
	n.reshaper.entered(st, next)
	n.peers.wake()
	n.watching.wake()
	return nil
}

// newState makes the state of a configuration.
func (n *Node) newState(conf *ring.Configuration, drivers []*driver) *ringState {
	_, member := conf.Member(n.id)
	return &ringState{placement: ring.NewPlacement(conf), drivers: drivers, member: member && n.store != nil, purged: make(chan struct{})}
}

// flush waits until all that was given to the store is durable.
func (n *Node) flush(ctx context.Context) error {
	if n.store == nil {
		return nil
	}
	done := make(chan error, 1)
	n.store.Commit(0, nil, func(_ uint64, err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// purgePage is how many cells are looked at at a time.
const purgePage = 4000

// purge drops the cells that this node does not own in a configuration. In a joint
// one a member owns all that it owned before, and who was dropped by force owns
// nothing. When it was cut short by the end of the node it goes on at the next
// start.
func (n *Node) purge(st *ringState) {
	conf := st.placement.Configuration()
	if n.store == nil || conf.Joint() && st.member {
		close(st.purged)
		return
	}
	after, dropped := "", 0
	for {
		page, err := n.store.Scan(n.ctx, store.ScanOptions{After: after, Limit: purgePage, Internal: true})
		if err != nil {
			return // the store has failed or was closed, and the node with it
		}
		keys := map[*driver][]string{}
		for i := range page.Cells {
			after = page.Cells[i].Key
			if after != voteKey && !st.placement.Owns(n.id, after) {
				d := n.driver(st, after)
				keys[d] = append(keys[d], after)
				dropped++
			}
		}
		for d, foreign := range keys {
			_, result := d.begin(func(now register.Now, token uint64) { d.shard.Drop(now, token, foreign) })
			select {
			case <-result:
			case <-n.ctx.Done():
				return
			}
		}
		if !page.More {
			break
		}
	}
	n.forgotten.Add(uint64(dropped))
	if dropped > 0 {
		n.log.Info("dropped what belongs to others now", "epoch", conf.Epoch, "keys", dropped)
	}
	close(st.purged)
}

// The most that one answer of callChain holds; it has one configuration at least.
const (
	maxChain      = 256
	maxChainBytes = 4 << 20
)

// chainRequest asks for the configurations after an epoch; with Newest only for
// the last of them.
type chainRequest struct {
	After  uint64
	Newest bool
}

// chainReply holds encoded configurations in order.
type chainReply struct{ Configurations [][]byte }

func (n *Node) onChain(req *chainRequest) (*chainReply, error) {
	st := n.ring.Load()
	reply := &chainReply{}
	if st == nil {
		return reply, nil
	}
	newest := st.placement.Configuration()
	if newest.Epoch <= req.After {
		return reply, nil
	}
	if req.Newest || n.store == nil {
		reply.Configurations = append(reply.Configurations, newest.Encode())
		return reply, nil
	}
	confs, err := n.store.Chain(req.After, maxChain)
	if err != nil {
		return nil, err
	}
	size := 0
	for _, c := range confs {
		b := c.Encode()
		if size += len(b); c.Epoch > newest.Epoch || size > maxChainBytes && len(reply.Configurations) > 0 {
			break // not beyond what this node has entered
		}
		reply.Configurations = append(reply.Configurations, b)
	}
	return reply, nil
}

// catchUp asks a node that is ahead for its configurations and enters them.
func (n *Node) catchUp(from ring.Node) error {
	for {
		have := n.ring.Load().placement.Configuration()
		ctx, cancel := context.WithTimeout(n.ctx, enterTimeout)
		confs, err := n.askChain(ctx, from, &chainRequest{After: have.Epoch, Newest: n.maySkip(have)})
		if err == nil && len(confs) > 0 {
			err = n.enter(ctx, confs)
		}
		cancel()
		if err != nil || len(confs) == 0 {
			return err
		}
		if n.ring.Load().placement.Configuration().Epoch <= have.Epoch {
			return fmt.Errorf("%s offers nothing newer than epoch %d", from, have.Epoch)
		}
	}
}

func (n *Node) askChain(ctx context.Context, from ring.Node, req *chainRequest) ([]*ring.Configuration, error) {
	var reply chainReply
	if err := n.mesh.Call(ctx, from, callChain, req, &reply); err != nil {
		return nil, err
	}
	confs := make([]*ring.Configuration, len(reply.Configurations))
	for i, b := range reply.Configurations {
		var err error
		if confs[i], err = ring.DecodeConfiguration(b); err != nil {
			return nil, fmt.Errorf("the configurations of %s: %w", from, err)
		}
	}
	return confs, nil
}
