package backendtest

import (
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

var isolationCases = []testCase{
	{"a transaction that read what has changed can not commit", func(c *check) {
		for _, tc := range []struct {
			name   string
			change func()
		}{
			{"put", func() { c.put("k", "other") }},
			{"the same value", func() { c.put("k", "v") }},
			{"delete", func() { c.delete("k") }},
			{"delete and put", func() { c.delete("k"); c.put("k", "v") }},
			{"transaction", func() { c.commit(c.set("k", "other")) }},
		} {
			c.put("k", "v")
			tx := c.begin(backend.TxOptions{})
			tx.get("k")
			tx.put("written", "wrong")
			tc.change()
			c.fails(tx.Commit(c.ctx), backend.TxnConflict, "")
			c.missing("written")
		}
		tx := c.begin(backend.TxOptions{})
		tx.missing("none")
		tx.put("written", "wrong")
		c.put("none", "v")
		c.fails(tx.Commit(c.ctx), backend.TxnConflict, "")
		c.missing("written")
	}},
	{"of two transactions that read and write one key one commits", func(c *check) {
		c.put("k", "0")
		first, second := c.begin(backend.TxOptions{}), c.begin(backend.TxOptions{})
		for _, tx := range []interactive{first, second} {
			n, err := strconv.Atoi(string(tx.get("k").Value))
			require.NoError(c, err)
			tx.put("k", strconv.Itoa(n+1))
		}
		require.NoError(c, second.Commit(c.ctx))
		c.fails(first.Commit(c.ctx), backend.TxnConflict, "")
		require.Equal(c, "1", string(c.get("k").Value))
	}},
	{"write skew is refused", func(c *check) {
		// Each sees that both are on call and goes home.
		c.put("a", "on call")
		c.put("b", "on call")
		first, second := c.begin(backend.TxOptions{}), c.begin(backend.TxOptions{})
		for _, tx := range []interactive{first, second} {
			require.Equal(c, "on call", string(tx.get("a").Value))
			require.Equal(c, "on call", string(tx.get("b").Value))
		}
		first.put("a", "home")
		second.put("b", "home")
		require.NoError(c, first.Commit(c.ctx))
		c.fails(second.Commit(c.ctx), backend.TxnConflict, "")
		require.Equal(c, "on call", string(c.get("b").Value))
	}},
	{"a List in a transaction is safe from phantoms", func(c *check) {
		for _, tc := range []struct {
			name   string
			q      backend.ListQuery
			change func()
		}{
			{"a key appears", backend.ListQuery{Prefix: "dir/"}, func() { c.put("dir/new", "v") }},
			{"a key appears under an empty prefix", backend.ListQuery{Prefix: "nothing/"}, func() { c.put("nothing/new", "v") }},
			{"a key disappears", backend.ListQuery{Prefix: "dir/"}, func() { c.delete("dir/b") }},
			{"a folder appears", backend.ListQuery{Prefix: "dir/", Separator: "/"}, func() { c.put("dir/sub/a", "v") }},
			{"a key appears on a page", backend.ListQuery{Prefix: "dir/", Limit: 1}, func() { c.put("dir/0", "v") }},
			{"a key appears after the last", backend.ListQuery{Prefix: "dir/", Limit: 9}, func() { c.put("dir/z", "v") }},
			{"a value changes", backend.ListQuery{Prefix: "dir/", Values: true}, func() { c.put("dir/b", "w") }},
			{"a transaction changes it", backend.ListQuery{Prefix: "dir/"}, func() { c.commit(c.op(backend.VerbDelete, "dir/a"), c.set("dir/x", "v")) }},
		} {
			c.commit(c.op(backend.VerbDeleteTree, ""), c.set("dir/a", "v"), c.set("dir/b", "v"), c.set("dir/c", "v"))
			tx := c.begin(backend.TxOptions{})
			tx.list(tc.q)
			tx.put("written", "wrong")
			tc.change()
			c.fails(tx.Commit(c.ctx), backend.TxnConflict, "")
			c.missing("written")
		}
	}},
	{"changes of what a transaction did not read do not disturb it", func(c *check) {
		c.put("a", "v")
		c.put("dir/1", "v")
		tx := c.begin(backend.TxOptions{})
		tx.get("a")
		tx.missing("none")
		tx.names(backend.ListQuery{Prefix: "dir/"}, "dir/1")
		tx.put("dir/2", "v")
		tx.names(backend.ListQuery{Prefix: "dir/"}, "dir/1", "dir/2")
		tx.get("dir/2")
		c.put("a0", "v")
		c.put("dir", "v")
		c.put("dir0", "v")
		c.put("none/1", "v")
		require.NoError(c, tx.Commit(c.ctx))
		c.names(backend.ListQuery{Prefix: "dir/"}, "dir/1", "dir/2")
	}},
	{"a read-only transaction that commits saw one instant", func(c *check) {
		// a and b always hold the same.
		c.commit(c.set("a", "0"), c.set("b", "0"))
		var seen int
		rounds := c.against(func(i int) error {
			_, err := c.txn(c.set("a", strconv.Itoa(i)), c.set("b", strconv.Itoa(i)))
			return err
		}, func() error {
			var got [2]string
			err := c.inTx(backend.TxOptions{ReadOnly: true}, func(tx backend.Tx) error {
				for i, name := range []string{"a", "b"} {
					e, err := tx.Get(c.ctx, c.key(name))
					if err != nil {
						return err
					}
					if e == nil {
						return fmt.Errorf("%q is gone", name)
					}
					got[i] = string(e.Value)
				}
				return nil
			})
			if err != nil {
				return err
			}
			seen++
			if got[0] != got[1] {
				return fmt.Errorf("committed with a = %s and b = %s, which never was", got[0], got[1])
			}
			return nil
		})
		c.Logf("%d of %d read-only transactions committed", seen, rounds)
	}},
	{"no List sees half a transaction", func(c *check) {
		c.commit(c.set("a", "0"), c.set("b", "0"))
		var interactives bool
		c.against(func(i int) error {
			value := strconv.Itoa(i)
			if interactives = !interactives; !interactives {
				_, err := c.txn(c.set("b", value), c.set("a", value))
				return err
			}
			return c.inTx(backend.TxOptions{}, func(tx backend.Tx) error {
				for _, name := range []string{"a", "b"} {
					if err := tx.Put(c.ctx, c.key(name), []byte(value), backend.PutOptions{}); err != nil {
						return err
					}
				}
				return nil
			})
		}, func() error {
			res, err := c.b.List(c.ctx, backend.ListQuery{Prefix: c.prefix, Values: true})
			if err != nil {
				return err
			}
			if len(res.Items) != 2 {
				return fmt.Errorf("the list has %q", res.Names())
			}
			if a, b := res.Items[0].Entry.Value, res.Items[1].Entry.Value; string(a) != string(b) {
				return fmt.Errorf("the list has a = %s and b = %s, which never was", a, b)
			}
			return nil
		})
	}},
	{"get-tree and delete-tree see one instant", func(c *check) {
		// What one transaction reads and deletes is neither lost nor read twice.
		const puts = 100
		var put, taken atomic.Int64
		c.parallel(3, func(w int) error {
			if w > 0 {
				for i := range puts {
					if _, err := c.b.Put(c.ctx, c.key(fmt.Sprintf("queue/%d/%d", w, i)), []byte("v"), backend.PutOptions{}); err != nil {
						return err
					}
					put.Add(1)
				}
				return nil
			}
			for last := false; ; {
				res, err := c.txn(c.op(backend.VerbGetTree, "queue/"), c.op(backend.VerbDeleteTree, "queue/"))
				switch {
				case c.fatal(err):
					return err
				case err != nil:
					continue
				}
				taken.Add(int64(len(res.Results)))
				if last {
					return nil
				}
				last = put.Load() == 2*puts
			}
		})
		require.Equal(c, int64(2*puts), taken.Load(), "keys that were taken")
		c.names(backend.ListQuery{})
	}},
	{"transactions are strictly serializable", serializable},
}

// against runs change over and over, with numbers from 1, while look looks, until
// both have run often enough; each may be told to try again. It returns how often
// look ran.
func (c *check) against(change func(i int) error, look func() error) int {
	c.Helper()
	const rounds = 100
	done := make(chan struct{})
	var changed atomic.Int64
	var over atomic.Bool // changes come no more
	looks := 0
	c.parallel(2, func(w int) error {
		if w == 0 {
			defer close(done)
			for ; !over.Load() && (looks < rounds || changed.Load() < rounds); looks++ {
				if err := look(); c.fatal(err) {
					return fmt.Errorf("%d looks and %d changes: %w", looks, changed.Load(), err)
				}
			}
			return nil
		}
		defer over.Store(true)
		for i := 1; ; i++ {
			if err := change(i); c.fatal(err) {
				return err
			}
			changed.Add(1)
			select {
			case <-done:
				return nil
			default:
			}
		}
	})
	require.NoError(c, look(), "no look succeeds though nothing changes")
	return looks
}

// inTx does something in a transaction and commits it, or rolls it back when do
// fails.
func (c *check) inTx(opts backend.TxOptions, do func(tx backend.Tx) error) error {
	tx, err := c.b.(backend.Transactional).Begin(c.ctx, opts)
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		_ = tx.Rollback(c.ctx)
		return err
	}
	return tx.Commit(c.ctx)
}
