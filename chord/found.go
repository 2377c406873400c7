package chord

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/gossip"
	"github.com/chord-plugin/chord-plugin/mesh"
)

const (
	// foundInterval is how often a node without a ring looks around.
	foundInterval = 100 * time.Millisecond
	// foundTimeout bounds one question to another node meanwhile.
	foundTimeout = 2 * time.Second
	// seedGrace is how long a node that could found a ring alone waits for its
	// seeds to show it one.
	seedGrace = 3 * time.Second
)

// findRing looks for a ring to be part of, or founds one, until the node has one
// or stops.
func (n *Node) findRing() {
	tick := time.NewTicker(foundInterval)
	defer tick.Stop()
	logged := ""
	for {
		err := n.findRingOnce()
		if n.ring.Load() != nil {
			return
		}
		if err != nil {
			n.setReason(err.Error())
			if err.Error() != logged {
				logged = err.Error()
				n.log.Info("no ring yet", "reason", logged)
			}
		}
		select {
		case <-tick.C:
		case <-n.ctx.Done():
			return
		}
	}
}

func (n *Node) findRingOnce() error {
	nodes := n.gossip.Members()
	for _, g := range nodes {
		if g.ID != n.id && g.Role == gossip.RoleMember && g.Epoch > 0 && (g.State == gossip.Alive || g.State == gossip.Suspect) {
			conf, err := n.fetchConfiguration(g.ID.Node())
			if err != nil {
				return fmt.Errorf("%q is in ring %s, but its configuration is not to be had yet: %w", g.Name, g.RingID, err)
			}
			return n.activate(conf)
		}
	}
	if self := n.gossip.Self(); self.RingID != "" {
		return fmt.Errorf("waiting for a member of ring %s to appear: this node has heard of it, so it founds none", self.RingID)
	}
	if n.cfg.Expect == 0 {
		return fmt.Errorf("waiting for a member of a ring to appear; the seeds are %s", seedList(n.cfg.Seeds))
	}
	if n.cfg.Expect == 1 && len(n.cfg.Seeds) > 0 && n.mono() < seedGrace {
		return fmt.Errorf("waiting %v for the seeds to show a ring before founding one alone", seedGrace)
	}
	set, err := n.founders(nodes)
	if err != nil {
		return err
	}
	if set[0].ID != n.id {
		return fmt.Errorf("waiting for %q to propose the ring", set[0].Name)
	}
	return n.found(set)
}

func seedList(seeds []string) string {
	if len(seeds) == 0 {
		return "none"
	}
	return strings.Join(seeds, ", ")
}

// founders returns the members that would found the ring, by ID: the first
// Expect of those without a ring that expect as many.
func (n *Node) founders(nodes []gossip.Node) ([]gossip.Node, error) {
	var set []gossip.Node
	var others []string
	for _, g := range nodes {
		switch {
		case g.Role != gossip.RoleMember || g.RingID != "" || g.State != gossip.Alive && g.ID != n.id || g.MeshAddr == "":
		case g.Expect == n.cfg.Expect:
			set = append(set, g)
		case g.Expect > 0:
			others = append(others, fmt.Sprintf("%q expects %d", g.Name, g.Expect))
		}
	}
	if len(set) < n.cfg.Expect {
		err := fmt.Errorf("waiting for %d members to found a ring, %d are here", n.cfg.Expect, len(set))
		if len(others) > 0 {
			err = fmt.Errorf("%w; %s: start all members with the same expect", err, strings.Join(others, ", "))
		}
		return nil, err
	}
	slices.SortFunc(set, func(a, b gossip.Node) int { return a.ID.Compare(b.ID) })
	return set[:n.cfg.Expect], nil
}

// found proposes a ring of exactly these members.
func (n *Node) found(set []gossip.Node) error {
	ids := make([]ring.ID, len(set))
	for i, g := range set {
		ids[i] = g.ID
	}
	b := n.foundingBallot()
	conf := &ring.Configuration{RingID: newRingID(), Epoch: 1, Level: ring.Level}
	conf.New.Replicas = n.cfg.Replicas
	if conf.New.Replicas == 0 {
		conf.New.Replicas = ring.MaxReplicas
	}
	var best register.Ballot
	var accepted *ring.Configuration
	for _, g := range set {
		var p promiseRing
		req := prepareRing{Set: ids, Ballot: b, Replicas: n.cfg.Replicas}
		if err := n.ask(g.ID.Node(), callPrepareRing, &req, &p, func() (any, error) { return n.onPrepareRing(&req), nil }); err != nil {
			return fmt.Errorf("founding the ring: asking %q: %w", g.Name, err)
		}
		if p.Refused != "" {
			n.raiseFounding(p.Above)
			return fmt.Errorf("founding the ring: %s", p.Refused)
		}
		var m ring.Member
		if err := json.Unmarshal(p.Member, &m); err != nil || m.ID != g.ID {
			return fmt.Errorf("founding the ring: %q answered for somebody else", g.Name)
		}
		conf.New.Members = append(conf.New.Members, m)
		if len(p.Accepted) > 0 && best.Less(p.At) {
			c, err := ring.DecodeConfiguration(p.Accepted)
			if err != nil {
				return fmt.Errorf("founding the ring: %q: %w", g.Name, err)
			}
			best, accepted = p.At, c
		}
	}
	if accepted != nil {
		conf = accepted
	}
	conf.Sort()
	if err := conf.Validate(); err != nil {
		return fmt.Errorf("founding the ring: %w", err)
	}
	for _, chosen := range []bool{false, true} {
		for _, g := range set {
			req := acceptRing{Ballot: b, Configuration: conf.Encode(), Chosen: chosen}
			err := n.ask(g.ID.Node(), callAcceptRing, &req, nil, func() (any, error) { return nil, n.onAcceptRing(&req) })
			if err != nil && !chosen {
				return fmt.Errorf("founding the ring: %q does not accept it: %w", g.Name, err)
			}
			// Once all have accepted it is chosen; who misses the news asks for it.
		}
	}
	return n.activate(conf)
}

// ask calls another node, or does here what it would do.
func (n *Node) ask(to ring.Node, t mesh.Type, req, resp any, here func() (any, error)) error {
	if to != n.id.Node() {
		ctx, cancel := context.WithTimeout(n.ctx, foundTimeout)
		defer cancel()
		return n.mesh.Call(ctx, to, t, req, resp)
	}
	v, err := here()
	if p, ok := resp.(*promiseRing); ok && err == nil {
		*p = *v.(*promiseRing)
	}
	return err
}

// onPrepareRing promises this member to a set, unless it has a ring or other flags.
func (n *Node) onPrepareRing(req *prepareRing) *promiseRing {
	switch {
	case n.ring.Load() != nil:
		return &promiseRing{Refused: fmt.Sprintf("%q has a ring already", n.cfg.Name)}
	case n.store == nil || n.cfg.Expect != len(req.Set) || !slices.Contains(req.Set, n.id):
		return &promiseRing{Refused: fmt.Sprintf("%q does not found a ring with %d members", n.cfg.Name, len(req.Set))}
	case n.cfg.Replicas != 0 && n.cfg.Replicas != cmp.Or(req.Replicas, ring.MaxReplicas):
		return &promiseRing{Refused: fmt.Sprintf("%q has replicas = %d, the proposer %d: start all members with the same replicas", n.cfg.Name, n.cfg.Replicas, cmp.Or(req.Replicas, ring.MaxReplicas))}
	}
	p := n.vote.prepare(req, n.self())
	return &p
}

// onAcceptRing accepts a configuration, or installs it once it is chosen.
func (n *Node) onAcceptRing(req *acceptRing) error {
	conf, err := ring.DecodeConfiguration(req.Configuration)
	if err != nil {
		return err
	}
	if _, ok := conf.Member(n.id); !ok || n.store == nil {
		return fmt.Errorf("%q is not in it", n.cfg.Name)
	}
	if req.Chosen {
		if !n.vote.acceptedRing(conf.RingID) {
			return fmt.Errorf("%q has not accepted it", n.cfg.Name)
		}
		return n.activate(conf)
	}
	if n.ring.Load() != nil {
		return errors.New("has a ring already")
	}
	return n.vote.accept(req.Ballot, conf)
}

// self is this node as a member.
func (n *Node) self() ring.Member {
	tokens := n.cfg.Tokens
	if tokens == 0 {
		tokens = ring.DefaultTokens
	}
	addr := n.cfg.MeshAdvertise
	if addr == "" {
		addr = n.mesh.Addr()
	}
	return ring.Member{ID: n.id, Name: n.cfg.Name, Addr: addr, Tokens: tokens}
}

// foundingBallot returns a ballot above all that this node has promised.
func (n *Node) foundingBallot() register.Ballot {
	n.vote.mu.Lock()
	defer n.vote.mu.Unlock()
	t := max(n.vote.promised.Time, n.vote.above.Time) + 1
	return register.Ballot{Time: min(max(t, register.Timestamp(time.Now())), math.MaxInt64), Node: n.id.Node()}
}

// raiseFounding notes a ballot that the next proposal must exceed.
func (n *Node) raiseFounding(b register.Ballot) {
	n.vote.mu.Lock()
	defer n.vote.mu.Unlock()
	if n.vote.above.Less(b) {
		n.vote.above = b
	}
}

func newRingID() ring.RingID {
	var b [16]byte
	rand.Read(b[:])
	return ring.RingID(hex.EncodeToString(b[:]))
}

// fetchConfiguration asks a node for the configuration it works by.
func (n *Node) fetchConfiguration(from ring.Node) (*ring.Configuration, error) {
	ctx, cancel := context.WithTimeout(n.ctx, foundTimeout)
	defer cancel()
	var body []byte
	if err := n.mesh.Call(ctx, from, callConfiguration, []byte{}, &body); err != nil {
		return nil, err
	}
	return ring.DecodeConfiguration(body)
}
