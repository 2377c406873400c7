package chord

import (
	"context"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/register"
)

// All that watch one key, or one prefix, share one watched, whose index follows
// what the members tell (see feed.go). It stays for a while after the last of
// them, as most come back at once with the index that they were told.
//
// The index of a key is the stamp of its last change, and stamps of one key only
// grow. Those of different keys need not: a change that is under way may be chosen
// after one with a higher stamp was, or, when its proposer died, much later. Then
// the index of a prefix stays, and whoever listed the prefix before has not seen
// the change. So a watch of a prefix also returns for nothing: at once when such a
// change is met; and soon, once a call, while one may just have been met or may be
// under way, since the caller may have listed before it.
//
// Nor is it known which changes came before a watched was made; and when the newest
// deletion is forgotten, the index is what it was before it. So all who wait are told
// for nothing watchAgain after that; and watchBelated after it, for those who have
// come late. At these moments and not once a call: most who come back have been told.

const (
	// maxWatched bounds the keys and prefixes that are watched at one node, and
	// maxWatches the calls.
	maxWatched = 100_000
	maxWatches = 200_000
	// watchUnderway is how young the index of a prefix is when changes with lower
	// stamps may be under way.
	watchUnderway = 2 * time.Second
	// watchBelated is how long the callers are asked to look again after a change
	// that the index does not show.
	watchBelated = 20 * time.Second
	// watchAgain is how long a watch waits when it will return for nothing.
	watchAgain = time.Second
)

var _ backend.Watcher = (*Node)(nil)

// Watch implements backend.Watcher.
func (n *Node) Watch(ctx context.Context, q backend.WatchQuery) (uint64, error) {
	if err := n.limits.CheckWatch(q); err != nil {
		return 0, err
	}
	name := watchName{q.Key, false}
	if q.Key == "" {
		name = watchName{q.Prefix, true}
	}
	if _, err := n.serving(ctx, name.name); err != nil {
		return 0, err
	}
	w := n.watching
	x, err := w.enter(name)
	if err != nil {
		return 0, err
	}
	defer w.leave(x)
	return w.wait(ctx, x, q.After)
}

// wait waits until what x watches has another index than after.
func (w *watching) wait(ctx context.Context, x *watched, after uint64) (uint64, error) {
	w.mu.Lock()
	fresh := uint64(0) // the reading that must be through; 0 is none
	if x.index != after || x.index == 0 {
		fresh = x.reading + 1 // the index is to be that of now
		w.soil(x, "", true)
	}
	belated := x.belated
	w.mu.Unlock()
	var again <-chan time.Time
	for {
		w.mu.Lock()
		index, moved := x.index, x.moved
		if fresh > 0 {
			if x.read >= fresh && index != after {
				w.mu.Unlock()
				return index, nil
			}
			if x.read >= fresh {
				fresh, belated = 0, x.belated
			}
		}
		told := fresh == 0 && (index != after || belated != x.belated)
		if fresh == 0 && again == nil {
			if d := x.doubt(time.Now(), w.node.cfg.wall()); d > 0 {
				t := time.NewTimer(d)
				defer t.Stop()
				again = t.C
			}
		}
		w.mu.Unlock()
		if told {
			return index, nil
		}
		select {
		case <-moved:
		case <-again:
			return index, nil
		case <-ctx.Done():
			return 0, &backend.Error{Code: backend.NoQuorum, Key: x.name, Message: "nothing else happened in time, as far as is known here", Cause: ctx.Err()}
		case <-w.node.done:
			return 0, w.node.usable(context.Background(), x.name)
		}
	}
}

// A watched is a key or a prefix that somebody watches, or did a moment ago. The
// lock of watching guards it.
type watched struct {
	watchName
	// index is that of the state; 0 while it is not known.
	index uint64
	// moved is closed when a reading is through that somebody waits for.
	moved    chan struct{}
	watchers int
	left     time.Time // when the last one went

	// dirty are the keys of a prefix that are to be read; whole: all of it.
	dirty map[string]struct{}
	whole bool
	// queued: it waits for a reader. busy: one has it; there is one at a time, so
	// that the index follows the state.
	queued, busy bool
	// told counts the changes since a reader took it; rests: it is read after a pause.
	told  int
	rests bool
	// reading numbers the readings of the whole, read is the last that succeeded.
	reading, read uint64

	// stamps are those of the keys of a prefix, by hash; some of them where there
	// are too many.
	stamps map[uint64]uint64
	some   bool
	// belated counts the changes of a prefix that left the index where it was, and
	// met is when the last one was met.
	belated uint64
	met     time.Time
	// since is when the index of a prefix was first known, or fell.
	since time.Time
}

// watchName is a key or a prefix.
type watchName struct {
	name   string
	prefix bool
}

// doubt returns how long to wait before a caller who has seen the index is told for
// nothing, as it may have missed a change that the index does not show; 0 if it has not.
func (x *watched) doubt(now, wall time.Time) time.Duration {
	if !x.prefix || x.index == 0 {
		return 0
	}
	if wall.Sub(register.TimeOf(x.index)) < watchUnderway || !x.met.IsZero() && now.Sub(x.met) < watchBelated {
		return watchAgain
	}
	for _, at := range []time.Duration{watchAgain, watchBelated} {
		if d := at - now.Sub(x.since); d > 0 {
			return d
		}
	}
	return 0
}

// enter returns what is watched under a name, with one more watcher.
func (w *watching) enter(name watchName) (*watched, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.watched[name]
	switch {
	case w.watches >= maxWatches:
		return nil, backend.Errorf(backend.NotReady, name.name, "%d calls watch at this node, which is the limit; watch at another one", maxWatches)
	case x == nil && len(w.watched) >= maxWatched:
		return nil, backend.Errorf(backend.NotReady, name.name, "%d keys and prefixes are watched at this node, which is the limit; watch at another one, or a common prefix", maxWatched)
	case x == nil:
		x = &watched{watchName: name, moved: make(chan struct{})}
		w.watched[name] = x
		if !w.filter.tells(name.name) {
			w.refilter()
		}
		if len(w.watched) == 1 {
			w.wake() // follow the members
		}
		w.soil(x, "", true) // what changes from now on is told
	}
	x.watchers++
	w.watches++
	w.gauge()
	return x, nil
}

func (w *watching) leave(x *watched) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watches--
	w.gauge()
	if x.watchers--; x.watchers == 0 {
		x.left = time.Now()
	}
}

// gauge tells how many calls wait. The lock is held.
func (w *watching) gauge() {
	if m := w.node.cfg.Metrics; m != nil {
		m.SetGauge([]string{"watch", "calls"}, float32(w.watches))
		m.SetGauge([]string{"watch", "watched"}, float32(len(w.watched)))
	}
}
