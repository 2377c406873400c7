package chord

import (
	"context"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

const (
	// readingTimeout bounds one reading of what is watched.
	readingTimeout = 10 * time.Second
	// maxStamps is how many keys of one prefix are known by their stamps. Under a
	// longer one, a change may be taken for a belated one.
	maxStamps = 20_000
)

// reading is what was read of a watched.
type reading struct {
	whole bool
	index uint64            // of what was read
	stamp map[uint64]uint64 // of the keys that were read, by hash; not of all where some
	some  bool
}

// read reads what changed until the node stops.
func (w *watching) read() {
	for {
		if x, whole, keys := w.next(); x != nil {
			ctx, cancel := context.WithTimeout(w.node.ctx, readingTimeout)
			r, err := w.look(ctx, x, whole, keys)
			cancel()
			w.done(x, whole, r, err)
			continue
		}
		select {
		case <-w.work:
		case <-w.node.ctx.Done():
			return
		}
	}
}

// next takes what is to be read from the queue.
func (w *watching) next() (x *watched, whole bool, keys []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 || w.node.ctx.Err() != nil {
		return nil, false, nil
	}
	x = w.queue[0]
	w.queue[0] = nil
	w.queue = w.queue[1:]
	x.queued, x.busy = false, true
	for key := range x.dirty {
		keys = append(keys, key)
	}
	if whole = x.whole; whole {
		x.reading++
	}
	x.whole, x.dirty, x.told = false, nil, 0
	return x, whole, keys
}

// done takes in what was read, or that it could not be.
func (w *watching) done(x *watched, whole bool, r *reading, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	x.busy = false
	if w.watched[x.watchName] != x {
		return // nobody has been watching it for long
	}
	if err != nil {
		x.whole, x.dirty = true, nil
		w.rest(x)
		return
	}
	changed := x.take(r)
	if whole {
		x.read = x.reading
	}
	if changed || whole {
		close(x.moved)
		x.moved = make(chan struct{})
	}
	switch {
	case x.told > maxDirty:
		w.rest(x)
	case x.whole || len(x.dirty) > 0:
		w.enqueue(x)
	}
}

// take takes in what was read and reports whether that is news.
func (x *watched) take(r *reading) bool {
	if !x.prefix {
		changed := x.index != r.index
		x.index = r.index
		return changed
	}
	first := x.index == 0
	news, fell := r.some && r.whole, false
	if r.whole {
		for key, old := range x.stamps {
			now := r.stamp[key]
			news = news || now != old && !r.some
		}
		for key, now := range r.stamp {
			old, known := x.stamps[key]
			news = news || now != old && (known || !x.some)
		}
		x.stamps, x.some = r.stamp, r.some
	} else {
		for key, now := range r.stamp {
			old, known := x.stamps[key]
			if now == old && (known || !x.some) {
				continue
			}
			news, fell = true, fell || now < old
			if now == 0 {
				delete(x.stamps, key)
			} else {
				x.stamps[key] = now
			}
		}
		if len(x.stamps) > maxStamps {
			x.stamps, x.some = map[uint64]uint64{}, true
		}
	}
	index := x.index
	switch {
	case r.whole:
		index = r.index
	case fell && !x.some: // a deletion was forgotten
		index = 1
		for _, stamp := range x.stamps {
			index = max(index, stamp)
		}
	default:
		index = max(index, r.index)
	}
	switch {
	case first || index < x.index:
		x.since = time.Now()
	case index == x.index && news:
		x.belated++
		x.met = time.Now()
	}
	changed := index != x.index || news
	x.index = index
	return changed
}

// look reads a key, or all under a prefix, or some keys there.
func (w *watching) look(ctx context.Context, x *watched, whole bool, keys []string) (*reading, error) {
	switch {
	case !x.prefix:
		keys = []string{x.name}
	case whole:
		return w.node.lookUnder(ctx, x.name)
	}
	r := &reading{index: 1, stamp: make(map[uint64]uint64, len(keys))}
	return r, w.node.stamps(ctx, keys, func(key string, stamp uint64) {
		r.index = max(r.index, stamp)
		r.stamp[hashOf(key)] = stamp
	})
}

// stamps adds the stamps of keys, which it reads one by one.
func (n *Node) stamps(ctx context.Context, keys []string, add func(key string, stamp uint64)) error {
	stamps := make([]uint64, len(keys))
	err := eachOf(len(keys), func(i int) (err error) {
		stamps[i], err = n.stamp(ctx, keys[i])
		return err
	})
	for i, key := range keys {
		add(key, stamps[i])
	}
	return err
}

// stamp returns the stamp of the last change of a key, a deletion included, and 0
// where nothing is known of one.
func (n *Node) stamp(ctx context.Context, key string) (uint64, error) {
	v, err := n.seen(ctx, key, false)
	if err != nil {
		return 0, fmt.Errorf("watch %q: %w", key, err)
	}
	return v.Stamp(), nil
}

// lookUnder reads the stamps of all keys under a prefix: of each as it was at some moment
// of the call. What changes meanwhile is told by the feed, and read again; so this need
// not be one snapshot, and ends however much is written.
func (n *Node) lookUnder(ctx context.Context, prefix string) (*reading, error) {
	st, err := n.serving(ctx, prefix)
	if err != nil {
		return nil, err
	}
	l := newListing(n, st, backend.ListQuery{Prefix: prefix})
	for err == nil && !l.ended {
		err = l.scan(ctx)
	}
	var again map[string]bool
	if err == nil {
		again, err = l.decide(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("watch what begins with %q: %w", prefix, err)
	}
	r := &reading{whole: true, index: 1, stamp: map[uint64]uint64{}}
	add := func(key string, stamp uint64) {
		if r.index = max(r.index, stamp); stamp != 0 && !r.some {
			r.stamp[hashOf(key)] = stamp
		}
		if len(r.stamp) > maxStamps {
			r.stamp, r.some = map[uint64]uint64{}, true
		}
	}
	var apart []string // what the owners do not agree on, or has just ended
	for key := range l.open {
		apart = append(apart, key)
	}
	for _, k := range l.settled {
		if again[k.key] {
			apart = append(apart, k.key)
			continue
		}
		add(k.key, l.shown(&k.cell.cell.Value).Stamp())
	}
	return r, n.stamps(ctx, apart, add)
}

var hashSeed = maphash.MakeSeed()

// hashOf returns the hash of a key, which is another one in each process.
func hashOf(key string) uint64 { return maphash.String(hashSeed, key) }
