package chord

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/txn"
)

// TestForgottenBesideUnfinished: a transaction that nobody can finish does not keep
// the tombstones of others.
func TestForgottenBesideUnfinished(t *testing.T) {
	n := openMembers(t, 1, 1, func(_ int, cfg *Config) {
		cfg.forgetAge = 10 * time.Millisecond
		cfg.txns.Timeout = 10 * time.Millisecond
	})[0]
	waitReady(t, n)
	ctx := within(t, limit)
	r := registers{n, ctx}
	id := txn.ID{Start: register.Ballot{Time: 1}}
	_, err := r.Change(id.Key(), register.Change{Kind: register.Put, Data: []byte("of a build to come")})
	require.NoError(t, err)
	s := newSweeper(n, newLimiter(4<<20))
	eventually(t, func() bool { _, err := s.look(ctx); return err != nil }, "it was finished")
	_, err = n.Txn(ctx, []backend.TxnOp{{Verb: backend.VerbSet, Key: "a"}, {Verb: backend.VerbSet, Key: "b"}})
	require.NoError(t, err)
	eventually(t, func() bool { return cellsUnder(t, n, register.TxnPrefix) == 1 }, "its status stays")
	v, err := r.Read(id.Key())
	require.NoError(t, err)
	require.True(t, v.Live)
}

// TestBacklogOfTombstones: of more tombstones than a member can know the age of, as
// after an owner was away for long, as many as that go with each pass, and passes do
// not pause meanwhile.
func TestBacklogOfTombstones(t *testing.T) {
	const many, known, page = 2000, 300, 100
	n := openMembers(t, 1, 1, nil)[0]
	waitReady(t, n)
	ctx := within(t, limit)
	r := registers{n, ctx}
	bury := func(first, last int) {
		require.NoError(t, r.Each(last-first, func(i int) error {
			key := txn.ID{Start: register.Ballot{Time: uint64(1 + first + i)}}.Key()
			_, err := r.Change(key, register.Change{Kind: register.Put})
			if err == nil {
				_, err = r.Change(key, register.Change{Kind: register.Delete})
			}
			return err
		}))
	}
	s := newSweeper(n, newLimiter(64<<20))
	s.page, s.age, s.forgetter.most = page, 1, known
	bury(0, known)
	for first := true; first || s.after != ""; first = false {
		more, err := s.look(ctx)
		require.NoError(t, err)
		require.False(t, more, "all have room")
	}
	require.Len(t, s.forgetter.sightings, known)
	bury(known, many)
	left := many
	for pass := 1; left > 0; pass++ {
		require.LessOrEqual(t, pass, 1+(many+known-1)/known, "%d are left", left)
		for more := true; more || s.after != ""; {
			var err error
			more, err = s.look(ctx)
			require.NoError(t, err)
			if left > 2*known && s.after != "" && pass > 1 {
				require.True(t, more)
			}
			require.LessOrEqual(t, len(s.forgetter.sightings), known)
		}
		left = cellsUnder(t, n, register.TxnPrefix)
	}
}
