package backendtest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

var lockCases = []testCase{
	{"Lock takes a key that is free", func(c *check) {
		for _, name := range []string{"new", "old"} {
			c.put("old", "v")
			l := c.lock(name, backend.LockOptions{Value: []byte("me")})
			e := c.get(name)
			require.Equal(c, c.key(name), l.Key())
			require.Equal(c, "me", string(e.Value))
			require.NotEmpty(c, e.Session)
			require.Equal(c, l.Session(), e.Session)
			require.Positive(c, l.Token())
			require.Equal(c, l.Token(), e.LockToken)
			require.False(c, isClosed(l.Lost()))
			made, err := c.sessions().Session(c.ctx, l.Session())
			require.NoError(c, err)
			require.Equal(c, backend.DefaultLockTTL, made.TTL)
			require.Equal(c, backend.DefaultLockDelay, made.LockDelay)

			value, held, err := l.Value(c.ctx)
			require.NoError(c, err)
			require.True(c, held)
			require.Equal(c, "me", string(value))
			require.NoError(c, l.Unlock(c.ctx))
			require.False(c, c.alive(l.Session()), "the lock's own session lives on")
			require.Equal(c, "me", string(c.get(name).Value))
			require.Empty(c, c.get(name).Session)
			for _, value := range []func() ([]byte, bool, error){
				func() ([]byte, bool, error) { return l.Value(c.ctx) },
				func() ([]byte, bool, error) { return backend.LockValue(c.ctx, c.b, c.key(name)) },
				func() ([]byte, bool, error) { return backend.LockValue(c.ctx, c.b, c.key("none")) },
			} {
				_, held, err = value()
				require.NoError(c, err)
				require.False(c, held)
			}
		}
	}},
	{"Lock makes the session that was asked for", func(c *check) {
		own := backend.SessionOptions{Name: "mine", TTL: time.Hour, Behavior: backend.BehaviorDelete, LockDelay: time.Second}
		l := c.lock("k", backend.LockOptions{Own: own})
		made, err := c.sessions().Session(c.ctx, l.Session())
		require.NoError(c, err)
		require.Equal(c, &backend.Session{ID: l.Session(), Name: "mine", TTL: time.Hour, Behavior: backend.BehaviorDelete, LockDelay: time.Second, Data: made.Data, CreateIndex: made.CreateIndex}, made)
		require.Empty(c, made.Data)
		require.NoError(c, l.Unlock(c.ctx))
		require.Empty(c, c.get("k").Session, "an unlocked key is not deleted")
	}},
	{"Lock with a session leaves the session", func(c *check) {
		s := c.session(backend.SessionOptions{})
		l := c.lock("k", backend.LockOptions{Session: s.ID, Value: []byte("me")})
		require.Equal(c, s.ID, l.Session())
		require.Equal(c, s.ID, c.get("k").Session)
		again := c.lock("k", backend.LockOptions{Session: s.ID, Value: []byte("me again")})
		require.Equal(c, l.Token(), again.Token(), "the holder may lock again")
		require.Equal(c, "me again", string(c.get("k").Value))
		require.NoError(c, again.Unlock(c.ctx))
		require.True(c, c.alive(s.ID))
		c.destroy(s.ID)
	}},
	{"Lost is closed by Unlock, which works once", func(c *check) {
		l := c.lock("k", backend.LockOptions{})
		require.NoError(c, l.Unlock(c.ctx))
		c.lost(l)
		c.fails(l.Unlock(c.ctx), backend.LockLost, c.key("k"))
		next := c.lock("k", backend.LockOptions{})
		c.fails(l.Unlock(c.ctx), backend.LockLost, c.key("k"))
		require.Equal(c, next.Session(), c.get("k").Session, "an old Unlock freed the lock of another")
		require.NoError(c, next.Unlock(c.ctx))
	}},
	{"Lock waits until the key is free", func(c *check) {
		first := c.lock("k", backend.LockOptions{Value: []byte("first")})
		taken := c.locks(c.ctx, "k", backend.LockOptions{Value: []byte("second")})
		c.waits(taken)
		require.Equal(c, "first", string(c.get("k").Value))
		require.NoError(c, first.Unlock(c.ctx))
		second := c.taken(taken)
		require.Greater(c, second.Token(), first.Token())
		require.Equal(c, second.Session(), c.get("k").Session)
		require.NoError(c, second.Unlock(c.ctx))
	}},
	{"one at a time holds a lock, and tokens grow", func(c *check) {
		const crowd, turns = 8, 5
		var inside atomic.Int32
		var newest atomic.Uint64
		c.parallel(crowd, func(w int) error {
			for range turns {
				l, err := c.b.(backend.Locker).Lock(c.ctx, backend.LockOptions{Key: c.key("k")})
				if err != nil {
					return err
				}
				others, last := inside.Add(1)-1, newest.Swap(l.Token())
				_, err = c.b.Get(c.ctx, c.key("k"), backend.GetOptions{})
				if err == nil && others > 0 {
					err = fmt.Errorf("%d others hold the lock", others)
				}
				if err == nil && l.Token() <= last {
					err = fmt.Errorf("token %d comes after %d", l.Token(), last)
				}
				inside.Add(-1)
				// Also after a failure, so that the others end.
				if err := errors.Join(err, l.Unlock(c.ctx)); err != nil {
					return err
				}
			}
			return nil
		})
		require.Equal(c, uint64(crowd*turns), c.get("k").LockIndex)
	}},
	{"Lock ends with its context and leaves nothing", func(c *check) {
		l := c.lock("k", backend.LockOptions{})
		before := len(c.liveSessions())
		ctx, cancel := context.WithCancel(c.ctx)
		taken := c.locks(ctx, "k", backend.LockOptions{Own: backend.SessionOptions{Name: c.prefix}})
		c.waits(taken)
		cancel()
		c.fails(receive(c, "Lock ends", taken).err, backend.NoQuorum, "")
		short, cancel := context.WithTimeout(c.ctx, pollInterval)
		defer cancel()
		c.fails(receive(c, "Lock ends", c.locks(short, "k", backend.LockOptions{Own: backend.SessionOptions{Name: c.prefix}})).err, backend.NoQuorum, "")
		require.NoError(c, l.Unlock(c.ctx))
		c.eventually("the sessions of locks that were given up are gone", func() bool {
			for _, s := range c.liveSessions() {
				if s.Name == c.prefix {
					return false
				}
			}
			return len(c.liveSessions()) < before
		})
		require.Empty(c, c.get("k").Session, "a lock that was given up is held")
		require.NoError(c, c.lock("k", backend.LockOptions{}).Unlock(c.ctx))
	}},
	{"a lock outlives the context under which it was taken", func(c *check) {
		ctx, cancel := context.WithCancel(c.ctx)
		l := c.taken(c.locks(ctx, "k", backend.LockOptions{}))
		cancel()
		require.False(c, c.poll(10*pollInterval, func() bool { return isClosed(l.Lost()) }), "Lost is closed")
		require.Equal(c, l.Session(), c.get("k").Session)
		require.NoError(c, l.Unlock(c.ctx))
	}},
	{"Lost is closed when somebody else ends the lock", func(c *check) {
		for _, end := range []struct {
			name string
			do   func(l backend.Lock)
		}{
			{"destroys the session", func(l backend.Lock) { c.destroy(l.Session()) }},
			{"deletes the key", func(backend.Lock) { c.delete("k") }},
			{"pops the key", func(backend.Lock) {
				_, err := c.b.Pop(c.ctx, c.key("k"))
				require.NoError(c, err)
			}},
		} {
			for _, given := range []bool{true, false} {
				opts := backend.LockOptions{Own: backend.SessionOptions{LockDelay: backend.NoLockDelay}}
				if given {
					opts = backend.LockOptions{Session: c.session(backend.SessionOptions{LockDelay: backend.NoLockDelay}).ID}
				}
				l := c.lock("k", opts)
				c.put("k", "a plain write is no end")
				require.False(c, isClosed(l.Lost()))
				end.do(l)
				c.lost(l)
				c.fails(l.Unlock(c.ctx), backend.LockLost, c.key("k"))
			}
		}
	}},
	{"Lock fails when its session ends while it waits", func(c *check) {
		l := c.lock("k", backend.LockOptions{})
		s := c.session(backend.SessionOptions{})
		taken := c.locks(c.ctx, "k", backend.LockOptions{Session: s.ID})
		c.waits(taken)
		c.destroy(s.ID)
		c.fails(receive(c, "Lock ends", taken).err, backend.SessionInvalid, "")
		require.Equal(c, l.Session(), c.get("k").Session)
		require.NoError(c, l.Unlock(c.ctx))
		require.Empty(c, c.get("k").Session)
	}},
	{"Lock refuses what can not be", func(c *check) {
		s := c.session(backend.SessionOptions{})
		for _, tc := range []struct {
			opts backend.LockOptions
			code backend.Code
		}{
			{backend.LockOptions{}, backend.Invalid},
			{backend.LockOptions{Key: "/k"}, backend.Invalid},
			{backend.LockOptions{Key: c.key("k"), Value: make([]byte, c.b.Limits().MaxValueSize+1)}, backend.TooLarge},
			{backend.LockOptions{Key: c.key("k"), Own: backend.SessionOptions{TTL: time.Second}}, backend.Invalid},
			{backend.LockOptions{Key: c.key("k"), Session: s.ID, Own: backend.SessionOptions{TTL: time.Minute}}, backend.Invalid},
			{backend.LockOptions{Key: c.key("k"), Session: stranger}, backend.SessionInvalid},
		} {
			_, err := c.b.(backend.Locker).Lock(c.ctx, tc.opts)
			c.fails(err, tc.code, "")
		}
		c.missing("k")
	}},
}

var lockTimeCases = []testCase{
	{"a lock whose session expires is lost before another holds it", func(c *check) {
		s := c.session(backend.SessionOptions{TTL: ttl, LockDelay: backend.NoLockDelay})
		since := c.start()
		l := c.lock("k", backend.LockOptions{Session: s.ID})
		taken := c.locks(c.ctx, "k", backend.LockOptions{})
		var early bool
		next := make(chan locked, 1)
		go func() { // looks the moment that the other has it
			got := <-taken
			early = got.err == nil && !isClosed(l.Lost())
			next <- got
		}()
		c.pass(ttl / 2)
		if e := c.get("k"); since.before(ttl) {
			require.Equal(c, s.ID, e.Session, "released after half the TTL")
		}
		c.pass(ttl / 2)
		c.due("Lost is closed", func() bool { return isClosed(l.Lost()) })
		second := c.taken(next)
		require.False(c, early, "another held the lock before Lost was closed")
		require.Greater(c, second.Token(), l.Token())
		c.fails(l.Unlock(c.ctx), backend.LockLost, c.key("k"))
		require.NoError(c, second.Unlock(c.ctx))
	}},
	{"within the lock delay Lost is closed before another holds the lock", func(c *check) {
		const delay = 4 * time.Second
		l := c.lock("k", backend.LockOptions{Own: backend.SessionOptions{LockDelay: delay}})
		taken := c.locks(c.ctx, "k", backend.LockOptions{})
		since := c.start()
		c.destroy(l.Session())
		c.pass(delay / 2)
		c.lost(l)
		if since.before(delay) {
			c.waits(taken)
		}
		c.pass(delay / 2)
		if c.opts.Advance != nil {
			c.pass(c.opts.Patience)
		}
		second := c.taken(taken)
		require.Greater(c, second.Token(), l.Token())
		require.NoError(c, second.Unlock(c.ctx))
	}},
	{"Lock keeps a session of its own alive", func(c *check) {
		l := c.lock("k", backend.LockOptions{Own: backend.SessionOptions{TTL: ttl, LockDelay: backend.NoLockDelay}})
		taken := c.locks(c.ctx, "k", backend.LockOptions{Own: backend.SessionOptions{TTL: ttl}})
		c.waits(taken) // it needs a moment to see to its session before time passes
		for range 5 {
			c.pass(ttl / 2)
			require.False(c, isClosed(l.Lost()))
			require.Equal(c, l.Session(), c.get("k").Session)
		}
		c.waits(taken)
		require.NoError(c, l.Unlock(c.ctx))
		require.NoError(c, c.taken(taken).Unlock(c.ctx), "the one that waited")
	}},
	{"a lock with a session is held as long as that is renewed", func(c *check) {
		s := c.session(backend.SessionOptions{TTL: ttl, LockDelay: backend.NoLockDelay})
		l := c.lock("k", backend.LockOptions{Session: s.ID})
		since := c.start()
		for range 4 {
			c.pass(ttl / 2)
			if !since.before(ttl) {
				c.Fatalf("half of %v took longer than all of it: this machine is too slow for the case", ttl)
			}
			since = c.start()
			require.NoError(c, c.renew(s.ID))
			require.False(c, isClosed(l.Lost()))
		}
		c.pass(ttl)
		c.due("Lost is closed", func() bool { return isClosed(l.Lost()) })
	}},
}

// lock takes a lock that is free.
func (c *check) lock(name string, opts backend.LockOptions) backend.Lock {
	c.Helper()
	return c.taken(c.locks(c.ctx, name, opts))
}

// A locked is what Lock returned.
type locked struct {
	lock backend.Lock
	err  error
}

// locks takes a lock in the background.
func (c *check) locks(ctx context.Context, name string, opts backend.LockOptions) <-chan locked {
	opts.Key = c.key(name)
	taken := make(chan locked, 1)
	go func() {
		l, err := c.b.(backend.Locker).Lock(ctx, opts)
		taken <- locked{l, err}
	}()
	return taken
}

// taken requires that a lock is taken.
func (c *check) taken(taken <-chan locked) backend.Lock {
	c.Helper()
	got := receive(c, "Lock takes the lock", taken)
	require.NoError(c, got.err)
	require.NotNil(c, got.lock)
	return got.lock
}

// waits requires that Lock has not returned, and gives it some time to do so.
func (c *check) waits(taken <-chan locked) {
	c.Helper()
	require.False(c, c.poll(10*pollInterval, func() bool { return len(taken) > 0 }), "Lock does not wait")
}

// lost requires that l is lost.
func (c *check) lost(l backend.Lock) {
	c.Helper()
	receive(c, "Lost is closed", l.Lost())
}
