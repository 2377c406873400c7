package txnsim

import (
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/txn"
)

const members = 3

// world is the registers, which are linearizable, and the nodes.
type world struct {
	kernel
	cfg     txn.Config
	faulty  bool    // calls are late, lost or in doubt, and processes die
	dying   float64 // how likely a process dies at a call
	current *routine

	cells    map[string]txn.Cell
	statuses map[txn.ID]txn.Status
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
}

// node is a node that coordinates.
type node struct {
	number int
	skew   uint64 // microseconds that its clock is ahead
	lastID uint64
	c      *txn.Coordinator
}

// Stats count what happened in a run.
type Stats struct {
	Operations, Unknown, Conflicts, Unavailable, Failed, Commits, Lists, Deaths, Doubts, Orphans, Nudges, Pushes, Revalidations, Undecided int
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
}

func newWorld(seed uint64) *world {
	w := &world{
		kernel: kernel{rng: rand.New(rand.NewPCG(seed, 7))}, cells: map[string]txn.Cell{}, statuses: map[txn.ID]txn.Status{},
		changed: map[string]int{}, last: map[string]uint64{}, diedAt: map[string]time.Duration{}, holder: map[string]int{},
	}
	w.cfg = txn.Config{
		Timeout: w.between(100*time.Millisecond, 800*time.Millisecond), Life: time.Second,
		Moment: w.between(1*time.Millisecond, 40*time.Millisecond), Pause: time.Millisecond,
	}
	for n := range members {
		w.nodes = append(w.nodes, &node{number: n, skew: uint64(w.between(0, 3*time.Minute) / time.Microsecond)})
		w.restart(n)
	}
	w.after(0, w.forgetTombstones)
	return w
}

// restart makes a node forget what it knew.
func (w *world) restart(n int) {
	c, err := txn.New(w.cfg)
	if err != nil {
		panic(err)
	}
	w.nodes[n].c = c
}

// forgetTombstones forgets those that are as old as registers keep them.
func (w *world) forgetTombstones() {
	for _, key := range slices.Sorted(maps.Keys(w.cells)) {
		if c := w.cells[key]; !c.Live && c.Intent == nil && w.now-w.diedAt[key] > w.cfg.Life+w.cfg.Timeout {
			delete(w.cells, key)
		}
	}
	w.after(20*time.Millisecond, w.forgetTombstones)
}

// put stores a cell.
func (w *world) put(key string, c txn.Cell) {
	if w.cells[key].Live && !c.Live {
		w.diedAt[key] = w.now
	}
	w.changes++
	w.changed[key] = w.changes
	w.cells[key] = c
	if _, ok := w.holder[key]; !ok {
		w.holder[key] = w.rng.IntN(members)
	}
}

// stamp returns a timestamp for a change of a key, by the clock of a node.
func (w *world) stamp(n *node, key string) uint64 {
	s := max(uint64(w.now/time.Microsecond)+n.skew, w.last[key]+1)
	w.last[key] = s
	return s
}

// write is a change of a key, or the placing of an intent.
func (w *world) write(n *node, key string, id txn.ID, wr txn.Write) txn.Answer {
	was := w.cells[key]
	c := was.Without(wr.Over)
	switch {
	case c.Intent != nil && c.Intent.Txn == id && !id.IsZero():
		next := c.Applied()
		return txn.Answer{Outcome: txn.Done, Index: next.Index(), Create: next.Create}
	case c.Intent != nil:
		return txn.Answer{Outcome: txn.Held, By: c.Intent.Txn}
	case wr.If && c.Index() != wr.Index:
		return txn.Answer{Outcome: txn.Refused, Index: c.Index()}
	}
	c.Intent = &txn.Intent{Txn: id, New: wr.Onto(c), Guard: wr.Guard, Stamp: w.stamp(n, key)}
	next := c.Applied()
	if !id.IsZero() {
		w.put(key, c)
	} else if next.Stamp != was.Stamp || was.Intent != nil {
		w.put(key, next)
	}
	return txn.Answer{Outcome: txn.Done, Index: next.Index(), Create: next.Create}
}

func (w *world) resolve(key string, id txn.ID, commit bool) {
	c := w.cells[key]
	if c.Intent == nil || c.Intent.Txn != id {
		return
	}
	if commit {
		w.put(key, c.Applied())
		return
	}
	if w.statuses[id].State == txn.Absent {
		w.stats.Orphans++
	}
	w.put(key, c.Old())
}
