package backendtest

import (
	"context"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

var endingCases = []testCase{
	{"with a context that is done no transaction, session, lock, fence or watch works", func(c *check) {
		expired, cancel := context.WithDeadline(c.ctx, time.Unix(1, 0))
		defer cancel()
		cancelled, cancel := context.WithCancel(c.ctx)
		cancel()
		for _, ctx := range []context.Context{expired, cancelled} {
			k := c.keepsake(c.b)
			before := c.list(backend.ListQuery{Values: true}).Items
			for op, err := range k.each(ctx, c.b) {
				c.Logf("%s with a context that is done: %v", op, err)
				c.fails(err, backend.NoQuorum, "")
			}
			require.Equal(c, before, c.list(backend.ListQuery{Values: true}).Items)
			require.True(c, c.alive(k.session), "destroyed under a context that was done")
			require.NoError(c, k.lock.Unlock(c.ctx))
			c.fails(k.tx.Commit(c.ctx), backend.TxnDone, "")
		}
	}},
	{"after Close no transaction, session, lock, fence or watch works", func(c *check) {
		b := c.open()
		k := c.keepsake(b)
		require.NoError(c, b.Close())
		c.lost(k.lock)
		for op, err := range k.each(c.ctx, b) {
			c.Logf("%s after Close: %v", op, err)
			c.fails(err, backend.Closed, "")
		}
	}},
	{"Close ends calls of Watch and Lock", func(c *check) {
		b := c.open()
		k := c.keepsake(b)
		key := c.key("lock")
		ended := make(chan error, 3)
		e, err := b.Get(c.ctx, key, backend.GetOptions{})
		require.NoError(c, err)
		for _, q := range []backend.WatchQuery{{Key: key, After: e.ModifyIndex}, {Prefix: key, After: e.ModifyIndex}} {
			go func() {
				var err error
				for err == nil {
					_, err = b.(backend.Watcher).Watch(c.ctx, q)
				}
				ended <- err
			}()
		}
		go func() {
			_, err := b.(backend.Locker).Lock(c.ctx, backend.LockOptions{Key: key})
			ended <- err
		}()
		require.False(c, c.poll(10*pollInterval, func() bool { return len(ended) > 0 }), "a call does not wait")
		require.NoError(c, b.Close())
		for range 3 {
			if err := receive(c, "Close ends the calls that wait", ended); backend.CodeOf(err) != backend.UnknownOutcome {
				c.fails(err, backend.Closed, "")
			}
		}
		c.lost(k.lock)
	}},
}

// A keepsake is what calls need that can not begin any more.
type keepsake struct {
	key, session string
	lock         backend.Lock
	tx           backend.Tx
}

// keepsake prepares b for each.
func (c *check) keepsake(b backend.Backend) keepsake {
	c.Helper()
	k := keepsake{key: c.key("k")}
	s, err := b.(backend.Sessions).CreateSession(c.ctx, backend.SessionOptions{})
	require.NoError(c, err)
	k.session = s.ID
	k.lock, err = b.(backend.Locker).Lock(c.ctx, backend.LockOptions{Key: c.key("lock")})
	require.NoError(c, err)
	k.tx, err = b.(backend.Transactional).Begin(c.ctx, backend.TxOptions{})
	require.NoError(c, err)
	return k
}

// each calls every operation beyond Backend once and yields its error. Commit comes
// last since it ends the transaction.
func (k keepsake) each(ctx context.Context, b backend.Backend) func(yield func(op string, err error) bool) {
	txn, sessions := b.(backend.Transactional), b.(backend.Sessions)
	return func(yield func(op string, err error) bool) {
		for _, op := range []struct {
			name string
			do   func() error
		}{
			{"Txn", func() error {
				_, err := txn.Txn(ctx, []backend.TxnOp{{Verb: backend.VerbSet, Key: k.key}})
				return err
			}},
			{"Begin", func() error { _, err := txn.Begin(ctx, backend.TxOptions{}); return err }},
			{"Tx.Get", func() error { _, err := k.tx.Get(ctx, k.key); return err }},
			{"Tx.List", func() error { _, err := k.tx.List(ctx, backend.ListQuery{Prefix: k.key}); return err }},
			{"Tx.Put", func() error { return k.tx.Put(ctx, k.key, nil, backend.PutOptions{}) }},
			{"Tx.Delete", func() error { return k.tx.Delete(ctx, k.key, backend.DeleteOptions{}) }},
			{"Watch", func() error { _, err := b.(backend.Watcher).Watch(ctx, backend.WatchQuery{Key: k.key}); return err }},
			{"CreateSession", func() error { _, err := sessions.CreateSession(ctx, backend.SessionOptions{}); return err }},
			{"RenewSession", func() error { _, err := sessions.RenewSession(ctx, k.session); return err }},
			{"DestroySession", func() error { return sessions.DestroySession(ctx, k.session) }},
			{"Session", func() error { _, err := sessions.Session(ctx, k.session); return err }},
			{"Sessions", func() error { _, err := sessions.Sessions(ctx); return err }},
			{"Lock", func() error { _, err := b.(backend.Locker).Lock(ctx, backend.LockOptions{Key: k.key}); return err }},
			{"Lock.Value", func() error { _, _, err := k.lock.Value(ctx); return err }},
			{"Lock.Unlock", func() error { return k.lock.Unlock(ctx) }},
			{"Fence", func() error { return b.(backend.Fencer).Fence(ctx, backend.FenceOf(k.lock)) }},
			{"Tx.Commit", func() error { return k.tx.Commit(ctx) }},
		} {
			if !yield(op.name, op.do()) {
				return
			}
		}
	}
}
