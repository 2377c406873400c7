package txn

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// held are registers that nobody else changes. Those of sick do not answer.
type held struct {
	Registers
	now    time.Duration
	values map[string]register.Value
	sick   map[string]bool
}

var errSick = errors.New("too few owners answer")

func (h *held) Read(key string) (register.Value, error) {
	if h.sick[key] {
		h.now += time.Second
		return register.Value{}, errSick
	}
	return h.values[key], nil
}

func (h *held) Change(key string, c register.Change) (register.Result, error) {
	if h.sick[key] {
		h.now += time.Second
		return register.Result{}, errSick
	}
	next, _, res := c.Apply(h.values[key], register.Past{Write: register.Ballot{Time: uint64(h.now) + 1}, Op: register.Ballot{Time: 1}})
	h.values[key] = next
	return res, nil
}

func (h *held) Now() time.Duration { return h.now }

func (h *held) Each(n int, do func(i int) error) error {
	return (&statuses{}).Each(n, do)
}

// leave leaves n transactions as coordinators that died do, with an intent each.
func leave(t *testing.T, n int) (h *held, ids []ID) {
	h = &held{values: map[string]register.Value{}, sick: map[string]bool{}}
	for i := range n {
		id := ID{Start: register.Ballot{Time: uint64(i + 1), Node: 7}}
		ids = append(ids, id)
		key := fmt.Sprint("k", i)
		require.NoError(t, create(h, id, register.Status{State: register.Pending, Keys: []string{key}}))
		_, err := h.Change(key, register.Change{Kind: register.Place, Txn: id, Data: []byte("x")})
		require.NoError(t, err)
	}
	return h, ids
}

// TestSweepOfMany: however many transactions are left, page by page as a node looks
// at them, all are finished, and a writer in the way of one need not wait for that.
func TestSweepOfMany(t *testing.T) {
	const page = 8192
	for _, n := range []int{page + 1, maxLeftovers + 10} {
		c, err := New(Config{})
		require.NoError(t, err)
		s, writer := NewSweeper(c), ID{Start: register.Ballot{Time: 1 << 40}}
		h, ids := leave(t, n)
		last, settled := ids[n-1], time.Duration(0)
		for left := ids; len(left) > 0; {
			require.Less(t, h.now, 2*time.Minute, "of %d are left %d", n, len(left))
			for at := range slices.Chunk(left, page) {
				require.NoError(t, s.Sweep(h, at, time.Minute))
				require.LessOrEqual(t, len(s.leftovers), maxLeftovers)
				if _, ok, err := c.settle(h, last, writer, false); ok && settled == 0 {
					require.NoError(t, err)
					settled = h.now
				}
				h.now += time.Second
			}
			s.Passed()
			left = slices.DeleteFunc(slices.Clone(left), func(id ID) bool { v := h.values[id.Key()]; return !v.Live })
		}
		require.LessOrEqual(t, settled, c.cfg.Timeout+time.Second)
		s.Passed()
		s.Passed()
		require.Empty(t, s.leftovers)
	}
}

// TestSweepBesideSick: transactions that can not be finished take time, and hold up
// no others for long.
func TestSweepBesideSick(t *testing.T) {
	c, err := New(Config{})
	require.NoError(t, err)
	s := NewSweeper(c)
	h, ids := leave(t, 200)
	for _, id := range ids[:100] {
		h.sick[id.Key()] = true
	}
	rest := func() (n int) {
		for _, id := range ids {
			if v := h.values[id.Key()]; v.Live && !h.sick[id.Key()] {
				n++
			}
		}
		return n
	}
	for rest() > 0 {
		require.Less(t, h.now, 3*time.Minute)
		if err := s.Sweep(h, ids, 5*time.Second); err != nil {
			require.Equal(t, Unavailable, KindOf(err))
		}
		s.Passed()
		h.now += time.Second
	}
	late, more := leave(t, 201) // and what comes now, not at all
	key := more[200].Key()
	h.values[key], ids = late.values[key], append(ids, more[200])
	for began := h.now; rest() > 0; h.now += time.Second {
		require.Less(t, h.now-began, 30*time.Second)
		_ = s.Sweep(h, ids, 5*time.Second)
		s.Passed()
	}
	clear(h.sick)
	for began := h.now; rest() > 0; h.now += time.Second {
		require.Less(t, h.now-began, time.Minute)
		require.NoError(t, s.Sweep(h, ids, 5*time.Second))
		s.Passed()
	}
}
