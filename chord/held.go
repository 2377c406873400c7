package chord

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/chord/session"
	"github.com/chord-plugin/chord-plugin/chord/store"
	"github.com/chord-plugin/chord-plugin/chord/txn"
	"github.com/chord-plugin/chord-plugin/mesh"
)

const (
	// heldPage is how many keys of a session a member looks at for one answer.
	heldPage = 1000
	// maxHeld is about how many keys a member names at a time. Where there are more,
	// these are released before the others are asked for.
	maxHeld = 100_000
	// sweepingTime bounds the releasing of what a session held. What is left then is
	// released by the owners of its register, before they forget it.
	sweepingTime = 30 * time.Second
)

// heldRequest asks a member which keys a session holds by the cells that it has.
type heldRequest struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`

	Epoch   uint64
	Session string
	After   string // a key; the page begins behind it
}

// heldReply is one page of keys. The next one begins after Next.
type heldReply struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`

	Keys []string
	Next string
	More bool
}

func (n *Node) onHeld(ctx context.Context, req *heldRequest) (*heldReply, error) {
	if _, err := n.owner(req.Epoch); err != nil {
		return nil, err
	}
	opts := store.HeldOptions{Session: req.Session, Limit: heldPage}
	if req.After != "" {
		opts.After = store.Held{Session: req.Session, Key: req.After}
	}
	page, err := n.store.Held(ctx, opts)
	if err != nil {
		return nil, &mesh.RemoteError{Code: codeStore, Message: err.Error()}
	}
	reply := &heldReply{Keys: make([]string, len(page.Held)), Next: page.Next.Key, More: page.More}
	for i, h := range page.Held {
		reply.Keys[i] = h.Key
	}
	// What was written in a later epoch need not be here any more.
	if _, err := n.owner(req.Epoch); err != nil {
		return nil, err
	}
	return reply, nil
}

// heldBy finds the keys that a session which has ended holds. A key that names a
// session does so at a quorum of its owners, so that one at least of those that are
// asked says it, though as many are silent as a quorum can do without.
func (n *Node) heldBy(ctx context.Context) session.Named {
	return func(id string) ([]string, error) {
		ctx, cancel := context.WithTimeout(ctx, sweepingTime)
		defer cancel()
		for patience := participantTimeout; ; patience = min(2*patience, maxParticipantTimeout) {
			st, err := n.serving(ctx, "") // the ring may have changed
			if err != nil {
				return nil, err
			}
			p := newPoll(n, st, "")
			p.patience = patience
			replies, err := gather(ctx, &p, p.members, p.enough(), func(ctx context.Context, m ring.Node) (heldReply, error) {
				return n.heldAt(ctx, m, st.placement.Configuration().Epoch, id)
			})
			if errors.Is(err, errMissing) {
				continue // the deadline ends it
			}
			if err != nil {
				return nil, err
			}
			var keys []string
			more := false
			for _, reply := range replies {
				keys = append(keys, reply.Keys...)
				more = more || reply.More
			}
			slices.Sort(keys)
			keys = slices.Compact(keys)
			if !more {
				return keys, nil
			}
			r := registers{n, ctx}
			if err := r.Each(len(keys), func(i int) error { return n.txns.Release(r, keys[i], id) }); err != nil {
				return nil, err
			}
		}
	}
}

// heldAt asks one member, for at most maxHeld keys and a page.
func (n *Node) heldAt(ctx context.Context, m ring.Node, epoch uint64, id string) (all heldReply, err error) {
	req := heldRequest{Epoch: epoch, Session: id}
	for {
		reply, err := askMember(ctx, n, m, callHeld, &req, n.onHeld)
		if err != nil {
			return heldReply{}, err
		}
		all.Keys, all.More = append(all.Keys, reply.Keys...), reply.More
		if !reply.More || len(all.Keys) >= maxHeld {
			return all, nil
		}
		req.After = reply.Next
	}
}

// sweeping are registers whose background work may take as long as it takes to
// release all that a session held.
type sweeping struct{ registers }

func (s sweeping) Later(do func(r txn.Registers)) { s.later(sweepingTime, do) }
