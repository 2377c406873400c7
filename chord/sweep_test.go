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
	eventually(t, func() bool { return s.look(ctx) != nil }, "it was finished")
	_, err = n.Txn(ctx, []backend.TxnOp{{Verb: backend.VerbSet, Key: "a"}, {Verb: backend.VerbSet, Key: "b"}})
	require.NoError(t, err)
	eventually(t, func() bool { return cellsUnder(t, n, register.TxnPrefix) == 1 }, "its status stays")
	v, err := r.Read(id.Key())
	require.NoError(t, err)
	require.True(t, v.Live)
}
