package chord

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/fence"
	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/chord/store"
	"github.com/chord-plugin/chord-plugin/mesh"
)

// The node as package fence sees it, and what it answers to others that bring a
// fence into force.

const (
	// installTime bounds the answer of one member that is to install a fence, listTime
	// that of one that looks for what concerns it, and settleTime the settling of one key.
	installTime = 2 * time.Second
	listTime    = 10 * time.Second
	settleTime  = 5 * time.Second
	// fenceScan is how many cells a member looks at for one page.
	fenceScan = 50_000
)

var _ backend.Fencer = (*Node)(nil)

// Fence implements backend.Fencer.
func (n *Node) Fence(ctx context.Context, f backend.Fence) error {
	if err := n.limits.CheckKey(f.Key); err != nil {
		return err
	}
	if err := n.limits.CheckFence(f.Key, f); err != nil {
		return err
	}
	if _, err := n.serving(ctx, f.Key); err != nil {
		return err
	}
	if err := n.fences.ask(ctx, f.Key); err != nil {
		return err
	}
	if n.fences.outdated(f) {
		return n.fenced(f.Key, f)
	}
	v, err := n.seen(ctx, f.Key, false)
	switch {
	case err != nil:
		return err
	case v.Holder() == "" || v.Token != f.Token:
		return backend.Errorf(backend.LockLost, f.Key, "token %d does not hold the lock; take it again", f.Token)
	case n.fences.inForce(f.Key) == 0 && len(n.fences.table()) >= backend.MaxFences:
		return backend.Errorf(backend.TooLarge, f.Key, "there are fences for %d locks, which is the limit; use fewer locks for fencing", backend.MaxFences)
	}
	r := fencing{registers{n, ctx}}
	err = fence.Raise(r, f.Key, f.Token)
	var below *backend.Error
	switch {
	case errors.Is(err, fence.ErrNewer):
		return n.fenced(f.Key, f)
	case err != nil && errors.As(err, &below) && below.Code == backend.Closed:
		return below
	case err != nil:
		return &backend.Error{Code: backend.NoQuorum, Key: f.Key, Message: "the fence is not in force yet; see which members are down and try again", Cause: err}
	}
	_ = n.fences.ask(ctx, f.Key) // so that a client knows it too; it is in force whether or not
	return nil
}

// fenced is the error of a fence that is outdated.
func (n *Node) fenced(key string, f backend.Fence) error {
	return backend.Errorf(backend.Fenced, key, "token %d of lock %q is outdated: a newer one, %d, is in force; stop writing", f.Token, f.Key, n.fences.inForce(f.Key))
}

// fencesOf is a host's fence as changes carry it.
func fencesOf(f backend.Fence) []register.Fence {
	if f == (backend.Fence{}) {
		return nil
	}
	return []register.Fence{register.Fence(f)}
}

// fencing is the ring as package fence sees it.
type fencing struct{ registers }

var _ fence.Ring = fencing{}

// fencing is for work that no caller waits for.
func (n *Node) fencing(ctx context.Context, limit time.Duration) (fencing, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	return fencing{registers{n, ctx}}, cancel
}

func (f fencing) Placement() *ring.Placement { return f.node.ring.Load().placement }

func (f fencing) Install(member ring.Node, e register.FenceEntry) (epoch uint64, known register.FenceEntry, err error) {
	ctx, cancel := context.WithTimeout(f.ctx, installTime)
	defer cancel()
	req := installFenceRequest{Entry: register.AppendFenceEntry(nil, &e)}
	reply, err := askMember(ctx, f.node, member, callInstallFence, &req, f.node.onInstallFence)
	if err != nil {
		return 0, known, err
	}
	known, err = register.DecodeFenceEntry(reply.Known)
	return reply.Epoch, known, err
}

func (f fencing) List(member ring.Node, lock, after string) (page fence.Page, err error) {
	ctx, cancel := context.WithTimeout(f.ctx, listTime)
	defer cancel()
	req := fencedRequest{Lock: lock, After: after}
	reply, err := askMember(ctx, f.node, member, callFenced, &req, f.node.onFenced)
	if err != nil {
		return page, err
	}
	page = fence.Page{Epoch: reply.Epoch, More: reply.More, Next: reply.Next, Cells: make([]fence.Held, len(reply.Copies))}
	for i := range reply.Copies {
		page.Cells[i] = fence.Held{Key: reply.Copies[i].Key, Accepted: reply.Copies[i].accepted()}
	}
	return page, nil
}

func (f fencing) Settle(key string, e register.FenceEntry) error {
	ctx, cancel := context.WithTimeout(f.ctx, settleTime)
	defer cancel()
	n := f.node
	st, err := n.serving(ctx, key)
	if err != nil {
		return err
	}
	_, err = n.run(ctx, n.driver(st, key), key, func(d *driver, now register.Now, token uint64) {
		d.shard.Settle(now, token, key, e, timeout(ctx))
	})
	return err
}

// installFenceRequest has a member take an entry into its table.
type installFenceRequest struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`

	Entry []byte
}

// installFenceReply says by which configuration the member works and what it knows
// of the fence.
type installFenceReply struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`

	Epoch uint64
	Known []byte
}

func (n *Node) onInstallFence(ctx context.Context, req *installFenceRequest) (*installFenceReply, error) {
	e, err := register.DecodeFenceEntry(req.Entry)
	if err != nil {
		return nil, err
	}
	st := n.ring.Load()
	if st == nil || !st.member {
		return nil, &mesh.RemoteError{Code: codeNotReady, Message: "owns no keys"}
	}
	epoch := st.placement.Configuration().Epoch
	between := false
	n.fences.note([]register.FenceEntry{e})
	known := register.FenceEntry{Key: e.Key}
	for _, d := range st.drivers {
		d.input(func(now register.Now) {
			d.shard.Fence(now, []register.FenceEntry{e})
			of := d.shard.FenceOf(e.Key)
			known.Merge(&of)
			between = between || d.shard.Epoch() != epoch
		})
	}
	if err := n.flush(ctx); err != nil { // what the shards accepted before
		return nil, &mesh.RemoteError{Code: codeStore, Message: err.Error()}
	}
	if err := n.store.KeepFences([]register.FenceEntry{e}); err != nil {
		return nil, &mesh.RemoteError{Code: codeStore, Message: err.Error()}
	}
	if _, err := n.owner(epoch); err != nil || between {
		return nil, &mesh.RemoteError{Code: codeStaleEpoch, Message: fmt.Sprintf("epoch %d has passed", epoch)}
	}
	if !n.fences.has(&e) {
		return nil, &mesh.RemoteError{Code: codeRefused, Message: fmt.Sprintf("this member keeps fences for %d locks, which is the limit", register.MaxFences)}
	}
	return &installFenceReply{Epoch: epoch, Known: register.AppendFenceEntry(nil, &known)}, nil
}

// has reports whether the table has the entry, or a newer one.
func (f *fences) has(e *register.FenceEntry) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	have, ok := f.known[e.Key]
	return ok && !have.Merge(e)
}

// fencedRequest asks a member for its cells that concern a lock, after a key.
type fencedRequest struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`

	Lock, After string
}

// fencedReply is one page of them. The next one begins after Next.
type fencedReply struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`

	Epoch  uint64
	Copies []copyNote
	Next   string
	More   bool
}

func (n *Node) onFenced(ctx context.Context, req *fencedRequest) (*fencedReply, error) {
	st := n.ring.Load()
	if st == nil || !st.member {
		return nil, &mesh.RemoteError{Code: codeNotReady, Message: "owns no keys"}
	}
	epoch := st.placement.Configuration().Epoch
	page, err := n.store.Scan(ctx, store.ScanOptions{
		After: req.After, Limit: fenceScan, Internal: true, Where: func(v *register.Value) bool { return v.Concerns(req.Lock) },
	})
	if err != nil {
		return nil, &mesh.RemoteError{Code: codeStore, Message: err.Error()}
	}
	if _, err := n.owner(epoch); err != nil {
		return nil, err
	}
	reply := &fencedReply{Epoch: epoch, Next: page.Next, More: page.More}
	for i := range page.Cells {
		c := &page.Cells[i]
		reply.Copies = append(reply.Copies, copyNote{Key: c.Key, Time: c.Cell.Accepted.Time, Node: c.Cell.Accepted.Node})
	}
	return reply, nil
}
