package chord

import (
	"sync"
	"time"
)

const (
	// maxBackground is how many pieces of work a node has in the background. One more
	// is done by who brings it.
	maxBackground = 1024
	// maxIdle is how many goroutines without work are kept, and keptIdle for how long.
	maxIdle  = 256
	keptIdle = 5 * time.Second
)

// background is work that nobody waits for but the node, when it stops; and the
// goroutines for that and for what callers do side by side. They are kept for a
// while, because their stacks have grown to what a change takes: growing a stack
// costs a good part of a change.
type background struct {
	work chan func() // unbuffered: to a goroutine that is idle
	done chan struct{}

	mu      sync.Mutex
	running int
	idle    int
	closed  bool
	wg      sync.WaitGroup
}

func newBackground() *background {
	return &background{work: make(chan func()), done: make(chan struct{})}
}

// run does work in the background; at once, before it returns, where there is too
// much; and not at all once it was closed.
func (b *background) run(work func()) {
	b.mu.Lock()
	full := b.running == maxBackground && !b.closed
	if !full {
		b.running++
	}
	b.mu.Unlock()
	if full {
		work()
		return
	}
	b.start(func() {
		work()
		b.mu.Lock()
		b.running--
		b.mu.Unlock()
	})
}

// each is eachOf on these goroutines.
func (b *background) each(n int, f func(i int) error) error {
	return eachBy(func(work func()) {
		if !b.start(work) {
			go work()
		}
	}, n, f)
}

// start does work on a goroutine that is idle, or on a new one. It returns false once
// it was closed.
func (b *background) start(work func()) bool {
	select {
	case b.work <- work:
		return true
	default:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.wg.Go(func() { b.serve(work) })
	}
	return !b.closed
}

// serve does work until there is none for a while.
func (b *background) serve(work func()) {
	idle := time.NewTimer(keptIdle)
	defer idle.Stop()
	for kept := true; kept; {
		work()
		idle.Reset(keptIdle)
		b.mu.Lock()
		kept = b.idle < maxIdle
		if kept {
			b.idle++
		}
		b.mu.Unlock()
		if !kept {
			return
		}
		select {
		case work = <-b.work:
		case <-idle.C:
			kept = false
		case <-b.done:
			kept = false
		}
		b.mu.Lock()
		b.idle--
		b.mu.Unlock()
	}
}

// close waits for the work under way. Its context must have ended.
func (b *background) close() {
	b.mu.Lock()
	b.closed = true
	close(b.done)
	b.mu.Unlock()
	b.wg.Wait()
}
