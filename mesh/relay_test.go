package mesh

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// converged reports whether every mesh is connected to its successors and fingers.
func converged(meshes []*Mesh) bool {
	for _, m := range meshes {
		m.mu.Lock()
		ok := len(m.neighbours) > 0
		for id := range m.neighbours {
			ok = ok && m.conns[id.Node()] != nil
		}
		outgoing := 0
		for _, c := range m.conns {
			if c.outgoing {
				outgoing++
			}
		}
		for _, cand := range m.candidates {
			ok = ok && cand.attempt == nil
		}
		m.mu.Unlock()
		if !ok || outgoing > m.cfg.MaxOutgoing {
			return false
		}
	}
	return true
}

// TestRelayAllPairs: 48 members that dial 8 others each, and a client that dials
// 2, all reach one another.
func TestRelayAllPairs(t *testing.T) {
	const n, outgoing = 48, 8
	var meshes []*Mesh
	var peers []Peer
	for i := range n {
		cfg := testConfig(fmt.Sprint("node", i))
		cfg.MaxOutgoing = outgoing
		cfg.KeepAliveTimeout = time.Minute
		m := newMesh(t, cfg, echo)
		meshes = append(meshes, m)
		peers = append(peers, m.self())
	}
	for _, m := range meshes {
		m.HandlePeers(peers)
	}
	eventually(t, func() bool { return converged(meshes) }, "neighbours are connected")
	cfg := testConfig("client")
	cfg.Role, cfg.BindAddr, cfg.MaxOutgoing = RoleClient, "", 2
	client := newMesh(t, cfg)
	client.HandlePeers(peers)
	eventually(t, func() bool { return len(client.RoutingTable()) == 2 }, "the client has its two connections")

	callAll(t, append(meshes, client), meshes)
	direct, relayed, hops, dropped := 0, uint64(0), uint64(0), uint64(0)
	for _, m := range meshes {
		direct += len(m.RoutingTable())
		s := m.Stats()
		relayed, hops, dropped = relayed+s.RelayReceived, hops+s.Hops, dropped+s.RelayDropped
	}
	require.NotZero(t, relayed)
	require.Zero(t, dropped)
	t.Logf("%d members with %.1f connections each; relayed frames took %.2f hops in the mean",
		n, float64(direct)/n, float64(hops)/float64(relayed))
	require.Less(t, float64(hops)/float64(relayed), 4.0)

	// One leaves; the others find new neighbours and still reach one another.
	gone := meshes[0]
	require.NoError(t, gone.Close())
	meshes = meshes[1:]
	for _, m := range append(meshes, client) {
		m.Forget(gone.cfg.ID)
	}
	eventually(t, func() bool { return converged(meshes) && len(client.RoutingTable()) == 2 }, "neighbours again")
	callAll(t, append(meshes, client), meshes)
	require.ErrorIs(t, meshes[0].Send(gone.node, 1, nil), ErrNoRoute)
}

// callAll calls every one of to from every one of from.
func callAll(t *testing.T, from, to []*Mesh) {
	t.Helper()
	var wg sync.WaitGroup
	for i, a := range from {
		wg.Go(func() {
			for j, b := range to {
				var p point
				err := a.Call(withTimeout(t, time.Minute), b.node, typeEcho, &point{X: int64(i*1000 + j)}, &p)
				if err != nil || p.X != int64(i*1000+j) {
					t.Errorf("%s to %s: %v, %v", a.cfg.Name, b.cfg.Name, p.X, err)
				}
			}
		})
	}
	wg.Wait()
}

// TestRelayLimits: what cannot go on is dropped, and the caller is told.
func TestRelayLimits(t *testing.T) {
	a, b := pair(t, testConfig("a"), testConfig("b"))
	ghost := Peer{ID: ring.NodeID([]byte("ghost")), Name: "ghost", Addr: "127.0.0.1:1", Role: RoleMember}
	ghostly := ghost.ID.Node()

	// a believes that ghost exists; b does not know it, and says so.
	a.HandlePeers([]Peer{ghost})
	err := a.Call(withTimeout(t, time.Minute), ghostly, typeEcho, nil, nil)
	require.ErrorIs(t, err, ErrNoRoute)

	// Hops are counted down, envelopes of our own that come back are dropped.
	p := rawPeer("p")
	nc, in, refused := rawDial(t, b, p, 1, 1)
	require.Nil(t, refused)
	dropped := b.Stats().RelayDropped
	for i, e := range []envelope{
		{to: a.cfg.ID, from: p.ID, hops: 0},
		{to: a.cfg.ID, from: b.cfg.ID, hops: 9},
		{to: ghost.ID, from: p.ID, hops: 9},
	} {
		o := outgoing{kind: kindRequest, request: uint64(i), timeout: time.Second, body: []byte{0xc0}, relay: &e}
		_, err := nc.Write(o.append(nil))
		require.NoError(t, err)
	}
	eventually(t, func() bool { return b.Stats().RelayDropped == dropped+3 }, "all three are dropped")
	var undeliverable []uint64
	for len(undeliverable) < 2 {
		payload, err := in.next()
		require.NoError(t, err)
		f, err := parseFrame(payload)
		require.NoError(t, err)
		if f.kind == kindRelay {
			e, inner, err := openEnvelope(f.body)
			require.NoError(t, err)
			require.Equal(t, p.ID, e.to)
			require.Equal(t, kindUndeliverable, inner.kind)
			undeliverable = append(undeliverable, inner.request)
		}
	}
	require.Equal(t, []uint64{0, 2}, undeliverable)
	o := outgoing{kind: kindCancel, relay: &envelope{to: a.cfg.ID, from: p.ID, hops: 1}}
	relayed, received := b.Stats().Relayed, a.Stats().RelayReceived
	_, err = nc.Write(o.append(nil))
	require.NoError(t, err)
	eventually(t, func() bool { return b.Stats().Relayed == relayed+1 && a.Stats().RelayReceived == received+1 }, "one goes on")
}

func TestLearnedLimit(t *testing.T) {
	l := learned{routes: map[ring.Node]learnedRoute{}}
	via := new(Conn)
	for i := range maxLearned + 10 {
		l.put(ring.NodeID(fmt.Append(nil, i)), via)
	}
	require.Len(t, l.routes, maxLearned)
	m := &Mesh{}
	m.learned.routes = l.routes
	m.forgetRoutes(via)
	require.Empty(t, l.routes)
}

// TestExchange: when better neighbours appear, MaxOutgoing holds and the worse go.
func TestExchange(t *testing.T) {
	var peers []Peer
	var others []*Mesh
	for i := range 12 {
		cfg := testConfig(fmt.Sprint("peer", i))
		m := newMesh(t, cfg)
		others = append(others, m)
		peers = append(peers, m.self())
	}
	cfg := testConfig("m")
	cfg.MaxOutgoing = 6
	m := newMesh(t, cfg)
	rand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	for i := range peers {
		m.HandlePeers(peers[i : i+1])
		eventually(t, func() bool { return converged([]*Mesh{m}) && len(m.RoutingTable()) >= min(i+1, 6) }, "converged")
	}
	require.NotEmpty(t, others)
}
