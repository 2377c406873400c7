package chord

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/gossip"
	"github.com/chord-plugin/chord-plugin/mesh"
)

// Anti-entropy: members compare what they both own, all the time, at a bounded
// rate. Of two members one compares, in both directions, and tells the other one
// when it is through. When one of the two has come back, it begins at once and
// from the start; a comparison that was cut short goes on where it was.

const (
	// repairLook is how often a member looks whether a comparison is due.
	repairLook = 500 * time.Millisecond
	// repairPause is the mean time between two comparisons with one member.
	repairPause = time.Minute
	// repairRetry is the pause after a comparison that failed; it doubles up to
	// repairPause.
	repairRetry = time.Second
)

// repairer compares this member's copies with those of the others.
type repairer struct {
	node            *Node
	limit           *rate.Limiter // of bytes
	kick            chan struct{}
	received, given atomic.Uint64

	mu sync.Mutex
	// seen is the boot of each node that gossip believes alive.
	seen  map[ring.ID]uint64
	epoch uint64            // whose partners are in pairs
	pairs map[ring.ID]*pair // by the other one
	with  *pair             // is compared with now
	part  float64           // how much of that is done
	last  time.Time         // when all had been compared with
}

// pair is this member and another one.
type pair struct {
	member ring.Member
	asks   bool // this one compares, not the other one
	// behind: not compared since one of the two came back; returns counts that.
	behind  bool
	returns int
	// begun: the other one has begun to compare since then.
	begun bool
	// after is up to where they are compared, scanned how many keys that were.
	after   string
	scanned uint64
	// left counts the keys up to there that could not be settled.
	left  int
	due   time.Time
	fails int
	round bool // compared since all were
}

// fromStart has the next comparison begin with the first key.
func (p *pair) fromStart() { p.after, p.scanned, p.left = "", 0, 0 }

func newRepairer(n *Node) *repairer {
	return &repairer{
		node: n, limit: newLimiter(n.cfg.RepairRate), kick: make(chan struct{}, 1),
		seen: map[ring.ID]uint64{}, pairs: map[ring.ID]*pair{},
	}
}

func (r *repairer) wake() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// asksOf reports whether a member is the one that compares, of two. It is one half
// of them for everybody.
func asksOf(self, other ring.ID) bool {
	odd := uint64(self.Node()^other.Node())&1 == 1
	return self.Compare(other) < 0 != odd
}

// partners are the members that this one compares with. In a joint configuration
// these are the ones of Old: who joins copies everything anyway. In a forced one
// no register can be settled.
func (r *repairer) partners(st *ringState) []ring.Member {
	conf := st.placement.Configuration()
	side := &conf.New
	if conf.Joint() {
		side = conf.Old
	}
	if !st.member || !side.Has(r.node.id) || conf.Joint() && conf.Forced {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(side.Members), func(m ring.Member) bool { return m.ID == r.node.id })
}

// follow goes over to the node's configuration. In a final one everything is to
// be compared. The lock is held.
func (r *repairer) follow(st *ringState) {
	conf := st.placement.Configuration()
	if conf.Epoch <= r.epoch {
		return
	}
	before := r.pairs
	r.epoch, r.pairs = conf.Epoch, map[ring.ID]*pair{}
	for _, m := range r.partners(st) {
		p := &pair{member: m, asks: asksOf(r.node.id, m.ID), behind: true}
		if had := before[m.ID]; had != nil && conf.Joint() {
			p.behind = had.behind
			p.due = had.due
		}
		r.pairs[m.ID] = p
	}
}

// gossiped is told by gossip that a node changed.
func (r *repairer) gossiped(g gossip.Node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if g.State != gossip.Alive {
		delete(r.seen, g.ID)
		return
	}
	boot, there := r.seen[g.ID]
	r.seen[g.ID] = g.Boot
	if p := r.pairs[g.ID]; p != nil && (!there || boot != g.Boot) {
		p.fromStart()
		p.behind, p.begun, p.due, p.fails = true, false, time.Time{}, 0
		p.returns++
		r.wake()
	}
}

// begun is told that another member begins to compare with this one.
func (r *repairer) begun(st *ringState, id ring.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.follow(st)
	if p := r.pairs[id]; p != nil {
		p.begun = true
	}
}

// comparedRequest tells a member that all that the two own was compared.
type comparedRequest struct {
	Epoch uint64
	From  []byte // the ID of who compared
}

// errFromStart: the other member has come back since the comparison began.
var errFromStart = errors.New("the comparison has to begin anew")

func (n *Node) onCompared(req *comparedRequest) error {
	st, err := n.owner(req.Epoch)
	if err != nil {
		return err
	}
	id, err := ring.IDFromBytes(req.From)
	if err != nil {
		return err
	}
	r := n.repairs
	r.mu.Lock()
	defer r.mu.Unlock()
	r.follow(st)
	p := r.pairs[id]
	if p == nil || !p.begun {
		return &mesh.RemoteError{Code: codeRefused, Message: errFromStart.Error()}
	}
	p.begun = false
	r.compared(p)
	return nil
}

// compared notes that everything was compared with a member. The lock is held.
func (r *repairer) compared(p *pair) {
	p.fromStart()
	p.behind, p.round, p.fails = false, true, 0
	p.due = time.Now().Add(repairPause/2 + rand.N(repairPause))
	for _, other := range r.pairs {
		if !other.round {
			return
		}
	}
	r.last = time.Now()
	for _, other := range r.pairs {
		other.round = false
	}
}

// run compares until the node stops.
func (r *repairer) run() {
	if r.node.store == nil {
		return // a client owns nothing
	}
	tick := time.NewTicker(repairLook)
	defer tick.Stop()
	for {
		for r.node.ctx.Err() == nil {
			st, p := r.choose(nil)
			if p == nil {
				break
			}
			r.compare(r.node.ctx, st, p)
		}
		select {
		case <-r.kick:
		case <-tick.C:
		case <-r.node.ctx.Done():
			return
		}
	}
}

// choose returns the member with which to compare next, if any is due: first those
// that have come back. With one that is compared with now it returns only what
// goes before that.
func (r *repairer) choose(now *pair) (*ringState, *pair) {
	st := r.node.ring.Load()
	if st == nil || !st.clean() {
		return nil, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.follow(st)
	best := now
	for _, p := range r.pairs {
		if !p.asks || time.Now().Before(p.due) || !r.node.peers.alive(p.member.ID.Node()) {
			continue
		}
		if best == nil || p.behind && !best.behind || p.behind == best.behind && now == nil && p.due.Before(best.due) {
			best = p
		}
	}
	if best == now {
		return nil, nil
	}
	return st, best
}

// compare compares with one member until all is compared, or somebody else goes
// first.
func (r *repairer) compare(ctx context.Context, st *ringState, p *pair) {
	c := &comparison{node: r.node, st: st, with: p.member, limit: r.limit}
	r.mu.Lock()
	returns, after := p.returns, p.after
	c.scanned, c.behind = p.scanned, p.behind
	r.with, r.part = p, 0
	r.mu.Unlock()
	var total uint64
	if stats, err := r.node.store.Stats(); err == nil {
		total = stats.Cells
	}
	whole, err := r.walk(ctx, c, p, returns, after, total)
	if c.received+c.given+c.left > 0 {
		r.node.log.Info("mended copies that differed", "with", p.member.Name, "received", c.received, "given", c.given, "unsettled", c.left, "ranges", c.ranges, "differing", c.differing)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.with = nil
	switch {
	case p.returns != returns:
		return // due already, from the start
	case whole:
		r.compared(p)
	case err == nil:
		p.fromStart()
		p.due = time.Now().Add(repairPause)
	case !errors.Is(err, errOthersFirst):
		r.node.log.Debug("a comparison of copies was cut short", "with", p.member.Name, "error", err)
		if p.after == "" { // it was through, and the other one does not know
			p.fromStart()
		}
		p.due = time.Now().Add(min(repairRetry<<min(p.fails, 6), repairPause))
		p.fails++
	}
}

// errOthersFirst: a member has come back, and this one has not.
var errOthersFirst = errors.New("others go first")

// walk goes on with a comparison, range by range. It reports whether everything
// is compared, and the other one knows it; not so without an error if keys are
// left that could not be settled.
func (r *repairer) walk(ctx context.Context, c *comparison, p *pair, returns int, after string, total uint64) (whole bool, err error) {
	unsettled := 0
	for more := true; more; {
		left := c.left
		if after, more, err = c.next(ctx, after); err != nil {
			return false, err
		}
		r.mu.Lock()
		back := p.returns != returns
		if !back {
			p.after, p.scanned = after, c.scanned
			p.left += c.left - left
			unsettled = p.left
			if total > 0 {
				r.part = min(float64(c.scanned)/float64(total), 1)
			}
		}
		r.mu.Unlock()
		if back {
			return false, errFromStart
		}
		if !more {
			break
		}
		if _, other := r.choose(p); other != nil {
			return false, errOthersFirst
		}
	}
	if unsettled > 0 {
		return false, nil
	}
	if err = c.call(ctx, callCompared, &comparedRequest{Epoch: c.epoch(), From: r.node.id.Bytes()}, nil); err != nil {
		return false, fmt.Errorf("telling that all is compared: %w", err)
	}
	return true, nil
}

// took and gave count copies that were mended, here and elsewhere.
func (r *repairer) took(n int) {
	r.received.Add(uint64(n))
	r.count("received", n)
}

func (r *repairer) gave(n int) {
	r.given.Add(uint64(n))
	r.count("given", n)
}

func (r *repairer) count(what string, n int) {
	if m := r.node.cfg.Metrics; m != nil && n > 0 {
		m.IncrCounter([]string{"repair", what}, float32(n))
	}
}

// status says how far the comparing is.
func (r *repairer) status() *backend.RepairStatus {
	s := &backend.RepairStatus{Received: r.received.Load(), Given: r.given.Load(), LastSeconds: -1}
	st := r.node.ring.Load()
	r.mu.Lock()
	defer r.mu.Unlock()
	if st != nil {
		r.follow(st)
	}
	if r.with != nil {
		s.Running, s.With, s.Done = true, r.with.member.Name, r.part
	}
	for _, p := range r.pairs {
		if p.behind {
			s.Behind = append(s.Behind, p.member.Name)
		}
	}
	slices.Sort(s.Behind)
	if !r.last.IsZero() {
		s.LastSeconds = time.Since(r.last).Seconds()
	}
	return s
}
