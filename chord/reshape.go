package chord

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/gossip"
)

// The ring's configuration is itself a register, under a reserved key, owned by
// its own ring. Any member may drive a change: the register makes sure that one
// wins, and a driver that dies leaves a joint configuration that others finish.

// ringKey is the register of the configuration. It is absent until the first
// change; the configuration of epoch 1 is the one that was founded.
const ringKey = "\x00ring"

const (
	// reshapeInterval is how often a member looks whether something is to be done.
	reshapeInterval = 200 * time.Millisecond
	// driverTurn is how much later each further member thinks of driving a change
	// that does not move, in the order of their IDs.
	driverTurn = time.Second
	// reshapeTimeout bounds one step of a change.
	reshapeTimeout = 10 * time.Second
)

// reshaper drives changes of the ring at one member.
type reshaper struct {
	node *Node
	kick chan struct{}

	mu   sync.Mutex
	join map[ring.ID]ring.Member // asked of this node
	drop map[ring.ID]bool
	sync *syncer // of the joint configuration under way
	// since is when the configuration became what it is.
	since time.Time
	epoch uint64
	// ahead names a node that works by a newer configuration.
	ahead map[ring.Node]bool
	// stuck says what a change waits for.
	stuck string
}

func newReshaper(n *Node) *reshaper {
	return &reshaper{node: n, kick: make(chan struct{}, 1), join: map[ring.ID]ring.Member{}, drop: map[ring.ID]bool{}, ahead: map[ring.Node]bool{}}
}

func (r *reshaper) wake() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// behind notes that others work by a newer configuration.
func (r *reshaper) behind(nodes []ring.Node) {
	r.mu.Lock()
	for _, node := range nodes {
		r.ahead[node] = true
	}
	r.mu.Unlock()
	r.wake()
}

// run does what is to be done until the node stops.
func (r *reshaper) run() {
	tick := time.NewTicker(reshapeInterval)
	defer tick.Stop()
	logged := ""
	for {
		if err := r.step(); err != nil && r.node.ctx.Err() == nil {
			r.note(err.Error())
			if err.Error() != logged {
				logged = err.Error()
				r.node.log.Info("the change of the ring waits", "reason", logged)
			}
		} else {
			r.note("")
			logged = ""
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

func (r *reshaper) note(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stuck = s
}

func (r *reshaper) step() error {
	n := r.node
	if n.ring.Load() == nil {
		return nil
	}
	if err := r.follow(); err != nil {
		return err
	}
	st := n.ring.Load()
	conf := st.placement.Configuration()
	r.mu.Lock()
	if r.epoch != conf.Epoch {
		r.epoch, r.since = conf.Epoch, time.Now()
	}
	since := r.since
	r.mu.Unlock()
	if !st.member {
		r.stopSync()
		if n.cfg.Role == RoleMember {
			return r.askToJoin(conf)
		}
		return nil
	}
	if conf.Joint() {
		r.startSync(st)
		if time.Since(since) < time.Duration(r.rank(conf))*driverTurn {
			return nil
		}
		return r.finish(conf)
	}
	r.stopSync()
	return r.begin(conf)
}

// follow enters the configurations of nodes that are ahead, by their messages or
// by gossip.
func (r *reshaper) follow() error {
	n := r.node
	epoch := n.ring.Load().placement.Configuration().Epoch
	r.mu.Lock()
	ahead := r.ahead
	r.ahead = map[ring.Node]bool{}
	r.mu.Unlock()
	for _, g := range n.gossip.Members() {
		if g.ID != n.id && g.Epoch > epoch && g.State == gossip.Alive && g.Role == gossip.RoleMember {
			ahead[g.ID.Node()] = true
		}
	}
	var errs []error
	for node := range ahead {
		err := n.catchUp(node)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// rank is this member's place among those thought alive, by ID.
func (r *reshaper) rank(conf *ring.Configuration) int {
	rank := 0
	for _, s := range conf.Sides() {
		for _, m := range s.Members {
			if m.ID.Compare(r.node.id) < 0 && r.node.peers.usable(m.ID.Node()) {
				rank++
			}
		}
	}
	return rank
}

// begin starts a change that was asked of this node.
func (r *reshaper) begin(conf *ring.Configuration) error {
	var plan ring.Plan
	r.mu.Lock()
	for id, m := range r.join {
		if _, in := conf.Member(id); in {
			delete(r.join, id)
			continue
		}
		plan.Join = append(plan.Join, m)
	}
	for id := range r.drop {
		if _, in := conf.Member(id); !in {
			delete(r.drop, id)
			continue
		}
		plan.Remove = append(plan.Remove, id)
	}
	r.mu.Unlock()
	next, err := conf.Begin(plan)
	if err != nil || next == nil {
		return err
	}
	r.node.log.Info("begins a change of the ring", "epoch", next.Epoch, "members", next.Names())
	return r.propose(conf, next)
}

// propose makes next the configuration, unless another one was chosen after cur.
func (r *reshaper) propose(cur, next *ring.Configuration) error {
	n := r.node
	ctx, cancel := context.WithTimeout(n.ctx, reshapeTimeout)
	defer cancel()
	chosen, index, err := n.chosenConfiguration(ctx)
	if err != nil {
		return err
	}
	if chosen != nil && chosen.Epoch > cur.Epoch {
		return n.enter(ctx, []*ring.Configuration{chosen})
	}
	if chosen != nil && chosen.Epoch < cur.Epoch {
		return backend.Errorf(backend.Internal, "", "the ring's register holds epoch %d, this node works by %d", chosen.Epoch, cur.Epoch)
	}
	_, err = n.change(ctx, ringKey, register.Change{Kind: register.Put, Data: next.Encode(), If: true, Index: index})
	switch backend.CodeOf(err) {
	case 0:
		return n.enter(ctx, []*ring.Configuration{next})
	case backend.Conflict, backend.UnknownOutcome:
		// Somebody's was chosen, perhaps ours: see which.
		if chosen, _, err = n.chosenConfiguration(ctx); err == nil && chosen != nil {
			err = n.enter(ctx, []*ring.Configuration{chosen})
		}
	}
	return err
}

// chosenConfiguration reads the register of the configuration; nil where the
// founded one was never changed.
func (n *Node) chosenConfiguration(ctx context.Context) (*ring.Configuration, uint64, error) {
	st := n.ring.Load()
	res, err := n.run(ctx, n.driver(st, ringKey), ringKey, func(d *driver, now register.Now, token uint64) {
		d.shard.Read(now, token, ringKey, false, timeout(ctx))
	})
	if err != nil || !res.Value.Live {
		return nil, 0, err
	}
	conf, err := ring.DecodeConfiguration(res.Value.Data)
	return conf, res.Index, err
}

// finish ends a joint configuration once enough members have entered it and
// synced.
func (r *reshaper) finish(conf *ring.Configuration) error {
	p, err := r.progress(conf)
	if err != nil {
		return err
	}
	ok, missed := conf.MayFinish(p)
	if !ok {
		var names []string
		for _, m := range missed {
			names = append(names, m.Name)
		}
		slices.Sort(names)
		return fmt.Errorf("epoch %d waits for %v to enter it or to copy what they are to own", conf.Epoch, names)
	}
	return r.propose(conf, conf.Finish(false))
}

// progressReply is how far a member is.
type progressReply struct {
	Epoch  uint64
	Synced bool
	Keys   uint64
}

// progress asks all members of a joint configuration how far they are.
func (r *reshaper) progress(conf *ring.Configuration) (ring.Progress, error) {
	n := r.node
	p := ring.Progress{Entered: map[ring.ID]bool{}, Synced: map[ring.ID]bool{}}
	ctx, cancel := context.WithTimeout(n.ctx, 2*time.Second)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	asked := map[ring.ID]bool{}
	for _, s := range conf.Sides() {
		for _, m := range s.Members {
			if asked[m.ID] {
				continue
			}
			asked[m.ID] = true
			wg.Go(func() {
				reply := r.onProgress()
				if m.ID != n.id {
					reply = &progressReply{}
					if n.mesh.Call(ctx, m.ID.Node(), callProgress, []byte{}, reply) != nil {
						return
					}
				}
				mu.Lock()
				defer mu.Unlock()
				p.Entered[m.ID] = reply.Epoch >= conf.Epoch
				p.Synced[m.ID] = reply.Epoch == conf.Epoch && reply.Synced
			})
		}
	}
	wg.Wait()
	return p, ctx.Err()
}

func (r *reshaper) onProgress() *progressReply {
	reply := &progressReply{}
	if st := r.node.ring.Load(); st != nil {
		reply.Epoch = st.placement.Configuration().Epoch
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.sync; s != nil && s.epoch() == reply.Epoch {
		reply.Synced, reply.Keys = s.done.Load(), s.keys.Load()
	}
	return reply
}

// changeRequest asks a member to change the ring.
type changeRequest struct {
	Join   []byte // a member, as JSON
	Remove []byte // an ID
}

// onChangeRing notes what is asked; the change begins soon.
func (r *reshaper) onChangeRing(req *changeRequest) error {
	st := r.node.ring.Load()
	if st == nil || !st.member {
		return fmt.Errorf("%q is no member", r.node.cfg.Name)
	}
	conf := st.placement.Configuration()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.join)+len(r.drop) >= ring.MaxMembers {
		return fmt.Errorf("too many changes wait")
	}
	if len(req.Join) > 0 {
		var m ring.Member
		if err := json.Unmarshal(req.Join, &m); err != nil {
			return err
		}
		for _, have := range conf.New.Members {
			if have.Name == m.Name && have.ID != m.ID {
				return fmt.Errorf("the ring has a member %q already, with another identity; remove it first if it is gone for good", m.Name)
			}
		}
		r.join[m.ID] = m
	}
	if len(req.Remove) > 0 {
		id, err := ring.IDFromBytes(req.Remove)
		if err != nil {
			return err
		}
		r.drop[id] = true
		delete(r.join, id)
	}
	r.wake()
	return nil
}

// askToJoin asks a member to take this node in.
func (r *reshaper) askToJoin(conf *ring.Configuration) error {
	n := r.node
	self, err := json.Marshal(n.self())
	if err != nil {
		return err
	}
	req := changeRequest{Join: self}
	var errs []error
	for _, m := range conf.New.Members {
		if !n.peers.usable(m.ID.Node()) {
			continue
		}
		ctx, cancel := context.WithTimeout(n.ctx, 2*time.Second)
		err := n.mesh.Call(ctx, m.ID.Node(), callChangeRing, &req, nil)
		cancel()
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("asking %q to join: %w", m.Name, err))
	}
	return errors.Join(errs...)
}
