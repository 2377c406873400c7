package chord

import (
	"fmt"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStatusCountsTheLiving(t *testing.T) {
	nodes := openRing(t, 5)
	s := status(t, nodes[0])
	require.Equal(t, []any{"m0", "member", "serving", 5, 4}, []any{s.Name, s.Role, s.State, s.Members, s.PeersConnected})
	eventually(t, func() bool { return status(t, nodes[0]).Alive == 5 }, "all are there")
	require.True(t, status(t, nodes[0]).Quorum)
	for i, quorum := range []bool{true, true, false} {
		require.NoError(t, nodes[4-i].Close())
		eventually(t, func() bool { return status(t, nodes[0]).Alive == 4-i }, "%d are alive", 4-i)
		require.Equal(t, quorum, status(t, nodes[0]).Quorum, "%d of 5", 4-i)
	}
	require.NoError(t, nodes[0].SetHTTPAddr("127.0.0.1:8500"))
	require.Equal(t, "127.0.0.1:8500", status(t, nodes[0]).HTTPAddr)
	require.NoError(t, nodes[0].Close())
	require.Equal(t, "stopping", status(t, nodes[0]).State)
}

// What a node says of itself is where others reach it, with the port that it got.
func TestAdvertisedAddresses(t *testing.T) {
	n := openNode(t, Config{Name: "m", Memory: true, Expect: 1, MeshAdvertise: "localhost:0"})
	waitReady(t, n)
	_, port, err := net.SplitHostPort(n.MeshAddr())
	require.NoError(t, err)
	want := "localhost:" + port
	require.Equal(t, want, status(t, n).MeshAddr)
	members, err := n.Members(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, members[0].MeshAddr)
	r, err := n.Ring(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, r.Members[0].Addr)
}

func TestMembersAndRing(t *testing.T) {
	nodes := openRing(t, 3)
	client := openNode(t, Config{Name: "client", Role: RoleClient, Version: "v9", Seeds: []string{nodes[0].GossipAddr()}})
	waitReady(t, client)
	find := func(name string) (state, role, version string) {
		members, err := nodes[1].Members(t.Context())
		require.NoError(t, err)
		for _, m := range members {
			if m.Name == name {
				return m.State, m.Role, m.Version
			}
		}
		return "", "", ""
	}
	eventually(t, func() bool { state, role, version := find("client"); return state+role+version == "aliveclientv9" }, "the client is seen")
	for _, n := range append(nodes, client) {
		r, err := n.Ring(t.Context())
		require.NoError(t, err)
		require.Equal(t, []any{status(t, nodes[0]).RingID, uint64(1), false, 5, 1}, []any{r.RingID, r.Epoch, r.Joint, r.Replicas, r.Level})
		require.Len(t, r.Members, 3)
		sum := 0.0
		for _, m := range r.Members {
			sum += m.Share
			require.Equal(t, 64, m.Tokens)
			require.Equal(t, "alive", m.State)
			require.NotEmpty(t, m.Addr)
		}
		require.InDelta(t, 1, sum, 1e-9)
	}
	require.NoError(t, client.Close())
	require.NoError(t, nodes[2].Close())
	eventually(t, func() bool { state, _, _ := find("client"); return state == "left" || state == "" }, "the client has left")
	eventually(t, func() bool { state, _, _ := find("m2"); return state == "dead" }, "m2 is dead")
}

func TestLocate(t *testing.T) {
	nodes := openMembers(t, 5, 5, func(_ int, cfg *Config) { cfg.Replicas = 3 })
	for _, n := range nodes {
		waitReady(t, n)
	}
	for i, n := range nodes {
		key := fmt.Sprint("key ", i)
		loc, err := n.Locate(t.Context(), key)
		require.NoError(t, err)
		require.Len(t, loc.Points, 5)
		require.Len(t, loc.Owners, 3)
		for _, p := range loc.Points {
			require.Len(t, p, 96)
		}
		for _, o := range loc.Owners {
			require.Equal(t, []any{"none", uint64(0), false, "", "alive"}, []any{o.Ballot, o.Index, o.Live, o.Error, o.State})
		}
		put(t, n, key, "v")
		eventually(t, func() bool {
			loc, err = nodes[0].Locate(t.Context(), key)
			require.NoError(t, err)
			for _, o := range loc.Owners {
				if o.Ballot != loc.Owners[0].Ballot || !o.Live || o.Index == 0 {
					return false
				}
			}
			return true
		}, "all owners of %q have it", key)
	}
	loc, err := nodes[0].Locate(t.Context(), "key 0")
	require.NoError(t, err)
	for _, n := range nodes[1:] {
		if n.cfg.Name == loc.Owners[0].Name {
			require.NoError(t, n.Close())
		}
	}
	if loc.Owners[0].Name != "m0" {
		loc, err = nodes[0].Locate(t.Context(), "key 0")
		require.NoError(t, err)
		require.NotEmpty(t, loc.Owners[0].Error)
		require.Empty(t, loc.Owners[0].Ballot)
	}
	_, err = nodes[0].Locate(t.Context(), "/x")
	require.Error(t, err)
}
