package backendtest

import (
	"bytes"
	"fmt"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

var txnLimitCases = []testCase{
	{"a transaction has at most 128 operations", func(c *check) {
		ops := make([]backend.TxnOp, 0, backend.MaxTxnOps+1)
		values := map[string][]byte{}
		for i := range backend.MaxTxnOps + 1 {
			ops = append(ops, c.set(fmt.Sprintf("k%03d", i), "v"))
			values[ops[i].Key] = []byte("v")
		}
		_, err := c.txn(ops...)
		c.fails(err, backend.TooLarge, "")
		require.ErrorContains(c, err, "too many operations")
		c.fails(backend.Update(c.ctx, c.b.(backend.Transactional), values), backend.TooLarge, "")
		_, err = c.txn(make([]backend.TxnOp, backend.MaxTxnOps+1)...)
		c.fails(err, backend.TooLarge, "")
		c.names(backend.ListQuery{})
		c.commit(ops[:backend.MaxTxnOps]...)
		require.Len(c, c.list(backend.ListQuery{}).Items, backend.MaxTxnOps)
	}},
	{"the values of a transaction have at most 8 MiB", func(c *check) {
		sizes := c.fillTxn()
		var ops []backend.TxnOp
		for i, size := range sizes {
			ops = append(ops, c.set(fmt.Sprintf("k%03d", i), ""))
			ops[i].Value = bytes.Repeat([]byte("v"), size)
		}
		c.commit(ops...)
		require.Len(c, c.list(backend.ListQuery{}).Items, len(ops))
		c.commit(c.op(backend.VerbDeleteTree, ""))
		_, err := c.txn(append(ops, c.set("one", "v"))...)
		c.fails(err, backend.TooLarge, "")
		require.ErrorContains(c, err, "too large")
		c.names(backend.ListQuery{})
	}},
	{"delete-tree removes at most 4,096 keys", func(c *check) {
		keys := c.numbered("dir/", backend.MaxTxnTree)
		c.parallel(writers, func(w int) error {
			for i := w * backend.MaxTxnOps; i < len(keys); i += writers * backend.MaxTxnOps {
				var ops []backend.TxnOp
				for _, key := range keys[i:min(i+backend.MaxTxnOps, len(keys))] {
					ops = append(ops, backend.TxnOp{Verb: backend.VerbSet, Key: key})
				}
				if _, err := c.txn(ops...); err != nil {
					return err
				}
			}
			return nil
		})
		c.put("other/1", "v")
		_, err := c.txn(c.op(backend.VerbDeleteTree, "dir/"), c.op(backend.VerbDeleteTree, "other/"))
		c.opsFail(err, failedOp{1, backend.TooLarge, "other/"})
		require.Len(c, c.list(backend.ListQuery{}).Items, backend.MaxTxnTree+1)
		c.commit(c.op(backend.VerbDeleteTree, "dir/"))
		c.names(backend.ListQuery{}, "other/1")
	}},
	{"a transaction with what can never work is refused whole", func(c *check) {
		large := c.set("large", "")
		large.Value = make([]byte, c.b.Limits().MaxValueSize+1)
		lock := c.op(backend.VerbLock, "k")
		fence := c.set("k", "wrong")
		fence.Fence.Key = c.key("lock")
		for _, tc := range []struct {
			op   backend.TxnOp
			code backend.Code
		}{
			{c.op("", "k"), backend.Invalid},
			{c.op("SET", "k"), backend.Invalid},
			{backend.TxnOp{Verb: backend.VerbSet, Key: "/k"}, backend.Invalid},
			{backend.TxnOp{Verb: backend.VerbGet}, backend.Invalid},
			{backend.TxnOp{Verb: backend.VerbDeleteTree, Key: "\x00"}, backend.Invalid},
			{lock, backend.Invalid},
			{c.op(backend.VerbUnlock, "k"), backend.Invalid},
			{fence, backend.Invalid},
			{large, backend.TooLarge},
		} {
			_, err := c.txn(c.set("k", "wrong"), tc.op, c.op(backend.VerbGet, "none"))
			e := c.fails(err, tc.code, "")
			require.Len(c, e.Ops, 1, "operations that failed: %+v", e.Ops)
			require.Equal(c, 1, e.Ops[0].Op)
			require.Equal(c, tc.code, e.Ops[0].Code)
		}
		c.names(backend.ListQuery{})
	}},
}

// fillTxn returns how large values may be that fill a transaction: up to 8 MiB, or
// as many of the largest as there may be operations, where values are smaller than
// 64 KiB.
func (c *check) fillTxn() []int {
	size := c.b.Limits().MaxValueSize
	var sizes []int
	for left := backend.MaxTxnSize; left > 0 && len(sizes) < backend.MaxTxnOps; {
		sizes = append(sizes, min(left, size))
		left -= sizes[len(sizes)-1]
	}
	return sizes
}
