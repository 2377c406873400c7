package moving

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

// sized notes how many keys were asked for, and refuses pages whose values have more
// than most bytes together.
type sized struct {
	backend.Backend
	most   int
	limits []int
	bytes  []int
}

func (s *sized) List(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
	r, err := s.Backend.List(ctx, q)
	if err != nil || !q.Values {
		return r, err
	}
	bytes := 0
	for _, item := range r.Items {
		bytes += len(item.Entry.Value)
	}
	s.limits = append(s.limits, q.Limit)
	if s.most > 0 && bytes > s.most {
		return nil, backend.Errorf(backend.TooLarge, "", "the values have %d bytes together", bytes)
	}
	s.bytes = append(s.bytes, bytes)
	return r, nil
}

func values(n, size int) []Entry {
	entries, value := many(n), bytes.Repeat([]byte("v"), size)
	for i := range entries {
		entries[i].Value = value
	}
	return entries
}

// TestPageSizes: a page has as many keys as make up about backend.PageBytes, by what was seen,
// and a page that is too large is asked for again with half as many.
func TestPageSizes(t *testing.T) {
	export := func(most int, entries []Entry) (*sized, error) {
		s := &sized{Backend: filled(t, entries), most: most}
		x := exporting(s, "-")
		x.Out = io.Discard
		out, err := x.Run(t.Context())
		if err == nil {
			require.Equal(t, len(entries), out.Keys)
			require.Equal(t, len(s.bytes), out.Pages)
		}
		return s, err
	}
	small, err := export(0, values(1500, 10))
	require.NoError(t, err)
	require.Equal(t, []int{16, 32, 64, 128, 256, 512, 1000}, small.limits)

	large, err := export(0, values(40, 1<<20))
	require.NoError(t, err)
	require.Equal(t, []int{16, 8, 8, 8}, large.limits)

	// From large values to small ones, and back.
	mixed := values(600, 1<<20)
	for i := range mixed {
		if k := mixed[i].Key; k >= "k00020" && k < "k00580" {
			mixed[i].Value = nil
		}
	}
	changing, err := export(16<<20, mixed)
	require.NoError(t, err)
	require.Equal(t, []int{16, 8, 16, 32, 64, 128, 256, 512, 256, 128, 64, 128}, changing.limits)

	tight, err := export(3<<20, values(5, 1<<20))
	require.NoError(t, err)
	require.Equal(t, []int{16, 8, 4, 2, 4}, tight.limits[:5])
	for _, n := range tight.bytes {
		require.LessOrEqual(t, n, 3<<20)
	}

	hopeless, err := export(1<<20-1, values(3, 1<<20))
	require.ErrorIs(t, err, backend.ErrTooLarge)
	require.ErrorContains(t, err, `list the keys behind ""`)
	require.Equal(t, []int{16, 8, 4, 2, 1}, hopeless.limits)
}
