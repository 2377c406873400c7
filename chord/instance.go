package chord

import (
	"context"
	"errors"
	"iter"
	"net"
	"sync"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/locking"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/chord/store"
)

// Instance is a Node that goes on after it was removed from the ring while it was
// away or cut off: it drops what it has and starts anew as a new member. It is
// done once it was closed, has left, or its node has failed in any other way.
type Instance struct {
	*keeper
	cfg  Config
	done chan struct{}
	wg   sync.WaitGroup

	mu      sync.Mutex
	node    *Node
	next    chan struct{} // closed when node is another one, or there will be none
	http    string
	left    chan struct{} // closed when it has left
	closing bool
	err     error
}

var (
	_ backend.Backend       = (*Instance)(nil)
	_ backend.Transactional = (*Instance)(nil)
	_ backend.Admin         = (*Instance)(nil)
	_ backend.Watcher       = (*Instance)(nil)
	_ backend.Fencer        = (*Instance)(nil)
	_ backend.Sessions      = (*Instance)(nil)
	_ backend.Locker        = (*Instance)(nil)
	_ backend.Describer     = (*Instance)(nil)
)

// Start opens a node, as Open does, and keeps it in the ring.
func Start(cfg Config) (*Instance, error) {
	node, err := Open(cfg)
	if err != nil {
		return nil, err
	}
	return keep(node), nil
}

// keep is Start with a node that was opened.
func keep(node *Node) *Instance {
	i := &Instance{cfg: node.cfg, node: node, http: node.cfg.HTTPAddr, done: make(chan struct{}), next: make(chan struct{}), left: make(chan struct{})}
	i.keeper = locking.New(unlocked{i}, nil)
	i.wg.Go(i.watch)
	return i
}

// maxKnownSeeds bounds the members whose addresses a new life is given.
const maxKnownSeeds = 64

// watch starts the node anew as often as it is removed.
func (i *Instance) watch() {
	defer close(i.done)
	for {
		node := i.Node()
		select {
		case <-node.Done():
		case <-i.left:
			return
		}
		i.mu.Lock()
		closing := i.closing
		i.mu.Unlock()
		if closing {
			return
		}
		if !errors.As(node.Err(), new(*RemovedError)) {
			i.end(node.Err())
			return
		}
		next, err := i.renew(node)
		if err != nil {
			i.end(err)
			return
		}
		if !i.replace(next) {
			next.Close()
			return
		}
	}
}

// renew opens a new node in place of one that was removed.
func (i *Instance) renew(old *Node) (*Node, error) {
	cfg := i.cfg
	// It never founds a ring: there is one, and it knows where.
	cfg.Expect, cfg.Seeds = 0, append([]string(nil), cfg.Seeds...)
	for _, g := range old.gossip.Members() {
		if g.ID != old.id && g.Role == string(RoleMember) && len(cfg.Seeds) < maxKnownSeeds {
			cfg.Seeds = append(cfg.Seeds, g.GossipAddr)
		}
	}
	i.mu.Lock()
	cfg.HTTPAddr = i.http
	i.mu.Unlock()
	gossipAddr, meshAddr := old.GossipAddr(), old.MeshAddr()
	if err := old.Close(); err != nil {
		old.log.Warn("the old identity did not stop cleanly", "error", err)
	}
	if !cfg.Memory {
		if err := store.Discard(cfg.DataDir); err != nil {
			return nil, err
		}
	}
	fixed := cfg
	fixed.GossipAddr, fixed.MeshAddr = samePort(cfg.GossipAddr, gossipAddr), samePort(cfg.MeshAddr, meshAddr)
	node, err := Open(fixed)
	if err != nil && (fixed.GossipAddr != cfg.GossipAddr || fixed.MeshAddr != cfg.MeshAddr) {
		node, err = Open(cfg) // somebody else took the port that was ours by chance
	}
	return node, err
}

// samePort is an address to listen at, with the port that was bound last time if any
// one will do.
func samePort(addr, bound string) string {
	host, wanted, err := net.SplitHostPort(addr)
	if err != nil || wanted != "0" {
		return addr
	}
	_, port, err := net.SplitHostPort(bound)
	if err != nil {
		return addr
	}
	return net.JoinHostPort(host, port)
}

// replace makes next the node; false when the instance was closed meanwhile.
func (i *Instance) replace(next *Node) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closing {
		return false
	}
	i.node = next
	close(i.next)
	i.next = make(chan struct{})
	return true
}

func (i *Instance) end(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.err = err
	close(i.next)
}

// Node returns the node as it is now.
func (i *Instance) Node() *Node {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.node
}

// Ready is closed once the node, as it is now, serves.
func (i *Instance) Ready() <-chan struct{} { return i.Node().Ready() }

// Done is closed when the instance is done; Err then says why.
func (i *Instance) Done() <-chan struct{} { return i.done }

// Err returns why the instance ended: nil where it was closed or has left.
func (i *Instance) Err() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.err
}

// Left reports whether the member has left the ring.
func (i *Instance) Left() bool {
	select {
	case <-i.left:
		return true
	default:
		return false
	}
}

// ID returns the ID of the node as it is now.
func (i *Instance) ID() ring.ID { return i.Node().ID() }

// MeshAddr returns what the mesh listens at.
func (i *Instance) MeshAddr() string { return i.Node().MeshAddr() }

// GossipAddr returns the address at which others meet the node.
func (i *Instance) GossipAddr() string { return i.Node().GossipAddr() }

// SetHTTPAddr tells the others where the node's HTTP API listens.
func (i *Instance) SetHTTPAddr(addr string) error {
	i.mu.Lock()
	i.http = addr
	i.mu.Unlock()
	return i.Node().SetHTTPAddr(addr)
}

// Close stops the node; see Node.Close. The data directory of one that has left
// is emptied, so that it is not taken for that of a member.
func (i *Instance) Close() error {
	i.mu.Lock()
	first := !i.closing
	i.closing = true
	node := i.node
	i.mu.Unlock()
	if !first {
		return nil
	}
	i.keeper.Close()
	err := node.Close()
	i.wg.Wait()
	if i.Left() && !i.cfg.Memory {
		err = errors.Join(err, store.Discard(i.cfg.DataDir))
	}
	return err
}

// Leave implements backend.Admin. Afterwards the instance is done.
func (i *Instance) Leave(ctx context.Context) error {
	node := i.Node()
	if err := node.Leave(ctx); err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.Left() {
		close(i.left)
	}
	return nil
}

// use calls f with the node, and again with the next one where that one was found
// to be removed before it did anything.
func use[R any](ctx context.Context, i *Instance, f func(*Node) (R, error)) (R, error) {
	for {
		i.mu.Lock()
		node, next := i.node, i.next
		i.mu.Unlock()
		res, err := f(node)
		code := backend.CodeOf(err)
		if code != backend.NotReady && code != backend.Closed || !errors.As(node.Err(), new(*RemovedError)) {
			return res, err
		}
		select {
		case <-next:
		case <-i.done:
			return res, err
		case <-ctx.Done():
			return res, err
		}
		if i.Err() != nil || i.Node() == node {
			return res, err
		}
	}
}

// Capabilities implements backend.Describer.
func (i *Instance) Capabilities() backend.Capability { return i.Node().Capabilities() }

// Limits implements backend.Backend.
func (i *Instance) Limits() backend.Limits { return i.Node().Limits() }

// Get implements backend.Backend.
func (i *Instance) Get(ctx context.Context, key string, opts backend.GetOptions) (*backend.Entry, error) {
	return use(ctx, i, func(n *Node) (*backend.Entry, error) { return n.Get(ctx, key, opts) })
}

// Put implements backend.Backend.
func (i *Instance) Put(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
	return use(ctx, i, func(n *Node) (uint64, error) { return n.Put(ctx, key, value, opts) })
}

// Delete implements backend.Backend.
func (i *Instance) Delete(ctx context.Context, key string, opts backend.DeleteOptions) error {
	_, err := use(ctx, i, func(n *Node) (struct{}, error) { return struct{}{}, n.Delete(ctx, key, opts) })
	return err
}

// Pop implements backend.Backend.
func (i *Instance) Pop(ctx context.Context, key string) (*backend.Entry, error) {
	return use(ctx, i, func(n *Node) (*backend.Entry, error) { return n.Pop(ctx, key) })
}

// PopItem implements backend.Backend.
func (i *Instance) PopItem(ctx context.Context) (*backend.Entry, error) {
	return use(ctx, i, func(n *Node) (*backend.Entry, error) { return n.PopItem(ctx) })
}

// List implements backend.Backend.
func (i *Instance) List(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
	return use(ctx, i, func(n *Node) (*backend.ListResult, error) { return n.List(ctx, q) })
}

// Txn implements backend.Transactional.
func (i *Instance) Txn(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error) {
	return use(ctx, i, func(n *Node) (*backend.TxnResult, error) { return n.Txn(ctx, ops) })
}

// Begin implements backend.Transactional. The transaction ends with the node as it
// is now.
func (i *Instance) Begin(ctx context.Context, opts backend.TxOptions) (backend.Tx, error) {
	return use(ctx, i, func(n *Node) (backend.Tx, error) { return n.Begin(ctx, opts) })
}

// Fence implements backend.Fencer.
func (i *Instance) Fence(ctx context.Context, f backend.Fence) error {
	_, err := use(ctx, i, func(n *Node) (struct{}, error) { return struct{}{}, n.Fence(ctx, f) })
	return err
}

// Watch implements backend.Watcher. A call that waits goes on at the next node.
func (i *Instance) Watch(ctx context.Context, q backend.WatchQuery) (uint64, error) {
	return use(ctx, i, func(n *Node) (uint64, error) { return n.Watch(ctx, q) })
}

// Keys yields every key under prefix; see backend.Keys.
func (i *Instance) Keys(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return backend.Keys(ctx, i, prefix)
}

// Values yields every value under prefix; see backend.Values.
func (i *Instance) Values(ctx context.Context, prefix string) iter.Seq2[[]byte, error] {
	return backend.Values(ctx, i, prefix)
}

// Items yields every entry under prefix; see backend.Items.
func (i *Instance) Items(ctx context.Context, prefix string) iter.Seq2[*backend.Entry, error] {
	return backend.Items(ctx, i, prefix)
}

// Status implements backend.Admin.
func (i *Instance) Status(ctx context.Context) (*backend.Status, error) {
	return i.Node().Status(ctx)
}

// Members implements backend.Admin.
func (i *Instance) Members(ctx context.Context) ([]backend.Member, error) {
	return i.Node().Members(ctx)
}

// Ring implements backend.Admin.
func (i *Instance) Ring(ctx context.Context) (*backend.Ring, error) {
	return use(ctx, i, func(n *Node) (*backend.Ring, error) { return n.Ring(ctx) })
}

// Locate implements backend.Admin.
func (i *Instance) Locate(ctx context.Context, key string) (*backend.Location, error) {
	return use(ctx, i, func(n *Node) (*backend.Location, error) { return n.Locate(ctx, key) })
}

// Remove implements backend.Admin.
func (i *Instance) Remove(ctx context.Context, req backend.RemoveRequest) (*backend.RemoveReport, error) {
	return use(ctx, i, func(n *Node) (*backend.RemoveReport, error) { return n.Remove(ctx, req) })
}

// Verify implements backend.Admin.
func (i *Instance) Verify(ctx context.Context, q backend.VerifyQuery) (*backend.VerifyPage, error) {
	return use(ctx, i, func(n *Node) (*backend.VerifyPage, error) { return n.Verify(ctx, q) })
}
