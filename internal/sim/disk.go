package sim

import (
	"errors"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// disk keeps what one node has made durable. One sync is under way at a time; it
// takes all writes that wait (group commit). A crash keeps what was synced, and
// of the sync under way any number of its writes from the front.
type disk struct {
	node    *node
	cells   map[string]register.Cell
	mark    register.Mark
	queue   []register.Write
	syncing []register.Write
	broken  bool // for good
}

// Load reads as a shard does: unsynced cells are its own affair.
func (d *disk) Load(key string) (register.Cell, error) {
	if d.broken {
		return register.Cell{}, errors.New("the disk is broken")
	}
	return d.cells[key], nil
}

func (d *disk) write(ws []register.Write) {
	d.queue = append(d.queue, ws...)
	d.sync()
}

func (d *disk) sync() {
	if len(d.syncing) > 0 || len(d.queue) == 0 {
		return
	}
	d.syncing, d.queue = d.queue, nil
	k := d.node.sim.kernel
	t := k.between(200*time.Microsecond, 4*time.Millisecond)
	if k.chance(0.02) {
		t += k.between(0, 700*time.Millisecond) // a stall
	}
	boot := d.node.boot
	k.after(t, func() {
		if d.node.boot != boot || !d.node.up || d.broken {
			return
		}
		d.apply(d.syncing)
		last := d.syncing[len(d.syncing)-1].Seq
		d.syncing = nil
		d.node.do(func(now register.Now) { d.node.shard.Synced(now, last) })
		d.sync()
	})
}

func (d *disk) apply(ws []register.Write) {
	for _, w := range ws {
		if w.Mark != nil {
			d.mark = *w.Mark
			continue
		}
		d.cells[w.Key] = w.Cell
	}
}

func (d *disk) crash() {
	if n := len(d.syncing); n > 0 {
		d.apply(d.syncing[:d.node.sim.kernel.rng.IntN(n+1)])
	}
	d.syncing, d.queue = nil, nil
}
