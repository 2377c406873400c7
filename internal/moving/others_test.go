package moving

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/internal/moving/movingtest"
)

// vaults makes a snapshot of a Vault with these keys besides core/keyring.
func vaults(t *testing.T, keys ...string) string {
	t.Helper()
	entries := []movingtest.Entry{{Key: "core/keyring", Value: "k"}}
	for _, key := range keys {
		entries = append(entries, movingtest.Entry{Key: key, Value: key})
	}
	var b bytes.Buffer
	require.NoError(t, movingtest.Pack(&b, movingtest.Files(movingtest.State(entries...))...))
	return written(t, "vault.snap", b.Bytes())
}

func importingVault(b backend.Backend, path string, others Others) *Import {
	m := importing(b, path)
	m.Format, m.Prefix, m.Others = VaultSnapshot, "v/", others
	return m
}

// has requires that the keys under the prefix are these.
func has(t *testing.T, b backend.Backend, prefix string, keys ...string) {
	t.Helper()
	r, err := b.List(t.Context(), backend.ListQuery{Prefix: prefix})
	require.NoError(t, err)
	require.Equal(t, keys, r.Names())
}

// TestDeletedAtTheSource: what a Vault deleted between a rehearsal and the move does
// not live again without a word.
func TestDeletedAtTheSource(t *testing.T) {
	b := newBent(t, backend.DefaultLimits())
	for _, key := range []string{"other", "v/core/lock", "w"} {
		_, err := b.Store.Put(t.Context(), key, nil, backend.PutOptions{})
		require.NoError(t, err)
	}
	_, err := run(t, importingVault(b, vaults(t, "sys/token/a", "sys/token/b", "sys/token/z"), ""))
	require.NoError(t, err)
	friday := vaults(t, "sys/token/b", "sys/token/c")
	before := b.puts
	all := []string{"v/core/keyring", "v/core/lock", "v/sys/token/a", "v/sys/token/b", "v/sys/token/z"}

	for _, dry := range []bool{true, false} {
		m := importingVault(b, friday, "")
		m.DryRun = dry
		moved, err := run(t, m)
		require.EqualError(t, err, "the source lacks 2 keys found here (see -others); nothing was written")
		require.Equal(t, Problems{Count: 2, First: []Problem{{"v/sys/token/a", "the source does not have it"}, {"v/sys/token/z", "the source does not have it"}}}, moved.Refused)
		require.Zero(t, moved.Written)
		require.False(t, moved.Verified)
		require.Equal(t, before, b.puts)
	}
	has(t, b, "v/", all...)

	m := importingVault(b, friday, DeleteOthers)
	m.DryRun = true
	moved, err := run(t, m)
	require.NoError(t, err)
	require.Equal(t, []int{1, 2, 2}, []int{moved.Written, moved.Deleted, moved.Others.Count})
	has(t, b, "v/", all...)

	moved, err = run(t, importingVault(b, friday, KeepOthers))
	require.NoError(t, err)
	require.True(t, moved.Verified)
	require.Equal(t, []int{1, 0, 2}, []int{moved.Written, moved.Deleted, moved.Others.Count})

	// All is there and equal, and yet there is something to do.
	moved, err = run(t, importingVault(b, friday, DeleteOthers))
	require.NoError(t, err)
	require.True(t, moved.Verified)
	require.Equal(t, []int{0, 2, 2}, []int{moved.Written, moved.Deleted, moved.Others.Count})
	has(t, b, "v/", "v/core/keyring", "v/core/lock", "v/sys/token/b", "v/sys/token/c")
	has(t, b, "o", "other")
	moved, err = run(t, importingVault(b, friday, ""))
	require.NoError(t, err)
	require.True(t, moved.Verified)

	// Other formats keep them by themselves, and count them.
	m = importing(b, lines(t, Entry{Key: "x"}))
	m.Prefix = "v/"
	moved, err = run(t, m)
	require.NoError(t, err)
	require.True(t, moved.Verified)
	require.Equal(t, 4, moved.Others.Count)
	m.Others = RefuseOthers
	moved, err = run(t, m)
	require.ErrorContains(t, err, "the source lacks 4 keys found here")
	require.Equal(t, 4, moved.Refused.Count)
}

// TestVaultOnConsul: what a token could not read is missed, and the lock of the old
// storage stays behind.
func TestVaultOnConsul(t *testing.T) {
	consul := func(b backend.Backend, text string) *Import {
		m := importing(b, written(t, "consul.json", []byte(text)))
		m.Format, m.Strip, m.Vault = ConsulExport, "vault/", true
		return m
	}
	b := newBent(t, backend.DefaultLimits())
	_, err := run(t, consul(b, `[{"key":"vault/a","value":""}]`))
	require.ErrorContains(t, err, `has no key "core/keyring", so it is not the whole storage of a Vault`)
	_, err = run(t, consul(b, `[{"key":"core/keyring","value":""}]`))
	require.ErrorContains(t, err, `key "core/keyring" does not begin with "vault/"`)
	whole := `[{"key":"vault/a","value":""},{"key":"vault/core/keyring","value":""},{"key":"vault/core/lock","value":""}]`
	moved, err := run(t, consul(b, whole))
	require.NoError(t, err)
	require.True(t, moved.Verified)
	require.Equal(t, Problems{1, []Problem{{"vault/core/lock", "it belongs to the storage that it leaves"}}}, moved.LeftOut)
	has(t, b, "", "a", "core/keyring")
	_, err = b.Put(t.Context(), "old", nil, backend.PutOptions{})
	require.NoError(t, err)
	_, err = run(t, consul(b, whole))
	require.ErrorContains(t, err, "the source lacks 1 key found here")

	// Without a token Consul prints an empty array.
	m := consul(b, "[]")
	m.Vault = false
	moved, err = run(t, m)
	require.ErrorContains(t, err, "consul.json holds no keys; consul kv export leaves out what its token may not read")
	require.False(t, moved.Verified)
}

// TestOthersChange: a key that somebody writes or brings meanwhile is not deleted.
func TestOthersChange(t *testing.T) {
	b := newBent(t, backend.DefaultLimits())
	put := func(key string) error {
		_, err := b.Store.Put(t.Context(), key, []byte("theirs"), backend.PutOptions{})
		return err
	}
	require.NoError(t, put("v/a"))
	b.beforeDelete = func(key string) error { return put(key) }
	moved, err := run(t, importingVault(b, vaults(t), DeleteOthers))
	require.ErrorIs(t, err, backend.ErrConflict)
	require.ErrorContains(t, err, "all was written, and then 0 keys of 1 deleted: somebody else wrote it meanwhile")
	require.False(t, moved.Verified)
	has(t, b, "v/", "v/a", "v/core/keyring")

	// What is gone already was deleted.
	b.beforeDelete = func(key string) error { return b.Store.Delete(t.Context(), key, backend.DeleteOptions{}) }
	moved, err = run(t, importingVault(b, vaults(t), DeleteOthers))
	require.NoError(t, err)
	require.Equal(t, 1, moved.Deleted)

	b.beforeDelete = nil
	b.beforePut = func(int, string) error { return put("v/new") }
	moved, err = run(t, importingVault(b, vaults(t, "b"), ""))
	require.EqualError(t, err, "1 key came meanwhile that the source does not have: somebody else writes here")
	require.Equal(t, []Problem{{"v/new", "the source does not have it, and it came meanwhile"}}, moved.Refused.First)
	require.False(t, moved.Verified)
}

// TestManyOthers: more than are named are counted, and more than fit are refused.
func TestManyOthers(t *testing.T) {
	b := newBent(t, backend.DefaultLimits())
	for i := range backend.PageSize + 1 {
		_, err := b.Store.Put(t.Context(), fmt.Sprintf("v/%04d", i), nil, backend.PutOptions{})
		require.NoError(t, err)
	}
	moved, err := run(t, importingVault(b, vaults(t), ""))
	require.Error(t, err)
	require.Equal(t, backend.PageSize+1, moved.Refused.Count)
	require.Len(t, moved.Refused.First, maxNamed)

	m := importingVault(b, vaults(t), DeleteOthers)
	m.limit = backend.PageSize
	_, err = run(t, m)
	require.ErrorContains(t, err, "and the keys that it does not have are more than 1000")
	require.Zero(t, b.puts)
	m = importingVault(b, vaults(t), DeleteOthers)
	moved, err = run(t, m)
	require.NoError(t, err)
	require.Equal(t, backend.PageSize+1, moved.Deleted)
	has(t, b, "v/", "v/core/keyring")
}
