package chord

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

// TestTakeReading: what is read makes the index, and a change that does not is
// met.
func TestTakeReading(t *testing.T) {
	keys := func(stamps ...uint64) map[uint64]uint64 {
		m := map[uint64]uint64{}
		for i, s := range stamps {
			if s != 0 {
				m[uint64(i)] = s
			}
		}
		return m
	}
	x := &watched{watchName: watchName{"p", true}}
	for _, step := range []struct {
		name    string
		r       reading
		changed bool
		index   uint64
		belated uint64
		anew    bool // whether what was before is not known
	}{
		{"first", reading{whole: true, index: 20, stamp: keys(10, 20)}, true, 20, 0, true},
		{"the same", reading{whole: true, index: 20, stamp: keys(10, 20)}, false, 20, 0, false},
		{"told again", reading{index: 10, stamp: keys(10)}, false, 20, 0, false},
		{"newer", reading{index: 30, stamp: keys(30)}, true, 30, 0, false},
		{"below", reading{index: 25, stamp: keys(30, 25)}, true, 30, 1, false},
		{"below, of the whole", reading{whole: true, index: 30, stamp: keys(30, 25, 27)}, true, 30, 2, false},
		{"one is gone, of the whole", reading{whole: true, index: 30, stamp: keys(30, 25)}, true, 30, 3, false},
		{"the newest is forgotten", reading{index: 1, stamp: map[uint64]uint64{0: 0}}, true, 25, 3, true},
		{"all is forgotten", reading{whole: true, index: 1, stamp: keys()}, true, 1, 3, true},
		{"too many to know", reading{whole: true, index: 40, some: true, stamp: keys()}, true, 40, 3, false},
		{"one of them", reading{index: 35, stamp: keys(35)}, true, 40, 4, false},
		{"that one again", reading{index: 35, stamp: keys(35)}, false, 40, 4, false},
	} {
		x.since = time.Time{}
		require.Equal(t, step.changed, x.take(&step.r), step.name)
		require.Equal(t, step.index, x.index, step.name)
		require.Equal(t, step.belated, x.belated, step.name)
		require.Equal(t, step.anew, !x.since.IsZero(), step.name)
	}
}

// TestWatchUnderWriters: what is watched is read however much is written under it, and
// each key as it is or was a moment ago.
func TestWatchUnderWriters(t *testing.T) {
	const (
		writers  = 48
		readings = 20
	)
	nodes := openRing(t, 3)
	stop := make(chan struct{})
	var writing sync.WaitGroup
	var written [2 * writers]atomic.Uint64 // the indexes that were acknowledged
	key := func(i int) string { return fmt.Sprint("busy/", i) }
	for w := range writers {
		writing.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				n, ctx := nodes[w%3], context.WithoutCancel(t.Context())
				if w%8 > 0 {
					index, err := n.Put(ctx, key(w), nil, backend.PutOptions{})
					if err != nil {
						t.Error(err)
						return
					}
					written[w].Store(index)
					continue
				}
				res, err := n.Txn(ctx, set("v", key(w), key(writers+w)))
				if err != nil {
					t.Error(err)
					return
				}
				for _, r := range res.Results {
					written[w+r.Op*writers].Store(r.Entry.ModifyIndex)
				}
			}
		})
	}
	defer writing.Wait()
	defer close(stop)
	for range readings {
		var before [len(written)]uint64
		for i := range written {
			before[i] = written[i].Load()
		}
		r, err := nodes[0].lookUnder(within(t, limit), "busy/")
		require.NoError(t, err)
		for i, least := range before {
			if least > 0 {
				require.GreaterOrEqual(t, r.stamp[hashOf(key(i))], least, key(i))
				require.GreaterOrEqual(t, r.index, least)
			}
		}
	}
	_, err := state(within(t, limit), nodes[1], backend.WatchQuery{Prefix: "busy/", After: 1})
	require.NoError(t, err)
}
