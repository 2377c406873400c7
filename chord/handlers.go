package chord

import (
	"bytes"
	"context"
	"fmt"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/mesh"
)

// handleCall registers what answers calls of one type.
func handleCall[Req, Reply any](n *Node, t mesh.Type, do func(ctx context.Context, req *Req) (Reply, error)) {
	n.mesh.HandleCall(t, func(ctx context.Context, _ ring.Node, body mesh.Decoder) (any, error) {
		var req Req
		if err := body.Decode(&req); err != nil {
			return nil, err
		}
		return do(ctx, &req)
	})
}

// askMember asks a member, which may be this node: here is what then answers.
func askMember[Req, Reply any](ctx context.Context, n *Node, member ring.Node, t mesh.Type, req *Req, here func(ctx context.Context, req *Req) (*Reply, error)) (*Reply, error) {
	if member == n.id.Node() {
		return here(ctx, req)
	}
	var reply Reply
	return &reply, n.mesh.Call(ctx, member, t, req, &reply)
}

// handle registers what this node answers to others.
func (n *Node) handle() {
	n.mesh.HandleSend(sendRegister, n.onRegister)
	n.mesh.HandleCall(callConfiguration, func(_ context.Context, _ ring.Node, _ mesh.Decoder) (any, error) {
		st, err := n.worksBy()
		if err != nil {
			return nil, err
		}
		return st.placement.Configuration().Encode(), nil
	})
	handleCall(n, callPrepareRing, func(_ context.Context, req *prepareRing) (*promiseRing, error) { return n.onPrepareRing(req), nil })
	handleCall(n, callAcceptRing, func(_ context.Context, req *acceptRing) ([]byte, error) {
		return []byte{}, refused(n.onAcceptRing(req))
	})
	handleCall(n, callScan, n.onScan)
	handleCall(n, callChanges, n.onChanges)
	handleCall(n, callInspect, func(ctx context.Context, key *string) (*inspectReply, error) { return n.onInspect(ctx, *key) })
	handleCall(n, callFeed, n.onFeed)
	handleCall(n, callHeld, n.onHeld)
	n.mesh.HandleCall(callSessions, func(context.Context, ring.Node, mesh.Decoder) (any, error) { return n.onSessions() })
	handleCall(n, callInstallFence, n.onInstallFence)
	handleCall(n, callFenced, n.onFenced)
	n.handleReshaping()
	n.handleRepairing()
}

// handleReshaping registers what a change of the ring needs.
func (n *Node) handleReshaping() {
	handleCall(n, callChain, func(_ context.Context, req *chainRequest) (*chainReply, error) { return n.onChain(req) })
	n.mesh.HandleCall(callLives, func(_ context.Context, from ring.Node, body mesh.Decoder) (any, error) {
		var req livesRequest
		if err := body.Decode(&req); err != nil {
			return nil, err
		}
		return n.onLives(from, &req), nil
	})
	n.mesh.HandleCall(callProgress, func(context.Context, ring.Node, mesh.Decoder) (any, error) { return n.onProgress() })
	handleCall(n, callChangeRing, func(_ context.Context, req *changeRequest) ([]byte, error) {
		return []byte{}, refused(n.reshaper.onChangeRing(req))
	})
	n.mesh.HandleCall(callImpose, func(ctx context.Context, from ring.Node, body mesh.Decoder) (any, error) {
		var req imposeRequest
		if err := body.Decode(&req); err != nil {
			return nil, err
		}
		st, err := n.worksBy()
		if err != nil {
			return nil, err
		}
		return []byte{}, refused(n.onImpose(ctx, from, st, &req))
	})
	handleCall(n, callTombstones, n.onTombstones)
	handleCall(n, callPage, n.onPage)
	handleCall(n, callCells, n.onCells)
}

// handleRepairing registers what the comparing and mending of copies needs.
func (n *Node) handleRepairing() {
	handleCall(n, callDigest, n.onDigest)
	handleCall(n, callCompared, func(_ context.Context, req *comparedRequest) ([]byte, error) { return []byte{}, n.onCompared(req) })
	handleCall(n, callAdopt, n.onAdopt)
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

// worksBy returns the ring, which a node that has just been started does not have
// yet. Others may call it already.
func (n *Node) worksBy() (*ringState, error) {
	if st := n.ring.Load(); st != nil {
		return st, nil
	}
	return nil, &mesh.RemoteError{Code: codeNotReady, Message: "no ring yet"}
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
