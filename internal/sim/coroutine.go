package sim

import (
	"errors"
	"iter"
	"time"
)

// process is code that blocks, in a simulation of one goroutine: coroutines that
// end with the node that they run on.
type process struct {
	node     *node
	end      time.Duration
	running  *routine
	routines map[*routine]bool
	dead     bool
}

// routine is one coroutine of a process.
type routine struct {
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
}

// killed unwinds a coroutine whose node has crashed.
type killed struct{}

var errOver = errors.New("the time is over")

// spawn runs body as a process of the node, until a time at the latest.
func (n *node) spawn(timeout time.Duration, body func(p *process)) {
	p := &process{node: n, end: n.sim.kernel.Now + timeout, routines: map[*routine]bool{}}
	n.processes[p] = true
	p.begin(func() {
		body(p)
		delete(n.processes, p)
	})
}

// begin starts a coroutine.
func (p *process) begin(body func()) {
	rt := &routine{}
	rt.next, rt.stop = iter.Pull(func(yield func(struct{}) bool) {
		defer func() {
			if r := recover(); r != nil && r != (killed{}) {
				panic(r)
			}
		}()
		rt.yield = yield
		body()
	})
	p.routines[rt] = true
	p.wake(rt)
}

// wake lets a coroutine go on, soon.
func (p *process) wake(rt *routine) {
	p.node.sim.kernel.After(0, func() {
		if p.dead {
			return
		}
		before := p.running
		p.running = rt
		_, waits := rt.next()
		p.running = before
		if !waits {
			delete(p.routines, rt)
		}
	})
}

// wait starts something and waits until it calls done, or until a timeout; false
// then.
func (p *process) wait(timeout time.Duration, start func(done func())) bool {
	rt, over, ok := p.running, false, false
	end := func(well bool) func() {
		return func() {
			if !over && !p.dead {
				over, ok = true, well
				p.wake(rt)
			}
		}
	}
	p.node.sim.kernel.After(timeout, end(false))
	start(end(true))
	if !p.dead && rt.yield(struct{}{}) {
		return ok
	}
	panic(killed{})
}

// kill ends a process where it waits.
func (p *process) kill() {
	p.dead = true
	for rt := range p.routines {
		if rt != p.running {
			rt.stop()
		}
	}
}
