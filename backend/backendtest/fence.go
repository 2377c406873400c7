package backendtest

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

var fenceCases = []testCase{
	{"the holder of a lock writes with its fence", func(c *check) {
		l, fence := c.fencing("lock")
		defer c.unlock(l)
		for _, w := range c.fencedWrites(c.key("k"), fence) {
			require.NoError(c, w.do(), w.name)
		}
		require.NoError(c, c.fence(fence), "the holder may ask again")
	}},
	{"a write with an outdated fence changes nothing", func(c *check) {
		first, old := c.fencing("lock")
		c.unlock(first)
		second, fence := c.fencing("lock")
		defer c.unlock(second)
		require.Greater(c, fence.Token, old.Token)
		index := c.put("k", "v")
		for _, w := range c.fencedWrites(c.key("k"), old) {
			c.fails(w.do(), backend.Fenced, c.key("k"))
			require.Equal(c, index, c.get("k").ModifyIndex, w.name)
		}
		for _, w := range c.fencedWrites(c.key("none"), old) {
			c.fails(w.do(), backend.Fenced, "")
			c.missing("none")
		}
		set := c.set("k", "wrong")
		set.Fence = old
		_, err := c.txn(c.set("other", "wrong"), set)
		c.opsFail(err, failedOp{1, backend.Fenced, "k"})
		c.missing("other")
		for _, w := range c.fencedWrites(c.key("k"), fence) {
			require.NoError(c, w.do(), w.name)
		}
	}},
	{"a transaction begun under an older fence can not commit", func(c *check) {
		first, old := c.fencing("lock")
		tx := c.begin(backend.TxOptions{})
		require.NoError(c, tx.Put(c.ctx, c.key("k"), []byte("wrong"), backend.PutOptions{Fence: old}))
		c.unlock(first)
		second, _ := c.fencing("lock")
		defer c.unlock(second)
		c.fails(tx.Commit(c.ctx), backend.Fenced, "")
		c.missing("k")
	}},
	{"writes without a fence, or with one of another lock, are not concerned", func(c *check) {
		first, old := c.fencing("lock")
		c.unlock(first)
		other, its := c.fencing("other")
		defer c.unlock(other)
		second, _ := c.fencing("lock")
		defer c.unlock(second)
		for _, fence := range []backend.Fence{{}, its} {
			for _, w := range c.fencedWrites(c.key("k"), fence) {
				require.NoError(c, w.do(), w.name)
			}
		}
		_, err := c.b.Put(c.ctx, c.key("k"), nil, backend.PutOptions{Fence: old})
		c.fails(err, backend.Fenced, c.key("k"))
	}},
	{"only the present holder can fence", func(c *check) {
		first := c.lock("lock", backend.LockOptions{})
		stale := backend.FenceOf(first)
		c.unlock(first)
		c.fails(c.fence(stale), backend.LockLost, c.key("lock"))
		second := c.lock("lock", backend.LockOptions{})
		c.fails(c.fence(stale), backend.LockLost, c.key("lock"))
		c.fails(c.fence(backend.Fence{Key: c.key("lock"), Token: second.Token() + 1}), backend.LockLost, c.key("lock"))
		require.NoError(c, c.fence(backend.FenceOf(second)))
		c.fails(c.fence(stale), backend.Fenced, c.key("lock"))
		c.unlock(second)
		c.fails(c.fence(backend.FenceOf(second)), backend.LockLost, c.key("lock"))
		c.fails(c.fence(backend.Fence{Key: c.key("none"), Token: 1}), backend.LockLost, c.key("none"))

		third := c.lock("lock", backend.LockOptions{})
		require.NoError(c, c.b.Delete(c.ctx, c.key("lock"), backend.DeleteOptions{}))
		c.fails(c.fence(backend.FenceOf(third)), backend.LockLost, c.key("lock"))
		_, err := c.b.Put(c.ctx, c.key("k"), nil, backend.PutOptions{Fence: backend.FenceOf(second)})
		require.NoError(c, err, "a fence that was refused is in force")
	}},
	{"a fence outlives the key of its lock", func(c *check) {
		first, old := c.fencing("lock")
		c.unlock(first)
		second, fence := c.fencing("lock")
		c.delete("lock")
		c.lost(second)
		_, err := c.b.Put(c.ctx, c.key("k"), nil, backend.PutOptions{Fence: old})
		c.fails(err, backend.Fenced, c.key("k"))
		third, newest := c.fencing("lock")
		defer c.unlock(third)
		require.Greater(c, newest.Token, fence.Token)
		_, err = c.b.Put(c.ctx, c.key("k"), nil, backend.PutOptions{Fence: fence})
		c.fails(err, backend.Fenced, c.key("k"))
	}},
	{"a fence that can be none is invalid", func(c *check) {
		for _, fence := range []backend.Fence{{Token: 1}, {Key: c.key("lock")}, {Key: "/lock", Token: 1}} {
			c.fails(c.fence(fence), backend.Invalid, "")
			for _, w := range c.fencedWrites(c.key("k"), fence) {
				c.fails(w.do(), backend.Invalid, "")
			}
		}
		c.fails(c.fence(backend.Fence{}), backend.Invalid, "")
		c.missing("k")
	}},
	{"no write of an old holder happens once Fence has returned", func(c *check) {
		const olds, rounds = 4, 5
		for round := range rounds {
			first, old := c.fencing("lock")
			stop, cancel := context.WithCancel(c.ctx)
			var fenced atomic.Bool
			began := make(chan struct{}, olds)
			ended := make(chan error, olds)
			for w := range olds {
				go func() {
					ended <- c.writeUntilFenced(stop, c.key(fmt.Sprint("k", w)), old, &fenced, func() { began <- struct{}{} })
				}()
			}
			for range olds {
				receive(c, "the old holder writes", began)
			}
			c.unlock(first)
			second, _ := c.fencing("lock")
			fenced.Store(true)
			left := c.list(backend.ListQuery{Prefix: "k", Values: true}).Items
			for range olds {
				require.NoError(c, receive(c, "the old holder is fenced", ended))
			}
			cancel()
			require.Equal(c, left, c.list(backend.ListQuery{Prefix: "k", Values: true}).Items, "round %d: a write of the old holder surfaced", round)
			c.unlock(second)
		}
	}},
}

// writeUntilFenced writes with an old fence until that is refused, and calls began
// after the first write. A write that began after fenced was set must not work.
func (c *check) writeUntilFenced(ctx context.Context, key string, old backend.Fence, fenced *atomic.Bool, began func()) error {
	for i := 0; ; i++ {
		late := fenced.Load()
		_, err := c.b.Put(ctx, key, []byte(fmt.Sprint(i)), backend.PutOptions{Fence: old})
		switch {
		case backend.CodeOf(err) == backend.Fenced:
			if i == 0 {
				began()
			}
			return nil
		case err != nil:
			return err
		case late:
			return fmt.Errorf("write %d of %q by the old holder began after Fence had returned, and worked", i, key)
		case i == 0:
			began()
		}
	}
}

// fencing takes a lock and fences its former holders off.
func (c *check) fencing(name string) (backend.Lock, backend.Fence) {
	c.Helper()
	l := c.lock(name, backend.LockOptions{})
	fence := backend.FenceOf(l)
	require.Equal(c, backend.Fence{Key: l.Key(), Token: l.Token()}, fence)
	require.NoError(c, c.fence(fence))
	return l, fence
}

func (c *check) fence(f backend.Fence) error { return c.b.(backend.Fencer).Fence(c.ctx, f) }

func (c *check) unlock(l backend.Lock) {
	c.Helper()
	require.NoError(c, l.Unlock(c.ctx))
}

// A write is a way to change a key.
type write struct {
	name string
	do   func() error
}

// fencedWrites are all writes of key that carry a fence. The last deletes it.
func (c *check) fencedWrites(key string, fence backend.Fence) []write {
	value := []byte("v")
	txn := func(verb backend.Verb) func() error {
		return func() error {
			_, err := c.txn(backend.TxnOp{Verb: verb, Key: key, Value: value, Fence: fence})
			return err
		}
	}
	tx := func(do func(tx interactive) error) func() error {
		return func() error {
			tx := c.begin(backend.TxOptions{})
			if err := do(tx); err != nil {
				_ = tx.Rollback(c.ctx)
				return err
			}
			return tx.Commit(c.ctx)
		}
	}
	return []write{
		{"Put", func() error {
			_, err := c.b.Put(c.ctx, key, value, backend.PutOptions{Fence: fence})
			return err
		}},
		{"set", txn(backend.VerbSet)},
		{"Put in a transaction", tx(func(tx interactive) error { return tx.Put(c.ctx, key, value, backend.PutOptions{Fence: fence}) })},
		{"Delete in a transaction", tx(func(tx interactive) error { return tx.Delete(c.ctx, key, backend.DeleteOptions{Fence: fence}) })},
		{"delete", txn(backend.VerbDelete)},
		{"Delete", func() error { return c.b.Delete(c.ctx, key, backend.DeleteOptions{Fence: fence}) }},
	}
}
