package backend_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
)

// measured notes how many bytes each listing has.
type measured struct {
	backend.Backend
	pages []int
}

func (m *measured) List(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
	r, err := m.Backend.List(ctx, q)
	if err == nil {
		m.pages = append(m.pages, r.Size())
	}
	return r, err
}

// A walk fetches small entries many at a time, and large ones few at a time.
func TestPagesOfAWalk(t *testing.T) {
	for _, c := range []struct{ size, entries, pages int }{{1, 1500, 9}, {1 << 20, 100, 14}} {
		store := memory.New(backend.DefaultLimits())
		defer func() { require.NoError(t, store.Close()) }()
		m := &measured{Backend: store}
		for i := range c.entries {
			_, err := store.Put(t.Context(), fmt.Sprintf("%04d", i), make([]byte, c.size), backend.PutOptions{})
			require.NoError(t, err)
		}
		n := 0
		for e, err := range backend.Items(t.Context(), m, "") {
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintf("%04d", n), e.Key)
			n++
		}
		require.Equal(t, c.entries, n)
		require.LessOrEqual(t, len(m.pages), c.pages)
		for _, got := range m.pages[1:] { // of the first the sizes are not known yet
			require.LessOrEqual(t, got, backend.PageBytes+c.size)
		}
	}
}
