package chord

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/chord/store"
	"github.com/chord-plugin/chord-plugin/chord/txn"
	"github.com/chord-plugin/chord-plugin/gossip"
	"github.com/chord-plugin/chord-plugin/mesh"
)

// Node is one node of the ring and the backend.Backend that it is.
type Node struct {
	cfg     Config
	log     hclog.Logger
	id      ring.ID
	limits  backend.Limits
	started time.Time

	store  *store.Store // nil for a client
	mesh   *mesh.Mesh
	gossip *gossip.Gossip
	peers  *peers
	vote   *vote // in the founding of a ring

	txns       *txn.Coordinator
	background *background
	quiet      quiet

	reshaper *reshaper
	follower *follower
	repairs  *repairer
	watching *watching
	fences   *fences
	expirer  *expirer // nil for a client

	ring  atomic.Pointer[ringState] // nil until there is one
	ready chan struct{}             // closed when ring is set

	ctx    context.Context // ends with the node
	stop   context.CancelFunc
	opened chan struct{} // closed when Open is through
	wg     sync.WaitGroup
	closed atomic.Bool

	forgotten atomic.Uint64 // cells dropped here: tombstones, and what others own

	activating sync.Mutex

	mu     sync.Mutex
	reason string // why the node does not serve yet, or any more
	failed error  // set once: the node is of no use any more
	done   chan struct{}
}

// ringState is everything that exists once the node has a configuration.
type ringState struct {
	placement *ring.Placement
	drivers   []*driver
	// member: this node owns keys by the configuration.
	member bool
	// purged is closed once nothing is here that the node does not own by it.
	purged chan struct{}
}

// Open starts a node. It returns once the node listens and gossips; it serves
// once it has a ring (see Ready).
func Open(cfg Config) (_ *Node, err error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, log: cfg.Logger, started: time.Now(),
		limits:     backend.Limits{MaxKeySize: backend.DefaultMaxKeySize, MaxValueSize: cfg.MaxValueSize},
		background: newBackground(),
		ready:      make(chan struct{}), done: make(chan struct{}), opened: make(chan struct{}), reason: "starting",
	}
	n.ctx, n.stop = context.WithCancel(context.Background())
	defer func() {
		close(n.opened)
		if err != nil {
			n.Close()
		}
	}()
	if n.txns, err = txn.New(cfg.txns); err != nil {
		return nil, err
	}
	boot, conf, err := n.identify()
	if err != nil {
		return nil, err
	}
	n.peers = newPeers(n)
	n.reshaper, n.follower = newReshaper(n), newFollower(n)
	n.repairs, n.watching, n.fences = newRepairer(n), newWatching(n), newFences(n)
	if n.store != nil {
		n.expirer = newExpirer(n)
	}
	_, member := memberOf(conf, n.id)
	returns := conf != nil && member && boot > 1 && (len(conf.New.Members) > 1 || len(cfg.Seeds) > 0)
	if err := n.listen(boot, conf, returns); err != nil {
		return nil, err
	}
	cameBack := make(chan struct{})
	if returns {
		n.wg.Go(func() { n.comeBack(conf, boot, cameBack) })
	} else {
		close(cameBack)
		if conf == nil {
			n.wg.Go(n.findRing)
		} else if err := n.activate(conf); err != nil {
			return nil, err
		}
	}
	n.wg.Go(n.peers.run)
	n.wg.Go(n.reshaper.run)
	n.wg.Go(n.follower.run)
	if n.store != nil {
		limit := newLimiter(cfg.RepairRate)
		n.wg.Go(newForgetter(n, limit).run)
		n.wg.Go(newSweeper(n, limit).run)
		n.wg.Go(n.expirer.run)
		n.wg.Go(func() { n.tellReserved(cameBack) })
	}
	n.wg.Go(n.repairs.run)
	n.wg.Go(n.watching.run)
	n.wg.Go(n.fences.run)
	n.wg.Go(n.watchConflict)
	return n, nil
}

// memberOf returns a member of a configuration that may be nil.
func memberOf(conf *ring.Configuration, id ring.ID) (ring.Member, bool) {
	if conf == nil {
		return ring.Member{}, false
	}
	return conf.Member(id)
}

// identify opens the store, which says who a member is; a client is somebody new
// at each start.
func (n *Node) identify() (boot uint64, conf *ring.Configuration, err error) {
	if n.cfg.Role == RoleClient {
		var identity [32]byte
		rand.Read(identity[:])
		n.id = ring.NodeID(identity[:])
		n.vote = &vote{}
		return 0, nil, nil
	}
	if err := n.openStore(); err != nil {
		return 0, nil, err
	}
	who := n.store.Identity()
	n.id = ring.NodeID(who.Node)
	if n.vote, err = loadVote(n.store); err != nil {
		return 0, nil, err
	}
	conf, ok := n.store.Configuration()
	if !ok {
		return who.Boot, nil, nil
	}
	if err := n.checkReplicas(conf); err != nil {
		return 0, nil, err
	}
	if m, ok := conf.Member(n.id); ok {
		if t := n.cfg.Tokens; t != 0 && t != m.Tokens {
			return 0, nil, fmt.Errorf("tokens: it is %d here, and the ring has %d for %q; leave it out, or set it to %d", t, m.Tokens, m.Name, m.Tokens)
		}
		if n.cfg.Name != m.Name {
			return 0, nil, fmt.Errorf("name: it is %q here, and the data directory %s belongs to %q of ring %s; start it under that name", n.cfg.Name, n.cfg.DataDir, m.Name, conf.RingID)
		}
	}
	return who.Boot, conf, nil
}

// openStore opens the data directory. One of a member that left the ring, or was
// removed, and did not come to empty it, is emptied: no identity returns.
func (n *Node) openStore() (err error) {
	opts := store.Options{Dir: n.cfg.DataDir, Memory: n.cfg.Memory, Logger: n.log.Named("store"), Metrics: n.cfg.Metrics, OnFail: n.fail}
	if n.store, err = store.Open(opts); err != nil {
		return err
	}
	was, err := wasMember(n.store)
	if err != nil || !was {
		return err
	}
	n.log.Info("the member of this data directory is no longer in the ring; it starts anew with a new identity", "dir", n.cfg.DataDir)
	if err := n.store.Close(); err != nil {
		return err
	}
	if err := store.Discard(n.cfg.DataDir); err != nil {
		return err
	}
	n.store, err = store.Open(opts)
	return err
}

// wasMember reports whether the node of a store owned keys by a final
// configuration, and does not by the newest.
func wasMember(s *store.Store) (bool, error) {
	id := ring.NodeID(s.Identity().Node)
	newest, ok := s.Configuration()
	if !ok {
		return false, nil
	}
	if _, member := newest.Member(id); member {
		return false, nil
	}
	confs, err := s.Chain(0, store.MaxChain)
	for _, c := range confs {
		if c.New.Has(id) && !c.Joint() {
			return true, err
		}
	}
	return false, err
}

// checkReplicas refuses a flag that contradicts the ring.
func (n *Node) checkReplicas(conf *ring.Configuration) error {
	if r := n.cfg.Replicas; r != 0 && r != conf.New.Replicas {
		return fmt.Errorf("replicas: it is %d here, and ring %s has %d; leave it out, or set it to %d", r, conf.RingID, conf.New.Replicas, conf.New.Replicas)
	}
	return nil
}

// listen starts gossip and mesh. The mesh comes last: once it is started, others
// may give this node a ring, which it then tells to gossip. Of a member that returns
// comeBack starts it.
func (n *Node) listen(boot uint64, conf *ring.Configuration, returns bool) (err error) {
	var ringID ring.RingID
	var epoch uint64
	if conf != nil {
		ringID, epoch = conf.RingID, conf.Epoch
	}
	n.mesh, err = mesh.New(mesh.Config{
		ID: n.id, Name: n.cfg.Name, Role: mesh.Role(n.cfg.Role), RingID: ringID, Epoch: epoch,
		BindAddr: n.cfg.MeshAddr, AdvertiseAddr: n.cfg.MeshAdvertise, MaxOutgoing: n.cfg.MaxOutgoing, TLS: n.cfg.TLS,
		Logger: n.log.Named("mesh"), Metrics: n.cfg.Metrics, OnPeer: n.peers.direct,
	})
	if err != nil {
		return err
	}
	n.handle()
	n.gossip, err = gossip.New(gossip.Config{
		Name: n.cfg.Name, ID: n.id, Boot: boot, Role: string(n.cfg.Role), Returning: returns,
		BindAddr: n.cfg.GossipAddr, AdvertiseAddr: n.cfg.GossipAdvertise, Seeds: n.cfg.Seeds, Keys: n.cfg.GossipKeys,
		MeshAddr: n.mesh.Advertised(), HTTPAddr: n.cfg.HTTPAddr, Version: n.cfg.Version, Expect: n.cfg.Expect,
		RingID: ringID, Epoch: epoch, Logger: n.log.Named("gossip"), Profile: n.cfg.GossipProfile, Events: func(g gossip.Node) { n.peers.gossiped(g); n.repairs.gossiped(g) },
	})
	if err != nil || returns {
		return err
	}
	return n.mesh.Start()
}

// activate makes a configuration the one that this node works by. It is durable
// before anything is answered in it.
func (n *Node) activate(conf *ring.Configuration) error {
	n.activating.Lock()
	defer n.activating.Unlock()
	return n.install(conf)
}

// install is activate with the lock held.
func (n *Node) install(conf *ring.Configuration) error {
	if st := n.ring.Load(); st != nil {
		if have := st.placement.Configuration(); have.RingID != conf.RingID {
			return fmt.Errorf("this node is in ring %s already, not in %s", have.RingID, conf.RingID)
		}
		return nil
	}
	if err := n.ctx.Err(); err != nil {
		return err // stopping: what is chosen is learnt at the next start
	}
	if n.store != nil {
		if err := n.store.Install(conf); err != nil {
			return err
		}
	}
	st := n.newState(conf, nil)
	if n.store == nil {
		st.drivers = make([]*driver, store.DefaultShards)
	} else {
		st.drivers = make([]*driver, n.store.Shards())
	}
	for i := range st.drivers {
		cfg := register.Config{Self: n.id.Node(), MaxDrift: n.cfg.MaxClockDrift, Fences: n.fences.table()}
		if n.store != nil {
			cfg.Cells, cfg.Mark = cells{n.store}, n.store.Mark(i)
		}
		st.drivers[i] = newDriver(n, i, cfg, st.placement)
	}
	n.ring.Store(st)
	n.mesh.SetRing(conf.RingID, conf.Epoch)
	if err := n.gossip.SetRing(conf.RingID, conf.Epoch); err != nil {
		n.fail(err) // in the ring, and nobody can be told
		return err
	}
	n.peers.apply(st)
	n.mu.Lock()
	if n.failed == nil {
		n.reason = ""
	}
	n.mu.Unlock()
	close(n.ready)
	n.wg.Go(func() { n.purge(st) })
	n.reshaper.wake()
	n.watching.wake()
	switch {
	case st.member:
		n.log.Info("serving as a member", "ring", conf.RingID, "epoch", conf.Epoch, "members", len(conf.New.Members))
	case n.cfg.Role == RoleMember:
		n.log.Info("serving as a client until it has joined", "ring", conf.RingID, "members", len(conf.New.Members))
	default:
		n.log.Info("serving as a client", "ring", conf.RingID, "epoch", conf.Epoch)
	}
	return nil
}

// cells is the store as a shard reads it.
type cells struct{ store *store.Store }

func (c cells) Load(key string) (register.Cell, error) {
	cell, _, err := c.store.Load(key)
	return cell, err
}

// driver returns the driver of a key.
func (n *Node) driver(st *ringState, key string) *driver {
	return st.drivers[store.ShardOf(key, len(st.drivers))]
}

// Ready is closed once the node has a ring and serves.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// Done is closed when the node has failed or was closed; Err then says why.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err returns why the node failed, or nil.
func (n *Node) Err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.failed
}

// ID returns the node's ID.
func (n *Node) ID() ring.ID { return n.id }

// MeshAddr and GossipAddr return what the node listens at.
func (n *Node) MeshAddr() string { return n.mesh.Addr() }

// GossipAddr returns the address at which others meet this node.
func (n *Node) GossipAddr() string { return n.gossip.Self().GossipAddr }

// SetHTTPAddr tells the others where this node's HTTP API listens.
func (n *Node) SetHTTPAddr(addr string) error {
	n.mu.Lock()
	n.cfg.HTTPAddr = addr
	n.mu.Unlock()
	return n.gossip.SetHTTPAddr(addr)
}

// setReason says why the node does not serve yet.
func (n *Node) setReason(reason string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.failed == nil && n.ring.Load() == nil {
		n.reason = reason
	}
}

// fail ends the node's part in the ring for good, so that the others stop
// waiting for it. It may be called from anywhere.
func (n *Node) fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.failed != nil || n.closed.Load() {
		return
	}
	n.failed, n.reason = err, err.Error()
	if errors.As(err, new(*RemovedError)) {
		n.log.Warn("this node ends", "reason", err)
	} else {
		n.log.Error("this node stops serving", "reason", err)
	}
	n.stop()
	close(n.done)
	n.wg.Go(func() { // in the background: the caller may be one that closing waits for
		<-n.opened
		if n.mesh != nil {
			n.mesh.Close()
		}
		if n.gossip != nil {
			n.gossip.Close()
		}
		n.closeDrivers()
	})
}

// closeDrivers ends what goes on in the shards.
func (n *Node) closeDrivers() {
	if st := n.ring.Load(); st != nil {
		for _, d := range st.drivers {
			d.close()
		}
	}
}

// watchConflict stops the node when another one has its name, or its identity.
func (n *Node) watchConflict() {
	select {
	case err := <-n.gossip.Conflict():
		n.conflicted(err)
	case <-n.ctx.Done():
	}
}

// Close stops the node. It keeps its place in the ring and its data.
func (n *Node) Close() error {
	if n.closed.Swap(true) {
		return nil
	}
	n.mu.Lock()
	failed := n.failed
	if failed == nil {
		n.reason = "stopping"
		close(n.done)
	}
	n.mu.Unlock()
	n.stop()
	var errs []error
	if n.gossip != nil {
		if failed == nil && (n.store == nil || n.reshaper.leaving()) {
			// A client goes for good, and so does who has left; a member will be back
			// under its name.
			n.gossip.Leave(time.Second)
		}
		errs = append(errs, n.gossip.Close())
	}
	if n.mesh != nil {
		errs = append(errs, n.mesh.Close())
	}
	n.background.close()
	n.wg.Wait() // findRing may just have got a ring
	n.closeDrivers()
	if n.store != nil {
		if err := n.store.Close(); failed == nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// mono is the node's monotonic clock.
func (n *Node) mono() time.Duration { return time.Since(n.started) }

func (n *Node) now() register.Now {
	return register.Now{Mono: n.mono(), Wall: register.FineTimestamp(n.cfg.wall())}
}
