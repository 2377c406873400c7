package backendtest

import (
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

var limitCases = []testCase{
	{"a key may be as long as the limit", func(c *check) {
		size := c.b.Limits().MaxKeySize
		require.Greater(c, size, len(c.prefix)+8)
		longest := strings.Repeat("k", size-len(c.prefix))
		c.put(longest, "v")
		require.Equal(c, "v", string(c.get(longest).Value))
		c.names(backend.ListQuery{}, longest)
		c.names(backend.ListQuery{Prefix: longest}, longest)
		c.names(backend.ListQuery{After: longest})
		c.delete(longest)
		c.missing(longest)

		// The limit counts bytes: these are one too many, and fewer runes.
		wide := strings.Repeat("k", size-len(c.prefix)-2) + "日"
		for _, name := range []string{longest + "k", wide, longest + longest} {
			c.refused(c.key(name), backend.TooLarge)
			_, err := c.b.List(c.ctx, backend.ListQuery{Prefix: c.key(name)})
			c.fails(err, backend.TooLarge, "")
		}
		c.names(backend.ListQuery{})
	}},
	{"a value may be as large as the limit", func(c *check) {
		size := c.b.Limits().MaxValueSize
		require.Positive(c, size)
		value := []byte(strings.Repeat("0123456789abcdef", size/16+1))
		index, err := c.b.Put(c.ctx, c.key("k"), value[:size], backend.PutOptions{})
		require.NoError(c, err)
		require.True(c, string(value[:size]) == string(c.get("k").Value), "the value came back changed")
		for _, name := range []string{"k", "new"} {
			_, err = c.b.Put(c.ctx, c.key(name), value[:size+1], backend.PutOptions{})
			c.fails(err, backend.TooLarge, c.key(name))
			require.ErrorContains(c, err, "put failed due to value being too large")
		}
		require.Equal(c, index, c.get("k").ModifyIndex)
		c.missing("new")
		c.delete("k")
	}},
	{"keys that the contract forbids are invalid", func(c *check) {
		for _, key := range []string{
			"", "/", "//", "/" + c.key("k"), "\x00", "\x00" + c.key("k"), c.key("a\x00b"), c.key("a\nb"), c.key("a\tb"), c.key("a\x1b"), c.key("a\x7f"),
			c.key("a\u0085b"), c.key("a\xff"), c.key("\xc3"), c.key("\xed\xa0\x80"), c.key("\xc0\xaf"),
		} {
			c.refused(key, backend.Invalid)
		}
		c.names(backend.ListQuery{})
	}},
	{"prefixes that begin no key are invalid", func(c *check) {
		for _, prefix := range []string{"/", "/a", "\x00", c.key("a\nb"), c.key("\xff")} {
			_, err := c.b.List(c.ctx, backend.ListQuery{Prefix: prefix})
			c.fails(err, backend.Invalid, "")
		}
	}},
	{"a List query may not outgrow the keys", func(c *check) {
		size := c.b.Limits().MaxKeySize
		for _, q := range []backend.ListQuery{
			{Prefix: c.prefix, After: strings.Repeat("a", 2*size+1)},
			{Prefix: c.prefix, Separator: strings.Repeat("a", size+1)},
		} {
			_, err := c.b.List(c.ctx, q)
			c.fails(err, backend.TooLarge, "")
		}
	}},
}

// refused requires that every operation refuses key with code.
func (c *check) refused(key string, code backend.Code) {
	c.Helper()
	_, err := c.b.Get(c.ctx, key, backend.GetOptions{})
	c.fails(err, code, "")
	_, err = c.b.Get(c.ctx, key, backend.GetOptions{Stale: true})
	c.fails(err, code, "")
	_, err = c.b.Put(c.ctx, key, []byte("v"), backend.PutOptions{})
	c.fails(err, code, "")
	c.fails(c.b.Delete(c.ctx, key, backend.DeleteOptions{}), code, "")
	_, err = c.b.Pop(c.ctx, key)
	c.fails(err, code, "")
}
