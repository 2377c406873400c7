package chord

import (
	"bytes"
	"context"
	"fmt"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/mesh"
)

// handle registers what this node answers to others.
func (n *Node) handle() {
	n.mesh.HandleSend(sendRegister, n.onRegister)
	n.mesh.HandleCall(callConfiguration, func(_ context.Context, _ ring.Node, _ mesh.Decoder) (any, error) {
		st := n.ring.Load()
		if st == nil {
			return nil, &mesh.RemoteError{Code: codeNotReady, Message: "no ring yet"}
		}
		return st.placement.Configuration().Encode(), nil
	})
	n.mesh.HandleCall(callPrepareRing, func(_ context.Context, _ ring.Node, body mesh.Decoder) (any, error) {
		var req prepareRing
		if err := body.Decode(&req); err != nil {
			return nil, err
		}
		return n.onPrepareRing(&req), nil
	})
	n.mesh.HandleCall(callAcceptRing, func(_ context.Context, _ ring.Node, body mesh.Decoder) (any, error) {
		var req acceptRing
		if err := body.Decode(&req); err != nil {
			return nil, err
		}
		if err := n.onAcceptRing(&req); err != nil {
			return nil, &mesh.RemoteError{Code: codeRefused, Message: err.Error()}
		}
		return []byte{}, nil
	})
	n.mesh.HandleCall(callScan, func(ctx context.Context, _ ring.Node, body mesh.Decoder) (any, error) {
		var req scanRequest
		if err := body.Decode(&req); err != nil {
			return nil, err
		}
		return n.onScan(ctx, &req)
	})
	n.mesh.HandleCall(callChanges, func(ctx context.Context, _ ring.Node, body mesh.Decoder) (any, error) {
		var req changesRequest
		if err := body.Decode(&req); err != nil {
			return nil, err
		}
		return n.onChanges(ctx, &req)
	})
	n.mesh.HandleCall(callInspect, func(ctx context.Context, _ ring.Node, body mesh.Decoder) (any, error) {
		var key string
		if err := body.Decode(&key); err != nil {
			return nil, err
		}
		return n.onInspect(ctx, key)
	})
	n.mesh.HandleCall(callFeed, func(ctx context.Context, _ ring.Node, body mesh.Decoder) (any, error) {
		var req feedRequest
		if err := body.Decode(&req); err != nil {
			return nil, err
		}
		return n.onFeed(ctx, &req)
	})
	n.mesh.HandleCall(callHeld, func(ctx context.Context, _ ring.Node, body mesh.Decoder) (any, error) {
		var req heldRequest
		if err := body.Decode(&req); err != nil {
			return nil, err
		}
		return n.onHeld(ctx, &req)
	})
	n.mesh.HandleCall(callSessions, func(context.Context, ring.Node, mesh.Decoder) (any, error) { return n.onSessions() })
	n.mesh.HandleCall(callInstallFence, func(ctx context.Context, _ ring.Node, body mesh.Decoder) (any, error) {
		var req installFenceRequest
		if err := body.Decode(&req); err != nil {
			return nil, err
		}
		return n.onInstallFence(ctx, &req)
	})
	n.mesh.HandleCall(callFenced, func(ctx context.Context, _ ring.Node, body mesh.Decoder) (any, error) {
		var req fencedRequest
		if err := body.Decode(&req); err != nil {
			return nil, err
		}
		return n.onFenced(ctx, &req)
	})
	n.handleReshaping()
	n.handleRepairing()
}

// handleReshaping registers what a change of the ring needs.
func (n *Node) handleReshaping() {
	n.mesh.HandleCall(callChain, func(_ context.Context, _ ring.Node, body mesh.Decoder) (any, error) {
		var req chainRequest
		if err := body.Decode(&req); err != nil {
			return nil, err
		}
		return n.onChain(&req)
	})
	n.mesh.HandleCall(callLives, func(_ context.Context, from ring.Node, _ mesh.Decoder) (any, error) { return n.onLives(from), nil })
	n.mesh.HandleCall(callProgress, func(context.Context, ring.Node, mesh.Decoder) (any, error) { return n.onProgress() })
	n.mesh.HandleCall(callChangeRing, func(_ context.Context, _ ring.Node, body mesh.Decoder) (any, error) {
		var req changeRequest
		if err := body.Decode(&req); err != nil {
			return nil, err
		}
		return []byte{}, refused(n.reshaper.onChangeRing(&req))
	})
	n.mesh.HandleCall(callImpose, func(ctx context.Context, from ring.Node, body mesh.Decoder) (any, error) {
		var req imposeRequest
		if err := body.Decode(&req); err != nil {
			return nil, err
		}
		return []byte{}, refused(n.onImpose(ctx, from, &req))
	})
	n.mesh.HandleCall(callTombstones, func(ctx context.Context, _ ring.Node, body mesh.Decoder) (any, error) {
		var req tombstonesRequest
		if err := body.Decode(&req); err != nil {
			return nil, err
		}
		return n.onTombstones(ctx, &req)
	})
	n.mesh.HandleCall(callPage, func(ctx context.Context, _ ring.Node, body mesh.Decoder) (any, error) {
		var req pageRequest
		if err := body.Decode(&req); err != nil {
			return nil, err
		}
		return n.onPage(ctx, &req)
	})
	n.mesh.HandleCall(callCells, func(ctx context.Context, _ ring.Node, body mesh.Decoder) (any, error) {
		var req cellsRequest
		if err := body.Decode(&req); err != nil {
			return nil, err
		}
		return n.onCells(ctx, &req)
	})
}

// handleRepairing registers what the comparing and mending of copies needs.
func (n *Node) handleRepairing() {
	n.mesh.HandleCall(callDigest, func(ctx context.Context, _ ring.Node, body mesh.Decoder) (any, error) {
		var req digestRequest
		if err := body.Decode(&req); err != nil {
			return nil, err
		}
		return n.onDigest(ctx, &req)
	})
	n.mesh.HandleCall(callCompared, func(_ context.Context, _ ring.Node, body mesh.Decoder) (any, error) {
		var req comparedRequest
		if err := body.Decode(&req); err != nil {
			return nil, err
		}
		return []byte{}, n.onCompared(&req)
	})
	n.mesh.HandleCall(callAdopt, func(ctx context.Context, _ ring.Node, body mesh.Decoder) (any, error) {
		var req adoptRequest
		if err := body.Decode(&req); err != nil {
			return nil, err
		}
		return n.onAdopt(ctx, &req)
	})
}

// refused is the error of one that does not do what it is asked.
func refused(err error) error {
	if err == nil {
		return nil
	}
	return &mesh.RemoteError{Code: codeRefused, Message: err.Error()}
}

// onRegister gives a shard's message to the shard. It runs on the goroutine that
// reads the sender's connection.
func (n *Node) onRegister(from ring.Node, body []byte) {
	st := n.ring.Load()
	if st == nil {
		return // the sender asks again
	}
	m, err := register.DecodeMessage(bytes.Clone(body))
	if err != nil {
		n.log.Warn("a message that cannot be read was dropped", "from", from, "error", err)
		return
	}
	if n.store != nil && n.store.Overloaded() && m.Writes() {
		return // the disk is behind: lost, as on the wire
	}
	d := n.driver(st, m.Key)
	d.input(func(now register.Now) { d.shard.Step(now, from, &m) })
}

// owner returns the ring if this node owns keys in that epoch.
func (n *Node) owner(epoch uint64) (*ringState, error) {
	st := n.ring.Load()
	if st == nil || !st.member {
		return nil, &mesh.RemoteError{Code: codeNotReady, Message: "owns no keys"}
	}
	if have := st.placement.Configuration().Epoch; have != epoch {
		return nil, &mesh.RemoteError{Code: codeStaleEpoch, Message: fmt.Sprintf("asked in epoch %d, this node is in %d", epoch, have)}
	}
	return st, nil
}
