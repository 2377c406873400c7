package chord

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/chord/store"
)

// A node goes through the ring's configurations one by one, in order. Entering
// one means, in this order: it is durable; every shard works by it; what the
// shards accepted before is durable. Only then does the node say that it has
// entered, so that whoever copies from it finds everything.

// maxChain bounds the configurations sent at a time.
const maxChain = 256

// errGap: the configurations between ours and those offered are not to be had.
var errGap = errors.New("configurations between are missing")

// enter moves the node to newer configurations, oldest first. Those that it has
// are skipped.
func (n *Node) enter(ctx context.Context, confs []*ring.Configuration) error {
	n.activating.Lock()
	defer n.activating.Unlock()
	for _, conf := range confs {
		st := n.ring.Load()
		have := st.placement.Configuration()
		switch {
		case conf.RingID != have.RingID:
			return fmt.Errorf("a configuration of ring %s, this node is in %s", conf.RingID, have.RingID)
		case conf.Epoch <= have.Epoch:
			continue
		case conf.Epoch != have.Epoch+1:
			return fmt.Errorf("epoch %d after %d: %w", conf.Epoch, have.Epoch, errGap)
		}
		if err := n.enterOne(ctx, st, conf); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) enterOne(ctx context.Context, st *ringState, conf *ring.Configuration) error {
	// What this node did not own in the last configuration must be gone before it
	// can be owned again: it may have been deleted and forgotten meanwhile.
	select {
	case <-st.purged:
	case <-ctx.Done():
		return ctx.Err()
	}
	if n.store != nil {
		if err := n.store.Install(conf); err != nil {
			return err
		}
	}
	_, member := conf.Member(n.id)
	next := &ringState{placement: ring.NewPlacement(conf), drivers: st.drivers, member: member && n.store != nil, purged: make(chan struct{})}
	for _, d := range next.drivers {
		d.input(func(now register.Now) { d.shard.Reconfigure(now, next.placement) })
	}
	if err := n.flush(ctx); err != nil {
		return err
	}
	n.ring.Store(next)
	n.mesh.SetRing(conf.RingID, conf.Epoch)
	if err := n.gossip.SetRing(conf.RingID, conf.Epoch); err != nil {
		return err
	}
	n.log.Info("entered a configuration", "epoch", conf.Epoch, "joint", conf.Joint(), "members", conf.Names())
	n.wg.Go(func() { n.purge(next) })
	n.reshaper.wake()
	return nil
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

// purge drops the cells that this node does not own in a configuration. In a
// joint one it owns all that it owned before.
func (n *Node) purge(st *ringState) {
	defer close(st.purged)
	if n.store == nil || st.placement.Configuration().Joint() {
		return
	}
	after, dropped := "", 0
	for n.ctx.Err() == nil {
		page, err := n.store.Scan(n.ctx, store.ScanOptions{After: after, Limit: 4000, Internal: true})
		if err != nil {
			return // the store has failed or was closed, and the node with it
		}
		byDriver := map[*driver][]string{}
		for i := range page.Cells {
			after = page.Cells[i].Key
			if !st.placement.Owns(n.id, after) && after != voteKey {
				byDriver[n.driver(st, after)] = append(byDriver[n.driver(st, after)], after)
				dropped++
			}
		}
		for d, keys := range byDriver {
			_, result := d.begin(func(now register.Now, token uint64) { d.shard.Drop(now, token, keys) })
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
	if dropped > 0 {
		n.log.Info("dropped what belongs to others now", "epoch", st.placement.Configuration().Epoch, "cells", dropped)
	}
}

// chainRequest asks for the configurations after an epoch.
type chainRequest struct{ After uint64 }

// chainReply holds encoded configurations in order.
type chainReply struct{ Configurations [][]byte }

func (n *Node) onChain(req *chainRequest) (*chainReply, error) {
	st := n.ring.Load()
	if st == nil {
		return &chainReply{}, nil
	}
	var confs []*ring.Configuration
	if n.store != nil {
		var err error
		if confs, err = n.store.Chain(req.After, maxChain); err != nil {
			return nil, err
		}
		// Not beyond what this node has entered.
		confs = slices.DeleteFunc(confs, func(c *ring.Configuration) bool { return c.Epoch > st.placement.Configuration().Epoch })
	} else if conf := st.placement.Configuration(); conf.Epoch > req.After {
		confs = append(confs, conf)
	}
	reply := &chainReply{}
	for _, c := range confs {
		reply.Configurations = append(reply.Configurations, c.Encode())
	}
	return reply, nil
}

// catchUp asks a node that is ahead for its configurations and enters them.
func (n *Node) catchUp(from ring.Node) error {
	st := n.ring.Load()
	if st == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(n.ctx, 10*time.Second)
	defer cancel()
	var reply chainReply
	req := chainRequest{After: st.placement.Configuration().Epoch}
	if err := n.mesh.Call(ctx, from, callChain, &req, &reply); err != nil {
		return err
	}
	confs := make([]*ring.Configuration, len(reply.Configurations))
	for i, b := range reply.Configurations {
		c, err := ring.DecodeConfiguration(b)
		if err != nil {
			return fmt.Errorf("the configurations of %s: %w", from, err)
		}
		confs[i] = c
	}
	if n.store == nil && len(confs) > 0 {
		// A client owns nothing that could be stale: it may skip.
		return n.skipTo(ctx, confs[len(confs)-1])
	}
	return n.enter(ctx, confs)
}

// skipTo moves a client to a newer configuration, whatever lies between.
func (n *Node) skipTo(ctx context.Context, conf *ring.Configuration) error {
	n.activating.Lock()
	defer n.activating.Unlock()
	st := n.ring.Load()
	if conf.Epoch <= st.placement.Configuration().Epoch {
		return nil
	}
	return n.enterOne(ctx, st, conf)
}
