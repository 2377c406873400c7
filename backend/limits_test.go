package backend

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestCheckKey(t *testing.T) {
	l := DefaultLimits()
	for _, tc := range []struct {
		name, key string
		want      Code
	}{
		{"one byte", "a", 0},
		{"inner slashes", "a//b/", 0},
		{"space", " ", 0},
		{"dots", "../a", 0},
		{"several scripts", "é/日本/\U0001f511", 0},
		{"replacement character", "a\ufffd", 0},
		{"format character", "a\u200db", 0},
		{"at the limit", strings.Repeat("k", DefaultMaxKeySize), 0},
		{"at the limit in wide runes", strings.Repeat("é", DefaultMaxKeySize/2), 0},
		{"empty", "", Invalid},
		{"slash", "/", Invalid},
		{"leading slash", "/a", Invalid},
		{"byte 0", "\x00", Invalid},
		{"leading byte 0", "\x00a", Invalid},
		{"inner byte 0", "a\x00", Invalid},
		{"newline", "a\nb", Invalid},
		{"delete", "a\x7f", Invalid},
		{"C1 control", "a\u0085", Invalid},
		{"lone byte", "a\xff", Invalid},
		{"cut rune", "a\xe6\x97", Invalid},
		{"surrogate", "\xed\xa0\x80", Invalid},
		{"overlong slash", "a\xc0\xaf", Invalid},
		{"over the limit", strings.Repeat("k", DefaultMaxKeySize+1), TooLarge},
		{"over the limit in wide runes", strings.Repeat("é", DefaultMaxKeySize/2) + "k", TooLarge},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := l.CheckKey(tc.key)
			require.Equal(t, tc.want, CodeOf(err), "error %v", err)
			if tc.key == "" {
				require.NoError(t, l.CheckPrefix(tc.key), "the empty prefix is all keys")
				return
			}
			require.Equal(t, tc.want, CodeOf(l.CheckPrefix(tc.key)))
			require.Equal(t, tc.want, CodeOf(l.CheckList(ListQuery{Prefix: tc.key})))
		})
	}
}

// The limit on keys is the configured one, and its message names both numbers.
func TestCheckKeyUsesItsLimit(t *testing.T) {
	l := Limits{MaxKeySize: 100}
	require.NoError(t, l.CheckKey(strings.Repeat("k", 100)))
	err := l.CheckKey(strings.Repeat("k", 101))
	require.ErrorIs(t, err, ErrTooLarge)
	require.ErrorContains(t, err, "101 bytes")
	require.ErrorContains(t, err, "may have 100")
	require.Less(t, len(err.Error()), 120, "the message does not repeat the whole key")
}

func TestCheckValue(t *testing.T) {
	l := Limits{MaxValueSize: 4}
	for _, v := range [][]byte{nil, {}, make([]byte, 4)} {
		require.NoError(t, l.CheckValue("k", v))
	}
	err := l.CheckValue("k", make([]byte, 5))
	require.ErrorIs(t, err, ErrTooLarge)
	// Hosts look for these words.
	require.ErrorContains(t, err, "put failed due to value being too large")
	require.ErrorContains(t, err, `key "k"`)
	require.ErrorContains(t, err, "5 bytes")
	require.ErrorContains(t, err, "max_value_size is 4")
}

func TestCheckList(t *testing.T) {
	l := Limits{MaxKeySize: 100}
	require.NoError(t, l.CheckList(ListQuery{}))
	require.NoError(t, l.CheckList(ListQuery{Prefix: "a", After: strings.Repeat("a", 200), Separator: strings.Repeat("/", 100)}))
	require.ErrorIs(t, l.CheckList(ListQuery{After: strings.Repeat("a", 201)}), ErrTooLarge)
	require.ErrorIs(t, l.CheckList(ListQuery{Separator: strings.Repeat("/", 101)}), ErrTooLarge)
}

func TestDefaultLimits(t *testing.T) {
	require.Equal(t, Limits{MaxKeySize: 2048, MaxValueSize: 8388608}, DefaultLimits())
}

func FuzzCheckKey(f *testing.F) {
	for _, key := range []string{
		"", "a", "/", "a/", "a//b", "\x00", "a\nb", "\x7f", "\u0085", "\xff", "\xed\xa0\x80", "\xc0\xaf", "é", "\ufffd", "\U0001f511",
		strings.Repeat("k", DefaultMaxKeySize), strings.Repeat("k", DefaultMaxKeySize+1), strings.Repeat("\xff", DefaultMaxKeySize+1),
	} {
		f.Add(key)
	}
	l := DefaultLimits()
	f.Fuzz(func(t *testing.T, key string) {
		want := key != "" && len(key) <= 2048 && key[0] != '/' && utf8.ValidString(key) && strings.IndexFunc(key, unicode.IsControl) < 0
		err := l.CheckKey(key)
		if want != (err == nil) {
			t.Fatalf("key %q: %v", key, err)
		}
		var e *Error
		if err != nil && (!errors.As(err, &e) || e.Message == "" || (e.Code != Invalid && e.Code != TooLarge)) {
			t.Fatalf("key %q: the error is not whole: %#v", key, err)
		}
		if (e != nil && e.Code == TooLarge) != (len(key) > 2048) {
			t.Fatalf("key of %d bytes: %v", len(key), err)
		}
	})
}
