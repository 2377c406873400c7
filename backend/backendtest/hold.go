package backendtest

import (
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

// manyLocks is how many locks one session holds in the case about that.
const manyLocks = 5000

var holdCases = []testCase{
	{"the lock verb makes a session the holder", func(c *check) {
		s := c.session(backend.SessionOptions{})
		lock := c.hold("k", s.ID)
		lock.Value, lock.Flags = []byte("value"), 7
		res := c.commit(lock)
		e := c.get("k")
		require.Equal(c, &backend.Entry{
			Key: c.key("k"), Value: []byte("value"), Flags: 7, Session: s.ID,
			CreateIndex: e.ModifyIndex, ModifyIndex: e.ModifyIndex, LockIndex: 1, LockToken: e.ModifyIndex,
		}, e)
		require.Equal(c, e, c.list(backend.ListQuery{Values: true}).Items[0].Entry)
		got := *e
		got.Value = nil
		require.Equal(c, &got, res.Results[0].Entry)

		lock.Value = []byte("again")
		c.commit(lock)
		again := c.get("k")
		require.Equal(c, "again", string(again.Value), "the holder may lock again")
		require.Equal(c, e.LockIndex, again.LockIndex)
		require.Equal(c, e.LockToken, again.LockToken)
		require.Greater(c, again.ModifyIndex, e.ModifyIndex)
		c.commit(c.checkSession("k", s.ID))
		_, err := c.txn(c.checkSession("k", ""))
		c.opsFail(err, failedOp{0, backend.Conflict, "k"})
	}},
	{"a key has one holder", func(c *check) {
		s, other := c.session(backend.SessionOptions{}), c.session(backend.SessionOptions{})
		c.put("k", "v")
		c.commit(c.hold("k", s.ID))
		before := c.get("k")
		_, err := c.txn(c.set("written", "wrong"), c.hold("k", other.ID))
		c.opsFail(err, failedOp{1, backend.Conflict, "k"})
		_, err = c.txn(c.release("k", other.ID))
		c.opsFail(err, failedOp{0, backend.Conflict, "k"})
		_, err = c.txn(c.checkSession("k", other.ID))
		c.opsFail(err, failedOp{0, backend.Conflict, "k"})
		require.Equal(c, before, c.get("k"))
		c.missing("written")
		_, err = c.txn(c.hold("a", s.ID), c.hold("a", other.ID))
		c.opsFail(err, failedOp{1, backend.Conflict, "a"})
	}},
	{"only a live session can hold a key", func(c *check) {
		ended := c.session(backend.SessionOptions{})
		c.destroy(ended.ID)
		for _, id := range []string{stranger, ended.ID, "x"} {
			_, err := c.txn(c.hold("k", id), c.op(backend.VerbGet, "none"))
			c.opsFail(err, failedOp{0, backend.SessionInvalid, "k"}, failedOp{1, backend.Conflict, "none"})
			c.missing("k")
		}
	}},
	{"the unlock verb frees the key and stores its value", func(c *check) {
		s, other := c.session(backend.SessionOptions{}), c.session(backend.SessionOptions{})
		_, err := c.txn(c.release("k", s.ID))
		c.opsFail(err, failedOp{0, backend.Conflict, "k"})
		c.put("k", "v")
		_, err = c.txn(c.release("k", s.ID))
		c.opsFail(err, failedOp{0, backend.Conflict, "k"})

		var token uint64
		for i, id := range []string{s.ID, other.ID, s.ID} { // no lock delay between them
			c.commit(c.hold("k", id))
			held := c.get("k")
			require.Equal(c, uint64(i+1), held.LockIndex)
			require.Greater(c, held.LockToken, token)
			token = held.LockToken
			release := c.release("k", id)
			release.Value, release.Flags = []byte("left"), 3
			c.commit(release)
			e := c.get("k")
			require.Equal(c, &backend.Entry{
				Key: c.key("k"), Value: []byte("left"), Flags: 3, CreateIndex: held.CreateIndex, ModifyIndex: e.ModifyIndex, LockIndex: held.LockIndex,
			}, e)
			c.commit(c.checkSession("k", ""))
		}
	}},
	{"plain writes keep the holder", func(c *check) {
		s := c.session(backend.SessionOptions{})
		c.commit(c.hold("k", s.ID))
		held := c.get("k")
		for _, write := range []struct {
			name string
			do   func()
		}{
			{"Put", func() { c.put("k", "1") }},
			{"conditional Put", func() {
				_, err := c.putIf("k", "2", backend.IfIndex(c.get("k").ModifyIndex))
				require.NoError(c, err)
			}},
			{"set", func() { c.commit(c.set("k", "3")) }},
			{"transaction", func() {
				tx := c.begin(backend.TxOptions{})
				tx.put("k", "4")
				require.NoError(c, tx.Commit(c.ctx))
			}},
		} {
			write.do()
			e := c.get("k")
			require.Equal(c, s.ID, e.Session, write.name)
			require.Equal(c, held.LockToken, e.LockToken, write.name)
			require.Equal(c, held.LockIndex, e.LockIndex, write.name)
		}
	}},
	{"a deleted key has no holder", func(c *check) {
		s, other := c.session(backend.SessionOptions{}), c.session(backend.SessionOptions{})
		c.commit(c.hold("k", s.ID))
		token := c.get("k").LockToken
		c.delete("k")
		c.put("k", "v")
		require.Empty(c, c.get("k").Session)
		c.commit(c.hold("k", other.ID))
		e := c.get("k")
		require.Equal(c, uint64(1), e.LockIndex, "holders since the key was created")
		require.Greater(c, e.LockToken, token, "the token restarts")
		c.destroy(s.ID)
		require.Equal(c, other.ID, c.get("k").Session)
	}},
	{"the end of a session releases or deletes what it holds", func(c *check) {
		for _, behavior := range []backend.Behavior{backend.BehaviorRelease, backend.BehaviorDelete} {
			s := c.session(backend.SessionOptions{Behavior: behavior, LockDelay: backend.NoLockDelay})
			c.put("other", "v")
			c.commit(c.hold("a", s.ID), c.hold("b", s.ID), c.hold("c", s.ID), c.release("c", s.ID))
			before, other := c.get("a"), c.get("other")
			c.destroy(s.ID)
			for _, name := range []string{"a", "b"} {
				if behavior == backend.BehaviorDelete {
					c.missing(name)
					continue
				}
				e := c.get(name)
				require.Empty(c, e.Session)
				require.Zero(c, e.LockToken)
				require.Equal(c, name, string(e.Value))
				require.Equal(c, before.CreateIndex, c.get("a").CreateIndex)
			}
			require.Equal(c, other, c.get("other"))
			require.Equal(c, "c", string(c.get("c").Value), "what it held no longer")
			res := c.list(backend.ListQuery{Values: true})
			for _, it := range res.Items {
				require.Empty(c, it.Entry.Session)
			}
			c.commit(c.op(backend.VerbDeleteTree, ""))
		}
	}},
	{"without a lock delay a key is free when its session has ended", func(c *check) {
		s, other := c.session(backend.SessionOptions{LockDelay: backend.NoLockDelay}), c.session(backend.SessionOptions{})
		c.commit(c.hold("k", s.ID))
		c.destroy(s.ID)
		c.commit(c.hold("k", other.ID))
		require.Equal(c, other.ID, c.get("k").Session)
	}},
	{"a session that holds 5,000 locks can be destroyed", func(c *check) {
		s := c.session(backend.SessionOptions{LockDelay: backend.NoLockDelay})
		const batch = 125
		c.parallel(8, func(w int) error {
			for first := w * batch; first < manyLocks; first += 8 * batch {
				var ops []backend.TxnOp
				for i := first; i < first+batch; i++ {
					ops = append(ops, c.hold(fmt.Sprintf("%05d", i), s.ID))
				}
				if _, err := c.txn(ops...); err != nil {
					return err
				}
			}
			return nil
		})
		held := c.list(backend.ListQuery{Values: true}).Items
		require.Len(c, held, manyLocks)
		for _, it := range held {
			require.Equal(c, s.ID, it.Entry.Session)
		}
		c.destroy(s.ID)
		free := c.list(backend.ListQuery{Values: true}).Items
		require.Len(c, free, manyLocks)
		for _, it := range free {
			require.Empty(c, it.Entry.Session, "%q is held by a session that was destroyed", it.Name)
		}
		c.commit(c.hold("00000", c.session(backend.SessionOptions{}).ID))
	}},
}

var holdTimeCases = []testCase{
	{"a lock delay keeps a key free for a while", func(c *check) {
		const delay = 4 * time.Second
		for _, behavior := range []backend.Behavior{backend.BehaviorRelease, backend.BehaviorDelete} {
			s, other := c.session(backend.SessionOptions{LockDelay: delay, Behavior: behavior}), c.session(backend.SessionOptions{})
			c.commit(c.hold("k", s.ID))
			since := c.start()
			c.destroy(s.ID)
			c.put("k", "v") // is not concerned
			c.pass(delay / 2)
			_, err := c.txn(c.hold("k", other.ID))
			if since.before(delay) {
				c.opsFail(err, failedOp{0, backend.Conflict, "k"})
			}
			c.pass(delay / 2)
			c.due("the lock delay ends", func() bool {
				_, err := c.txn(c.hold("k", other.ID))
				require.NoError(c, ignore(err, backend.Conflict))
				return err == nil
			})
			require.Equal(c, other.ID, c.get("k").Session)
			c.delete("k")
		}
	}},
	{"the expiry of a session releases or deletes what it holds", func(c *check) {
		keep, remove := c.session(backend.SessionOptions{TTL: ttl}), c.session(backend.SessionOptions{TTL: ttl, Behavior: backend.BehaviorDelete})
		since := c.start()
		require.NoError(c, c.renew(keep.ID))
		require.NoError(c, c.renew(remove.ID))
		c.commit(c.hold("keep", keep.ID), c.hold("remove", remove.ID))
		c.pass(early)
		e, err := c.b.Get(c.ctx, c.key("keep"), backend.GetOptions{})
		require.NoError(c, err)
		require.True(c, e.Session == keep.ID || !since.before(ttl), "released after %v", early)
		c.pass(ttl - early)
		c.due("the key is released", func() bool { return c.get("keep").Session == "" })
		c.due("the key is deleted", func() bool {
			e, err := c.b.Get(c.ctx, c.key("remove"), backend.GetOptions{})
			require.NoError(c, err)
			return e == nil
		})
		require.False(c, c.alive(keep.ID), "its key is free and the session lives")
		require.False(c, c.alive(remove.ID), "its key is gone and the session lives")
		require.Equal(c, "keep", string(c.get("keep").Value))
	}},
}

var watchHoldCases = []testCase{
	{"Watch wakes when a key is locked and released", func(c *check) {
		for _, behavior := range []backend.Behavior{backend.BehaviorRelease, backend.BehaviorDelete} {
			s := c.session(backend.SessionOptions{Behavior: behavior, LockDelay: backend.NoLockDelay})
			for _, change := range []struct {
				name string
				do   func()
			}{
				{"lock", func() { c.commit(c.hold("k", s.ID)) }},
				{"unlock", func() { c.commit(c.release("k", s.ID)) }},
				{"lock again", func() { c.commit(c.hold("k", s.ID)) }},
				{"the end of the session", func() { c.destroy(s.ID) }},
			} {
				var woken []<-chan uint64
				for _, q := range []backend.WatchQuery{{Key: c.key("k")}, {Prefix: c.prefix}} {
					q.After = c.watch(q)
					woken = append(woken, c.wakes(q))
				}
				change.do()
				for _, w := range woken {
					require.Positive(c, receive(c, "Watch notices: "+change.name, w))
				}
			}
		}
	}},
}

// hold returns an operation that locks name, with the name as its value.
func (c *check) hold(name, session string) backend.TxnOp {
	return backend.TxnOp{Verb: backend.VerbLock, Key: c.key(name), Value: []byte(name), Session: session}
}

// release returns an operation that unlocks name, with the name as its value.
func (c *check) release(name, session string) backend.TxnOp {
	return backend.TxnOp{Verb: backend.VerbUnlock, Key: c.key(name), Value: []byte(name), Session: session}
}

func (c *check) checkSession(name, session string) backend.TxnOp {
	return backend.TxnOp{Verb: backend.VerbCheckSession, Key: c.key(name), Session: session}
}

// ignore returns nil if err has code.
func ignore(err error, code backend.Code) error {
	if backend.CodeOf(err) == code {
		return nil
	}
	return err
}
