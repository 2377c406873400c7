package backendtest

import (
	"context"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

var iterateCases = []testCase{
	{"Keys, Values and Items yield everything in order", func(c *check) {
		names := []string{"a", "a/", "b", "日"}
		for _, name := range names {
			c.put(name, "value of "+name)
		}
		i := 0
		for e, err := range backend.Items(c.ctx, c.b, c.prefix) {
			require.NoError(c, err)
			require.Less(c, i, len(names))
			require.Equal(c, c.get(names[i]), e)
			i++
		}
		require.Equal(c, len(names), i)
		var keys, values []string
		for key, err := range backend.Keys(c.ctx, c.b, c.prefix) {
			require.NoError(c, err)
			keys = append(keys, key)
		}
		for value, err := range backend.Values(c.ctx, c.b, c.prefix) {
			require.NoError(c, err)
			values = append(values, string(value))
		}
		require.Equal(c, c.keys(names...), keys)
		require.Equal(c, []string{"value of a", "value of a/", "value of b", "value of 日"}, values)
	}},
	{"a walk may end early", func(c *check) {
		c.put("a", "1")
		c.put("b", "2")
		for e, err := range backend.Items(c.ctx, c.b, c.prefix) {
			require.NoError(c, err)
			require.Equal(c, c.key("a"), e.Key)
			break
		}
		for key, err := range backend.Keys(c.ctx, c.b, c.prefix) {
			require.NoError(c, err)
			require.Equal(c, c.key("a"), key)
			break
		}
		for value, err := range backend.Values(c.ctx, c.b, c.prefix) {
			require.NoError(c, err)
			require.Equal(c, "1", string(value))
			break
		}
	}},
	{"a walk of many pages is not disturbed by deletes elsewhere", func(c *check) {
		keys := c.numbered("walk/", 1100)
		c.fill(keys)
		elsewhere := c.numbered("other/", 100)
		c.fill(elsewhere)
		var got []string
		c.parallel(2, func(w int) error {
			if w == 0 {
				for _, key := range elsewhere {
					if err := c.b.Delete(c.ctx, key, backend.DeleteOptions{}); err != nil {
						return err
					}
				}
				return nil
			}
			for e, err := range backend.Items(c.ctx, c.b, c.key("walk/")) {
				if err != nil {
					return err
				}
				got = append(got, e.Key)
			}
			return nil
		})
		require.Equal(c, keys, got)
		c.names(backend.ListQuery{Prefix: "other/"})
	}},
	{"a walk shows what changes ahead of it", func(c *check) {
		keys := c.numbered("", 1100)
		c.fill(keys)
		last := len(keys) - 1
		var got []string
		for e, err := range backend.Items(c.ctx, c.b, c.prefix) {
			require.NoError(c, err)
			if len(got) == 0 {
				// Both are on a later page than the first.
				require.NoError(c, c.b.Delete(c.ctx, keys[last-1], backend.DeleteOptions{}))
				_, err := c.b.Put(c.ctx, keys[last], []byte("new"), backend.PutOptions{})
				require.NoError(c, err)
			}
			got = append(got, e.Key)
			if e.Key == keys[last] {
				require.Equal(c, "new", string(e.Value))
			}
		}
		require.Equal(c, append(keys[:last-1:last-1], keys[last]), got)
	}},
	{"a walk ends with one error", func(c *check) {
		c.put("a", "1")
		ctx, cancel := context.WithCancel(c.ctx)
		cancel()
		count := 0
		for e, err := range backend.Items(ctx, c.b, c.prefix) {
			c.fails(err, backend.NoQuorum, "")
			require.Nil(c, e)
			count++
		}
		for key, err := range backend.Keys(ctx, c.b, c.prefix) {
			c.fails(err, backend.NoQuorum, "")
			require.Empty(c, key)
			count++
		}
		for value, err := range backend.Values(ctx, c.b, c.prefix) {
			c.fails(err, backend.NoQuorum, "")
			require.Nil(c, value)
			count++
		}
		require.Equal(c, 3, count)
	}},
}
