package chord

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chord-plugin/chord-plugin/backend"
)

// limit is how long a test waits for what it waits for.
const limit = 20 * time.Second

// TestMain looks for leaked goroutines for longer than goleak.VerifyTestMain does:
// a probe of memberlist's ends up to four probe intervals after it was shut down.
func TestMain(m *testing.M) {
	code := m.Run()
	err := goleak.Find()
	for end := time.Now().Add(10 * time.Second); err != nil && time.Now().Before(end); {
		err = goleak.Find() // tries for about a second itself
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// openRing starts n members in memory on loopback that found a ring.
func openRing(t testing.TB, n int) []*Node {
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
func openNode(t testing.TB, cfg Config) *Node {
	t.Helper()
	onLoopback(&cfg)
	node, err := Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		if err := node.Close(); node.Err() == nil {
			require.NoError(t, err)
		}
	})
	return node
}

// onLoopback lets a node listen on loopback, unless it is told where, and log what
// matters.
func onLoopback(cfg *Config) {
	cfg.GossipAddr, cfg.MeshAddr = cmp.Or(cfg.GossipAddr, "127.0.0.1:0"), cmp.Or(cfg.MeshAddr, "127.0.0.1:0")
	level := hclog.Error
	if os.Getenv("CHORD_TEST_LOG") != "" {
		level = hclog.LevelFromString(os.Getenv("CHORD_TEST_LOG"))
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.New(&hclog.LoggerOptions{Name: cfg.Name, Level: level})
	}
}

func waitReady(t testing.TB, n *Node) {
	t.Helper()
	select {
	case <-n.Ready():
	case <-time.After(limit):
		s, _ := n.Status(context.Background())
		t.Fatalf("%s is not ready: %s", n.cfg.Name, s.Reason)
	}
}

// eventually waits until cond holds.
func eventually(t testing.TB, cond func() bool, what string, args ...any) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(limit); !cond(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("it did not happen in %v: "+what, append([]any{limit}, args...)...)
		}
	}
}

// status returns a node's status.
func status(t testing.TB, n *Node) *backend.Status {
	t.Helper()
	s, err := n.Status(context.Background())
	require.NoError(t, err)
	return s
}

// within returns a context that ends with the test or after d.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// put stores a value.
func put(t testing.TB, n *Node, key, value string) {
	t.Helper()
	_, err := n.Put(within(t, limit), key, []byte(value), backend.PutOptions{})
	require.NoError(t, err)
}

// get returns a value, "" where there is none.
func get(t testing.TB, n *Node, key string) string {
	t.Helper()
	e, err := n.Get(within(t, limit), key, backend.GetOptions{})
	require.NoError(t, err)
	if e == nil {
		return ""
	}
	return string(e.Value)
}

// fill puts each key's own name as its value, many at a time, from all nodes.
func fill(t testing.TB, nodes []*Node, keys []string) {
	t.Helper()
	ctx := within(t, limit)
	require.NoError(t, eachOf(len(keys), func(i int) error {
		_, err := nodes[i%len(nodes)].Put(ctx, keys[i], []byte(keys[i]), backend.PutOptions{})
		return err
	}))
}

// numbered returns n keys in byte order.
func numbered(prefix string, n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("%s%05d", prefix, i)
	}
	return keys
}
