package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline bounds every wait of a test.
const deadline = 20 * time.Second

// small are options that make Pebble flush and compact in a short test.
func small(fs vfs.FS) Options {
	return Options{Dir: "data", FS: fs, CacheBytes: 1 << 20, memTable: 256 << 10}
}

func mustOpen(t testing.TB, opts Options) *Store {
	t.Helper()
	s, err := Open(opts)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// cellOf returns a cell that says n in its data, with size bytes more.
func cellOf(n uint64, size int) register.Cell {
	b := register.Ballot{Time: n + 1, Node: 7}
	return register.Cell{Accepted: b, Value: register.Value{
		Live: true, Flags: 3, Create: 1,
		Data:    append(binary.BigEndian.AppendUint64(nil, n), make([]byte, size)...),
		Lineage: []register.Past{{Write: b, Op: register.OpID{Time: n, Node: 9}}, {}},
	}}
}

func numberOf(c register.Cell) uint64 { return binary.BigEndian.Uint64(c.Value.Data) }

// commit writes and waits.
func commit(t testing.TB, s *Store, shard int, writes ...register.Write) error {
	t.Helper()
	got := make(chan error, 1)
	s.Commit(shard, writes, func(_ uint64, err error) { got <- err })
	return wait(t, got)
}

func put(t testing.TB, s *Store, key string, c register.Cell) {
	t.Helper()
	require.NoError(t, commit(t, s, s.Shard(key), register.Write{Seq: 1, Key: key, Cell: c}))
}

// wait receives within the deadline.
func wait[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(deadline):
		t.Fatal("nothing happened within the deadline")
		panic("not reached")
	}
}

// configuration returns a valid one.
func configuration(epoch uint64, id byte) *ring.Configuration {
	c := &ring.Configuration{
		RingID: ring.RingID(fmt.Sprintf("%032x", id)), Epoch: epoch, Level: 1,
		New: ring.Side{Replicas: 3, Members: []ring.Member{
			{ID: ring.NodeID([]byte("a")), Name: "a", Addr: "127.0.0.1:1", Tokens: 64},
			{ID: ring.NodeID([]byte("b")), Name: "b", Addr: "127.0.0.1:2", Tokens: 64},
		}},
	}
	c.Sort()
	return c
}

func TestReopenFindsEverything(t *testing.T) {
	for name, opts := range map[string]Options{
		"disk": {Dir: t.TempDir() + "/a/b"},
		"mem":  {Dir: "x/y", FS: vfs.NewMem()},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(opts)
			require.NoError(t, err)
			first := s.Identity()
			require.Len(t, first.Node, 32)
			require.EqualValues(t, 1, first.Boot)
			require.Equal(t, 16, s.Shards())
			_, ok := s.Configuration()
			require.False(t, ok)
			require.Zero(t, s.Mark(3))

			want := cellOf(5, 100)
			put(t, s, "a", want)
			tomb := register.Cell{Accepted: register.Ballot{Time: 9, Node: 1}, Value: register.Value{Lineage: []register.Past{{Write: register.Ballot{Time: 9, Node: 1}}}}}
			put(t, s, "b", tomb)
			large := cellOf(6, 8<<20)
			put(t, s, "large", large)
			require.NoError(t, commit(t, s, 3, register.Write{Seq: 2, Mark: &register.Mark{HighWater: 1 << 50}}))
			conf := configuration(4, 1)
			require.NoError(t, s.Install(conf))
			require.NoError(t, s.Close())
			require.NoError(t, s.Close())

			opts.Shards = 4 // the directory knows better
			s = mustOpen(t, opts)
			require.Equal(t, Identity{Node: first.Node, Boot: 2, Format: 1}, s.Identity())
			require.Equal(t, 16, s.Shards())
			for key, want := range map[string]register.Cell{"a": want, "b": tomb, "large": large} {
				got, ok, err := s.Load(key)
				require.NoError(t, err)
				require.True(t, ok)
				require.True(t, reflect.DeepEqual(want, got), key)
			}
			_, ok, err = s.Load("nothing")
			require.NoError(t, err)
			require.False(t, ok)
			require.EqualValues(t, 1<<50, s.Mark(3).HighWater)
			got, ok := s.Configuration()
			require.True(t, ok)
			require.Equal(t, conf, got)
			st, err := s.Stats()
			require.NoError(t, err)
			require.InDelta(t, 3, st.Cells, 4) // identity, mark and configuration are rows too
			require.Positive(t, st.DiskBytes)
			require.NoError(t, s.Failed())
		})
	}
}

func TestMemoryIsForgotten(t *testing.T) {
	s := mustOpen(t, Options{Memory: true})
	put(t, s, "a", cellOf(1, 0))
	node := s.Identity().Node
	require.NoError(t, s.Close())
	s = mustOpen(t, Options{Memory: true})
	require.NotEqual(t, node, s.Identity().Node)
	_, ok, err := s.Load("a")
	require.NoError(t, err)
	require.False(t, ok)
}

func TestLoadedDataIsTheCallers(t *testing.T) {
	s := mustOpen(t, Options{Memory: true})
	put(t, s, "a", cellOf(1, 8))
	a, _, err := s.Load("a")
	require.NoError(t, err)
	for i := range a.Value.Data {
		a.Value.Data[i] = 0xff
	}
	b, _, err := s.Load("a")
	require.NoError(t, err)
	require.EqualValues(t, 1, numberOf(b))
	id := s.Identity()
	id.Node[0]++
	require.NotEqual(t, id.Node[0], s.Identity().Node[0])
}

func TestMarksNeverGoBack(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, small(fs))
	for _, high := range []uint64{5, 9, 7, 9, 2} {
		require.NoError(t, commit(t, s, 1, register.Write{Mark: &register.Mark{HighWater: high}}))
	}
	require.EqualValues(t, 9, s.Mark(1).HighWater)
	require.Zero(t, s.Mark(0))
	require.NoError(t, s.Close())
	require.EqualValues(t, 9, mustOpen(t, small(fs)).Mark(1).HighWater)
}

func TestClosedStoreAnswers(t *testing.T) {
	s := mustOpen(t, Options{Memory: true})
	require.NoError(t, s.Close())
	require.ErrorIs(t, commit(t, s, 0, register.Write{Seq: 1, Key: "a"}), ErrClosed)
	got := make(chan error, 1)
	s.Barrier(func(err error) { got <- err })
	require.ErrorIs(t, wait(t, got), ErrClosed)
	_, _, err := s.Load("a")
	require.ErrorIs(t, err, ErrClosed)
	_, err = s.Scan(context.Background(), ScanOptions{})
	require.ErrorIs(t, err, ErrClosed)
	_, err = s.Stats()
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, s.Install(configuration(1, 1)), ErrClosed)
}

func TestConcurrentUse(t *testing.T) {
	s := mustOpen(t, small(vfs.NewMem()))
	const writers, rounds = 8, 60
	var wg, acks sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range rounds {
				key := fmt.Sprintf("w%d/%d", w, i%10)
				acks.Add(1)
				s.Commit(s.Shard(key), []register.Write{{Seq: uint64(i), Key: key, Cell: cellOf(uint64(i), 2000)}}, func(upTo uint64, err error) {
					defer acks.Done()
					if err != nil || upTo != uint64(i) {
						t.Errorf("commit %d: upTo %d, %v", i, upTo, err)
					}
				})
				if _, _, err := s.Load(key); err != nil {
					t.Error(err)
				}
				if i%10 == 0 {
					if _, err := s.Scan(context.Background(), ScanOptions{Prefix: "w"}); err != nil {
						t.Error(err)
					}
					if _, err := s.Stats(); err != nil {
						t.Error(err)
					}
					s.Changes("w", "", 0)
					s.Overloaded()
				}
			}
		})
	}
	wg.Go(func() {
		for e := range uint64(20) {
			if err := s.Install(configuration(e+1, 1)); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	acks.Wait()
	res, err := s.Scan(context.Background(), ScanOptions{Values: true})
	require.NoError(t, err)
	require.Len(t, res.Cells, writers*10)
	for _, c := range res.Cells {
		require.GreaterOrEqual(t, numberOf(c.Cell), uint64(rounds-10), c.Key)
	}
}
