package txnsim

import "iter"

// process is what dies together: an operation of a client and all that it runs
// in the background.
type process struct {
	w        *world
	dead     bool
	routines map[*routine]bool
	// onDeath runs when the process dies.
	onDeath func()
}

// routine is one coroutine of a process.
type routine struct {
	p     *process
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
	then  func()
}

// killed unwinds a coroutine whose process died.
type killed struct{}

func (w *world) process(onDeath func()) *process {
	return &process{w: w, routines: map[*routine]bool{}, onDeath: onDeath}
}

// spawn starts a coroutine of p; then runs when it has ended by itself.
func (p *process) spawn(body, then func()) {
	rt := &routine{p: p, then: then}
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
	p.w.After(0, rt.resume)
}

// resume runs a coroutine up to its next wait.
func (rt *routine) resume() {
	if rt.p.dead {
		return
	}
	rt.p.w.current = rt
	_, waits := rt.next()
	rt.p.w.current = nil
	if !waits {
		delete(rt.p.routines, rt)
		rt.then()
	}
}

// wait gives way until resume.
func (rt *routine) wait() {
	if !rt.yield(struct{}{}) {
		panic(killed{})
	}
}

// kill ends a process where it waits. What it has sent is on its way.
func (p *process) kill() {
	if p.dead {
		return
	}
	p.dead = true
	for rt := range p.routines {
		rt.stop()
	}
	p.onDeath()
}
