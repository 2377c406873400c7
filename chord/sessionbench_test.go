package chord

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

// BenchmarkGetHeld reads keys that a session holds, whose register is read too, and
// others beside them.
func BenchmarkGetHeld(b *testing.B) {
	nodes := diskRing(b)
	id := newSession(b, nodes[0], backend.SessionOptions{})
	for _, kind := range []string{"free", "held"} {
		keys := numbered(kind+"/", 1000)
		if fill(b, nodes, keys); kind == "held" {
			holdKeys(b, nodes[0], id, keys)
		}
		b.Run(kind, func(b *testing.B) {
			measure(b, func(i int) error {
				_, err := nodes[0].Get(context.Background(), keys[i%1000], backend.GetOptions{})
				return err
			})
		})
	}
}

// BenchmarkLock locks and unlocks a key nobody else wants, with a session of the
// caller's.
func BenchmarkLock(b *testing.B) {
	nodes := diskRing(b)
	i := keep(nodes[0])
	defer i.keeper.Close()
	id := newSession(b, nodes[0], backend.SessionOptions{})
	measure(b, func(int) error {
		l, err := i.Lock(context.Background(), backend.LockOptions{Key: "lock", Session: id})
		if err != nil {
			return err
		}
		return l.Unlock(context.Background())
	})
}

// BenchmarkDestroy destroys a session that holds 5,000 keys, and reports how long
// it takes until the call returns, and until no member says any more that it does.
func BenchmarkDestroy(b *testing.B) {
	nodes := diskRing(b)
	keys := numbered("held/", 5000)
	for b.Loop() {
		id := newSession(b, nodes[0], backend.SessionOptions{LockDelay: backend.NoLockDelay})
		holdKeys(b, nodes[0], id, keys)
		began := time.Now()
		require.NoError(b, nodes[1].DestroySession(context.Background(), id))
		b.ReportMetric(time.Since(began).Seconds(), "s-to-return")
		eventually(b, func() bool { return released(b, nodes, id) }, "its keys are not released")
		b.ReportMetric(time.Since(began).Seconds(), fmt.Sprintf("s-to-release-%d", len(keys)))
	}
}
