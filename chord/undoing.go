package chord

import (
	"bytes"
	"context"
	"fmt"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// undo ends a joint configuration by going back to Old. The owners by Old decide
// that alone, so that it works also when those who were to join are gone and would
// be needed for every quorum; see register.Shard.SubmitByOld.
func (r *reshaper) undo(conf *ring.Configuration) error {
	n := r.node
	ctx, cancel := context.WithTimeout(n.ctx, reshapeTimeout)
	defer cancel()
	back := conf.Finish(true)
	found, index, err := n.byOld(ctx, register.Change{Kind: register.Identity})
	switch {
	case err != nil:
		return fmt.Errorf("undoing the change: reading the ring's register: %w", err)
	case found == nil:
		return backend.Errorf(backend.Internal, "", "the ring's register is empty in epoch %d", conf.Epoch)
	case bytes.Equal(found.Encode(), back.Encode()):
		return n.enter(ctx, []*ring.Configuration{back})
	case found.Epoch != conf.Epoch:
		return nil // somebody ends it otherwise
	}
	_, _, err = n.byOld(ctx, register.Change{Kind: register.Put, Data: back.Encode(), If: true, Index: index})
	switch backend.CodeOf(err) {
	case 0:
		return n.enter(ctx, []*ring.Configuration{back})
	case backend.Conflict, backend.UnknownOutcome:
		return nil // look again
	}
	return fmt.Errorf("undoing the change: %w", err)
}

// byOld has the owners by Old decide on a change of the ring's register, and
// returns what it found.
func (n *Node) byOld(ctx context.Context, c register.Change) (*ring.Configuration, uint64, error) {
	res, err := n.run(ctx, n.driver(n.ring.Load(), ringKey), ringKey, func(d *driver, now register.Now, token uint64) {
		d.shard.SubmitByOld(now, token, ringKey, c, timeout(ctx))
	})
	if err != nil || !res.Value.Live {
		return nil, res.Index, err
	}
	conf, err := ring.DecodeConfiguration(res.Value.Data)
	return conf, res.Index, err
}
