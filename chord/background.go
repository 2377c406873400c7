package chord

import "sync"

// maxBackground is how many pieces of work a node has in the background. One more
// is done by who brings it.
const maxBackground = 1024

// background is work that nobody waits for but the node, when it stops.
type background struct {
	mu      sync.Mutex
	running int
	closed  bool
	wg      sync.WaitGroup
}

// run does work in the background; at once, before it returns, where there is too
// much; and not at all once it was closed.
func (b *background) run(work func()) {
	b.mu.Lock()
	closed, full := b.closed, b.running == maxBackground
	if !closed && !full {
		b.running++
		b.wg.Go(func() {
			work()
			b.mu.Lock()
			b.running--
			b.mu.Unlock()
		})
	}
	b.mu.Unlock()
	if full && !closed {
		work()
	}
}

// close waits for the work under way. Its context must have ended.
func (b *background) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.wg.Wait()
}
