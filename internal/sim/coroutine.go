package sim

import (
	"errors"
	"time"

	"github.com/chord-plugin/chord-plugin/internal/kernel"
)

// process is code that blocks, on a node, with which it ends.
type process struct {
	*kernel.Process
	node *node
	end  time.Duration
}

var errOver = errors.New("the time is over")

// spawn runs body as a process of the node, until a time at the latest.
func (n *node) spawn(timeout time.Duration, body func(p *process)) {
	p := &process{Process: n.sim.kernel.Process(), node: n, end: n.sim.kernel.Now + timeout}
	n.processes[p] = true
	p.begin(func() {
		body(p)
		delete(n.processes, p)
	})
}

// begin starts a coroutine.
func (p *process) begin(body func()) { p.Spawn(body, func() {}) }

// wait starts something and waits until it calls done, or until a timeout; false
// then.
func (p *process) wait(timeout time.Duration, start func(done func())) bool {
	k := p.node.sim.kernel
	rt, over, ok := k.Current(), false, false
	end := func(well bool) func() {
		return func() {
			if !over && !p.Dead() {
				over, ok = true, well
				k.After(0, rt.Resume)
			}
		}
	}
	k.After(timeout, end(false))
	start(end(true))
	rt.Wait()
	return ok
}
