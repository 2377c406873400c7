package backendtest

import (
	"errors"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

var txnCases = []testCase{
	{"a transaction changes all of its keys or none", func(c *check) {
		c.put("old", "old")
		c.commit(c.set("a", "1"), c.set("b", "2"), c.op(backend.VerbDelete, "old"))
		require.Equal(c, "1", string(c.get("a").Value))
		require.Equal(c, "2", string(c.get("b").Value))
		c.missing("old")

		before := c.list(backend.ListQuery{Values: true}).Items
		_, err := c.txn(c.set("a", "wrong"), c.set("new", "wrong"), c.op(backend.VerbDeleteTree, ""), c.op(backend.VerbGet, "none"))
		c.opsFail(err, failedOp{3, backend.Conflict, "none"})
		_, err = c.txn(c.op(backend.VerbCheckNotExists, "a"), c.set("a", "wrong"), c.op(backend.VerbDelete, "b"))
		c.opsFail(err, failedOp{0, backend.Conflict, "a"})
		require.Equal(c, before, c.list(backend.ListQuery{Values: true}).Items, "a transaction that failed left something")
	}},
	{"a transaction without operations works", func(c *check) {
		require.Empty(c, c.commit().Results)
	}},
	{"operations see what those before them wrote", func(c *check) {
		c.put("k", "0")
		res := c.commit(
			c.set("k", "1"), c.op(backend.VerbGet, "k"), c.set("k", "2"), c.op(backend.VerbGet, "k"),
			c.op(backend.VerbDelete, "k"), c.op(backend.VerbCheckNotExists, "k"), c.cas("k", "3", 0), c.op(backend.VerbGet, "k"),
			c.set("dir/a", "4"), c.op(backend.VerbGetTree, "dir/"), c.op(backend.VerbDeleteTree, "dir/"), c.op(backend.VerbCheckNotExists, "dir/a"),
		)
		var values []string
		for _, r := range res.Results {
			if r.Entry.Value != nil {
				values = append(values, string(r.Entry.Value))
			}
		}
		require.Equal(c, []string{"1", "2", "3", "4"}, values)
		require.Equal(c, "3", string(c.get("k").Value))
		c.names(backend.ListQuery{}, "k")

		_, err := c.txn(c.set("new", "v"), c.op(backend.VerbCheckNotExists, "new"))
		c.opsFail(err, failedOp{1, backend.Conflict, "new"})
		_, err = c.txn(c.op(backend.VerbDelete, "k"), c.op(backend.VerbGet, "k"))
		c.opsFail(err, failedOp{1, backend.Conflict, "k"})
		index := c.get("k").ModifyIndex
		_, err = c.txn(c.set("k", "v"), c.index(backend.VerbCheckIndex, "k", index), c.cas("k", "v", index), c.index(backend.VerbDeleteCAS, "k", index))
		c.opsFail(err, failedOp{1, backend.Conflict, "k"}, failedOp{2, backend.Conflict, "k"}, failedOp{3, backend.Conflict, "k"})
	}},
	{"set and cas store what Put stores", func(c *check) {
		set := c.set("k", "1")
		set.Flags = 1<<63 + 7
		c.commit(set)
		first := c.get("k")
		require.Equal(c, &backend.Entry{Key: c.key("k"), Value: []byte("1"), Flags: set.Flags, CreateIndex: first.ModifyIndex, ModifyIndex: first.ModifyIndex}, first)

		c.commit(c.cas("k", "2", first.ModifyIndex))
		second := c.get("k")
		require.Equal(c, &backend.Entry{Key: c.key("k"), Value: []byte("2"), CreateIndex: first.CreateIndex, ModifyIndex: second.ModifyIndex}, second)
		require.Greater(c, second.ModifyIndex, first.ModifyIndex)
		for _, wrong := range []uint64{first.ModifyIndex, second.ModifyIndex + 1, 0} {
			_, err := c.txn(c.cas("k", "wrong", wrong))
			c.opsFail(err, failedOp{0, backend.Conflict, "k"})
		}
		_, err := c.txn(c.cas("none", "wrong", second.ModifyIndex))
		c.opsFail(err, failedOp{0, backend.Conflict, "none"})
		c.commit(c.cas("none", "", 0))
		require.Empty(c, c.get("none").Value)
		require.Equal(c, second, c.get("k"))
	}},
	{"the value passed to a transaction is not kept", func(c *check) {
		set := c.set("k", "value")
		c.commit(set)
		copy(set.Value, "xxxxx")
		require.Equal(c, "value", string(c.get("k").Value))
		copy(c.commit(c.op(backend.VerbGet, "k")).Results[0].Entry.Value, "xxxxx")
		require.Equal(c, "value", string(c.get("k").Value))
	}},
	{"delete, delete-cas and delete-tree delete", func(c *check) {
		for _, name := range []string{"a", "b", "dir", "dir/", "dir/a", "dir/b/c", "dirt"} {
			c.put(name, "v")
		}
		b, inDir := c.get("b").ModifyIndex, c.get("dir/a").ModifyIndex
		c.commit(c.op(backend.VerbDelete, "a"), c.op(backend.VerbDelete, "none"), c.index(backend.VerbDeleteCAS, "b", b), c.op(backend.VerbDeleteTree, "dir/"), c.op(backend.VerbDeleteTree, "nothing/"))
		c.names(backend.ListQuery{}, "dir", "dirt")

		index := c.get("dir").ModifyIndex
		for _, wrong := range []uint64{index - 1, index + 1, 0} {
			_, err := c.txn(c.index(backend.VerbDeleteCAS, "dir", wrong))
			c.opsFail(err, failedOp{0, backend.Conflict, "dir"})
		}
		_, err := c.txn(c.index(backend.VerbDeleteCAS, "none", index))
		c.opsFail(err, failedOp{0, backend.Conflict, "none"})
		c.commit(c.index(backend.VerbDeleteCAS, "none", 0))
		require.Greater(c, c.put("b", "v"), b, "the index restarts after delete-cas")
		require.Greater(c, c.put("dir/a", "v"), inDir, "the index restarts after delete-tree")
	}},
	{"get, get-or-empty and get-tree read", func(c *check) {
		for _, name := range []string{"a", "dir", "dir/b", "dir/a", "dir/é"} {
			c.put(name, "value of "+name)
		}
		c.put("dir/a", "")
		res := c.commit(c.op(backend.VerbGet, "a"), c.op(backend.VerbGetOrEmpty, "dir"), c.op(backend.VerbGetOrEmpty, "none"), c.op(backend.VerbGetTree, "dir/"), c.op(backend.VerbGetTree, "nothing/"))
		var got []backend.TxnOpResult
		for op, names := range [][]string{{"a"}, {"dir"}, {"none"}, {"dir/a", "dir/b", "dir/é"}} {
			for _, name := range names {
				e := &backend.Entry{Key: c.key(name)}
				if name != "none" {
					e = c.get(name)
				}
				got = append(got, backend.TxnOpResult{Op: op, Entry: e})
			}
		}
		require.Len(c, res.Results, len(got))
		for i, want := range got {
			have := res.Results[i]
			require.Equal(c, want.Op, have.Op)
			require.Equal(c, string(want.Entry.Value), string(have.Entry.Value))
			want.Entry.Value, have.Entry.Value = nil, nil
			require.Equal(c, want.Entry, have.Entry)
		}
		_, err := c.txn(c.op(backend.VerbGet, "none"))
		c.opsFail(err, failedOp{0, backend.Conflict, "none"})
	}},
	{"check-index, check-not-exists and check-session check", func(c *check) {
		index := c.put("k", "v")
		c.commit(c.index(backend.VerbCheckIndex, "k", index), c.op(backend.VerbCheckNotExists, "none"), c.op(backend.VerbCheckSession, "k"), c.set("new", "v"))
		c.get("new")
		session := c.op(backend.VerbCheckSession, "k")
		session.Session = "5d1f6e9c-9a0b-4c1e-8a57-0c6f3a1b2c3d"
		for _, failing := range []backend.TxnOp{
			c.index(backend.VerbCheckIndex, "k", index+1), c.index(backend.VerbCheckIndex, "k", index-1), c.index(backend.VerbCheckIndex, "k", 0),
			c.op(backend.VerbCheckNotExists, "k"), session,
		} {
			_, err := c.txn(failing, c.set("k", "wrong"))
			c.opsFail(err, failedOp{0, backend.Conflict, "k"})
		}
		for _, failing := range []backend.TxnOp{c.index(backend.VerbCheckIndex, "none", 0), c.index(backend.VerbCheckIndex, "none", index), c.op(backend.VerbCheckSession, "none")} {
			_, err := c.txn(failing, c.set("k", "wrong"))
			c.opsFail(err, failedOp{0, backend.Conflict, "none"})
		}
		require.Equal(c, index, c.get("k").ModifyIndex)
	}},
	{"every operation that failed is reported", func(c *check) {
		index := c.put("a", "v")
		_, err := c.txn(c.set("a", "w"), c.op(backend.VerbGet, "none"), c.op(backend.VerbGetOrEmpty, "none"), c.op(backend.VerbCheckNotExists, "a"), c.index(backend.VerbDeleteCAS, "b", index), c.op(backend.VerbGetTree, ""))
		c.opsFail(err, failedOp{1, backend.Conflict, "none"}, failedOp{3, backend.Conflict, "a"}, failedOp{4, backend.Conflict, "b"})
		require.Equal(c, index, c.get("a").ModifyIndex)
	}},
	{"results name their operation and come in order", func(c *check) {
		c.put("a", "v")
		c.put("dir/1", "v")
		c.put("dir/2", "v")
		a := c.get("a")
		res := c.commit(c.op(backend.VerbCheckNotExists, "none"), c.index(backend.VerbCheckIndex, "a", a.ModifyIndex), c.set("b", "w"), c.op(backend.VerbDelete, "dir/1"),
			c.op(backend.VerbGetTree, "dir/"), c.op(backend.VerbDeleteTree, "dir/"), c.set("a", "x"))
		var ops []int
		for _, r := range res.Results {
			ops = append(ops, r.Op)
		}
		require.Equal(c, []int{1, 2, 4, 6}, ops)
		a.Value = nil
		require.Equal(c, a, res.Results[0].Entry, "a check gives the entry without its value")
		require.Equal(c, c.key("dir/2"), res.Results[2].Entry.Key)
		for i, name := range map[int]string{1: "b", 3: "a"} {
			want := c.get(name)
			want.Value = nil
			require.Equal(c, want, res.Results[i].Entry, "a change gives the entry as it is afterwards, without its value")
		}
		require.Greater(c, res.Results[3].Entry.ModifyIndex, a.ModifyIndex)
	}},
	{"Update stores all values or none", func(c *check) {
		t := c.b.(backend.Transactional)
		require.NoError(c, backend.Update(c.ctx, t, nil))
		require.NoError(c, backend.Update(c.ctx, t, map[string][]byte{c.key("a"): []byte("1"), c.key("b"): nil}))
		require.Equal(c, "1", string(c.get("a").Value))
		require.Empty(c, c.get("b").Value)
		c.fails(backend.Update(c.ctx, t, map[string][]byte{c.key("a"): []byte("2"), c.key("b\n"): nil}), backend.Invalid, c.key("b\n"))
		require.Equal(c, "1", string(c.get("a").Value))
	}},
}

func (c *check) op(verb backend.Verb, name string) backend.TxnOp {
	return backend.TxnOp{Verb: verb, Key: c.key(name)}
}

func (c *check) set(name, value string) backend.TxnOp {
	return backend.TxnOp{Verb: backend.VerbSet, Key: c.key(name), Value: []byte(value)}
}

func (c *check) cas(name, value string, index uint64) backend.TxnOp {
	return backend.TxnOp{Verb: backend.VerbCAS, Key: c.key(name), Value: []byte(value), Index: index}
}

// index returns an operation with an index.
func (c *check) index(verb backend.Verb, name string, index uint64) backend.TxnOp {
	return backend.TxnOp{Verb: verb, Key: c.key(name), Index: index}
}

func (c *check) txn(ops ...backend.TxnOp) (*backend.TxnResult, error) {
	return c.b.(backend.Transactional).Txn(c.ctx, ops)
}

// commit carries out a transaction that must work.
func (c *check) commit(ops ...backend.TxnOp) *backend.TxnResult {
	c.Helper()
	res, err := c.txn(ops...)
	require.NoError(c, err)
	require.NotNil(c, res)
	return res
}

// A failedOp is an operation that should have failed, about the key that the case
// calls name.
type failedOp struct {
	op   int
	code backend.Code
	name string
}

// opsFail requires that err says of exactly these operations that they failed.
func (c *check) opsFail(err error, want ...failedOp) {
	c.Helper()
	c.fails(err, want[0].code, c.key(want[0].name))
	var e *backend.Error
	require.True(c, errors.As(err, &e))
	require.Len(c, e.Ops, len(want), "operations that failed: %+v", e.Ops)
	for i, w := range want {
		have := e.Ops[i]
		require.NotEmpty(c, have.Message)
		have.Message = ""
		require.Equal(c, backend.OpError{Op: w.op, Code: w.code, Key: c.key(w.name)}, have)
	}
}
