package chord

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/backendtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// openRing starts n members in memory on loopback that found a ring.
func openRing(t *testing.T, n int) []*Node {
	t.Helper()
	var nodes []*Node
	var seeds []string
	for i := range n {
		nodes = append(nodes, openNode(t, Config{Name: fmt.Sprintf("m%d", i), Memory: true, Expect: n, Seeds: seeds}))
		seeds = []string{nodes[0].GossipAddr()}
	}
	for _, node := range nodes {
		waitReady(t, node)
	}
	return nodes
}

// openNode starts a node on loopback and closes it with the test.
func openNode(t *testing.T, cfg Config) *Node {
	t.Helper()
	cfg.GossipAddr, cfg.MeshAddr = "127.0.0.1:0", "127.0.0.1:0"
	level := hclog.Error
	if os.Getenv("CHORD_TEST_LOG") != "" {
		level = hclog.LevelFromString(os.Getenv("CHORD_TEST_LOG"))
	}
	cfg.Logger = hclog.New(&hclog.LoggerOptions{Name: cfg.Name, Level: level})
	node, err := Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	return node
}

func waitReady(t *testing.T, n *Node) {
	t.Helper()
	select {
	case <-n.Ready():
	case <-time.After(20 * time.Second):
		s, _ := n.Status(context.Background())
		t.Fatalf("%s is not ready: %s", n.cfg.Name, s.Reason)
	}
}

func TestConformance(t *testing.T) {
	t.Run("one member", func(t *testing.T) {
		backendtest.Run(t, func(t *testing.T) backend.Backend { return openRing(t, 1)[0] })
	})
	t.Run("five members", func(t *testing.T) {
		backendtest.Run(t, func(t *testing.T) backend.Backend { return openRing(t, 5)[3] })
	})
	t.Run("a client of three members", func(t *testing.T) {
		backendtest.Run(t, func(t *testing.T) backend.Backend {
			members := openRing(t, 3)
			client := openNode(t, Config{Name: "client", Role: RoleClient, Seeds: []string{members[0].GossipAddr()}})
			waitReady(t, client)
			return client
		})
	})
}
