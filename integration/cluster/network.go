package cluster

import (
	"fmt"
	"slices"
	"sync"
)

// Network lies between the members of a ring: others reach each member only
// through a proxy, which knows by whose process a connection or a packet was
// sent, and lets it wait or drops it while the two are apart.
//
// What is sent over TCP while the network is cut arrives when it heals, as it
// would with a real network; UDP packets are lost. A dial succeeds while the
// network is cut, and then nothing answers. Processes that are no members are
// never cut off.
type Network struct {
	members []*Member
	closed  chan struct{}
	wg      sync.WaitGroup

	mu      sync.Mutex
	groups  map[*Member]int // empty: all are together
	changed chan struct{}   // closed and replaced when groups changes
}

// newNetwork gives each member a proxy.
func newNetwork(members []*Member) (*Network, error) {
	if err := canTellProcesses(); err != nil {
		return nil, err
	}
	n := &Network{members: members, closed: make(chan struct{}), changed: make(chan struct{})}
	for _, m := range members {
		p, err := newProxy(n, m)
		if err != nil {
			n.close()
			return nil, fmt.Errorf("proxy of member %q: %w", m.Name, err)
		}
		m.proxy = p
	}
	for _, m := range members {
		m.proxy.serve()
	}
	return n, nil
}

// Cut leaves connected only those members that are in one group; members that
// are in no group are a group together. It replaces an earlier cut.
func (n *Network) Cut(groups ...[]*Member) {
	n.set(func() {
		for i, group := range groups {
			for _, m := range group {
				n.groups[m] = i + 1
			}
		}
	})
}

// Heal connects all members.
func (n *Network) Heal() { n.set(func() {}) }

func (n *Network) set(regroup func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.groups = map[*Member]int{}
	regroup()
	for _, m := range n.members {
		m.out.note("network: in group %d", n.groups[m])
	}
	close(n.changed)
	n.changed = make(chan struct{})
}

// apart reports whether two members cannot reach each other, and gives a channel
// that is closed when that may have changed. A nil member is somebody else.
func (n *Network) apart(a, b *Member) (bool, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return a != nil && b != nil && n.groups[a] != n.groups[b], n.changed
}

// pass waits until two members are together. It returns false when the network
// is closed before.
func (n *Network) pass(a, b *Member) bool {
	for {
		apart, changed := n.apart(a, b)
		if !apart {
			return true
		}
		select {
		case <-changed:
		case <-n.closed:
			return false
		}
	}
}

// byGossipAddr returns the member that listens at a gossip address, nil for
// somebody else. memberlist sends its packets from there.
func (n *Network) byGossipAddr(addr string) *Member {
	i := slices.IndexFunc(n.members, func(m *Member) bool { return m.GossipAddr == addr })
	if i < 0 {
		return nil
	}
	return n.members[i]
}

// close ends the proxies and waits for them.
func (n *Network) close() {
	close(n.closed)
	for _, m := range n.members {
		if m.proxy != nil {
			m.proxy.close()
		}
	}
	n.wg.Wait()
}
