package jsontext

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheck(t *testing.T) {
	for _, good := range []string{``, `""`, `"\u00e9\ud83d\ude00\uD83D\uDE00\\ud800\n\ufffd"`, `"\\"`, `"😀"`, `\`, `\u12`} {
		require.NoError(t, Check([]byte(good)), good)
	}
	for bad, want := range map[string]string{
		`"\ud800"`: `\ud800 is half`, `"\uDC00\ud800"`: `\uDC00 is half`, `"\ud83d\ud83d\ude00"`: `\ud83d is half`,
		`"\\\udfff"`: `\udfff is half`, `"\ud83dude00"`: `\ud83d is half`, `"\ud83d\n"`: `\ud83d is half`,
		"\"\xfc\"": "not UTF-8", "\"\xed\xa0\x80\"": "not UTF-8",
	} {
		require.ErrorContains(t, Check([]byte(bad)), want)
	}
}

// FuzzCheck: what is refused is what reading makes a U+FFFD of that was not there.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{`"\ud83d\ude00"`, `"\ud800\\ud800"`, "\"\xff\"", `"\\\\ud800"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var s string
		there := bytes.Contains(text, []byte("\ufffd")) || bytes.Contains(bytes.ToLower(text), []byte(`\ufffd`))
		if there || json.Unmarshal(text, &s) != nil {
			return
		}
		require.Equal(t, Check(text) != nil, strings.Contains(s, "\ufffd"))
	})
}
