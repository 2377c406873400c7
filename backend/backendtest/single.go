package backendtest

import (
	"bytes"
	"math"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

var singleCases = []testCase{
	{"a missing key is nil and no error", func(c *check) {
		c.missing("none")
		c.put("none/below", "v")
		c.put("nonesuch", "v")
		c.missing("none")
		e, err := c.b.Get(c.ctx, c.key("none"), backend.GetOptions{Stale: true})
		require.NoError(c, err)
		require.Nil(c, e)
	}},
	{"Get gives back what Put stored", func(c *check) {
		index := c.put("k", "value")
		require.NotZero(c, index)
		require.Equal(c, &backend.Entry{Key: c.key("k"), Value: []byte("value"), CreateIndex: index, ModifyIndex: index}, c.get("k"))
		index2 := c.put("k", "other")
		require.Equal(c, &backend.Entry{Key: c.key("k"), Value: []byte("other"), CreateIndex: index, ModifyIndex: index2}, c.get("k"))
	}},
	{"any bytes are a value", func(c *check) {
		all := make([]byte, 256)
		for i := range all {
			all[i] = byte(i)
		}
		for _, v := range []string{string(all), "0", "\x00", "false", "null", "{}", " ", "\n", "\xff\xfe", strings.Repeat("\x00", 1024)} {
			c.put("k", v)
			require.Equal(c, []byte(v), c.get("k").Value)
		}
	}},
	{"an empty value is a value", func(c *check) {
		for name, v := range map[string][]byte{"nil": nil, "empty": {}} {
			_, err := c.b.Put(c.ctx, c.key(name), v, backend.PutOptions{})
			require.NoError(c, err)
			require.Empty(c, c.get(name).Value)
			_, err = c.b.Put(c.ctx, c.key(name), []byte("x"), backend.PutOptions{If: backend.IfAbsent()})
			c.fails(err, backend.Conflict, c.key(name))
		}
		for _, values := range []bool{true, false} {
			c.names(backend.ListQuery{Values: values}, "empty", "nil")
		}
		for e, err := range backend.Items(c.ctx, c.b, c.prefix) {
			require.NoError(c, err)
			require.Empty(c, e.Value)
		}
		e, err := c.b.Pop(c.ctx, c.key("nil"))
		require.NoError(c, err)
		require.NotNil(c, e)
		require.Empty(c, e.Value)
	}},
	{"keys that differ in one byte are different keys", func(c *check) {
		names := []string{
			"a", "a/", "a//", "a//b", "a/b", "a/b/", "A", "a ", " a", "a b", "a+b", "a%20b", "a%2Fb", "a?b", "a#b", "a&b=c", "a;b",
			".", "..", "./a", "../a", "a/.", "a/..", "a/../b", "a\\b", "a:b", "a\"b", "a'b", "<a>", "a*", "a\u00e9", "ae\u0301", "\u00e4", "日本", "\U0001f511", "\ufeff",
		}
		for _, name := range names {
			c.put(name, name)
		}
		for _, name := range names {
			require.Equal(c, name, string(c.get(name).Value))
		}
		for _, name := range names {
			c.delete(name)
			c.missing(name)
		}
	}},
	{"returned bytes belong to the caller", func(c *check) {
		spoil := func(b []byte) {
			for i := range b {
				b[i] = 'x'
			}
		}
		c.put("k", "value")
		spoil(c.get("k").Value)
		require.Equal(c, "value", string(c.get("k").Value), "after a Get was spoiled")
		spoil(c.list(backend.ListQuery{Values: true}).Items[0].Entry.Value)
		require.Equal(c, "value", string(c.get("k").Value), "after a List was spoiled")
		require.Equal(c, "value", string(c.list(backend.ListQuery{Values: true}).Items[0].Entry.Value))
		e := c.get("k")
		want := *e
		e.Key, e.Flags, e.CreateIndex, e.ModifyIndex = "x", 99, 98, 97
		require.Equal(c, &want, c.get("k"), "after an Entry was spoiled")
	}},
	{"the value passed in is not kept", func(c *check) {
		value := []byte("value")
		_, err := c.b.Put(c.ctx, c.key("k"), value, backend.PutOptions{})
		require.NoError(c, err)
		copy(value, "xxxxx")
		require.Equal(c, "value", string(c.get("k").Value))
		require.True(c, bytes.Equal(value, []byte("xxxxx")))
	}},
	{"flags keep all 64 bits", func(c *check) {
		for _, flags := range []uint64{1, 1 << 31, 1<<53 + 1, 1 << 63, math.MaxUint64, 0} {
			_, err := c.b.Put(c.ctx, c.key("k"), []byte("v"), backend.PutOptions{Flags: flags})
			require.NoError(c, err)
			require.Equal(c, flags, c.get("k").Flags)
			require.Equal(c, flags, c.list(backend.ListQuery{Values: true}).Items[0].Entry.Flags)
		}
	}},
	{"the modify index grows and the create index stays", func(c *check) {
		first := c.put("k", "0")
		last := first
		for range 5 {
			index := c.put("k", "v")
			require.Greater(c, index, last)
			require.Less(c, index, uint64(1)<<53)
			e := c.get("k")
			require.Equal(c, index, e.ModifyIndex)
			require.Equal(c, first, e.CreateIndex)
			c.put("other", "v")
			require.Equal(c, index, c.get("k").ModifyIndex, "another key changed")
			last = index
		}
	}},
	{"the modify index never restarts", func(c *check) {
		last := c.put("k", "v")
		for _, remove := range []func(){
			func() { c.delete("k") },
			func() {
				_, err := c.b.Pop(c.ctx, c.key("k"))
				require.NoError(c, err)
			},
			func() {
				require.NoError(c, c.b.Delete(c.ctx, c.key("k"), backend.DeleteOptions{If: backend.IfIndex(last)}))
			},
		} {
			remove()
			index := c.put("k", "v")
			require.Greater(c, index, last)
			require.Equal(c, index, c.get("k").CreateIndex, "the key was created anew")
			last = index
		}
	}},
	{"a deleted key is gone", func(c *check) {
		c.put("k", "v")
		c.put("k2", "v")
		c.delete("k")
		c.missing("k")
		c.names(backend.ListQuery{}, "k2")
		c.delete("k2")
		c.names(backend.ListQuery{})
	}},
	{"deleting a missing key is no error", func(c *check) {
		c.delete("none")
		c.put("k", "v")
		c.delete("k")
		c.delete("k")
		c.missing("k")
	}},
	{"a stale read catches up", func(c *check) {
		stale := func(want string) func() bool {
			return func() bool {
				e, err := c.b.Get(c.ctx, c.key("k"), backend.GetOptions{Stale: true})
				require.NoError(c, err)
				return e != nil && string(e.Value) == want
			}
		}
		for _, v := range []string{"1", "2"} {
			c.put("k", v)
			c.eventually("a stale read shows the newest value", stale(v))
		}
		c.delete("k")
		c.eventually("a stale read shows the delete", func() bool {
			e, err := c.b.Get(c.ctx, c.key("k"), backend.GetOptions{Stale: true})
			require.NoError(c, err)
			return e == nil
		})
	}},
}
