package txnsim

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/chord/txn"
)

// port is what a process reaches the registers through. It implements
// txn.Registers.
type port struct {
	w        *world
	p        *process
	n        *node
	client   int
	deadline time.Duration
	// expires says that it belongs to an owner that ends lifetimes, since began.
	expires bool
	began   time.Duration
}

// spawnPort returns a port of a process of its own.
func (r *run) spawnPort(deadline time.Duration) *port {
	p := r.process(func() {})
	r.processes = append(r.processes, p)
	return &port{w: r.world, p: p, n: r.nodes[0], deadline: r.Now + deadline}
}

var errNoQuorum = errors.New("too few owners answered")

const (
	slowest  = 8 * time.Millisecond
	latest   = 400 * time.Millisecond
	patience = 300 * time.Millisecond // of a register that too few owners answer for
)

// call runs op at the registers some time from now, or later, or never.
func (e *port) call(writes bool, op func()) error {
	w, rt := e.w, e.w.Current()
	if w.Now >= e.deadline {
		return errNoQuorum
	}
	there, back := w.Between(0, slowest), w.Between(0, slowest)
	runs, doubt := true, false
	var err error
	if w.faulty {
		switch x := w.Rand.Float64(); {
		case x < 0.01: // nobody answers
			runs, back, err = false, patience, errNoQuorum
		case x < 0.03:
			back += w.Between(0, latest)
		case x < 0.08:
			there += w.Between(0, latest)
		case x < 0.1:
			doubt = true
		}
	} else if w.doubting > 0 {
		doubt = w.Chance(w.doubting)
	}
	if doubt && writes { // nobody says whether it was done
		w.stats.Doubts++
		back, err = w.Between(0, patience), txn.ErrUnknown
		switch w.Rand.IntN(3) {
		case 0:
			runs = false
		case 1: // it is done after that
			there += back + w.Between(0, 4*latest)
			back = -w.Between(0, there)
		}
	}
	if runs {
		w.After(there, op)
	}
	took := there + back
	if w.Now+took > e.deadline {
		took, err = e.deadline-w.Now, errNoQuorum
		if writes {
			err = txn.ErrUnknown
		}
	}
	if w.faulty && w.Chance(w.dying) {
		w.After(w.Between(0, took+1), e.p.kill)
	}
	w.After(took, rt.Resume)
	rt.Wait()
	if err != nil {
		return fmt.Errorf("simulated: %w", err)
	}
	return nil
}

func (e *port) Read(key string) (v register.Value, err error) {
	err = e.call(false, func() { v = e.w.held[key] })
	return v, err
}

func (e *port) Change(key string, c register.Change) (res register.Result, err error) {
	err = e.call(true, func() {
		e.w.acting = e
		res = e.w.change(e.n, key, c)
		e.w.acting = nil
	})
	return res, err
}

// Scan asks each member for what it holds, each at a moment of its own.
func (e *port) Scan(q txn.Range) (txn.Picture, error) {
	w := e.w
	var pic txn.Picture
	at := make([]int, members)
	err := e.Each(members, func(m int) error {
		return e.call(false, func() {
			at[m] = w.changes
			for _, key := range slices.Sorted(maps.Keys(w.held)) {
				if w.holder[key] == m && within(q, key) {
					pic.Keys = append(pic.Keys, txn.KeyValue{Key: key, Value: w.held[key]})
				}
			}
		})
	})
	slices.SortFunc(pic.Keys, func(a, b txn.KeyValue) int { return strings.Compare(a.Key, b.Key) })
	if q.Limit > 0 {
		live := 0
		for i, kv := range pic.Keys {
			if kv.Live || kv.Intent != nil {
				live++
			}
			if live == q.Limit && i+1 < len(pic.Keys) {
				pic.More, pic.UpTo, pic.Keys = true, kv.Key, pic.Keys[:i+1]
				break
			}
		}
	}
	if pic.More {
		q.UpTo = pic.UpTo
	}
	pic.Moved = func() (moved []txn.Move, known bool, err error) {
		err = e.Each(members, func(m int) error {
			return e.call(false, func() {
				for _, key := range slices.Sorted(maps.Keys(w.changed)) {
					if w.holder[key] == m && w.changed[key] > at[m] && within(q, key) {
						// Some are on their way to the owners.
						moved = append(moved, txn.Move{Key: key, After: w.held[key], Known: w.Rand.IntN(4) > 0})
					}
				}
			})
		})
		return moved, true, err
	}
	return pic, err
}

// within reports whether a key of a host lies in a range.
func within(q txn.Range, key string) bool {
	return key[0] != 0 && strings.HasPrefix(key, q.Prefix) && key > q.After && (q.UpTo == "" || key <= q.UpTo)
}

// NewID issues ballots by the node's clock, which never issues one twice.
func (e *port) NewID() (register.Ballot, error) {
	n := e.n
	n.lastID = max(n.lastID+1, uint64(e.w.Now/time.Microsecond)+n.skew)
	return register.Ballot{Time: n.lastID, Node: ring.Node(n.number + 1)}, nil
}

func (e *port) Now() time.Duration { return e.w.Now }

func (e *port) Sleep(d time.Duration) error {
	w, rt := e.w, e.w.Current()
	d = d/2 + w.Between(0, d+1)
	if w.Now+d > e.deadline {
		w.After(max(e.deadline-w.Now, 0), rt.Resume)
		rt.Wait()
		return errNoQuorum
	}
	w.After(d, rt.Resume)
	rt.Wait()
	return nil
}

func (e *port) Each(n int, do func(i int) error) error {
	w, rt := e.w, e.w.Current()
	left := n
	var first error
	for i := range n {
		e.p.Spawn(func() {
			if err := do(i); err != nil && first == nil {
				first = err
			}
		}, func() {
			if left--; left == 0 {
				w.After(0, rt.Resume)
			}
		})
	}
	if n > 0 {
		rt.Wait()
	}
	return first
}

// backgroundTime is how long work in the background may take.
const backgroundTime = 2 * time.Second

func (e *port) Later(do func(r txn.Registers)) {
	bg := *e
	bg.deadline = e.w.Now + backgroundTime
	e.p.Spawn(func() { do(&bg) }, func() {})
}
