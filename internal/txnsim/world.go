package txnsim

import (
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/chord/txn"
	"github.com/chord-plugin/chord-plugin/internal/kernel"
)

const members = 3

// world is the registers, which are linearizable, and the nodes.
type world struct {
	kernel.Kernel
	cfg    txn.Config
	faulty bool // calls are late, lost or in doubt, and processes die
	// doubting is the share of changes that are in doubt while nothing else is wrong.
	doubting float64
	dying    float64 // how likely a process dies at a call

	held map[string]register.Value
	// changed says when a key last changed, counted in changes; last is the highest
	// stamp that a key ever had, diedAt when it became a tombstone.
	changed map[string]int
	changes int
	last    map[string]uint64
	diedAt  map[string]time.Duration
	// holder is the member that holds a key, for scans.
	holder map[string]int

	nodes []*node
	stats Stats
	// acting is who makes the change that is under way, or nil; changedBy, if any, is
	// told of changes.
	acting    *port
	changedBy func(e *port, key string, c *register.Change, cur, next *register.Value)
}

// node is a node that coordinates.
type node struct {
	number  int
	skew    uint64 // microseconds that its clock is ahead
	lastID  uint64
	c       *txn.Coordinator
	sweeper *txn.Sweeper
	owner   *owner // in runs with lifetimes
}

// Stats count what happened in a run.
type Stats struct {
	Operations, Unknown, Conflicts, Unavailable, Failed, Commits, Lists, Deaths, Doubts, Orphans, Nudges, Pushes, Revalidations, Undecided int
	Sessions, Expired, Locks, Released, Faded                                                                                              int
}

// Add adds other to s.
func (s *Stats) Add(o Stats) {
	s.Operations += o.Operations
	s.Unknown += o.Unknown
	s.Conflicts += o.Conflicts
	s.Unavailable += o.Unavailable
	s.Failed += o.Failed
	s.Commits += o.Commits
	s.Lists += o.Lists
	s.Deaths += o.Deaths
	s.Doubts += o.Doubts
	s.Orphans += o.Orphans
	s.Nudges += o.Nudges
	s.Pushes += o.Pushes
	s.Revalidations += o.Revalidations
	s.Undecided += o.Undecided
	s.Sessions += o.Sessions
	s.Expired += o.Expired
	s.Locks += o.Locks
	s.Released += o.Released
	s.Faded += o.Faded
}

// run runs the events up to a time, or until done.
func (w *world) run(limit time.Duration, done func() bool) {
	for !done() && w.Step(limit) {
	}
}

func newWorld(seed uint64) *world {
	w := &world{
		Kernel: kernel.Kernel{Rand: rand.New(rand.NewPCG(seed, 7))}, held: map[string]register.Value{},
		changed: map[string]int{}, last: map[string]uint64{}, diedAt: map[string]time.Duration{}, holder: map[string]int{},
	}
	w.cfg = txn.Config{
		Timeout: w.Between(100*time.Millisecond, 800*time.Millisecond), Life: time.Second,
		Moment: w.Between(1*time.Millisecond, 40*time.Millisecond), Pause: time.Millisecond,
	}
	for n := range members {
		w.nodes = append(w.nodes, &node{number: n, skew: uint64(w.Between(0, 3*time.Minute) / time.Microsecond)})
		w.restart(n)
	}
	w.After(0, w.forgetTombstones)
	return w
}

// restart makes a node forget what it knew.
func (w *world) restart(n int) {
	c, err := txn.New(w.cfg)
	if err != nil {
		panic(err)
	}
	w.nodes[n].c, w.nodes[n].sweeper = c, txn.NewSweeper(c)
	if o := w.nodes[n].owner; o != nil {
		o.restart()
	}
}

// forgetTombstones forgets those that are as old as registers keep them.
func (w *world) forgetTombstones() {
	for _, key := range slices.Sorted(maps.Keys(w.held)) {
		// Registers keep tombstones for longer than a lock delay lasts, too.
		if v := w.held[key]; v.IsTombstone() && w.Now-w.diedAt[key] > w.cfg.Life+w.cfg.Timeout && !w.delays(v.Session) {
			delete(w.held, key)
		}
	}
	w.After(20*time.Millisecond, w.forgetTombstones)
}

func (w *world) delays(session string) bool {
	v := w.held[register.SessionKey(session)]
	s, err := register.SessionOf(&v)
	return err == nil && s.State != register.SessionGone
}

// stamp returns a timestamp for a change of a key, by the clock of a node.
func (w *world) stamp(n *node, key string) uint64 {
	s := max(uint64(w.Now/time.Microsecond)+n.skew, w.last[key]+1)
	w.last[key] = s
	return s
}

// change applies a change to a register, as an owner of the key does.
func (w *world) change(n *node, key string, c register.Change) register.Result {
	cur := w.held[key]
	stamp := w.stamp(n, key)
	who := register.Ballot{Time: stamp, Node: ring.Node(n.number + 1)}
	next, changed, res := c.Apply(cur, register.Past{Write: who, Op: who})
	w.count(&c, &cur, changed)
	if !changed {
		return res
	}
	next.Lineage = next.Lineage[:1] // nobody here asks for the past
	if cur.Live && next.IsTombstone() {
		w.diedAt[key] = w.Now
	}
	w.changes++
	w.changed[key] = w.changes
	w.held[key] = next
	if w.changedBy != nil {
		w.changedBy(w.acting, key, &c, &cur, &next)
	}
	if _, ok := w.holder[key]; !ok {
		w.holder[key] = w.Rand.IntN(members)
	}
	return res
}

// count counts what is worth knowing of a change.
func (w *world) count(c *register.Change, cur *register.Value, changed bool) {
	switch {
	case c.Kind == register.Commit && !changed && w.statusAt(cur).State == register.Pending:
		w.stats.Revalidations++
	case !changed:
	case c.Kind == register.Nudge:
		w.stats.Nudges++
	case c.Kind == register.Commit:
		w.stats.Commits++
	case c.Kind == register.Abort:
		w.stats.Pushes++
	case c.Kind == register.Resolve && !c.Over.Committed:
		if status := w.held[c.Over.Txn.Key()]; !status.Live {
			w.stats.Orphans++
		}
	}
}

func (w *world) statusAt(v *register.Value) register.Status {
	s, err := register.StatusOf(v)
	if err != nil {
		panic(err)
	}
	return s
}
