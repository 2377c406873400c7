package gossip

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/stretchr/testify/require"
)

func TestCloseEndsConnectionsUnderWay(t *testing.T) {
	c := testConfig("a")
	c.Profile = "wan" // where memberlist itself would wait for 30 s
	a := start(t, c)
	hung, err := net.Dial("tcp", a.Self().GossipAddr)
	require.NoError(t, err)
	defer hung.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never answers
	require.NoError(t, err)
	defer silent.Close()
	joined := make(chan error, 1)
	go func() {
		_, err := a.Join([]string{silent.Addr().String()})
		joined <- err
	}()
	eventually(t, 5*time.Second, "both connections are open", func() bool {
		a.wire.mu.Lock()
		defer a.wire.mu.Unlock()
		return len(a.wire.open) == 2
	})
	begin := time.Now()
	require.NoError(t, a.Close())
	require.Less(t, time.Since(begin), 5*time.Second)
	require.Error(t, <-joined)
	require.Empty(t, a.wire.open)
	_, err = a.wire.DialAddressTimeout(memberlist.Address{Addr: silent.Addr().String()}, time.Second)
	require.Error(t, err)
	require.NoError(t, a.Close(), "again")
}

func TestSeveredAreBoundedAndRunOut(t *testing.T) {
	a := start(t, testConfig("a"))
	now := time.Now()
	for i := range maxSevered + 5 {
		a.wire.sever(fmt.Sprint(i), fmt.Sprintf("192.0.2.1:%d", i+1), now.Add(time.Hour))
	}
	require.Len(t, a.wire.severed, maxSevered)
	require.True(t, a.wire.isSevered("0"))
	require.True(t, a.wire.drops("192.0.2.1:1", now))
	require.False(t, a.wire.drops("192.0.2.1:1", now.Add(2*time.Hour)))
	a.wire.restore("192.0.2.1:1")
	require.False(t, a.wire.isSevered("0"))
	require.False(t, a.wire.drops("192.0.2.1:1", now))
	a.wire.sever("old", "192.0.2.2:1", now.Add(-time.Hour))
	require.False(t, a.wire.isSevered("old"))
}

func TestTooManyNodesAreRefused(t *testing.T) {
	a := start(t, testConfig("a"))
	peerOf := func(i int) *memberlist.Node {
		n := Node{ID: testID(fmt.Sprint(i)), Name: fmt.Sprint(i), Role: RoleClient, Boot: 1}
		meta, err := encodeMeta(&n)
		require.NoError(t, err)
		return &memberlist.Node{Name: n.listName(), Addr: net.IPv4(192, 0, 2, 1), Port: uint16(i + 1), Meta: meta}
	}
	a.Gossip.mu.Lock()
	for i := range MaxNodes {
		n, err := readPeer(peerOf(i))
		require.NoError(t, err)
		a.table.set(n, testTime)
	}
	a.Gossip.mu.Unlock()
	h := hooks{a.Gossip}
	require.NoError(t, h.NotifyAlive(peerOf(7)), "one that is known")
	require.ErrorIs(t, h.NotifyAlive(peerOf(MaxNodes)), ErrRefused)
	require.Contains(t, a.log.String(), "there are too many")
}
