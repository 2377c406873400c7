package backendtest

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

var txCases = []testCase{
	{"a transaction reads its own writes, and nobody else does before Commit", func(c *check) {
		c.put("a", "old")
		c.put("b", "old")
		tx := c.begin(backend.TxOptions{})
		require.NoError(c, tx.Put(c.ctx, c.key("a"), []byte("1"), backend.PutOptions{Flags: 7}))
		require.NoError(c, tx.Put(c.ctx, c.key("new"), nil, backend.PutOptions{}))
		require.NoError(c, tx.Delete(c.ctx, c.key("b"), backend.DeleteOptions{}))
		require.NoError(c, tx.Delete(c.ctx, c.key("none"), backend.DeleteOptions{}))
		require.Equal(c, &backend.Entry{Key: c.key("a"), Value: []byte("1"), Flags: 7}, tx.get("a"))
		require.Empty(c, tx.get("new").Value)
		tx.missing("b")
		tx.missing("none")
		tx.put("a", "2")
		tx.put("b", "3")
		require.Equal(c, "2", string(tx.get("a").Value))
		require.Equal(c, "3", string(tx.get("b").Value))

		require.Equal(c, "old", string(c.get("a").Value))
		require.Equal(c, "old", string(c.get("b").Value))
		c.missing("new")
		c.names(backend.ListQuery{}, "a", "b")
		other := c.begin(backend.TxOptions{})
		require.Equal(c, "old", string(other.get("a").Value))
		other.names(backend.ListQuery{}, "a", "b")
		require.NoError(c, other.Rollback(c.ctx))

		require.NoError(c, tx.Commit(c.ctx))
		require.Equal(c, "2", string(c.get("a").Value))
		require.Equal(c, "3", string(c.get("b").Value))
		require.Empty(c, c.get("new").Value)
		c.names(backend.ListQuery{}, "a", "b", "new")
	}},
	{"a List in a transaction shows what is stored under what it wrote", func(c *check) {
		for _, name := range []string{"a", "b/1", "b/2", "c", "d/1"} {
			c.put(name, "old")
		}
		tx := c.begin(backend.TxOptions{})
		for _, name := range []string{"a0", "b/0", "c", "e/1", "e/2"} {
			tx.put(name, "new")
		}
		for _, name := range []string{"a", "d/1", "e/2"} {
			require.NoError(c, tx.Delete(c.ctx, c.key(name), backend.DeleteOptions{}))
		}
		for _, tc := range []struct {
			q     backend.ListQuery
			names []string
		}{
			{backend.ListQuery{}, []string{"a0", "b/0", "b/1", "b/2", "c", "e/1"}},
			{backend.ListQuery{Separator: "/"}, []string{"a0", "b/", "c", "e/"}},
			{backend.ListQuery{Separator: "/", Limit: 2}, []string{"a0", "b/"}},
			{backend.ListQuery{Separator: "/", After: "b/"}, []string{"c", "e/"}},
			{backend.ListQuery{Prefix: "b/", After: "b/0", Limit: 1}, []string{"b/1"}},
			{backend.ListQuery{Prefix: "d"}, nil},
		} {
			tx.names(tc.q, tc.names...)
		}
		res := tx.list(backend.ListQuery{Values: true})
		require.Equal(c, &backend.Entry{Key: c.key("c"), Value: []byte("new")}, res.Items[4].Entry)
		require.Equal(c, c.get("b/1"), res.Items[2].Entry)
		require.True(c, tx.list(backend.ListQuery{Limit: 5}).More)
		require.False(c, tx.list(backend.ListQuery{Limit: 6}).More)
		require.NoError(c, tx.Commit(c.ctx))
		c.names(backend.ListQuery{Separator: "/"}, "a0", "b/", "c", "e/")
	}},
	{"the bytes of a transaction are its caller's", func(c *check) {
		c.put("a", "value")
		tx := c.begin(backend.TxOptions{})
		value := []byte("value")
		require.NoError(c, tx.Put(c.ctx, c.key("b"), value, backend.PutOptions{}))
		copy(value, "xxxxx")
		for _, name := range []string{"a", "b"} {
			copy(tx.get(name).Value, "xxxxx")
			require.Equal(c, "value", string(tx.get(name).Value))
		}
		for _, it := range tx.list(backend.ListQuery{Values: true}).Items {
			copy(it.Entry.Value, "xxxxx")
		}
		require.NoError(c, tx.Commit(c.ctx))
		require.Equal(c, "value", string(c.get("a").Value))
		require.Equal(c, "value", string(c.get("b").Value))
	}},
	{"a commit gives every key what Put would", func(c *check) {
		index := c.put("a", "1")
		tx := c.begin(backend.TxOptions{})
		require.NoError(c, tx.Put(c.ctx, c.key("a"), []byte("2"), backend.PutOptions{Flags: 9}))
		tx.put("b", "1")
		require.NoError(c, tx.Commit(c.ctx))
		a, b := c.get("a"), c.get("b")
		require.Greater(c, a.ModifyIndex, index)
		require.Equal(c, &backend.Entry{Key: c.key("a"), Value: []byte("2"), Flags: 9, CreateIndex: index, ModifyIndex: a.ModifyIndex}, a)
		require.Equal(c, &backend.Entry{Key: c.key("b"), Value: []byte("1"), CreateIndex: b.ModifyIndex, ModifyIndex: b.ModifyIndex}, b)
	}},
	{"Rollback leaves no trace", func(c *check) {
		c.put("a", "v")
		before := c.get("a")
		tx := c.begin(backend.TxOptions{})
		tx.put("a", "wrong")
		tx.put("b", "wrong")
		require.NoError(c, tx.Rollback(c.ctx))
		require.Equal(c, before, c.get("a"))
		c.names(backend.ListQuery{}, "a")
		c.put("a", "w")
	}},
	{"a transaction is over once", func(c *check) {
		for _, end := range []struct {
			name string
			do   func(tx interactive) error
		}{
			{"Commit", func(tx interactive) error { return tx.Commit(c.ctx) }},
			{"Rollback", func(tx interactive) error { return tx.Rollback(c.ctx) }},
			{"a conflict", func(tx interactive) error {
				tx.get("k")
				c.put("k", "changed")
				c.fails(tx.Commit(c.ctx), backend.TxnConflict, "")
				return nil
			}},
		} {
			c.put("k", "v")
			tx := c.begin(backend.TxOptions{})
			tx.put("new", "v")
			require.NoError(c, end.do(tx), end.name)
			before := c.list(backend.ListQuery{Values: true}).Items
			_, err := tx.Get(c.ctx, c.key("k"))
			c.fails(err, backend.TxnDone, "")
			_, err = tx.List(c.ctx, backend.ListQuery{Prefix: c.prefix})
			c.fails(err, backend.TxnDone, "")
			c.fails(tx.Put(c.ctx, c.key("k"), []byte("wrong"), backend.PutOptions{}), backend.TxnDone, "")
			c.fails(tx.Delete(c.ctx, c.key("k"), backend.DeleteOptions{}), backend.TxnDone, "")
			c.fails(tx.Commit(c.ctx), backend.TxnDone, "")
			c.fails(tx.Rollback(c.ctx), backend.TxnDone, "")
			require.Equal(c, before, c.list(backend.ListQuery{Values: true}).Items, "after %s", end.name)
		}
	}},
	{"a read-only transaction refuses writes", func(c *check) {
		c.put("k", "v")
		tx := c.begin(backend.TxOptions{ReadOnly: true})
		c.fails(tx.Put(c.ctx, c.key("k"), []byte("wrong"), backend.PutOptions{}), backend.TxnReadOnly, c.key("k"))
		c.fails(tx.Delete(c.ctx, c.key("k"), backend.DeleteOptions{}), backend.TxnReadOnly, c.key("k"))
		require.Equal(c, "v", string(tx.get("k").Value))
		tx.names(backend.ListQuery{}, "k")
		require.NoError(c, tx.Commit(c.ctx))
		require.Equal(c, "v", string(c.get("k").Value))
	}},
	{"a transaction writes at most 128 keys", func(c *check) {
		tx := c.begin(backend.TxOptions{})
		keys := c.numbered("k", backend.MaxTxnOps)
		for range 2 {
			for _, key := range keys {
				require.NoError(c, tx.Put(c.ctx, key, []byte("v"), backend.PutOptions{}))
			}
		}
		c.fails(tx.Put(c.ctx, c.key("one"), nil, backend.PutOptions{}), backend.TooLarge, c.key("one"))
		c.fails(tx.Delete(c.ctx, c.key("one"), backend.DeleteOptions{}), backend.TooLarge, c.key("one"))
		require.NoError(c, tx.Delete(c.ctx, keys[0], backend.DeleteOptions{}))
		require.NoError(c, tx.Commit(c.ctx))
		require.Equal(c, keys[1:], c.list(backend.ListQuery{}).Names())
	}},
	{"the values that a transaction writes have at most 8 MiB", func(c *check) {
		tx := c.begin(backend.TxOptions{})
		sizes := c.fillTxn()
		for i, size := range sizes {
			require.NoError(c, tx.Put(c.ctx, c.key(fmt.Sprintf("k%03d", i)), bytes.Repeat([]byte("v"), size), backend.PutOptions{}))
		}
		c.fails(tx.Put(c.ctx, c.key("one"), []byte("v"), backend.PutOptions{}), backend.TooLarge, c.key("one"))
		tx.put("k000", "") // makes room
		if len(sizes) < backend.MaxTxnOps {
			tx.put("one", "v")
		}
		require.NoError(c, tx.Commit(c.ctx))
		c.commit(c.op(backend.VerbDeleteTree, ""))
	}},
	{"a transaction refuses what Put, Delete, Get and List refuse", func(c *check) {
		tx := c.begin(backend.TxOptions{})
		limits := c.b.Limits()
		for _, tc := range []struct {
			key  string
			code backend.Code
		}{{"", backend.Invalid}, {"/k", backend.Invalid}, {"\x00k", backend.Invalid}, {strings.Repeat("k", limits.MaxKeySize+1), backend.TooLarge}} {
			_, err := tx.Get(c.ctx, tc.key)
			c.fails(err, tc.code, "")
			c.fails(tx.Put(c.ctx, tc.key, nil, backend.PutOptions{}), tc.code, "")
			c.fails(tx.Delete(c.ctx, tc.key, backend.DeleteOptions{}), tc.code, "")
			if tc.key != "" {
				_, err = tx.List(c.ctx, backend.ListQuery{Prefix: tc.key})
				c.fails(err, tc.code, "")
			}
		}
		c.fails(tx.Put(c.ctx, c.key("k"), make([]byte, limits.MaxValueSize+1), backend.PutOptions{}), backend.TooLarge, c.key("k"))
		c.fails(tx.Put(c.ctx, c.key("k"), nil, backend.PutOptions{If: backend.IfAbsent()}), backend.Invalid, c.key("k"))
		c.fails(tx.Delete(c.ctx, c.key("k"), backend.DeleteOptions{If: backend.IfIndex(1)}), backend.Invalid, c.key("k"))
		c.fails(tx.Put(c.ctx, c.key("k"), nil, backend.PutOptions{Fence: backend.Fence{Token: 1}}), backend.Invalid, "")
		tx.put("good", "v")
		require.NoError(c, tx.Commit(c.ctx), "a refused call is no end")
		c.names(backend.ListQuery{}, "good")
	}},
	{"a transaction reads at most 4,096 times", func(c *check) {
		tx := c.begin(backend.TxOptions{ReadOnly: true})
		for i := range backend.MaxTxReads {
			if i%64 == 0 {
				tx.names(backend.ListQuery{})
				continue
			}
			tx.missing("k")
		}
		_, err := tx.Get(c.ctx, c.key("k"))
		c.fails(err, backend.TooLarge, c.key("k"))
		_, err = tx.List(c.ctx, backend.ListQuery{Prefix: c.prefix})
		c.fails(err, backend.TooLarge, "")
		require.NoError(c, tx.Commit(c.ctx))
	}},
}

// interactive is an interactive transaction of a case.
type interactive struct {
	backend.Tx
	c *check
}

func (c *check) begin(opts backend.TxOptions) interactive {
	c.Helper()
	tx, err := c.b.(backend.Transactional).Begin(c.ctx, opts)
	require.NoError(c, err)
	require.NotNil(c, tx)
	return interactive{Tx: tx, c: c}
}

func (tx interactive) put(name, value string) {
	tx.c.Helper()
	require.NoError(tx.c, tx.Put(tx.c.ctx, tx.c.key(name), []byte(value), backend.PutOptions{}))
}

func (tx interactive) get(name string) *backend.Entry {
	tx.c.Helper()
	e, err := tx.Get(tx.c.ctx, tx.c.key(name))
	require.NoError(tx.c, err)
	require.NotNil(tx.c, e, "%q is missing", name)
	return e
}

func (tx interactive) missing(name string) {
	tx.c.Helper()
	e, err := tx.Get(tx.c.ctx, tx.c.key(name))
	require.NoError(tx.c, err)
	require.Nil(tx.c, e, "%q is there", name)
}

func (tx interactive) list(q backend.ListQuery) *backend.ListResult {
	tx.c.Helper()
	q.Prefix = tx.c.prefix + q.Prefix
	if q.After != "" {
		q.After = tx.c.prefix + q.After
	}
	res, err := tx.List(tx.c.ctx, q)
	require.NoError(tx.c, err)
	return res
}

func (tx interactive) names(q backend.ListQuery, names ...string) {
	tx.c.Helper()
	require.Equal(tx.c, tx.c.keys(names...), tx.list(q).Names(), "query %+v", q)
}
