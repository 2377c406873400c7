package backend

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestFold(t *testing.T) {
	for _, tc := range []struct {
		prefix, separator, key string
		name                   string
		folded                 bool
	}{
		{"", "", "a/b", "a/b", false},
		{"", "/", "a", "a", false},
		{"", "/", "a/", "a/", true},
		{"", "/", "a/b", "a/", true},
		{"", "/", "a//b", "a/", true},
		{"", "/", "a/b/c", "a/", true},
		{"a", "/", "a", "a", false},
		{"a", "/", "a/b", "a/", true},
		{"a/", "/", "a/", "a/", false},
		{"a/", "/", "a/b", "a/b", false},
		{"a/", "/", "a//b", "a//", true},
		{"a/", "/", "a/b/c/d", "a/b/", true},
		{"a/b", "/", "a/bc/d", "a/bc/", true},
		{"", "::", "a:b::c::d", "a:b::", true},
		{"a:", "::", "a::b", "a::b", false},
		{"", "日", "a日本", "a日", true},
		{"", "|", "a/b", "a/b", false},
		// A key shorter than the prefix is not under it and stays as it is.
		{"a/b", "/", "a/", "a/", false},
	} {
		q := ListQuery{Prefix: tc.prefix, Separator: tc.separator}
		name, folded := q.Fold(tc.key)
		require.Equal(t, tc.name, name, "%+v", tc)
		require.Equal(t, tc.folded, folded, "%+v", tc)
	}
}

// Lists rely on this: sorted keys fold to sorted names, so the keys of a folder
// follow each other, and a folder begins each of its keys.
func TestFoldKeepsTheOrder(t *testing.T) {
	text := rapid.StringOfN(rapid.RuneFrom([]rune("ab/-")), 0, 6, -1)
	rapid.Check(t, func(t *rapid.T) {
		q := ListQuery{Prefix: text.Draw(t, "prefix"), Separator: text.Draw(t, "separator")}
		keys := rapid.SliceOf(text).Draw(t, "keys")
		for i := range keys {
			keys[i] = q.Prefix + keys[i]
		}
		slices.Sort(keys)
		names := make([]string, len(keys))
		for i, key := range keys {
			name, folded := q.Fold(key)
			if !strings.HasPrefix(key, name) || !folded && name != key || folded && !strings.HasSuffix(name, q.Separator) {
				t.Fatalf("%+v folds %q to %q, %v", q, key, name, folded)
			}
			names[i] = name
		}
		if !slices.IsSorted(names) {
			t.Fatalf("%+v folds %q to %q", q, keys, names)
		}
	})
}

func TestNames(t *testing.T) {
	res := &ListResult{Items: []ListItem{{Name: "a"}, {Name: "b/", Folded: true}}}
	require.Equal(t, []string{"a", "b/"}, res.Names())
	require.Equal(t, []string{}, (&ListResult{}).Names())
}
