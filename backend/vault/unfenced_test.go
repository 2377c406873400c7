//go:build !vaultsdk09

package vault

import (
	"testing"

	"github.com/hashicorp/vault/sdk/physical"
	"github.com/stretchr/testify/require"
)

func TestUnfencedWrites(t *testing.T) {
	shared := newMemory()
	old, next := over(t, shared), over(t, shared)
	takeLock(t, old, "old", true)
	endSessions(t, shared)
	takeLock(t, next, "next", true)
	ctx := physical.UnfencedWriteCtx(t.Context())
	require.NoError(t, old.Put(ctx, &physical.Entry{Key: "k", Value: []byte("1")}))
	require.NoError(t, old.(physical.Transactional).Transaction(ctx, []*physical.TxnEntry{
		{Operation: physical.PutOperation, Entry: &physical.Entry{Key: "k", Value: []byte("2")}},
	}))
	require.Equal(t, "2", read(t, next, "k"))
	require.NoError(t, old.Delete(ctx, "k"))
	require.Error(t, old.Delete(t.Context(), "k"))
}
