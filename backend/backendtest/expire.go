package backendtest

import (
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

var expireCases = []testCase{
	{"a key shows its lifetime", func(c *check) {
		for _, d := range []time.Duration{backend.MinTTL, backend.MaxTTL} {
			c.putFor("k", "v", d)
			e := c.get("k")
			require.Equal(c, d, e.ExpiresAfter)
			require.Equal(c, e, c.list(backend.ListQuery{Values: true}).Items[0].Entry)
		}
		c.put("k", "v")
		require.Zero(c, c.get("k").ExpiresAfter, "a Put without lifetime keeps the old one")
	}},
	{"a lifetime has limits", func(c *check) {
		for _, d := range []time.Duration{-1, 1, backend.MinTTL - 1, backend.MaxTTL + 1} {
			_, err := c.b.Put(c.ctx, c.key("k"), nil, backend.PutOptions{ExpiresAfter: d})
			c.fails(err, backend.Invalid, c.key("k"))
		}
		c.missing("k")
	}},
}

var expireLockCases = []testCase{
	{"Unlock leaves the lifetime that the key was given", func(c *check) {
		for name, d := range map[string]time.Duration{"expires": backend.MaxTTL, "stays": 0} {
			l := c.lock(name, backend.LockOptions{Value: []byte("lock")})
			c.putFor(name, "v", d)
			require.NoError(c, l.Unlock(c.ctx))
			e := c.get(name)
			require.Equal(c, d, e.ExpiresAfter)
			require.Equal(c, "v", string(e.Value))
			require.Empty(c, e.Session)
		}
	}},
}

var expireTimeCases = []testCase{
	{"a key disappears for all readers at once", func(c *check) {
		since := c.start()
		c.putFor("k", "v", ttl)
		c.put("other", "v")
		index := c.get("k").ModifyIndex
		c.pass(early)
		e, err := c.b.Get(c.ctx, c.key("k"), backend.GetOptions{})
		require.NoError(c, err)
		require.True(c, e != nil || !since.before(ttl), "gone within %v", early)
		c.vanishes(ttl-early, func() (bool, error) {
			e, err := c.b.Get(c.ctx, c.key("k"), backend.GetOptions{})
			return e != nil, err
		}, func() (bool, error) {
			res, err := c.b.List(c.ctx, backend.ListQuery{Prefix: c.prefix})
			return err == nil && slices.Contains(res.Names(), c.key("k")), ignore(err, backend.Conflict)
		}, func() (bool, error) {
			res, err := c.txn(c.op(backend.VerbGetOrEmpty, "k"))
			return err == nil && res.Results[0].Entry.ModifyIndex != 0, ignore(err, backend.TxnConflict)
		})
		popped, err := c.b.Pop(c.ctx, c.key("k"))
		require.NoError(c, err)
		require.Nil(c, popped)
		_, err = c.putIf("k", "wrong", backend.IfIndex(index))
		c.fails(err, backend.Conflict, c.key("k"))
		again, err := c.putIf("k", "new", backend.IfAbsent())
		require.NoError(c, err)
		require.Greater(c, again, index)
		c.get("other")
	}},
	{"every write sets the lifetime anew", func(c *check) {
		for _, name := range []string{"put", "set", "transaction", "longer"} {
			c.putFor(name, "v", ttl)
		}
		c.pass(ttl / 2)
		since := c.start()
		c.put("put", "v")
		c.commit(c.set("set", "v"))
		tx := c.begin(backend.TxOptions{})
		tx.put("transaction", "v")
		require.NoError(c, tx.Commit(c.ctx))
		c.putFor("longer", "v", ttl)
		c.pass(early)
		e, err := c.b.Get(c.ctx, c.key("longer"), backend.GetOptions{})
		require.NoError(c, err)
		require.True(c, e != nil || !since.before(ttl), "gone %v after it was written anew", early)
		c.pass(ttl - early)
		c.due("the key disappears", func() bool { return !slices.Contains(c.list(backend.ListQuery{}).Names(), c.key("longer")) })
		c.names(backend.ListQuery{}, "put", "set", "transaction")
	}},
	{"what a transaction writes can expire", func(c *check) {
		set := c.set("set", "v")
		set.ExpiresAfter = ttl
		c.commit(set, c.set("stays", "v"))
		tx := c.begin(backend.TxOptions{})
		require.NoError(c, tx.Put(c.ctx, c.key("put"), []byte("v"), backend.PutOptions{ExpiresAfter: ttl}))
		require.Equal(c, ttl, tx.get("put").ExpiresAfter)
		require.NoError(c, tx.Commit(c.ctx))
		for _, name := range []string{"set", "put"} {
			require.Equal(c, ttl, c.get(name).ExpiresAfter)
		}
		short := c.set("short", "wrong")
		short.ExpiresAfter = backend.MinTTL - 1
		_, err := c.txn(short)
		c.opsFail(err, failedOp{0, backend.Invalid, "short"})
		c.pass(ttl)
		c.due("the keys disappear", func() bool { return len(c.list(backend.ListQuery{}).Items) == 1 })
		c.names(backend.ListQuery{}, "stays")
	}},
	{"Watch wakes when a key expires", func(c *check) {
		c.putFor("k", "v", ttl)
		var woken []<-chan uint64
		for _, q := range []backend.WatchQuery{{Key: c.key("k")}, {Prefix: c.prefix}} {
			q.After = c.watch(q)
			woken = append(woken, c.wakes(q))
		}
		c.pass(ttl)
		c.due("Watch notices", func() bool { return len(woken[0]) > 0 && len(woken[1]) > 0 })
		require.Positive(c, <-woken[0])
		require.Positive(c, <-woken[1])
		c.missing("k")
	}},
}

// putFor stores value at name for a lifetime.
func (c *check) putFor(name, value string, d time.Duration) {
	c.Helper()
	_, err := c.b.Put(c.ctx, c.key(name), []byte(value), backend.PutOptions{ExpiresAfter: d})
	require.NoError(c, err)
}
