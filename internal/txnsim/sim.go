package txnsim

import (
	"fmt"
	"slices"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/txn"
)

// Options choose what one run does; the seed decides the rest.
type Options struct {
	// Seed decides everything that is random.
	Seed uint64
	// Duration is how long clients and faults run, in simulated time.
	Duration time.Duration
}

func newRun(seed uint64, duration time.Duration) *run {
	return &run{world: newWorld(seed), until: duration, shortest: 50 * time.Millisecond, version: map[string]version{}, indexes: map[string]map[uint64]int{}}
}

// clients runs clients that do work until the end, and then the finale.
func (r *run) clients(n int, work func(e *port, o **operation) error) error {
	r.work = work
	for c := range n {
		r.active++
		r.client(c)
	}
	for _, n := range r.nodes {
		r.sweep(n)
	}
	return r.finale()
}

// Run runs clients on few keys under every fault and returns what is wrong with
// what they saw, or nil.
func Run(o Options) (Stats, error) {
	r := newRun(o.Seed, o.Duration)
	defer r.close()
	r.faulty, r.dying = true, []float64{0, 0.004, 0.02}[r.Rand.IntN(3)]
	r.keys = []string{"a/1", "b/1", "a/2", "b/2"}[:2+r.Rand.IntN(3)]
	if err := r.clients(3+r.Rand.IntN(3), r.operate); err != nil {
		return r.stats, err
	}
	decided, err := judge(r.history)
	if !decided {
		r.stats.Undecided++
	}
	return r.stats, err
}

// close ends what still waits.
func (r *run) close() {
	for _, p := range r.processes {
		p.onDeath = func() {}
		p.kill()
	}
}

// sweep lets a node sweep the statuses that there are, again and again.
func (r *run) sweep(n *node) {
	r.After(r.Between(0, r.cfg.Timeout/4), func() {
		p := r.process(func() { r.sweep(n) })
		r.processes = append(r.processes, p)
		e := &port{w: r.world, p: p, n: n, deadline: r.Now + backgroundTime}
		p.Spawn(func() { _ = n.sweeper.Sweep(e, r.pending(), backgroundTime); n.sweeper.Passed() }, func() { r.sweep(n) })
	})
}

// pending lists the statuses, in their order.
func (r *run) pending() []txn.ID {
	var ids []txn.ID
	for key, v := range r.held {
		if id, ok := register.ParseTxnKey(key); ok && v.Live {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, txn.ID.Compare)
	return ids
}

// finale stops the faults and checks that everything ends: the clients within
// their deadlines, and every status and every intent (of keys that are read)
// soon after.
func (r *run) finale() error {
	r.run(r.until, func() bool { return r.err != nil })
	r.faulty = false
	r.run(r.until+r.shortest+4*time.Second, func() bool { return r.err != nil || r.active == 0 })
	if r.err != nil {
		return r.err
	}
	if r.active > 0 {
		return fmt.Errorf("%d clients have not ended", r.active)
	}
	r.run(max(r.Now, r.until+4*latest)+2*r.cfg.Timeout+backgroundTime, func() bool { return false })
	for _, id := range r.pending() {
		v := r.held[id.Key()]
		return fmt.Errorf("the status of %v is still there: %+v", id, r.statusAt(&v))
	}
	if r.atRest != nil {
		if err := r.atRest(); err != nil {
			return err
		}
	}
	for _, key := range r.keys {
		p := r.process(func() {})
		r.processes = append(r.processes, p)
		e := &port{w: r.world, p: p, n: r.nodes[0], deadline: r.Now + time.Second}
		var err error
		p.Spawn(func() { _, err = e.n.c.Read(e, key) }, func() {})
		r.run(r.Now+time.Second, func() bool { return p.Done() })
		if err != nil || !p.Done() {
			return fmt.Errorf("reading key %q in the end: %v", key, err)
		}
		if in := r.held[key].Intent; in != nil {
			return fmt.Errorf("key %q still has the intent %+v", key, in)
		}
	}
	return r.err
}
