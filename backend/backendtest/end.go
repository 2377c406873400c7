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

var endCases = []testCase{
	{"a call whose deadline has passed changes nothing", func(c *check) {
		expired, cancel := context.WithDeadline(c.ctx, time.Unix(1, 0))
		defer cancel()
		c.changesNothing(expired)
	}},
	{"a call whose context was cancelled changes nothing", func(c *check) {
		cancelled, cancel := context.WithCancel(c.ctx)
		cancel()
		c.changesNothing(cancelled)
	}},
	{"after Close every call fails with Closed", func(c *check) {
		b := c.open()
		key := c.key("k")
		_, err := b.Put(c.ctx, key, []byte("v"), backend.PutOptions{})
		require.NoError(c, err)
		limits := b.Limits()
		require.NoError(c, b.Close())
		for op, err := range c.each(c.ctx, b, key) {
			c.Logf("%s after Close: %v", op, err)
			c.fails(err, backend.Closed, "")
		}
		require.Equal(c, limits, b.Limits())
		require.NoError(c, b.Close(), "closing twice")
	}},
	{"Close ends calls that are under way", func(c *check) {
		b := c.open()
		began := make(chan struct{}, writers)
		ended := make(chan error, writers)
		var closed atomic.Bool
		for w := range writers {
			go func() {
				var err error
				for i := 0; err == nil; i++ {
					late := closed.Load()
					_, err = b.Put(c.ctx, c.key(fmt.Sprint(w)), []byte("v"), backend.PutOptions{})
					if i == 0 {
						began <- struct{}{}
					}
					if late && err == nil {
						err = errors.New("a Put succeeded that began after Close had returned")
					}
				}
				ended <- err
			}()
		}
		for range writers {
			<-began
		}
		require.NoError(c, b.Close())
		closed.Store(true)
		for range writers {
			// A change that was under way may have happened or not.
			if err := <-ended; backend.CodeOf(err) != backend.UnknownOutcome {
				c.fails(err, backend.Closed, "")
			}
		}
	}},
}

// changesNothing requires that no operation under ctx, which is done, works or
// has an effect.
func (c *check) changesNothing(ctx context.Context) {
	c.Helper()
	c.put("k", "v")
	before := c.get("k")
	for op, err := range c.each(ctx, c.b, c.key("k")) {
		c.Logf("%s with a context that is done: %v", op, err)
		c.fails(err, backend.NoQuorum, "")
		require.Equal(c, before, c.get("k"), "after %s", op)
	}
	_, err := c.b.Put(ctx, c.key("new"), []byte("v"), backend.PutOptions{If: backend.IfAbsent()})
	c.fails(err, backend.NoQuorum, "")
	c.names(backend.ListQuery{}, "k")
}

// each calls every operation once and yields its error.
func (c *check) each(ctx context.Context, b backend.Backend, key string) func(yield func(op string, err error) bool) {
	return func(yield func(op string, err error) bool) {
		for _, op := range []struct {
			name string
			do   func() error
		}{
			{"Get", func() error { _, err := b.Get(ctx, key, backend.GetOptions{}); return err }},
			{"stale Get", func() error { _, err := b.Get(ctx, key, backend.GetOptions{Stale: true}); return err }},
			{"List", func() error { _, err := b.List(ctx, backend.ListQuery{Prefix: key}); return err }},
			{"Put", func() error { _, err := b.Put(ctx, key, []byte("wrong"), backend.PutOptions{}); return err }},
			{"Delete", func() error { return b.Delete(ctx, key, backend.DeleteOptions{}) }},
			{"Pop", func() error { _, err := b.Pop(ctx, key); return err }},
			{"PopItem", func() error { _, err := b.PopItem(ctx); return err }},
		} {
			if !yield(op.name, op.do()) {
				return
			}
		}
	}
}
