package store

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// acknowledged is what a member may rely on after a crash.
type acknowledged struct {
	node  string // empty until Open has returned
	boot  uint64
	epoch uint64
	cells map[string]uint64
	marks map[int]uint64
}

// witness knows what was acknowledged and what was asked for.
type witness struct {
	mu    sync.Mutex
	acked acknowledged
	asked map[string]uint64
}

func newWitness() *witness {
	return &witness{acked: acknowledged{cells: map[string]uint64{}, marks: map[int]uint64{}}, asked: map[string]uint64{}}
}

func (w *witness) snapshot() acknowledged {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.acked
	a.cells, a.marks = maps.Clone(a.cells), maps.Clone(a.marks)
	return a
}

func (w *witness) askedFor(key string) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked[key]
}

// check opens what a crash left behind and looks for everything acknowledged.
func (w *witness) check(fs vfs.FS, want acknowledged) error {
	s, err := Open(small(fs))
	if err != nil {
		return fmt.Errorf("open after the crash: %w", err)
	}
	defer s.Close()
	id := s.Identity()
	if want.node != "" && string(id.Node) != want.node || id.Boot <= want.boot {
		return fmt.Errorf("identity is %x at boot %d; it was %x at %d", id.Node, id.Boot, want.node, want.boot)
	}
	if c, ok := s.Configuration(); want.epoch > 0 && (!ok || c.Epoch < want.epoch) {
		return fmt.Errorf("epoch %d is not there: %v", want.epoch, c)
	}
	for shard, high := range want.marks {
		if got := s.Mark(shard).HighWater; got < high {
			return fmt.Errorf("mark of shard %d is %d; it was %d", shard, got, high)
		}
	}
	for key, n := range want.cells {
		c, ok, err := s.Load(key)
		if err != nil || !ok {
			return fmt.Errorf("key %s is not there: %w", key, err)
		}
		if got := numberOf(c); got < n || got > w.askedFor(key) {
			return fmt.Errorf("key %s is at %d; %d was acknowledged and %d asked for", key, got, n, w.askedFor(key))
		}
	}
	res, err := s.Scan(context.Background(), ScanOptions{})
	if err == nil && len(res.Cells) < len(want.cells) {
		err = fmt.Errorf("a scan shows %d keys of %d", len(res.Cells), len(want.cells))
	}
	return err
}

// work opens a store and works on it.
func (w *witness) work(opts Options, rng *rand.Rand, rounds int) error {
	s, err := Open(opts)
	if err != nil {
		return err
	}
	return w.workOn(s, rng, rounds)
}

// workOn writes, installs and closes, and notes what is acknowledged. It ends
// early when the store fails, and reports that. Nothing may be acknowledged of
// what is asked for after the failure.
func (w *witness) workOn(s *Store, rng *rand.Rand, rounds int) error {
	id := s.Identity()
	w.mu.Lock()
	w.acked.node, w.acked.boot = string(id.Node), id.Boot
	epoch := w.acked.epoch
	next := uint64(len(w.asked)+1) + id.Boot<<20
	w.mu.Unlock()
	var acks sync.WaitGroup
	for round := 0; round < rounds; round++ {
		failed := s.Failed() != nil
		if failed {
			round = rounds // once more
		}
		for range 1 + rng.IntN(4) {
			next++
			key, n := fmt.Sprintf("key%d", rng.IntN(12)), next
			shard := s.Shard(key)
			w.mu.Lock()
			w.asked[key] = n
			w.mu.Unlock()
			acks.Add(1)
			s.Commit(shard, []register.Write{
				{Seq: n, Key: key, Cell: cellOf(n, rng.IntN(12_000))},
				{Seq: n, Mark: &register.Mark{HighWater: n}},
			}, func(_ uint64, err error) {
				defer acks.Done()
				if err != nil {
					return
				}
				w.mu.Lock()
				defer w.mu.Unlock()
				if failed {
					panic("acknowledged after the failure")
				}
				w.acked.cells[key] = max(w.acked.cells[key], n)
				w.acked.marks[shard] = max(w.acked.marks[shard], n)
			})
		}
		if rng.IntN(8) == 0 {
			if err := s.Install(configuration(epoch+1, 1)); err == nil {
				epoch++
				if failed {
					panic("installed after the failure")
				}
				w.mu.Lock()
				w.acked.epoch = epoch
				w.mu.Unlock()
			}
		}
		if _, _, err := s.Load(fmt.Sprintf("key%d", rng.IntN(12))); err != nil && s.Failed() == nil {
			return err
		}
		if rng.IntN(3) > 0 {
			acks.Wait()
		}
	}
	acks.Wait()
	return s.Close()
}

// changesDisk reports whether a crash before op may leave another disk than one
// after it.
func changesDisk(op errorfs.Op) bool {
	switch op.Kind {
	case errorfs.OpCreate, errorfs.OpRename, errorfs.OpRemove, errorfs.OpReuseForWrite, errorfs.OpMkdirAll, errorfs.OpLink:
		return true
	}
	return isSync(op)
}

// TestCrashAtEverySync takes the disk as a crash would leave it before every sync,
// creation, renaming and removal, and so after the one before, in the first start,
// in work that flushes and compacts, and in restarts; and looks for everything
// that had been acknowledged by then. Once with what was synced only, once with a
// random part of the rest.
func TestCrashAtEverySync(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			mem := vfs.NewCrashableMem()
			w := newWitness()
			var mu sync.Mutex
			chaos := rand.New(rand.NewPCG(seed, 1))
			crashes := 0
			fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if !changesDisk(op) {
					return nil
				}
				mu.Lock()
				defer mu.Unlock()
				want := w.snapshot()
				crashes++
				if err := w.check(mem.CrashClone(vfs.CrashCloneCfg{}), want); err != nil {
					t.Errorf("crash %d, before %v of %s: %v", crashes, op.Kind, op.Path, err)
				}
				part := vfs.CrashCloneCfg{UnsyncedDataPercent: 1 + chaos.IntN(99), RNG: chaos}
				if err := w.check(mem.CrashClone(part), want); err != nil {
					t.Errorf("crash %d, before %v of %s, with %d%% of what was not synced: %v", crashes, op.Kind, op.Path, part.UnsyncedDataPercent, err)
				}
				return nil
			}))
			rng := rand.New(rand.NewPCG(seed, 2))
			for range 3 {
				require.NoError(t, w.work(small(fs), rng, 40))
			}
			require.Greater(t, crashes, 150)
			require.Len(t, w.acked.cells, 12)
			t.Logf("%d crashes, each twice", crashes)
		})
	}
}
