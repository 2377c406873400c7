package sim

import (
	"errors"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// disk keeps what one node has made durable. One sync is under way at a time; it
// takes all writes that wait (group commit). A crash keeps what was synced, and
// of the sync under way any number of its writes from the front.
type disk struct {
	node  *node
	cells map[string]register.Cell
	mark  register.Mark
	// fences is the table of fences.
	fences register.Fences
	// chain holds the configurations that the node went through, oldest first.
	chain   []*ring.Configuration
	queue   []item
	syncing []item
	broken  bool // for good
}

// item is one thing to make durable, in order: a shard's write, a configuration, entries
// of fences, or nothing but the end of what is before it.
type item struct {
	write   register.Write
	install *ring.Configuration
	fences  []register.FenceEntry
	done    func() // called once it is durable
}

// Load reads as a shard does: unsynced cells are its own affair.
func (d *disk) Load(key string) (register.Cell, error) {
	if d.broken {
		return register.Cell{}, errors.New("the disk is broken")
	}
	return d.cells[key], nil
}

func (d *disk) write(ws []register.Write) {
	for _, w := range ws {
		d.queue = append(d.queue, item{write: w})
	}
	d.sync()
}

// install makes a configuration durable.
func (d *disk) install(c *ring.Configuration, done func()) {
	d.queue = append(d.queue, item{install: c, done: done})
	d.sync()
}

// fence makes entries of the table of fences durable.
func (d *disk) fence(entries []register.FenceEntry, done func()) {
	d.queue = append(d.queue, item{fences: entries, done: done})
	d.sync()
}

// flush calls done once all that was given to the disk is durable.
func (d *disk) flush(done func()) {
	d.queue = append(d.queue, item{done: done})
	d.sync()
}

func (d *disk) sync() {
	if len(d.syncing) > 0 || len(d.queue) == 0 {
		return
	}
	d.syncing, d.queue = d.queue, nil
	k := d.node.sim.kernel
	t := k.Between(200*time.Microsecond, 4*time.Millisecond)
	if k.Chance(d.node.sim.stalls) {
		t += k.Between(0, 700*time.Millisecond) // a stall
	}
	boot := d.node.boot
	k.After(t, func() {
		there := func() bool { return d.node.boot == boot && d.node.up && !d.broken }
		if !there() {
			return
		}
		items := d.syncing
		d.apply(items)
		d.syncing = nil
		var last uint64
		for _, it := range items {
			last = max(last, it.write.Seq)
		}
		if last > 0 {
			d.node.do(func(now register.Now) { d.node.shard.Synced(now, last) })
		}
		for _, it := range items {
			if it.done != nil && there() {
				it.done()
			}
		}
		if there() {
			d.sync()
		}
	})
}

func (d *disk) apply(items []item) {
	for _, it := range items {
		w := &it.write
		for i := range it.fences {
			d.fences.Learn(&it.fences[i])
		}
		switch {
		case it.install != nil:
			d.chain = append(d.chain, it.install)
		case w.Seq == 0:
		case w.Mark != nil:
			d.mark = *w.Mark
		case w.Drop:
			delete(d.cells, w.Key)
		default:
			d.cells[w.Key] = w.Cell
		}
	}
}

func (d *disk) crash() {
	if n := len(d.syncing); n > 0 {
		d.apply(d.syncing[:d.node.sim.kernel.Rand.IntN(n+1)])
	}
	d.syncing, d.queue = nil, nil
}
