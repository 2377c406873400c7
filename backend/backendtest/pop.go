package backendtest

import (
	"fmt"
	"sync/atomic"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

// maxLeftovers is the largest number of keys that a backend may hold before Run.
const maxLeftovers = 10_000

var popCases = []testCase{
	{"PopItem gives every key once and then nothing", func(c *check) {
		c.drain()
		want := map[string]string{}
		for i := range 20 {
			name := fmt.Sprint("item", i)
			c.put(name, name)
			want[c.key(name)] = name
		}
		for range 20 {
			e, err := c.b.PopItem(c.ctx)
			require.NoError(c, err)
			require.NotNil(c, e)
			value, ok := want[e.Key]
			require.True(c, ok, "%q was popped before or never put", e.Key)
			require.Equal(c, value, string(e.Value))
			delete(want, e.Key)
		}
		for range 2 {
			e, err := c.b.PopItem(c.ctx)
			require.NoError(c, err)
			require.Nil(c, e)
		}
	}},
	{"PopItem gives a key to one of many callers", func(c *check) {
		c.drain()
		keys := c.numbered("item", 32)
		c.fill(keys)
		popped := make([][]string, 4)
		c.parallel(len(popped), func(w int) error {
			for len(popped[w]) <= len(keys) {
				e, err := c.b.PopItem(c.ctx)
				switch {
				case again(err) && c.ctx.Err() == nil:
				case err != nil:
					return err
				case e == nil:
					return nil
				default:
					popped[w] = append(popped[w], e.Key)
				}
			}
			return fmt.Errorf("more keys than the %d that there are", len(keys))
		})
		var all []string
		for _, p := range popped {
			all = append(all, p...)
		}
		require.ElementsMatch(c, keys, all)
	}},
	{"Pop of a missing key is nil and no error", func(c *check) {
		e, err := c.b.Pop(c.ctx, c.key("none"))
		require.NoError(c, err)
		require.Nil(c, e)
	}},
	{"Pop takes the entry away", func(c *check) {
		index, err := c.b.Put(c.ctx, c.key("k"), []byte("value"), backend.PutOptions{Flags: 7})
		require.NoError(c, err)
		c.put("other", "stays")
		e, err := c.b.Pop(c.ctx, c.key("k"))
		require.NoError(c, err)
		require.Equal(c, &backend.Entry{Key: c.key("k"), Value: []byte("value"), Flags: 7, CreateIndex: index, ModifyIndex: index}, e)
		c.missing("k")
		e, err = c.b.Pop(c.ctx, c.key("k"))
		require.NoError(c, err)
		require.Nil(c, e)
		require.Equal(c, "stays", string(c.get("other").Value))
	}},
	{"GetOr and PopOr fall back for a missing key only", func(c *check) {
		c.put("empty", "")
		fallback := []byte("fallback")
		for _, or := range []struct {
			name string
			do   func(key string) ([]byte, error)
		}{
			{"GetOr", func(key string) ([]byte, error) { return backend.GetOr(c.ctx, c.b, key, fallback) }},
			{"PopOr", func(key string) ([]byte, error) { return backend.PopOr(c.ctx, c.b, key, fallback) }},
		} {
			v, err := or.do(c.key("none"))
			require.NoError(c, err, or.name)
			require.Equal(c, fallback, v, or.name)
			v, err = or.do(c.key("empty"))
			require.NoError(c, err, or.name)
			require.Empty(c, v, or.name)
			_, err = or.do("")
			c.fails(err, backend.Invalid, "")
		}
		c.missing("empty")
	}},
	{"Pop gives a value to exactly one of many callers", func(c *check) {
		for round := range 10 {
			name, value := fmt.Sprint("k", round), fmt.Sprint("value", round)
			c.put(name, value)
			var got atomic.Int32
			c.parallel(8, func(int) error {
				e, err := c.b.Pop(c.ctx, c.key(name))
				if err != nil || e == nil {
					return err
				}
				if string(e.Value) != value {
					return fmt.Errorf("popped %q and not %q", e.Value, value)
				}
				got.Add(1)
				return nil
			})
			require.Equal(c, int32(1), got.Load(), "callers that got the value")
			c.missing(name)
		}
	}},
}

// drain pops what the backend holds. No other case runs meanwhile.
func (c *check) drain() {
	c.Helper()
	seen := map[string]bool{}
	for range maxLeftovers {
		e, err := c.b.PopItem(c.ctx)
		require.NoError(c, err)
		if e == nil {
			return
		}
		require.False(c, seen[e.Key], "%q was popped before", e.Key)
		seen[e.Key] = true
	}
	c.Fatalf("PopItem still finds keys after %d", maxLeftovers)
}
