package chord

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

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
		if err != nil && n.ctx.Err() == nil {
			n.setReason(err.Error())
			if err.Error() != logged {
				logged = err.Error()
				level := hclog.Info
				if errors.Is(err, errMismatch) {
					level = hclog.Warn
				}
				n.log.Log(level, "no ring yet", "reason", logged)
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
			err = n.join(conf, nodes)
			if err == errBound {
				continue
			}
			return err
		}
	}
	if bound := n.vote.bound(); bound != nil {
		set := make([]founder, len(bound.New.Members))
		for i, m := range bound.New.Members {
			set[i] = founder{m.ID, m.Name}
		}
		return n.found(set)
	}
	if self := n.gossip.Self(); self.RingID != "" {
		return fmt.Errorf("waiting for a member of ring %s to appear: this node has heard of it, so it founds none", self.RingID)
	}
	if n.cfg.Expect == 0 {
		return fmt.Errorf("waiting for a member of a ring to appear; the seeds are %s", seedList(n.cfg.Seeds))
	}
	if n.cfg.Expect == 1 {
		if err := n.lookAround(); err != nil {
			return err
		}
	}
	set, err := n.founders(nodes)
	if err != nil {
		return err
	}
	if set[0].id != n.id {
		return fmt.Errorf("waiting for %q to propose the ring", set[0].name)
	}
	return n.found(set)
}

// lookAround returns an error while a node that could found a ring alone waits for one
// to show up: at its seeds, or, for a member that keeps data, at those who miss it. The
// first member of a ring may have lost its disk, and what started it still says that
// it founds one.
func (n *Node) lookAround() error {
	if len(n.cfg.Seeds) > 0 && n.mono() < seedGrace {
		return fmt.Errorf("waiting %v for the seeds to show a ring before founding one alone", seedGrace)
	}
	for _, conn := range n.mesh.RoutingTable() {
		if p := conn.Peer(); p.RingID != "" {
			return fmt.Errorf("%q at %s is connected and in ring %s, of which gossip says nothing: is gossip_key the same here and there?", p.Name, p.Addr, p.RingID)
		}
	}
	if patience := n.gossip.MissedWithin(); !n.cfg.Memory && n.mono() < patience {
		return fmt.Errorf("the data directory is new: waiting %v for members of a ring that miss this one, before founding one alone", patience.Round(time.Second))
	}
	return nil
}

// errMismatch: members that wait for each other expect different numbers.
var errMismatch = errors.New("start all members with the same expect")

// errBound: this member has accepted to found another ring.
var errBound = errors.New("bound to another ring")

// join activates the configuration of a ring that was met, unless this member may
// be a founder of another one.
func (n *Node) join(conf *ring.Configuration, nodes []gossip.Node) error {
	if err := n.checkReplicas(conf); err != nil {
		return err
	}
	n.activating.Lock()
	defer n.activating.Unlock()
	went := map[ring.ID]ring.RingID{}
	for _, g := range nodes {
		if g.Epoch > 0 {
			went[g.ID] = g.RingID
		}
	}
	if !n.vote.free(conf, went) {
		return errBound
	}
	return n.install(conf)
}

func seedList(seeds []string) string {
	if len(seeds) == 0 {
		return "none"
	}
	return strings.Join(seeds, ", ")
}

// founders returns the members that would found the ring, by ID: the first
// Expect of those without a ring that expect as many.
func (n *Node) founders(nodes []gossip.Node) ([]founder, error) {
	var set []founder
	var others []string
	for _, g := range nodes {
		switch {
		case g.Role != gossip.RoleMember || g.RingID != "" || g.State != gossip.Alive && g.ID != n.id || g.MeshAddr == "":
		case g.Expect == n.cfg.Expect:
			set = append(set, founder{g.ID, g.Name})
		case g.Expect > 0:
			others = append(others, fmt.Sprintf("%q expects %d", g.Name, g.Expect))
		}
	}
	if len(set) < n.cfg.Expect {
		err := fmt.Errorf("waiting for %d members to found a ring, %d are here", n.cfg.Expect, len(set))
		if len(others) > 0 {
			err = fmt.Errorf("%w; %s: %w", err, strings.Join(others, ", "), errMismatch)
		}
		return nil, err
	}
	slices.SortFunc(set, func(a, b founder) int { return a.id.Compare(b.id) })
	return set[:n.cfg.Expect], nil
}

// found proposes a ring of exactly these members, sorted by ID.
func (n *Node) found(set []founder) error {
	conf, err := propose(set, n.vote.ballot(register.Timestamp(n.cfg.wall()), n.id.Node()), n.cfg.Replicas,
		func(f founder, req *prepareRing) (p promiseRing, err error) {
			err = n.ask(f.id.Node(), callPrepareRing, req, &p, func() error { p = *n.onPrepareRing(req); return nil })
			return p, err
		},
		func(f founder, req *acceptRing) error {
			return n.ask(f.id.Node(), callAcceptRing, req, nil, func() error { return n.onAcceptRing(req) })
		})
	if err != nil {
		if r := (*refusedError)(nil); errors.As(err, &r) {
			n.vote.raise(r.above)
		}
		return fmt.Errorf("founding the ring: %w", err)
	}
	return n.activate(conf)
}

// ask calls another node, or does here what it would do.
func (n *Node) ask(to ring.Node, t mesh.Type, req, resp any, here func() error) error {
	if to == n.id.Node() {
		return here()
	}
	ctx, cancel := context.WithTimeout(n.ctx, foundTimeout)
	defer cancel()
	return n.mesh.Call(ctx, to, t, req, resp)
}

// onPrepareRing promises this member to a set, unless it has a ring or other flags.
func (n *Node) onPrepareRing(req *prepareRing) *promiseRing {
	switch {
	case n.ring.Load() != nil:
		return &promiseRing{Refused: fmt.Sprintf("%q has a ring already", n.cfg.Name)}
	case n.store == nil || !slices.Contains(req.Set, n.id) || n.vote.bound() == nil && n.cfg.Expect != len(req.Set):
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
		if bound := n.vote.bound(); bound == nil || bound.RingID != conf.RingID {
			return fmt.Errorf("%q has not accepted it", n.cfg.Name)
		}
		return n.activate(conf)
	}
	n.activating.Lock() // accept, or join another ring: not both
	defer n.activating.Unlock()
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
	return ring.Member{ID: n.id, Name: n.cfg.Name, Addr: n.mesh.Advertised(), Tokens: tokens}
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
