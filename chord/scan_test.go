package chord

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// turning is a context that does something once, when it is looked at.
type turning struct {
	context.Context
	once *sync.Once
	turn func()
}

func (c turning) Err() error {
	c.once.Do(c.turn)
	return c.Context.Err()
}

func (c turning) Done() <-chan struct{} {
	c.once.Do(c.turn)
	return c.Context.Done()
}

// TestScanOfAnotherEpoch: what a member reads for a listing while its epoch ends is no
// answer; it may give away by then what it owned.
func TestScanOfAnotherEpoch(t *testing.T) {
	n := openRing(t, 1)[0]
	put(t, n, "k", "v")
	was := n.ring.Load()
	conf := *was.placement.Configuration()
	conf.Epoch++
	next := *was
	next.placement = ring.NewPlacement(&conf)
	for name, ask := range map[string]func(ctx context.Context) error{
		"scan": func(ctx context.Context) error {
			_, err := n.onScan(ctx, &scanRequest{Epoch: conf.Epoch - 1})
			return err
		},
		"changes": func(ctx context.Context) error {
			reply, err := n.onChanges(ctx, &changesRequest{Epoch: conf.Epoch - 1, Since: n.store.Counter() - 1})
			require.True(t, err != nil || len(reply.Cells) == 1)
			return err
		},
	} {
		require.NoError(t, ask(t.Context()), name)
		err := ask(turning{t.Context(), new(sync.Once), func() { n.ring.Store(&next) }})
		n.ring.Store(was)
		require.ErrorContains(t, err, "asked in epoch", name)
	}
}
