package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// patient is how long repairs may take after the last fault until all owners
// agree, and tombstones until they are forgotten.
const patient = 20 * time.Second

// tend lets members repair and forget, as far as the run has that, for a while.
func (s *Sim) tend(until time.Duration) {
	if s.repair {
		(&repairing{sim: s, pause: 150 * time.Millisecond, until: until}).run()
	}
	if s.forget {
		(&forgetting{sim: s, pause: 300 * time.Millisecond, until: until}).run()
	}
}

// eventually lets members repair and forget until there is nothing wrong.
func (s *Sim) eventually(wrong func() error) error {
	end := s.kernel.Now + patient
	for s.kernel.Now < end {
		if wrong() == nil {
			return nil
		}
		until := s.kernel.Now + time.Second
		s.tend(until)
		s.run(time.Second + 500*time.Millisecond)
	}
	if err := wrong(); err != nil {
		return fmt.Errorf("%w, %v after the last fault", err, patient)
	}
	return nil
}

// agreed checks that all owners that are up come to hold the same cell of every key.
func (s *Sim) agreed() error {
	if !s.repair {
		return nil
	}
	return s.eventually(func() error {
		for _, key := range append(slices.Clone(s.everyKey), ringKey) {
			var first *node
			g := s.placement.Group(key)
			for _, o := range g.Owners() {
				n := s.network.nodes[o]
				if !n.up {
					continue
				}
				if first == nil {
					first = n
				}
				a, b := plain(first.disk.cells[key]), plain(n.disk.cells[key])
				if a.Accepted != b.Accepted || string(register.AppendCell(nil, &a)) != string(register.AppendCell(nil, &b)) {
					return fmt.Errorf("key %q: node %s has %v and node %s has %v", key, first.name, a.Accepted, n.name, b.Accepted)
				}
			}
		}
		return nil
	})
}

// forgotten checks that the tombstones of all keys go that are deleted and whose
// owners are all up.
func (s *Sim) forgotten() error {
	if !s.forget || s.placement.Configuration().Joint() {
		return nil
	}
	return s.eventually(func() error {
		for _, n := range s.up() {
			if n.disk == nil {
				continue
			}
			for _, key := range n.tombstones() {
				if s.complete(key) && !s.live(key) {
					return fmt.Errorf("key %q: node %s still has a tombstone", key, n.name)
				}
			}
		}
		return nil
	})
}

// complete reports whether all owners of a key are up.
func (s *Sim) complete(key string) bool {
	g := s.placement.Group(key)
	return !slices.ContainsFunc(g.Owners(), func(o ring.Node) bool { return !s.network.nodes[o].up })
}

// live reports whether an owner of a key has a value: who still has a tombstone
// from before it is to be repaired, not to forget.
func (s *Sim) live(key string) bool {
	g := s.placement.Group(key)
	return slices.ContainsFunc(g.Owners(), func(o ring.Node) bool { return s.network.nodes[o].disk.cells[key].Value.Live })
}

// forgotUpTo returns the highest floor of the owners that have nothing of a key.
func (s *Sim) forgotUpTo(key string) (at uint64) {
	g := s.placement.Group(key)
	for _, o := range g.Owners() {
		n := s.network.nodes[o]
		if c := n.disk.cells[key]; n.up && c.IsZero() {
			_, floor := n.shard.Promises()
			at = max(at, floor.Time)
		}
	}
	return at
}

// lastDeletes deletes every key, sees the tombstones go, and reads that nothing
// has come back.
func (s *Sim) lastDeletes() error {
	up := s.up()
	for i, key := range s.everyKey {
		n := up[i%len(up)]
		err := s.await(fmt.Sprintf("the last delete of %q at node %s", key, n.name), func(done func(register.Result)) {
			n.submit(key, register.Change{Kind: register.Delete}, 0, done)
		}, func(call time.Duration, res register.Result) error {
			s.record(98, call, input{kind: opPut, key: key}, output{ok: true, index: res.Index})
			return nil
		})
		if err != nil {
			return err
		}
	}
	err := s.eventually(func() error {
		for _, key := range s.everyKey {
			g := s.placement.Group(key)
			for _, o := range g.Owners() {
				if n := s.network.nodes[o]; s.forget && !s.placement.Configuration().Joint() && s.complete(key) && n.disk.has(key) {
					return fmt.Errorf("key %q was deleted, and node %s still has a cell", key, n.name)
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.lastReads()
}

func (d *disk) has(key string) bool {
	_, ok := d.cells[key]
	return ok
}

// plain returns a cell without what owners forget each when they know that it is
// chosen.
func plain(c register.Cell) register.Cell {
	c.Value.Tags, c.Value.Undo, c.Value.WasTagged = nil, nil, false
	return c
}
