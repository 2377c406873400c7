package chord

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// crowdLimit is within what they have to be in one ring. It takes them 8 s on two
// cores of their own, and several times as long beside other tests.
const crowdLimit = 2 * time.Minute

// TestCrowd: members that join together converge to one final configuration, at
// all of them, and the ring serves.
func TestCrowd(t *testing.T) {
	began := time.Now()
	nodes := openRing(t, 1)
	names := []string{"m0"}
	for i := 1; i < crowd; i++ {
		names = append(names, fmt.Sprintf("m%d", i))
	}
	nodes = append(nodes, join(t, nodes[0], names[1:]...)...)
	t.Logf("%d members started after %v", crowd, time.Since(began).Round(time.Millisecond))
	slices.Sort(names)
	var behind error
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(crowdLimit); ; {
		if behind = notShaped(nodes, names); behind == nil {
			break
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("not one ring after %v: %v", crowdLimit, behind)
		}
	}
	t.Logf("one final configuration after %v, at epoch %d", time.Since(began).Round(time.Millisecond), status(t, nodes[0]).Epoch)

	keys := numbered("crowd/", 200)
	fill(t, nodes, keys)
	for i, key := range keys {
		require.Equal(t, key, get(t, nodes[(i+1)%len(nodes)], key))
	}
	for _, n := range nodes {
		require.Equal(t, status(t, nodes[0]).Epoch, status(t, n).Epoch, n.cfg.Name)
	}
}

// notShaped says which node does not work by a final configuration of these names.
func notShaped(nodes []*Node, names []string) error {
	for _, n := range nodes {
		st := n.ring.Load()
		if st == nil {
			return fmt.Errorf("%s has no ring yet", n.cfg.Name)
		}
		conf := st.placement.Configuration()
		if conf.Joint() || !slices.Equal(conf.Names(), names) {
			return fmt.Errorf("%s works by epoch %d, joint %v, of %d members; %s", n.cfg.Name, conf.Epoch, conf.Joint(), len(conf.New.Members), n.reshaper.waits())
		}
	}
	return nil
}
