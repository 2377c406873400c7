package mesh

import (
	"errors"
	"maps"
	"slices"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// table is what senders look at: immutable, replaced at each change.
type table struct {
	direct  map[ring.Node]*Conn
	known   map[ring.Node]Peer // candidates
	members []ring.ID          // the connected members, for relaying
}

// publish makes a table from the current state. Called with m.mu held.
func (m *Mesh) publish() {
	t := &table{direct: maps.Clone(m.conns), known: make(map[ring.Node]Peer, len(m.candidates))}
	for id, cand := range m.candidates {
		t.known[id.Node()] = cand.peer
	}
	for _, c := range m.conns {
		if c.Peer().Role == RoleMember {
			t.members = append(t.members, c.id)
		}
	}
	m.table.Store(t)
	m.outdated = true
}

// RoutingTable returns the direct connections by node ID (js2p's routing_table).
func (m *Mesh) RoutingTable() map[ring.ID]*Conn {
	conns := map[ring.ID]*Conn{}
	for _, c := range m.table.Load().direct {
		conns[c.id] = c
	}
	return conns
}

// Connected reports whether there is a direct connection to the node.
func (m *Mesh) Connected(to ring.Node) bool { return m.table.Load().direct[to] != nil }

var (
	errReplaced  = errors.New("replaced by a newer connection of the peer")
	errForgotten = errors.New("the node is no longer wanted")
	errExchanged = errors.New("exchanged for a better neighbour")
)

// connUp puts a connection whose handshake is done into the table. Of two
// connections with one peer the one with the later hello stays; a hello of
// another process is later than any. Called with m.mu held.
func (m *Mesh) connUp(c *Conn) *RefusedError {
	if m.closing {
		return refuse(RefusedForgotten, "%s is stopping", m.peer)
	}
	old := m.conns[c.node]
	if old != nil {
		if old.id != c.id {
			return refuse(RefusedCollision, "%s and %s share the first 64 bits of their IDs; start one of them with an empty data directory", c.Peer(), old.Peer())
		}
		if old.boot == c.boot && c.seq < old.seq {
			return refuse(RefusedDuplicate, "there is a newer connection between %s and %s", c.Peer(), m.peer)
		}
	}
	m.conns[c.node] = c
	m.stats.connections.Add(1)
	if cand := m.candidates[c.id]; cand != nil {
		cand.lastErr = nil
		if cand.hearsay {
			cand.peer = c.Peer()
		}
	} else if c.Peer().Role == RoleMember {
		m.addCandidate(c.Peer(), true)
	}
	m.publish()
	m.notice(c.node)
	m.wakeDialler()
	m.wg.Add(2)
	go c.write()
	go c.read()
	if old != nil {
		old.close(errReplaced)
	}
	return nil
}

// connDown takes a connection out of the table, after its last frame was read.
func (m *Mesh) connDown(c *Conn) {
	m.mu.Lock()
	if m.conns[c.node] == c {
		delete(m.conns, c.node)
		m.publish()
		m.notice(c.node)
		if cand := m.candidates[c.id]; cand != nil {
			cand.lost(m.now(), m.now()-c.since)
		}
		m.wakeDialler()
	}
	m.mu.Unlock()
	m.stats.connectionsLost.Add(1)
	m.forgetRoutes(c)
	m.loseCalls(c)
	m.cancelServed(c)
	c.mu.Lock()
	why := c.err
	c.mu.Unlock()
	switch {
	case errors.Is(why, errGoodbye), errors.Is(why, errReplaced), errors.Is(why, errForgotten),
		errors.Is(why, errExchanged), errors.Is(why, ErrClosed):
		m.log.Debug("connection ended", "peer", c.Peer(), "reason", why)
	default:
		m.warn(warnKey(c.id.Short(), why), "connection lost", "peer", c.Peer(), "reason", why)
	}
}

// notice tells the notifier that a node's connection changed. Called with m.mu held.
func (m *Mesh) notice(node ring.Node) {
	if !slices.Contains(m.changed, node) {
		m.changed = append(m.changed, node)
	}
	m.changedCond.Signal()
}

// notify calls OnPeer, in order for each peer. It ends when the mesh is closed
// and the end of every connection was told.
func (m *Mesh) notify() {
	defer m.wg.Done()
	told := map[ring.Node]*Conn{}
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		for len(m.changed) == 0 {
			if m.closing && len(told) == 0 && len(m.conns) == 0 {
				return
			}
			m.changedCond.Wait()
		}
		node := m.changed[0]
		m.changed = m.changed[1:]
		was, is := told[node], m.conns[node]
		if was == is {
			continue
		}
		if is != nil {
			told[node] = is
		} else {
			delete(told, node)
		}
		m.mu.Unlock()
		if was != nil {
			m.cfg.OnPeer(was.Peer(), false)
		}
		if is != nil {
			m.cfg.OnPeer(is.Peer(), true)
		}
		m.mu.Lock()
	}
}

// Forget drops a node that gossip says is dead or has left: it is no longer
// dialled, and its connection is closed. What other peers say of it is ignored
// for a minute; HandlePeers, or the node itself by dialling, brings it back.
func (m *Mesh) Forget(id ring.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.forgotten) >= maxCandidates {
		clear(m.forgotten)
	}
	m.forgotten[id] = m.now()
	if cand := m.candidates[id]; cand != nil {
		cand.attempt.cancel()
		delete(m.candidates, id)
	}
	if c := m.conns[id.Node()]; c != nil && c.id == id {
		c.goodbye(errForgotten)
		delete(m.conns, id.Node())
		m.notice(id.Node())
	}
	m.learned.drop(id)
	m.publish()
	m.wakeDialler()
}
