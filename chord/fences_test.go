package chord

import (
	"bytes"
	"testing"
	"time"

	"github.com/armon/go-metrics"
	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/register"
)

// TestFencesComeBeforeCells: who is given cells has the fences that come with them on
// its disk and in every shard, also those that one of its shards has just learned.
func TestFencesComeBeforeCells(t *testing.T) {
	n := openRing(t, 1)[0]
	at := register.Attempt{Token: 7, Number: 1}
	e := register.FenceEntry{Key: "lock", Try: at, Sealed: at, By: nil}
	n.fences.note([]register.FenceEntry{e}) // as one shard's, before the others and the disk
	st := n.ring.Load()
	require.NoError(t, n.fences.receive(st, carried{register.AppendFenceEntry(nil, &e)}))
	require.Equal(t, []register.FenceEntry{e}, n.store.Fences())
	for _, d := range st.drivers {
		d.input(func(register.Now) { require.Equal(t, at, d.shard.FenceOf("lock").Sealed) })
	}
}

// TestRefusedWritersAreNamed: each write of a former holder that is refused is counted,
// by lock, at the node that was asked, and the log says who it was.
func TestRefusedWritersAreNamed(t *testing.T) {
	sink := metrics.NewInmemSink(time.Hour, time.Hour)
	cfg := metrics.DefaultConfig("test")
	cfg.EnableHostname, cfg.EnableRuntimeMetrics = false, false
	m, err := metrics.New(cfg, sink)
	require.NoError(t, err)
	var log bytes.Buffer
	nodes := openMembers(t, 3, 3, func(i int, cfg *Config) {
		if i == 0 {
			cfg.Metrics, cfg.Logger = m, hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Warn})
		}
	})
	for _, n := range nodes {
		waitReady(t, n)
	}
	asked := keep(nodes[0])
	l, old := locked(t, asked, "lock")
	require.NoError(t, l.Unlock(t.Context()))
	_, _ = locked(t, keep(nodes[1]), "lock")

	counted := func() int {
		for _, c := range sink.Data()[0].Counters {
			if c.Name == "test.fence.refused" {
				require.Equal(t, []metrics.Label{{Name: "lock", Value: "lock"}}, c.Labels)
				return c.Count
			}
		}
		return 0
	}
	writes := []func() error{
		func() error {
			_, err := asked.Put(t.Context(), "k", []byte("v"), backend.PutOptions{Fence: old})
			return err
		},
		func() error { return asked.Delete(t.Context(), "k", backend.DeleteOptions{Fence: old}) },
		func() error {
			_, err := asked.Txn(t.Context(), []backend.TxnOp{{Verb: backend.VerbSet, Key: "a", Fence: old}, {Verb: backend.VerbSet, Key: "b"}})
			return err
		},
		func() error {
			tx, err := asked.Begin(t.Context(), backend.TxOptions{})
			require.NoError(t, err)
			require.NoError(t, tx.Put(t.Context(), "a", nil, backend.PutOptions{Fence: old}))
			require.NoError(t, tx.Put(t.Context(), "b", nil, backend.PutOptions{}))
			return tx.Commit(t.Context())
		},
	}
	for i, write := range writes {
		require.Equal(t, backend.Fenced, backend.CodeOf(write()), i)
		eventually(t, func() bool { return counted() >= i+1 }, "write %d is not counted", i) // perhaps after it was answered
		require.Equal(t, i+1, counted(), "write %d", i)
	}
	require.NoError(t, nodes[0].Close()) // so that nobody writes to the log
	require.Regexp(t, `refused the write of a former holder of a lock: lock=lock token=\d+ in_force=\d+ key=k from=m0`, log.String())
}
