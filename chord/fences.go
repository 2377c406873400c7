package chord

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/armon/go-metrics"
	"golang.org/x/time/rate"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/fence"
	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

const (
	// completing is how many fences of others a node completes at a time, and
	// completeTime how long it tries each.
	completing   = 8
	completeTime = 10 * time.Second
	// refusalsSaid is how often the log names a writer that was refused, per second.
	refusalsSaid = 1
)

// fences is a node's table of fences: it gives what one shard learns to the others
// and to the disk, and completes fences that stand in the way.
type fences struct {
	node *Node
	say  *rate.Limiter
	work chan struct{}

	mu       sync.Mutex
	known    register.Fences
	learned  register.Fences // not given to the shards yet
	unsealed map[string]bool // to be completed; true once that is under way
}

func newFences(n *Node) *fences {
	f := &fences{
		node: n, say: rate.NewLimiter(refusalsSaid, 5), work: make(chan struct{}, 1),
		known: register.Fences{}, learned: register.Fences{}, unsealed: map[string]bool{},
	}
	if n.store != nil {
		f.note(n.store.Fences())
	}
	return f
}

// table returns all entries.
func (f *fences) table() []register.FenceEntry {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known.Entries()
}

func (f *fences) note(entries []register.FenceEntry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range entries {
		f.known.Learn(&entries[i])
	}
}

// inForce returns the newest token that is known of a lock, 0 for none.
func (f *fences) inForce(lock string) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.known[lock]
	return e.InForce()
}

// outdated reports whether a newer fence is known; the zero fence is never
// outdated.
func (f *fences) outdated(of backend.Fence) bool { return of.Token < f.inForce(of.Key) }

// learn gives entries to all shards. A member has them on its disk when it returns
// nil, also those that it knew: who is told of a fence counts on that.
func (f *fences) learn(st *ringState, entries []register.FenceEntry) error {
	f.note(entries)
	for _, d := range st.drivers {
		d.input(func(now register.Now) { d.shard.Fence(now, entries) })
	}
	if f.node.store == nil {
		return nil
	}
	return f.node.store.KeepFences(entries)
}

// took is told what a shard has learned, lacks and refused. It must not wait.
func (f *fences) took(ready *register.Ready) {
	for i := range ready.Refused {
		f.refused("accepts_refused", &ready.Refused[i])
	}
	for i := range ready.Fenced {
		f.refused("refused", &ready.Fenced[i])
	}
	if len(ready.Learned) == 0 && len(ready.Unsealed) == 0 {
		return
	}
	f.mu.Lock()
	for i := range ready.Learned {
		f.known.Learn(&ready.Learned[i])
		f.learned.Learn(&ready.Learned[i])
	}
	for _, lock := range ready.Unsealed {
		if _, there := f.unsealed[lock]; !there && len(f.unsealed) < register.MaxFences {
			f.unsealed[lock] = false
		}
	}
	f.mu.Unlock()
	f.wake()
}

func (f *fences) wake() {
	select {
	case f.work <- struct{}{}:
	default:
	}
}

// refused counts a write that was refused, or an Accept of one, and names its
// writer.
func (f *fences) refused(counter string, r *register.Refusal) {
	if m := f.node.cfg.Metrics; m != nil {
		m.IncrCounterWithLabels([]string{"fence", counter}, 1, []metrics.Label{{Name: "lock", Value: r.Fence.Key}})
	}
	if f.say.Allow() {
		f.node.log.Warn("refused the write of a former holder of a lock", "lock", r.Fence.Key, "token", r.Fence.Token, "in_force", r.InForce, "key", strings.TrimPrefix(r.Key, internalPrefix), "from", f.node.nameOf(r.From))
	}
}

// nameOf returns the name of a member, or what else there is to say of a node.
func (n *Node) nameOf(node ring.Node) string {
	if st := n.ring.Load(); st != nil {
		for _, m := range st.placement.Configuration().All() {
			if m.ID.Node() == node {
				return m.Name
			}
		}
	}
	return "client " + node.String()
}

// carried are fences as they travel with cells.
type carried [][]byte

// carry returns the table of fences. It must be read after the cells that travel
// with it, by which their tags were judged.
func (f *fences) carry() (all carried) {
	for _, e := range f.table() {
		all = append(all, register.AppendFenceEntry(nil, &e))
	}
	return all
}

// receive takes in what travelled with cells, before these: who takes cells knows
// all fences that those knew who gave them.
func (f *fences) receive(st *ringState, all carried) error {
	var entries []register.FenceEntry
	for _, b := range all {
		e, err := register.DecodeFenceEntry(b)
		if err != nil {
			return err
		}
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		return nil
	}
	return f.learn(st, entries)
}

// run spreads what was learned, and completes fences, until the node stops.
func (f *fences) run() {
	for {
		f.spread()
		f.complete()
		select {
		case <-f.work:
		case <-f.node.ctx.Done():
			return
		}
	}
}

// spread gives what one shard has learned to the others and the disk.
func (f *fences) spread() {
	f.mu.Lock()
	entries := f.learned.Entries()
	f.learned = register.Fences{}
	f.mu.Unlock()
	st := f.node.ring.Load()
	if len(entries) == 0 || st == nil {
		return
	}
	if err := f.learn(st, entries); err != nil && f.node.ctx.Err() == nil {
		f.node.fail(err)
	}
}

// ask reads the register of a lock's fence, which is the authority, and learns what
// it says: who is no member is told by nobody.
func (f *fences) ask(ctx context.Context, lock string) error {
	v, err := f.node.value(ctx, register.FenceKey(lock), false)
	if err != nil || !v.Live {
		return err
	}
	e, err := register.DecodeFenceEntry(v.Data)
	if err != nil {
		return err
	}
	return f.learn(f.node.ring.Load(), []register.FenceEntry{e})
}

// complete begins to complete what is in the way.
func (f *fences) complete() {
	f.mu.Lock()
	defer f.mu.Unlock()
	busy := 0
	for _, underWay := range f.unsealed {
		if underWay {
			busy++
		}
	}
	for lock, underWay := range f.unsealed {
		if underWay || busy == completing {
			continue
		}
		busy++
		f.unsealed[lock] = true
		f.node.wg.Go(func() {
			f.completeOne(lock)
			f.mu.Lock()
			delete(f.unsealed, lock)
			f.mu.Unlock()
			f.wake()
		})
	}
}

func (f *fences) completeOne(lock string) {
	r, cancel := f.node.fencing(f.node.ctx, completeTime)
	defer cancel()
	err := fence.Complete(r, lock)
	if err == nil {
		err = f.ask(r.ctx, lock)
	}
	if err != nil && f.node.ctx.Err() == nil {
		f.node.log.Debug("a fence that is in the way could not be completed", "lock", lock, "error", err)
	}
}
