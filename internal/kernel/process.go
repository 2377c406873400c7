package kernel

import "iter"

// Process is what dies together: code that blocks, in coroutines, since a
// simulation is one goroutine.
type Process struct {
	kernel   *Kernel
	dead     bool
	routines map[*Routine]bool
}

// Routine is one coroutine of a process.
type Routine struct {
	process *Process
	next    func() (struct{}, bool)
	stop    func()
	yield   func(struct{}) bool
	then    func()
}

// killed unwinds a coroutine whose process died.
type killed struct{}

// Process returns a process that does nothing yet.
func (k *Kernel) Process() *Process {
	return &Process{kernel: k, routines: map[*Routine]bool{}}
}

// Current returns the coroutine that runs, or nil.
func (k *Kernel) Current() *Routine { return k.current }

// Spawn starts a coroutine, soon; then runs when it has ended by itself.
func (p *Process) Spawn(body, then func()) {
	rt := &Routine{process: p, then: then}
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
	p.kernel.After(0, rt.Resume)
}

// Resume runs a coroutine up to its next Wait. It is called by events.
func (rt *Routine) Resume() {
	p := rt.process
	if p.dead {
		return
	}
	p.kernel.current = rt
	_, waits := rt.next()
	p.kernel.current = nil
	if !waits {
		delete(p.routines, rt)
		rt.then()
	}
}

// Wait gives way until Resume. It is called by the coroutine itself.
func (rt *Routine) Wait() {
	if rt.process.dead || !rt.yield(struct{}{}) {
		panic(killed{})
	}
}

// Dead reports whether the process was killed.
func (p *Process) Dead() bool { return p.dead }

// Kill ends a process where it waits; one that runs ends at its next Wait. What it
// has sent is on its way. It reports whether the process lived.
func (p *Process) Kill() bool {
	if p.dead {
		return false
	}
	p.dead = true
	for rt := range p.routines {
		if rt != p.kernel.current {
			rt.stop()
		}
	}
	return true
}

// Done reports whether all coroutines have ended by themselves.
func (p *Process) Done() bool { return len(p.routines) == 0 }
