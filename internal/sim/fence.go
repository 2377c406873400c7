package sim

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/fence"
	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// This file is a node's part in fences: it keeps the table, installs and lists for
// others, and runs the procedure of chord/fence.

// know gives the shard entries and makes them durable, behind all that the shard
// accepted before; then done is called.
func (n *node) know(entries []register.FenceEntry, done func()) {
	if !n.up || len(entries) == 0 {
		return
	}
	n.do(func(now register.Now) { n.shard.Fence(now, entries) })
	if n.up && n.disk != nil {
		if !holds(ruleFenceDurable) {
			entries = nil
		}
		n.disk.fence(entries, done)
	}
}

// table returns what the node knows of fences and has made durable.
func (n *node) table() (entries []register.FenceEntry) {
	if n.disk == nil {
		return nil
	}
	for _, lock := range slices.Sorted(maps.Keys(n.disk.fences)) {
		entries = append(entries, n.disk.fences[lock])
	}
	return entries
}

// install carries out Install for another node.
func (n *node) install(e register.FenceEntry, reply func(epoch uint64, known register.FenceEntry)) {
	epoch := n.conf().Epoch
	if n.shard.Epoch() != epoch {
		return // between two
	}
	n.know([]register.FenceEntry{e}, func() {
		if n.up && n.shard.Epoch() == epoch && n.conf().Epoch == epoch {
			reply(epoch, n.shard.FenceOf(e.Key))
		}
	})
}

// pageCells is how many cells a page of a list has: few, so that there are several.
const pageCells = 2

// list carries out List for another node.
func (n *node) list(lock, after string) fence.Page {
	p := fence.Page{Epoch: n.shard.Epoch()}
	for _, key := range slices.Sorted(maps.Keys(n.disk.cells)) {
		c := n.disk.cells[key]
		if key <= after || !c.Value.Concerns(lock) {
			continue
		}
		if len(p.Cells) == pageCells {
			p.More, p.Next = true, p.Cells[pageCells-1].Key
			break
		}
		p.Cells = append(p.Cells, fence.Held{Key: key, Accepted: c.Accepted})
	}
	return p
}

// fencing is what the procedure runs on at a node.
type fencing struct{ *process }

var errNoAnswer = errors.New("no answer")

const askTimeout = 300 * time.Millisecond

// ask sends a member something and waits for the answer.
func (f fencing) ask(member ring.Node, at func(to *node, reply func(answer func()))) error {
	s, from := f.node.sim, f.node.id
	ok := f.wait(askTimeout, func(done func()) {
		s.network.deliver(from, member, false, func(to *node) {
			if to.disk == nil {
				return
			}
			at(to, func(answer func()) {
				s.network.deliver(member, from, false, func(*node) {
					answer()
					done()
				})
			})
		})
	})
	if !ok {
		return errNoAnswer
	}
	return nil
}

func (f fencing) Install(member ring.Node, e register.FenceEntry) (epoch uint64, known register.FenceEntry, err error) {
	err = f.ask(member, func(to *node, reply func(func())) {
		to.install(e, func(at uint64, of register.FenceEntry) { reply(func() { epoch, known = at, of }) })
	})
	return epoch, known, err
}

func (f fencing) List(member ring.Node, lock, after string) (page fence.Page, err error) {
	err = f.ask(member, func(to *node, reply func(func())) {
		p := to.list(lock, after)
		reply(func() { page = p })
	})
	return page, err
}

// operation runs one operation of the node's shard.
func (f fencing) operation(begin func(now register.Now, token uint64, timeout time.Duration)) (res register.Result, err error) {
	const timeout = 2 * time.Second
	f.wait(timeout+time.Second, func(done func()) {
		f.node.call(func(now register.Now, token uint64) { begin(now, token, timeout) }, func(r register.Result) {
			res = r
			done()
		})
	})
	if res.Outcome != register.Done && res.Outcome != register.Refused {
		return res, errNoAnswer
	}
	return res, nil
}

func (f fencing) Read(key string) (register.Value, error) {
	res, err := f.operation(func(now register.Now, token uint64, timeout time.Duration) {
		f.node.shard.Read(now, token, key, false, timeout)
	})
	return res.Value, err
}

func (f fencing) Change(key string, c register.Change) (register.Result, error) {
	return f.operation(func(now register.Now, token uint64, timeout time.Duration) {
		f.node.shard.Submit(now, token, key, c, timeout)
	})
}

func (f fencing) Settle(key string, e register.FenceEntry) error {
	f.node.sim.stats.Settled++
	res, err := f.operation(func(now register.Now, token uint64, timeout time.Duration) {
		f.node.shard.Settle(now, token, key, e, timeout)
	})
	if err == nil && res.Outcome != register.Done {
		err = errNoAnswer
	}
	return err
}

func (f fencing) Placement() *ring.Placement { return f.node.placement }

func (f fencing) Each(n int, do func(i int) error) (err error) {
	left := n
	if n == 0 {
		return nil
	}
	f.wait(time.Hour, func(done func()) {
		for i := range n {
			f.begin(func() {
				if e := do(i); err == nil {
					err = e
				}
				if left--; left == 0 {
					done()
				}
			})
		}
	})
	return err
}

func (f fencing) Sleep(d time.Duration) error {
	k := f.node.sim.kernel
	if k.Now > f.end {
		return errOver
	}
	f.wait(k.Between(d/2, 3*d/2), func(func()) {})
	return nil
}

// raiseFence brings a fence into force; done is called unless the node crashes.
func (n *node) raiseFence(lock string, token uint64, timeout time.Duration, done func(err error)) {
	n.spawn(timeout, func(p *process) { done(fence.Raise(fencing{p}, lock, token)) })
}

// complete sees to it that a fence gets sealed that is in the way here.
func (n *node) complete(lock string) {
	if n.completing[lock] {
		return
	}
	n.completing[lock] = true
	n.spawn(10*time.Second, func(p *process) {
		f := fencing{p}
		_ = fence.Complete(f, lock)
		// A client owns nothing and is told nothing.
		if v, err := f.Read(register.FenceKey(lock)); err == nil && v.Live {
			if e, err := register.DecodeFenceEntry(v.Data); err == nil {
				n.do(func(now register.Now) { n.shard.Fence(now, []register.FenceEntry{e}) })
			}
		}
		delete(n.completing, lock)
	})
}
