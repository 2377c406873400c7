package backendtest

import (
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

var listCases = []testCase{
	{"List of nothing is empty", func(c *check) {
		for _, q := range []backend.ListQuery{{}, {Prefix: "none"}, {Separator: "/"}, {After: "a"}, {Limit: 1}, {Values: true}} {
			res := c.list(q)
			require.Empty(c, res.Items, "query %+v", q)
			require.False(c, res.More, "query %+v", q)
		}
	}},
	{"List is sorted by bytes", func(c *check) {
		for _, name := range []string{"b", "a/", "日本", "a", "Z", "a0", "é", "a-", "a//b", "a/b", "10", "9", "\U0001f511", "\uffee", "~"} {
			c.put(name, "v")
		}
		// U+FFEE sorts before U+1F511 by bytes, and after it by UTF-16 units.
		sorted := []string{"10", "9", "Z", "a", "a-", "a/", "a//b", "a/b", "a0", "b", "~", "é", "日本", "\uffee", "\U0001f511"}
		c.names(backend.ListQuery{}, sorted...)
		c.names(backend.ListQuery{Values: true}, sorted...)
	}},
	{"List keeps to the prefix", func(c *check) {
		for _, name := range []string{"ab", "abc", "abd/e", "ac", "b", "a*c", "a.c", "a_c", "a%c", "日本", "日曜"} {
			c.put(name, "v")
		}
		c.names(backend.ListQuery{Prefix: "ab"}, "ab", "abc", "abd/e")
		c.names(backend.ListQuery{Prefix: "abd/"}, "abd/e")
		c.names(backend.ListQuery{Prefix: "abcd"})
		c.names(backend.ListQuery{Prefix: "日"}, "日曜", "日本")
		for _, literal := range []string{"a*", "a.", "a_", "a%"} {
			c.names(backend.ListQuery{Prefix: literal}, literal+"c")
		}
	}},
	{"List with an empty prefix has all keys", func(c *check) {
		c.put("b", "2")
		c.put("a", "1")
		other := uniquePrefix() + "k"
		_, err := c.b.Put(c.ctx, other, []byte("3"), backend.PutOptions{})
		require.NoError(c, err)
		res, err := c.b.List(c.ctx, backend.ListQuery{})
		require.NoError(c, err)
		require.Subset(c, res.Names(), append(c.keys("a", "b"), other))
		require.True(c, slices.IsSorted(res.Names()))
		res, err = c.b.List(c.ctx, backend.ListQuery{Separator: "/"})
		require.NoError(c, err)
		require.Contains(c, res.Items, backend.ListItem{Name: c.prefix[:len("backendtest-00000000/")], Folded: true})
	}},
	{"a prefix that is a key lists that key", func(c *check) {
		c.put("dir", "v")
		c.put("dir/a", "v")
		c.put("dir/b/c", "v")
		c.put("dirt", "v")
		c.names(backend.ListQuery{Prefix: "dir"}, "dir", "dir/a", "dir/b/c", "dirt")
		c.names(backend.ListQuery{Prefix: "dir", Separator: "/"}, "dir", "dir/", "dirt")
		c.put("dir/", "v")
		c.names(backend.ListQuery{Prefix: "dir/", Separator: "/"}, "dir/", "dir/a", "dir/b/")
	}},
	{"List folds at the first separator after the prefix", func(c *check) {
		for _, name := range []string{"a", "a/", "a//b", "a/b", "a/b/c", "b/c/d", "b/cc", "b/x/y", "c", "e::f::g", "e:h", "日/本"} {
			c.put(name, "v")
		}
		for _, tc := range []struct {
			q     backend.ListQuery
			items []string // folded ones begin with '>'
		}{
			{backend.ListQuery{Separator: "/"}, []string{"a", ">a/", ">b/", "c", "e::f::g", "e:h", ">日/"}},
			{backend.ListQuery{Prefix: "a", Separator: "/"}, []string{"a", ">a/"}},
			{backend.ListQuery{Prefix: "a/", Separator: "/"}, []string{"a/", ">a//", "a/b", ">a/b/"}},
			{backend.ListQuery{Prefix: "a//", Separator: "/"}, []string{"a//b"}},
			{backend.ListQuery{Prefix: "a/b", Separator: "/"}, []string{"a/b", ">a/b/"}},
			{backend.ListQuery{Prefix: "b/c", Separator: "/"}, []string{">b/c/", "b/cc"}},
			{backend.ListQuery{Prefix: "e", Separator: "::"}, []string{">e::", "e:h"}},
			{backend.ListQuery{Prefix: "e:", Separator: "::"}, []string{">e::f::", "e:h"}},
			{backend.ListQuery{Prefix: "e", Separator: ":"}, []string{">e:"}},
			{backend.ListQuery{Prefix: "b", Separator: "/c"}, []string{">b/c", "b/x/y"}},
			{backend.ListQuery{Prefix: "日", Separator: "/"}, []string{">日/"}},
			{backend.ListQuery{Prefix: "a", Separator: "|"}, []string{"a", "a/", "a//b", "a/b", "a/b/c"}},
			{backend.ListQuery{Prefix: "a"}, []string{"a", "a/", "a//b", "a/b", "a/b/c"}},
		} {
			for _, tc.q.Values = range []bool{false, true} {
				var got []string
				for _, it := range c.list(tc.q).Items {
					require.Equal(c, tc.q.Values && !it.Folded, it.Entry != nil, "query %+v, item %+v", tc.q, it)
					require.Greater(c, len(it.Name), len(c.prefix))
					mark := ""
					if it.Folded {
						mark = ">"
					}
					got = append(got, mark+it.Name[len(c.prefix):])
				}
				require.Equal(c, tc.items, got, "query %+v", tc.q)
			}
		}
	}},
	{"a folder goes with its last key", func(c *check) {
		c.put("dir/a", "v")
		c.put("dir/b", "v")
		c.put("z", "v")
		c.names(backend.ListQuery{Separator: "/"}, "dir/", "z")
		c.delete("dir/a")
		c.names(backend.ListQuery{Separator: "/"}, "dir/", "z")
		_, err := c.b.Pop(c.ctx, c.key("dir/b"))
		require.NoError(c, err)
		c.names(backend.ListQuery{Separator: "/"}, "z")
		c.names(backend.ListQuery{Prefix: "dir/"})
	}},
	{"List gives whole entries when values are asked for", func(c *check) {
		for i, name := range []string{"a", "b", "c"} {
			_, err := c.b.Put(c.ctx, c.key(name), []byte("value of "+name), backend.PutOptions{Flags: uint64(i)})
			require.NoError(c, err)
		}
		c.put("b", "new")
		res := c.list(backend.ListQuery{Values: true})
		require.Len(c, res.Items, 3)
		for i, name := range []string{"a", "b", "c"} {
			require.Equal(c, backend.ListItem{Name: c.key(name), Entry: c.get(name)}, res.Items[i])
		}
		for _, it := range c.list(backend.ListQuery{}).Items {
			require.Nil(c, it.Entry, "values were not asked for")
		}
	}},
	{"the index of a List covers puts and deletes under the prefix", func(c *check) {
		newest := c.put("dir/a", "v")
		for _, sep := range []string{"", "/"} {
			require.GreaterOrEqual(c, c.list(backend.ListQuery{Separator: sep}).Index, newest)
		}
		c.put("dir/b", "v")
		newest = c.put("dir/a", "w")
		before := c.list(backend.ListQuery{}).Index
		require.GreaterOrEqual(c, before, newest)
		require.Less(c, before, uint64(1)<<53)
		c.delete("dir/a")
		require.Greater(c, c.list(backend.ListQuery{}).Index, before)
	}},
	{"a List is one snapshot", func(c *check) {
		// b is written after a, so no instant shows b ahead of a, or behind by
		// more than one.
		c.put("a", "0")
		c.put("b", "0")
		const rounds = 100
		done := make(chan struct{})
		var written atomic.Int64
		lists, seen := 0, 0
		c.parallel(2, func(w int) error {
			if w == 0 {
				defer close(done)
				for ; lists < rounds || written.Load() < rounds; lists++ {
					if err := c.ctx.Err(); err != nil {
						return fmt.Errorf("%d lists and %d writes in time: %w", lists, written.Load(), err)
					}
					ok, err := c.snapshot()
					if err != nil {
						return err
					}
					if ok {
						seen++
					}
				}
				return nil
			}
			for i := 1; ; i++ {
				for _, name := range []string{"a", "b"} {
					if _, err := c.b.Put(c.ctx, c.key(name), []byte(strconv.Itoa(i)), backend.PutOptions{}); err != nil {
						return err
					}
				}
				written.Add(1)
				select {
				case <-done:
					return nil
				default:
				}
			}
		})
		ok, err := c.snapshot()
		require.NoError(c, err)
		require.True(c, ok, "no List succeeds though nothing changes")
		c.Logf("%d of %d lists succeeded while the keys changed %d times", seen, lists, written.Load())
	}},
}

// snapshot lists a and b and compares them. It is false when the list gave up,
// which it may when the keys change all the time.
func (c *check) snapshot() (bool, error) {
	res, err := c.b.List(c.ctx, backend.ListQuery{Prefix: c.prefix, Values: true})
	if again(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if len(res.Items) != 2 || res.Items[0].Entry == nil || res.Items[1].Entry == nil {
		return false, fmt.Errorf("the list has %q and not a and b", res.Names())
	}
	var n [2]int
	for i := range n {
		if n[i], err = strconv.Atoi(string(res.Items[i].Entry.Value)); err != nil {
			return false, err
		}
	}
	if n[1] > n[0] || n[1] < n[0]-1 {
		return false, fmt.Errorf("the list has a = %d and b = %d, which never was", n[0], n[1])
	}
	return true, nil
}
