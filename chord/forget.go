package chord

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/chord/store"
	"github.com/chord-plugin/chord-plugin/mesh"
)

// A deleted key leaves a tombstone, which may go once every owner holds it: then
// each raises its floor above it and drops it (register.Shard.Forget). One that
// misses it is given it first. While an owner is down its tombstones stay.

const (
	// defaultForgetAge is for how long a tombstone is kept. It is above the age up to
	// which doubtful operations can be told by their lineage, and that of a
	// transaction (see txn.Config.Life), and spares the ballots that proposers hold
	// ready.
	defaultForgetAge = 90 * time.Second
	// forgetPause is the mean time between two looks for old tombstones, forgetSoon
	// the one after a look that found some.
	forgetPause = 30 * time.Second
	forgetSoon  = time.Second
	// forgetKeys is how many tombstones are asked about at a time.
	forgetKeys = 256
	// forgetPage is how many cells are looked at at a time.
	forgetPage = 2000
)

// forgetter forgets tombstones in the background.
type forgetter struct {
	node  *Node
	limit *rate.Limiter
	// sightings are the tombstones that passes have seen, at most so many.
	sightings map[tombstone]sighting
	most      int
	// crowded: this pass, or the one before, saw some that found no room.
	crowded, wasCrowded bool
	// passes counts those that have ended.
	passes int
	// dropped is what Node.forgotten was when the disk last got its room back.
	dropped int
}

// reclaimAfter is how many dropped cells are worth giving their room back to the
// disk, which rewrites what is left.
const reclaimAfter = 20_000

// maxSightings bounds the tombstones that a forgetter knows the age of. Others have
// to wait until some of these are forgotten.
const maxSightings = 1 << 18

// sighting is when a tombstone was first seen, and in which pass it was last.
type sighting struct {
	first time.Duration
	last  int
}

func newForgetter(n *Node, limit *rate.Limiter) *forgetter {
	return &forgetter{node: n, limit: limit, sightings: map[tombstone]sighting{}, most: maxSightings}
}

// age returns for how long a tombstone is known to be here. What its ballot says of
// its age is by the clock of another node.
func (f *forgetter) age(t tombstone) time.Duration {
	now := f.node.mono()
	s, known := f.sightings[t]
	if !known {
		if len(f.sightings) >= f.most {
			f.crowded = true
			return 0
		}
		s.first = now
	}
	s.last = f.passes
	f.sightings[t] = s
	return now - s.first
}

// passed ends a pass: what it has not seen is gone.
func (f *forgetter) passed() {
	for t, s := range f.sightings {
		if s.last != f.passes {
			delete(f.sightings, t)
		}
	}
	f.passes++
	f.crowded, f.wasCrowded = false, f.crowded
}

// tombstone is a deletion that this node holds.
type tombstone struct {
	key      string
	accepted register.Ballot
}

// tombstonesRequest asks an owner about tombstones: which it holds, or has
// forgotten; or, with Forget, to forget them, which every owner holds by now.
type tombstonesRequest struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`

	Epoch  uint64
	Notes  []copyNote
	Forget bool
}

// tombstonesReply says yes or no of each.
type tombstonesReply struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`

	Yes []bool
}

func (n *Node) onTombstones(ctx context.Context, req *tombstonesRequest) (*tombstonesReply, error) {
	st, err := n.owner(req.Epoch)
	if err != nil {
		return nil, err
	}
	if len(req.Notes) > forgetKeys {
		return nil, fmt.Errorf("%d tombstones; at most %d are asked about at a time", len(req.Notes), forgetKeys)
	}
	reply := &tombstonesReply{Yes: make([]bool, len(req.Notes))}
	if !req.Forget {
		for i := range req.Notes {
			t := &req.Notes[i]
			d := n.driver(st, t.Key)
			d.input(func(register.Now) { reply.Yes[i] = d.shard.Forgettable(req.Epoch, t.Key, t.accepted()) })
		}
		return reply, nil
	}
	results := make([]<-chan register.Result, len(req.Notes))
	for i := range req.Notes {
		t := &req.Notes[i]
		d := n.driver(st, t.Key)
		_, results[i] = d.begin(func(now register.Now, token uint64) { d.shard.Forget(now, token, req.Epoch, t.Key, t.accepted()) })
	}
	for i, result := range results {
		select {
		case res := <-result:
			if reply.Yes[i] = res.Outcome == register.Done; reply.Yes[i] {
				n.forgotten.Add(1)
			}
		case <-ctx.Done():
			return nil, &mesh.RemoteError{Code: codeStore, Message: "the disk did not sync in time"}
		case <-n.ctx.Done():
			return nil, n.ctx.Err()
		}
	}
	return reply, nil
}

// run forgets until the node stops.
func (f *forgetter) run() {
	for {
		found, err := f.pass(f.node.ctx)
		if !found {
			f.reclaim()
		}
		if err != nil && f.node.ctx.Err() == nil {
			f.node.log.Debug("forgetting is held up", "error", err)
		}
		rest := forgetPause/2 + rand.N(forgetPause)
		if found {
			rest = forgetSoon
		}
		if pause(f.node.ctx, min(rest, max(f.node.cfg.forgetAge, forgetSoon))) != nil {
			return
		}
	}
}

// reclaim gives the disk its room back when enough was forgotten here, whoever saw
// to it.
func (f *forgetter) reclaim() {
	n := f.node
	if forgotten := int(n.forgotten.Load()); forgotten-f.dropped >= reclaimAfter {
		f.dropped = forgotten
		if err := n.store.Reclaim(n.ctx); err != nil && n.ctx.Err() == nil {
			n.log.Warn("the disk did not get back what was forgotten", "error", err)
		}
	}
}

// pass goes through all cells once. It reports whether tombstones were forgotten.
func (f *forgetter) pass(ctx context.Context) (found bool, err error) {
	n := f.node
	st := n.ring.Load()
	if st == nil || !st.member || !st.clean() || st.placement.Configuration().Joint() {
		return false, nil
	}
	for after, more := "", true; more; {
		page, err := n.store.Scan(ctx, store.ScanOptions{After: after, Limit: forgetPage, Internal: true})
		if err != nil {
			return found, err
		}
		var old []tombstone
		for i := range page.Cells {
			c := &page.Cells[i]
			if after = c.Key; !sweeps(c.Key) && f.due(st, c, n.cfg.forgetAge) {
				old = append(old, tombstone{c.Key, c.Cell.Accepted})
			}
		}
		if err := spend(ctx, f.limit, len(page.Cells)*noteBytes); err != nil {
			return found, err
		}
		forgot, err := f.forget(ctx, st, old)
		if err != nil {
			return found, err
		}
		found = found || forgot > 0
		more = page.More
	}
	f.passed()
	return found, nil
}

// due reports whether this node is to see to it that a cell is forgotten: the
// first owner is when it is old enough, each further one when it is that much
// older, for what the others have forgotten already.
func (f *forgetter) due(st *ringState, c *store.KeyCell, age time.Duration) bool {
	if !c.Cell.Value.IsTombstone() || c.Key == ringKey || c.Key == voteKey {
		return false
	}
	g := st.placement.Group(c.Key)
	i := g.Index(f.node.id.Node())
	if i < 0 {
		return false
	}
	for _, o := range g.Owners() {
		if !f.node.peers.usable(o) {
			return false // nor does it take room from those that can go
		}
	}
	return f.age(tombstone{c.Key, c.Cell.Accepted}) >= time.Duration(i+1)*age
}

// forget has tombstones forgotten by all their owners, as far as all hold them.
// Those that do not are given them. It returns how many were forgotten.
func (f *forgetter) forget(ctx context.Context, st *ringState, old []tombstone) (forgot int, err error) {
	for part := range slices.Chunk(old, forgetKeys) {
		n, err := f.forgetPart(ctx, st, part)
		if err != nil {
			return forgot, err
		}
		forgot += n
	}
	return forgot, nil
}

// forgetPart is forget for at most forgetKeys.
func (f *forgetter) forgetPart(ctx context.Context, st *ringState, old []tombstone) (int, error) {
	held, err := f.ask(ctx, st, old, false)
	if err != nil {
		return 0, err
	}
	var ready []tombstone
	for i := range old {
		if g := st.placement.Group(old[i].key); held.by[i] == g.All() {
			ready = append(ready, old[i])
		}
	}
	if err := f.give(ctx, st, held.lacking); err != nil || len(ready) == 0 {
		return 0, err
	}
	if _, err := f.ask(ctx, st, ready, true); err != nil {
		return 0, err
	}
	for _, t := range ready { // one that is still here is seen again
		delete(f.sightings, t)
	}
	if m := f.node.cfg.Metrics; m != nil {
		m.IncrCounter([]string{"tombstones", "forgotten"}, float32(len(ready)))
	}
	return len(ready), nil
}

// answers says which owners hold each tombstone, as bits of its group, and which
// tombstones an owner that answered lacks.
type answers struct {
	by      []uint16
	lacking map[ring.Node][]string
}

// ask asks all owners about tombstones.
func (f *forgetter) ask(ctx context.Context, st *ringState, old []tombstone, forget bool) (*answers, error) {
	epoch := st.placement.Configuration().Epoch
	type question struct {
		req tombstonesRequest
		of  []int
		err error
		tombstonesReply
	}
	questions := map[ring.Node]*question{}
	cost := 0
	for i := range old {
		g := st.placement.Group(old[i].key)
		for _, o := range g.Owners() {
			q := questions[o]
			if q == nil {
				q = &question{req: tombstonesRequest{Epoch: epoch, Forget: forget}}
				questions[o] = q
			}
			q.req.Notes = append(q.req.Notes, copyNote{Key: old[i].key, Time: old[i].accepted.Time, Node: old[i].accepted.Node})
			q.of = append(q.of, i)
			cost += noteBytes + len(old[i].key)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for o, q := range questions {
		wg.Go(func() {
			var reply *tombstonesReply
			if reply, q.err = askMember(ctx, f.node, o, callTombstones, &q.req, f.node.onTombstones); q.err == nil {
				q.tombstonesReply = *reply
			}
		})
	}
	wg.Wait()
	a := &answers{by: make([]uint16, len(old)), lacking: map[ring.Node][]string{}}
	for o, q := range questions {
		if q.err != nil || len(q.Yes) != len(q.of) {
			continue // its tombstones stay
		}
		for j, i := range q.of {
			g := st.placement.Group(old[i].key)
			if q.Yes[j] {
				a.by[i] |= 1 << g.Index(o)
			} else {
				a.lacking[o] = append(a.lacking[o], old[i].key)
			}
		}
	}
	return a, spend(ctx, f.limit, cost)
}

// give brings owners the tombstones that they lack. They are asked again at the
// next pass.
func (f *forgetter) give(ctx context.Context, st *ringState, lacking map[ring.Node][]string) error {
	for o, keys := range lacking {
		if o == f.node.id.Node() {
			continue // it has changed here meanwhile
		}
		if _, _, err := f.node.bring(ctx, st.placement.Configuration().Epoch, f.node.id.Node(), o, keys, f.limit); err != nil {
			return err
		}
	}
	return nil
}
