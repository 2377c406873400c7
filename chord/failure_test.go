package chord

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

// TestStoreFailure takes a member's database away. It must stop serving and say
// why; the others go on.
func TestStoreFailure(t *testing.T) {
	dir := t.TempDir()
	nodes := openMembers(t, 3, 3, func(i int, cfg *Config) {
		if i == 2 {
			cfg.Memory, cfg.DataDir = false, dir
		}
	})
	for _, n := range nodes {
		waitReady(t, n)
	}
	bad := nodes[2]
	put(t, bad, "k", "v")
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "db")))
	// The log in use is still there, without a name; the next one cannot be made.
	big := bytes.Repeat([]byte("x"), 4<<20)
	for i := 0; bad.Err() == nil; i++ {
		require.Less(t, i, 50, "the disk is gone and nobody noticed")
		_, err := nodes[0].Put(within(t, limit), "big", big, backend.PutOptions{})
		require.NoError(t, err)
	}
	<-bad.Done()
	require.ErrorContains(t, bad.Err(), dir)
	s := status(t, bad)
	require.Equal(t, "failed", s.State)
	require.Equal(t, bad.Err().Error(), s.Reason)
	require.False(t, s.Quorum)
	_, err := bad.Put(t.Context(), "k", nil, backend.PutOptions{})
	require.Equal(t, backend.NotReady, backend.CodeOf(err), "%v", err)
	require.ErrorIs(t, err, bad.Err())
	require.ErrorContains(t, err, dir)
	_, err = bad.Get(t.Context(), "k", backend.GetOptions{})
	require.Equal(t, backend.NotReady, backend.CodeOf(err), "%v", err)
	_, err = bad.List(t.Context(), backend.ListQuery{})
	require.Equal(t, backend.NotReady, backend.CodeOf(err), "%v", err)
	_, err = bad.Locate(t.Context(), "k")
	require.Equal(t, backend.NotReady, backend.CodeOf(err), "%v", err)

	require.Equal(t, "v", get(t, nodes[0], "k"))
	put(t, nodes[1], "k", "w")
	require.Equal(t, "w", get(t, nodes[0], "k"))
	eventually(t, func() bool { return status(t, nodes[0]).Alive == 2 }, "the others see that it is gone")
	require.True(t, status(t, nodes[0]).Quorum)
	require.NoError(t, bad.Close())
}

// TestTwoWithOneName: the later one stops and says why.
func TestTwoWithOneName(t *testing.T) {
	first := openNode(t, Config{Name: "a", Memory: true, Expect: 1})
	waitReady(t, first)
	second := openNode(t, Config{Name: "a", Memory: true, Expect: 5, Seeds: []string{first.GossipAddr()}})
	select {
	case <-second.Done():
	case <-time.After(limit):
		t.Fatal("both live")
	}
	require.ErrorContains(t, second.Err(), `"a"`)
	_, err := second.Get(t.Context(), "k", backend.GetOptions{})
	require.Equal(t, backend.NotReady, backend.CodeOf(err))
	require.NoError(t, first.Err())
	put(t, first, "k", "v")
}

// TestCloseDuringOperations closes a member under a hundred callers of it, and
// then its peers under a hundred that therefore wait.
func TestCloseDuringOperations(t *testing.T) {
	for _, waiting := range []bool{false, true} {
		t.Run(fmt.Sprintf("without quorum %v", waiting), func(t *testing.T) {
			nodes := openRing(t, 3)
			n := nodes[1]
			put(t, n, "k", "v")
			if waiting {
				require.NoError(t, nodes[0].Close())
				require.NoError(t, nodes[2].Close())
			}
			const callers = 100
			began := make(chan struct{}, callers)
			ended := make(chan error, callers)
			for c := range callers {
				go func() {
					ctx := context.Background()
					key := fmt.Sprintf("k/%d", c%7)
					var err error
					for i := 0; err == nil; i++ {
						if i == 0 {
							began <- struct{}{}
						}
						switch c % 5 {
						case 0, 1:
							_, err = n.Put(ctx, key, []byte("v"), backend.PutOptions{})
						case 2:
							_, err = n.Get(ctx, key, backend.GetOptions{})
						case 3:
							_, err = n.Pop(ctx, key)
						case 4:
							if _, err = n.List(ctx, backend.ListQuery{Prefix: "k/"}); backend.CodeOf(err) == backend.Conflict {
								err = nil
							}
						}
					}
					ended <- err
				}()
			}
			for range callers {
				<-began
			}
			start := time.Now()
			require.NoError(t, n.Close())
			took := time.Since(start)
			for range callers {
				select {
				case err := <-ended:
					code := backend.CodeOf(err)
					require.True(t, code == backend.Closed || code == backend.UnknownOutcome, "%v", err)
				case <-time.After(limit):
					t.Fatal("a caller waits for ever")
				}
			}
			require.Less(t, took, 3*time.Second)
			t.Logf("closed in %v", took)
		})
	}
}

// busyShards counts what goes on in a node's shards, and who waits for it.
func busyShards(n *Node) (busy, callers int) {
	for _, d := range n.ring.Load().drivers {
		d.mu.Lock()
		busy += d.shard.Busy()
		callers += len(d.callers)
		d.mu.Unlock()
	}
	return busy, callers
}

// TestCancelledCallersLeaveNothing: with and without a quorum.
func TestCancelledCallersLeaveNothing(t *testing.T) {
	nodes := openRing(t, 3)
	client := openNode(t, Config{Name: "client", Role: RoleClient, Seeds: []string{nodes[0].GossipAddr()}})
	waitReady(t, client)
	run := func() {
		var wg sync.WaitGroup
		for c := range 60 {
			n := []*Node{nodes[0], client}[c%2]
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(c)*time.Millisecond)
				defer cancel()
				for key := fmt.Sprint("k", c%9); ; {
					_, err := n.Put(ctx, key, nil, backend.PutOptions{})
					if err == nil {
						_, err = n.Get(ctx, key, backend.GetOptions{})
					}
					if err != nil {
						if code := backend.CodeOf(err); code != backend.NoQuorum && code != backend.UnknownOutcome {
							t.Errorf("a cancelled caller is told %v", err)
						}
						return
					}
				}
			})
		}
		wg.Wait()
		for _, n := range []*Node{nodes[0], client} {
			// The node itself looks at the ring's register now and then.
			eventually(t, func() bool { busy, callers := busyShards(n); return busy == 0 && callers == 0 }, "%s has something to do", n.cfg.Name)
		}
	}
	run()
	require.NoError(t, nodes[1].Close())
	require.NoError(t, nodes[2].Close())
	run()
	_, err := nodes[0].Get(within(t, 300*time.Millisecond), "k0", backend.GetOptions{})
	require.Equal(t, backend.NoQuorum, backend.CodeOf(err))
}

// TestReturnedBytesAreTheCallers: callers that read one write as it happens each
// spoil what they got.
func TestReturnedBytesAreTheCallers(t *testing.T) {
	nodes := openRing(t, 3)
	want := bytes.Repeat([]byte("v"), 1000)
	ctx := within(t, limit)
	var wg sync.WaitGroup
	for w := range 8 {
		n := nodes[w%3]
		wg.Go(func() {
			for i := range 200 {
				if w < 2 {
					value := bytes.Clone(want)
					if _, err := n.Put(ctx, "k", value, backend.PutOptions{}); err != nil {
						t.Error(err)
						return
					}
					clear(value)
					continue
				}
				e, err := n.Get(ctx, "k", backend.GetOptions{Stale: i%2 == 0})
				if err != nil {
					t.Error(err)
					return
				}
				if e != nil {
					if !bytes.Equal(want, e.Value) {
						t.Errorf("somebody else's spoilt bytes: %q", e.Value)
						return
					}
					clear(e.Value)
				}
			}
		})
	}
	wg.Wait()
}

// TestClientsThatWentAreForgotten: a member keeps nothing of them.
func TestClientsThatWentAreForgotten(t *testing.T) {
	t.Parallel()
	nodes := openRing(t, 1)
	for i := range 3 {
		client := openNode(t, Config{Name: fmt.Sprint("c", i), Role: RoleClient, Seeds: []string{nodes[0].GossipAddr()}})
		waitReady(t, client)
		put(t, client, "k", "v")
		require.NoError(t, client.Close())
	}
	eventually(t, func() bool {
		p := nodes[0].peers
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.all) == 0
	}, "nothing is known of clients")
}
