package chord

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// The ring's configuration is itself a register, under a reserved key, owned by
// its own ring. Any member may drive a change: the register makes sure that one
// wins, and a driver that dies leaves a joint configuration that others end.

// ringKey is the register of the configuration. It is absent until the first
// change; the configuration of epoch 1 is the one that was founded.
const ringKey = "\x00ring"

const (
	// reshapeInterval is how often a node looks whether something is to be done.
	reshapeInterval = 200 * time.Millisecond
	// driverTurn is how much later each further member thinks of driving a change
	// that does not move, in the order of their IDs.
	driverTurn = 1500 * time.Millisecond
	// registerInterval is how often the first member reads the register: what was
	// chosen there may have been forgotten by who chose it.
	registerInterval = 3 * time.Second
	rereadTimeout    = time.Second
	// reshapeTimeout bounds one step of a change.
	reshapeTimeout = 10 * time.Second
)

// reshaper drives changes of the ring at one node.
type reshaper struct {
	node *Node
	kick chan struct{}
	gone absence // of its goroutine

	mu     sync.Mutex
	joins  map[ring.ID]joinRequest // asked of this node
	drops  map[ring.ID]bool
	sync   *syncer // of the joint configuration under way
	epoch  uint64
	since  time.Time // when the configuration became what it is
	read   time.Time // when the register was last read, or by a node that is to join, when it last asked
	looked time.Time // when it was last looked how far the others are
	stuck  string    // what a change waits for
	last   map[ring.ID]*progressReply
	moved  map[ring.ID]movement
	leaves bool // this member is to leave
	// backoff is how long one that wants to join is not let in again, by its name.
	backoff map[string]backoff
	lag     string // why this node could not follow the others
}

// backoff keeps those away whose joining was undone, for longer each time: each try
// costs two configurations of the chain.
type backoff struct {
	until time.Time
	pause time.Duration
}

const (
	firstBackoff = 5 * time.Second
	maxBackoff   = 10 * time.Minute
)

// movement is when a member last got on with copying.
type movement struct {
	work uint64
	at   time.Time
}

func newReshaper(n *Node) *reshaper {
	return &reshaper{
		node: n, kick: make(chan struct{}, 1), gone: absence{since: map[ring.ID]time.Time{}},
		joins: map[ring.ID]joinRequest{}, drops: map[ring.ID]bool{},
		last: map[ring.ID]*progressReply{}, moved: map[ring.ID]movement{}, backoff: map[string]backoff{},
	}
}

func (r *reshaper) wake() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// run does what is to be done until the node stops.
func (r *reshaper) run() {
	tick := time.NewTicker(reshapeInterval)
	defer tick.Stop()
	logged := ""
	for {
		err := r.step()
		r.mu.Lock()
		reason := r.stuck
		if err != errLater {
			reason = ""
			if err != nil {
				reason = err.Error()
			}
		}
		r.stuck = reason
		r.mu.Unlock()
		if reason != logged && r.node.ctx.Err() == nil {
			if logged = reason; reason != "" {
				r.node.log.Info("the change of the ring waits", "reason", reason)
			}
		}
		select {
		case <-r.kick:
		case <-tick.C:
		case <-r.node.ctx.Done():
			r.stopSync()
			return
		}
	}
}

// errLater: it is not this member's turn to look; what it said last still holds.
var errLater = errors.New("later")

// waits says what a change of the ring waits for.
func (r *reshaper) waits() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if st := r.node.ring.Load(); r.stuck == "" && r.lag == "" && st != nil && st.placement.Configuration().Joint() {
		return fmt.Sprintf("epoch %d, which is joint, goes on", st.placement.Configuration().Epoch)
	}
	return cmp.Or(r.stuck, r.lag)
}

func (r *reshaper) step() error {
	n := r.node
	st := n.ring.Load()
	if st == nil {
		return nil
	}
	conf := st.placement.Configuration()
	if !st.member {
		r.stopSync()
		if n.cfg.Role == RoleMember && !r.leaving() {
			return r.askToJoin(conf)
		}
		return nil
	}
	r.gone.look(conf, n.gossip.Members(), n.id)
	turn := time.Since(r.startOf(conf)) >= time.Duration(r.rank(conf))*driverTurn
	if conf.Joint() {
		r.startSync(st)
		if !turn || !r.dueToLook(conf) {
			return errLater
		}
		return r.finish(conf)
	}
	r.stopSync()
	if gone := r.gone.members(&conf.New); len(gone) > conf.New.Faults() {
		if slices.ContainsFunc(gone, func(m ring.Member) bool { return r.gone.of(m.ID) < goneForNow }) {
			return errLater
		}
		return fmt.Errorf("a change of the ring waits for %s: more are gone than the ring can do without; start them, or see remove -force", strings.Join(memberNames(gone), ", "))
	}
	if err := r.begin(conf, turn); err != nil || !turn {
		return err
	}
	return r.reread(conf)
}

// dueToLook reports whether a driver is to look again now: the first does each time,
// the others more and more seldom, so that many members do not ask each other all
// the time.
func (r *reshaper) dueToLook(conf *ring.Configuration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.looked) < time.Duration(r.rank(conf))*time.Second {
		return false
	}
	r.looked = time.Now()
	return true
}

// startOf returns since when the configuration is the one.
func (r *reshaper) startOf(conf *ring.Configuration) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epoch != conf.Epoch {
		r.stuck = ""
		r.epoch, r.since = conf.Epoch, time.Now()
		clear(r.moved)
		clear(r.last)
	}
	return r.since
}

// rank is this member's place among those thought alive, by ID.
func (r *reshaper) rank(conf *ring.Configuration) int {
	rank := 0
	for _, m := range conf.All() {
		if m.ID.Compare(r.node.id) < 0 && r.node.peers.usable(m.ID.Node()) {
			rank++
		}
	}
	return rank
}

// reread looks, now and then, whether the register has a newer configuration than
// this member heard of.
func (r *reshaper) reread(conf *ring.Configuration) error {
	r.mu.Lock()
	due := time.Since(r.read) >= registerInterval
	if due {
		r.read = time.Now()
	}
	r.mu.Unlock()
	if !due {
		return nil
	}
	ctx, cancel := context.WithTimeout(r.node.ctx, rereadTimeout)
	defer cancel()
	chosen, index, err := r.node.chosenConfiguration(ctx)
	if err != nil {
		return nil // no quorum, as it seems; there is nothing that waits for this
	}
	return r.compare(ctx, conf, chosen, index)
}

// compare enters the configuration in the register if it is newer than cur. One
// that is older is there after a forced removal only, and is replaced.
func (r *reshaper) compare(ctx context.Context, cur, chosen *ring.Configuration, index uint64) error {
	epoch := uint64(1)
	if chosen != nil {
		epoch = chosen.Epoch
	}
	switch {
	case epoch > cur.Epoch:
		return r.node.enter(ctx, []*ring.Configuration{chosen})
	case epoch == cur.Epoch:
		return nil
	case cur.Forced && !cur.Joint():
		_, err := r.node.change(ctx, ringKey, register.Change{Kind: register.Put, Data: cur.Encode(), If: true, Index: index})
		return err
	}
	if now := r.node.ring.Load().placement.Configuration(); now.Epoch != cur.Epoch {
		return nil // entered meanwhile, by another way
	}
	return backend.Errorf(backend.Internal, "", "the ring's register holds epoch %d, and this node works by %d", epoch, cur.Epoch)
}

// propose makes next the configuration, unless another one was chosen after cur.
func (r *reshaper) propose(cur, next *ring.Configuration) error {
	n := r.node
	ctx, cancel := context.WithTimeout(n.ctx, reshapeTimeout)
	defer cancel()
	chosen, index, err := n.chosenConfiguration(ctx)
	if err != nil {
		return fmt.Errorf("reading the ring's register: %w", err)
	}
	if err := r.compare(ctx, cur, chosen, index); err != nil {
		return err
	}
	if now := n.ring.Load().placement.Configuration(); now.Epoch != cur.Epoch || cur.Epoch > 1 && (chosen == nil || chosen.Epoch != cur.Epoch) {
		r.wake()
		return nil
	}
	_, err = n.change(ctx, ringKey, register.Change{Kind: register.Put, Data: next.Encode(), If: true, Index: index})
	switch backend.CodeOf(err) {
	case 0:
		return n.enter(ctx, []*ring.Configuration{next})
	case backend.Conflict, backend.UnknownOutcome:
		// Somebody's was chosen, perhaps ours: see which.
		if chosen, index, err = n.chosenConfiguration(ctx); err == nil {
			err = r.compare(ctx, cur, chosen, index)
		}
	}
	return err
}

// chosenConfiguration reads the register of the configuration; nil where the
// founded one was never changed.
func (n *Node) chosenConfiguration(ctx context.Context) (*ring.Configuration, uint64, error) {
	res, err := n.read(ctx, n.ring.Load(), ringKey, false)
	if err != nil || !res.Value.Live {
		return nil, 0, err
	}
	conf, err := ring.DecodeConfiguration(res.Value.Data)
	return conf, res.Index, err
}

// startSync begins to copy in a joint configuration, if it is not under way.
func (r *reshaper) startSync(st *ringState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sync != nil && r.sync.st == st {
		return
	}
	if r.sync != nil {
		r.sync.cancel()
	}
	r.sync = newSyncer(r.node, st)
}

func (r *reshaper) stopSync() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sync != nil {
		r.sync.cancel()
		r.sync = nil
	}
}

// syncing returns the copying that is under way in a configuration, or nil.
func (r *reshaper) syncing(st *ringState) *syncer {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sync == nil || r.sync.st != st {
		return nil
	}
	return r.sync
}

// entered is told that the node went from one configuration to the next.
func (r *reshaper) entered(from, to *ringState) {
	before, now := from.placement.Configuration(), to.placement.Configuration()
	if to.member && now.Joint() {
		r.startSync(to)
	}
	if before.Joint() && !now.Joint() && now.New.Replicas == before.Old.Replicas && slices.Equal(now.New.Members, before.Old.Members) {
		r.undone(before)
	}
	r.wake()
	id := r.node.id
	owned := before.New
	if before.Old != nil {
		owned = *before.Old // who was only about to join has not been removed
	}
	if !owned.Has(id) || to.member {
		return
	}
	if r.leaving() {
		return
	}
	r.node.renew("it was removed from the ring")
}

// undone keeps those away for a while whose joining was undone.
func (r *reshaper) undone(joint *ring.Configuration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, b := range r.backoff {
		if time.Since(b.until) > maxBackoff {
			delete(r.backoff, name)
		}
	}
	for _, m := range joint.New.Members {
		if !joint.Old.Has(m.ID) {
			b := r.backoff[m.Name]
			b.pause = min(max(2*b.pause, firstBackoff), maxBackoff)
			b.until = time.Now().Add(b.pause)
			r.backoff[m.Name] = b
			delete(r.joins, m.ID)
		}
	}
}
