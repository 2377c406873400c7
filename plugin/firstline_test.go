package plugin

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFirstLine(t *testing.T) {
	for _, test := range []struct {
		writes []string
		want   string
	}{
		{nil, ""},
		{[]string{"\n", " \n"}, ""},
		{[]string{"no ", "newline"}, "no newline"},
		{[]string{"\n  \n", "one\ntwo\n", "three"}, "one"},
		{[]string{"one", "\n", "two"}, "one"},
		{[]string{strings.Repeat("x", maxFirstLine-1), "yz\n", "more"}, strings.Repeat("x", maxFirstLine-1) + "y"},
	} {
		w := &firstLine{}
		for _, s := range test.writes {
			n, err := w.Write([]byte(s))
			require.NoError(t, err)
			require.Equal(t, len(s), n)
		}
		require.Equal(t, test.want, w.String())
	}
}
