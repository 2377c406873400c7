package backendtest

import (
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

var pageCases = []testCase{
	{"List begins strictly after a name", func(c *check) {
		for _, name := range []string{"a", "a/", "a/b", "a/c/d", "a0", "b/c", "c"} {
			c.put(name, "v")
		}
		for _, tc := range []struct {
			q     backend.ListQuery
			names []string
		}{
			{backend.ListQuery{After: "a"}, []string{"a/", "a/b", "a/c/d", "a0", "b/c", "c"}},
			{backend.ListQuery{After: "a/"}, []string{"a/b", "a/c/d", "a0", "b/c", "c"}},
			{backend.ListQuery{After: "a/bb"}, []string{"a/c/d", "a0", "b/c", "c"}},
			{backend.ListQuery{After: "A"}, []string{"a", "a/", "a/b", "a/c/d", "a0", "b/c", "c"}},
			{backend.ListQuery{After: "c"}, nil},
			{backend.ListQuery{After: "zz"}, nil},
			{backend.ListQuery{Separator: "/", After: "a"}, []string{"a/", "a0", "b/", "c"}},
			{backend.ListQuery{Separator: "/", After: "a/"}, []string{"a0", "b/", "c"}},
			// The folded "a/" is not greater than "a/b", though "a/c/d" is.
			{backend.ListQuery{Separator: "/", After: "a/b"}, []string{"a0", "b/", "c"}},
			{backend.ListQuery{Separator: "/", After: "b"}, []string{"b/", "c"}},
			{backend.ListQuery{Prefix: "a/", Separator: "/", After: "a/b"}, []string{"a/c/"}},
			{backend.ListQuery{Prefix: "a/", Separator: "/", After: "a/c/"}, nil},
			{backend.ListQuery{Prefix: "b", After: "a/c"}, []string{"b/c"}},
			{backend.ListQuery{Prefix: "a", After: "b"}, nil},
		} {
			c.names(tc.q, tc.names...)
		}
	}},
	{"More tells that the limit cut a List short", func(c *check) {
		for _, name := range []string{"a/1", "a/2", "b", "c/1"} {
			c.put(name, "v")
		}
		for _, tc := range []struct {
			q     backend.ListQuery
			items int
			more  bool
		}{
			{backend.ListQuery{Limit: 0}, 4, false},
			{backend.ListQuery{Limit: -1}, 4, false},
			{backend.ListQuery{Limit: 1}, 1, true},
			{backend.ListQuery{Limit: 3}, 3, true},
			{backend.ListQuery{Limit: 4}, 4, false},
			{backend.ListQuery{Limit: 5}, 4, false},
			{backend.ListQuery{Separator: "/", Limit: 1}, 1, true},
			{backend.ListQuery{Separator: "/", Limit: 2}, 2, true},
			{backend.ListQuery{Separator: "/", Limit: 3}, 3, false},
			{backend.ListQuery{Prefix: "a/", Limit: 2}, 2, false},
			{backend.ListQuery{Prefix: "a", Separator: "/", Limit: 1}, 1, false},
		} {
			res := c.list(tc.q)
			require.Len(c, res.Items, tc.items, "query %+v", tc.q)
			require.Equal(c, tc.more, res.More, "query %+v", tc.q)
		}
	}},
	{"the pages of a List are the whole", func(c *check) {
		for _, name := range []string{"a", "a/", "a/b", "a/c", "a//d", "a0", "b/1", "b/2", "b/3/4", "é/1", "é/2", "日"} {
			c.put(name, "v")
		}
		for _, whole := range []backend.ListQuery{{}, {Separator: "/"}, {Values: true}, {Prefix: "b/"}, {Prefix: "a", Separator: "/"}} {
			want := c.list(whole).Items
			for limit := 1; limit <= len(want)+1; limit++ {
				q := whole
				q.Limit = limit
				require.Equal(c, want, c.pages(q), "query %+v", q)
			}
		}
	}},
	{"a page begins after a name that has since gone", func(c *check) {
		for _, name := range []string{"a", "b/1", "c"} {
			c.put(name, "v")
		}
		c.names(backend.ListQuery{Separator: "/", Limit: 2}, "a", "b/")
		c.delete("b/1")
		c.names(backend.ListQuery{Separator: "/", After: "b/"}, "c")
		c.delete("a")
		c.names(backend.ListQuery{After: "a"}, "c")
	}},
	{"List has 2,500 keys", func(c *check) {
		keys := c.numbered("dir/", 2500)
		c.fill(keys)
		res := c.list(backend.ListQuery{Values: true})
		require.Equal(c, keys, res.Names())
		require.False(c, res.More)
		for i, it := range res.Items {
			require.NotNil(c, it.Entry)
			require.Equal(c, keys[i], string(it.Entry.Value))
		}
		c.names(backend.ListQuery{Separator: "/"}, "dir/")
		require.Equal(c, keys[1200:1300], c.list(backend.ListQuery{After: "dir/01199", Limit: 100}).Names())
		require.True(c, slices.EqualFunc(keys, c.pages(backend.ListQuery{Limit: 700}), func(key string, it backend.ListItem) bool {
			return it.Name == key
		}))
	}},
}

// pages lists q page by page, each after the last name of the one before.
func (c *check) pages(q backend.ListQuery) []backend.ListItem {
	c.Helper()
	var all []backend.ListItem
	for {
		res := c.list(q)
		require.LessOrEqual(c, len(res.Items), q.Limit, "query %+v", q)
		all = append(all, res.Items...)
		if !res.More {
			return all
		}
		require.Len(c, res.Items, q.Limit, "More on a page that is not full, query %+v", q)
		last := res.Items[len(res.Items)-1].Name
		require.Greater(c, last, c.prefix)
		require.NotEqual(c, c.prefix+q.After, last, "the page does not move on")
		q.After = last[len(c.prefix):]
	}
}
