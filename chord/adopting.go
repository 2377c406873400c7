package chord

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/mesh"
)

// Cells are brought from one owner to another by whoever sees that they differ.
// The receiver takes them under the rule of register.Shard.Adopt, and so nobody
// needs to be believed.

const (
	// adoptKeys is how many cells travel at a time at most: each of them may cost a
	// ballot.
	adoptKeys = 256
	// settleTimeout is how long a receiver waits for cells that a promise was in the
	// way of. It is shorter than adoptTimeout, which bounds the call.
	settleTimeout = 5 * time.Second
	adoptTimeout  = 10 * time.Second
)

// adoptRequest brings an owner cells.
type adoptRequest struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`

	Epoch uint64
	Keys  []string
	Cells [][]byte
	// Fences are those of the member that the cells come from.
	Fences carried
}

// adoptReply says of each cell how that ended. With register.Done it is durable,
// or the key was settled otherwise.
type adoptReply struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`

	Outcomes []uint8
}

func (n *Node) onAdopt(ctx context.Context, req *adoptRequest) (*adoptReply, error) {
	st, err := n.owner(req.Epoch)
	if err != nil {
		return nil, err
	}
	if len(req.Keys) != len(req.Cells) || len(req.Keys) > adoptKeys {
		return nil, fmt.Errorf("%d cells for %d keys; at most %d are taken at a time", len(req.Cells), len(req.Keys), adoptKeys)
	}
	if n.store.Overloaded() {
		return nil, &mesh.RemoteError{Code: codeNotReady, Message: "the disk is behind"}
	}
	if err := n.fences.receive(st, req.Fences); err != nil {
		return nil, err
	}
	outcomes, err := n.adoptAll(ctx, st, req.Keys, req.Cells)
	if err != nil {
		return nil, err
	}
	reply := &adoptReply{Outcomes: make([]uint8, len(outcomes))}
	done := 0
	for i, o := range outcomes {
		reply.Outcomes[i] = uint8(o)
		if o == register.Done {
			done++
		}
	}
	n.repairs.took(done)
	return reply, nil
}

// adoption is a cell that a shard is to take.
type adoption struct {
	driver *driver
	token  uint64
	result <-chan register.Result
}

// adoptAll gives encoded cells to this node's shards and waits until they are
// durable, or settled. Those that do not get settled in time are given up.
func (n *Node) adoptAll(ctx context.Context, st *ringState, keys []string, cells [][]byte) ([]register.Outcome, error) {
	decoded := make([]register.Cell, len(cells))
	for i, b := range cells {
		var err error
		if decoded[i], err = register.DecodeCell(b); err != nil {
			return nil, fmt.Errorf("key %q: %w", keys[i], err)
		}
	}
	begun := make([]adoption, len(keys))
	for i, key := range keys {
		begun[i] = n.copyCell(st, key, decoded[i], false)
	}
	return n.settled(ctx, begun)
}

// settled waits until cells that were given to shards are durable, or settled
// otherwise. Those that do not get settled in time are given up.
func (n *Node) settled(ctx context.Context, begun []adoption) ([]register.Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	outcomes := make([]register.Outcome, len(begun))
	for i := range begun {
		select {
		case res := <-begun[i].result:
			outcomes[i] = res.Outcome
		case <-ctx.Done():
			outcomes[i] = begun[i].giveUp()
		case <-n.ctx.Done():
			return nil, n.ctx.Err()
		}
	}
	return outcomes, nil
}

// giveUp ends an adoption whose time is over and returns how it stands.
func (a *adoption) giveUp() register.Outcome {
	a.driver.input(func(now register.Now) { a.driver.shard.Cancel(now, a.token) })
	select {
	case res := <-a.result:
		return res.Outcome
	default:
		return register.Unknown // the disk has it
	}
}

// fetch asks a member for the cells of the first of the keys, as many as fit into
// an answer. A cell that is gone is empty.
func (n *Node) fetch(ctx context.Context, epoch uint64, from ring.Node, keys []string) (*cellsReply, error) {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	var reply cellsReply
	if err := n.mesh.Call(ctx, from, callCells, &cellsRequest{Epoch: epoch, Keys: keys}, &reply); err != nil {
		return nil, err
	}
	if len(reply.Cells) == 0 || len(reply.Cells) > len(keys) {
		return nil, fmt.Errorf("%s: %d cells for %d keys", from, len(reply.Cells), len(keys))
	}
	return &reply, nil
}

// give brings a member cells, and returns of each how that ended.
func (n *Node) give(ctx context.Context, epoch uint64, to ring.Node, keys []string, cells [][]byte, fences carried) ([]register.Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, adoptTimeout)
	defer cancel()
	var reply adoptReply
	if err := n.mesh.Call(ctx, to, callAdopt, &adoptRequest{Epoch: epoch, Keys: keys, Cells: cells, Fences: fences}, &reply); err != nil {
		return nil, err
	}
	if len(reply.Outcomes) != len(keys) {
		return nil, fmt.Errorf("%s: %d outcomes of %d cells", to, len(reply.Outcomes), len(keys))
	}
	outcomes := make([]register.Outcome, len(keys))
	for i, o := range reply.Outcomes {
		outcomes[i] = register.Outcome(o)
	}
	return outcomes, nil
}

// bring brings the cells of keys from one owner to another; either may be this
// node. It returns how many were brought, and how those ended that were not
// settled.
func (n *Node) bring(ctx context.Context, epoch uint64, from, to ring.Node, keys []string, limit *rate.Limiter) (brought int, failed map[string]register.Outcome, err error) {
	failed = map[string]register.Outcome{}
	for len(keys) > 0 {
		fetched, err := n.fetch(ctx, epoch, from, keys[:min(len(keys), adoptKeys)])
		if err != nil {
			return brought, failed, err
		}
		var there []string
		var cells [][]byte
		size := 0
		for i, b := range fetched.Cells {
			if size += noteBytes + len(keys[i]) + len(b); len(b) > 0 {
				there, cells = append(there, keys[i]), append(cells, b)
			}
		}
		if len(there) > 0 {
			outcomes, err := n.give(ctx, epoch, to, there, cells, fetched.Fences)
			if err != nil {
				return brought, failed, err
			}
			for i, o := range outcomes {
				if o == register.Done {
					brought++
				} else {
					failed[there[i]] = o
				}
			}
		}
		if err := spend(ctx, limit, size); err != nil {
			return brought, failed, err
		}
		keys = keys[len(fetched.Cells):]
	}
	return brought, failed, nil
}
