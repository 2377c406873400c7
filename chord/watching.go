package chord

import (
	"context"
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

const (
	// watchLinger is how long a watched stays that nobody watches.
	watchLinger = 30 * time.Second
	// watchSweep is how often the node looks for those.
	watchSweep = 5 * time.Second
	// watchReaders is how many keys or prefixes are read at a time.
	watchReaders = 16
	// watchRest is the pause before something is read again that could not be, or
	// under which more than maxDirty changes were told while it was read.
	watchRest = 200 * time.Millisecond
	// maxDirty bounds the keys of a prefix that wait to be read; beyond it, it is
	// read as a whole.
	maxDirty = 256
)

// watching is the part of a node that watches for its callers.
type watching struct {
	node *Node
	// woken: the ring is another one, or somebody watches again.
	woken chan struct{}
	// work holds a token for each reader that is to look at the queue.
	work chan struct{}
	// feeds are the calls to the members; only run knows them.
	feeds map[ring.Node]context.CancelFunc

	mu      sync.Mutex
	watches int // calls
	watched map[watchName]*watched
	filter  *filter
	queue   []*watched // to be read
	resting []*watched // to be read after a pause
	rested  *time.Timer
}

// tellsNothing is the filter while nothing is watched.
func tellsNothing() *filter { return newFilter([]string{"\x00"}) }

func newWatching(n *Node) *watching {
	w := &watching{
		node: n, woken: make(chan struct{}, 1), work: make(chan struct{}, watchReaders), feeds: map[ring.Node]context.CancelFunc{},
		watched: map[watchName]*watched{}, filter: tellsNothing(), rested: time.NewTimer(time.Hour),
	}
	w.rested.Stop()
	return w
}

// wake has run look at what changed.
func (w *watching) wake() {
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// run follows the members while something is watched, and forgets what nobody
// watches, until the node stops.
func (w *watching) run() {
	for range watchReaders {
		w.node.wg.Go(w.read)
	}
	tick := time.NewTicker(watchSweep)
	defer tick.Stop()
	defer w.rested.Stop()
	defer w.followAll(nil)
	var followed *ringState
	for {
		select {
		case <-w.woken:
		case <-tick.C:
			w.sweep()
		case <-w.rested.C:
			w.again()
		case <-w.node.ctx.Done():
			return
		}
		st := w.node.ring.Load()
		if w.idle() {
			st = nil
		}
		if st != followed {
			followed = st
			w.followAll(st)
			w.soilAll() // the owners are others, and so may be those who tell
		}
	}
}

func (w *watching) idle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.watched) == 0
}

// followAll follows the members of a configuration, and nobody else.
func (w *watching) followAll(st *ringState) {
	members := map[ring.Node]bool{}
	if st != nil {
		for _, m := range st.placement.Configuration().All() {
			members[m.ID.Node()] = true
		}
	}
	for m, stop := range w.feeds {
		if !members[m] {
			stop()
			delete(w.feeds, m)
		}
	}
	for m := range members {
		if w.feeds[m] == nil {
			ctx, stop := context.WithCancel(w.node.ctx)
			w.feeds[m] = stop
			w.node.wg.Go(func() { w.follow(ctx, m) })
		}
	}
}

// sweep forgets what nobody watches any more.
func (w *watching) sweep() {
	w.mu.Lock()
	defer w.mu.Unlock()
	had := len(w.watched)
	for name, x := range w.watched {
		if x.watchers == 0 && time.Since(x.left) > watchLinger {
			delete(w.watched, name)
		}
	}
	if now := len(w.watched); now < had && now <= feedPrefixes {
		w.refilter()
		w.gauge()
	}
}

// refilter asks for what is watched now. The lock is held.
func (w *watching) refilter() {
	next := tellsNothing()
	if len(w.watched) > 0 {
		var prefixes []string
		for name := range w.watched {
			if prefixes = append(prefixes, name.name); len(prefixes) > feedPrefixes {
				break // it asks for everything
			}
		}
		next = newFilter(prefixes)
	}
	old := w.filter
	w.filter = next
	old.replace()
}

func (w *watching) filtered() *filter {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.filter
}

// soilAll has everything read again that is watched.
func (w *watching) soilAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, x := range w.watched {
		w.soil(x, "", true)
	}
}

// soilKeys has keys read, for those who watch them.
func (w *watching) soilKeys(keys []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range keys {
		if x := w.watched[watchName{key, false}]; x != nil {
			w.soil(x, "", true)
		}
		for i := 0; i <= len(key); i++ {
			if x := w.watched[watchName{key[:i], true}]; x != nil {
				w.soil(x, key, false)
			}
		}
	}
}

// soil has a key of what is watched read, or all of it. The lock is held.
func (w *watching) soil(x *watched, key string, whole bool) {
	if key != "" {
		x.told++
	}
	if x.whole = x.whole || whole || len(x.dirty) >= maxDirty; x.whole {
		x.dirty = nil
	} else {
		if x.dirty == nil {
			x.dirty = map[string]struct{}{}
		}
		x.dirty[key] = struct{}{}
	}
	w.enqueue(x)
}

// enqueue gives x to the next reader. The lock is held.
func (w *watching) enqueue(x *watched) {
	if x.queued || x.busy || x.rests {
		return // it is looked at again
	}
	x.queued = true
	w.queue = append(w.queue, x)
	select {
	case w.work <- struct{}{}:
	default: // all readers are about to look
	}
}

// rest has x read after a pause. The lock is held.
func (w *watching) rest(x *watched) {
	if len(w.resting) == 0 {
		w.rested.Reset(watchRest)
	}
	x.rests = true
	w.resting = append(w.resting, x)
}

// again queues what has rested.
func (w *watching) again() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, x := range w.resting {
		x.rests = false
		w.enqueue(x)
	}
	w.resting = nil
}
