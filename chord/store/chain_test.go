package store

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

func epochs(t *testing.T, s *Store, after uint64, limit int) []uint64 {
	t.Helper()
	confs, err := s.Chain(after, limit)
	require.NoError(t, err)
	var es []uint64
	for _, c := range confs {
		es = append(es, c.Epoch)
	}
	return es
}

func TestInstall(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, small(fs))
	require.Empty(t, epochs(t, s, 0, 10))
	for _, e := range []uint64{2, 3, 7} { // a member that was away skips some
		require.NoError(t, s.Install(configuration(e, 1)))
	}
	require.NoError(t, s.Install(configuration(7, 1)), "again")
	other := configuration(7, 1)
	other.New.Replicas = 1
	require.ErrorContains(t, s.Install(other), "an epoch is chosen once")
	require.ErrorContains(t, s.Install(configuration(3, 1)), "older than epoch 7")
	require.ErrorContains(t, s.Install(configuration(8, 2)), "it is of ring 00000000000000000000000000000002, and this data directory belongs to ring 00000000000000000000000000000001")
	invalid := configuration(8, 1)
	invalid.Level = 0
	require.ErrorContains(t, s.Install(invalid), "install the configuration of epoch 8: configuration: protocol level 0")

	for range 2 {
		require.Equal(t, []uint64{2, 3, 7}, epochs(t, s, 0, 10))
		require.Equal(t, []uint64{3, 7}, epochs(t, s, 2, 10))
		require.Equal(t, []uint64{3}, epochs(t, s, 2, 1))
		require.Empty(t, epochs(t, s, 7, 10))
		c, ok := s.Configuration()
		require.True(t, ok)
		require.Equal(t, configuration(7, 1), c)
		require.NoError(t, s.Close())
		s = mustOpen(t, small(fs))
	}
}

func TestChainIsBounded(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, small(fs))
	for e := range uint64(MaxChain) {
		require.NoError(t, s.Install(configuration(e+1, 1)))
	}
	require.Len(t, epochs(t, s, 0, MaxChain+1), MaxChain)
	require.NoError(t, s.Install(configuration(MaxChain+1, 1)))
	es := epochs(t, s, 0, MaxChain+1)
	require.Len(t, es, MaxChain)
	require.EqualValues(t, 2, es[0])
	require.NoError(t, s.Close())
	s = mustOpen(t, small(fs))
	require.Equal(t, es, epochs(t, s, 0, MaxChain+1))
	total := 0
	for _, l := range s.chain.links {
		total += l.bytes
	}
	require.Equal(t, total, s.chain.bytes)
}

func TestChainIsBoundedInBytes(t *testing.T) {
	var c chain
	for e := range uint64(300) {
		conf := configuration(e+1, 1)
		drop := c.excess(2 << 20)
		c.extend(conf, 2<<20, drop)
		require.LessOrEqual(t, c.bytes, MaxChainBytes)
	}
	require.Len(t, c.links, 128)
	require.EqualValues(t, 173, c.links[0].epoch)
	require.Equal(t, 128, c.excess(MaxChainBytes+1), "the newest is kept whatever its size")
}

func TestDamagedConfiguration(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, small(fs))
	require.NoError(t, s.Install(configuration(1, 1)))
	require.NoError(t, s.db.Set(configurationKey(2), configuration(3, 1).Encode(), nil))
	require.NoError(t, s.Close())
	_, err := Open(small(fs))
	require.ErrorIs(t, err, errDamaged)
	require.ErrorContains(t, err, "the configuration of epoch 2: it is of epoch 3")
	require.ErrorContains(t, err, "start with an empty directory as a new member")
	_, err = Open(small(fs))
	require.NotErrorIs(t, err, ErrInUse, fmt.Sprint("the lock was left: ", err))
}
