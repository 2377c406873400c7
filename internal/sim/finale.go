package sim

import (
	"fmt"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// slow is how long an operation may take that begins when all faults have ended
// and whose owners are up, f of them excepted.
const slow = 3 * time.Second

// finale checks, after the last fault, what must be true then.
func (s *Sim) finale() error {
	if s.violation != nil {
		return s.violation
	}
	for _, n := range s.up() {
		if b := n.shard.Busy(); b > 0 {
			return fmt.Errorf("node %s still has %d operations %v after the last fault", n.name, b, settle)
		}
	}
	for _, step := range []func() error{s.shaped, s.lastReads, s.durable, s.agreed, s.forgotten, s.lastWrites, s.lastHolder, s.lastAudit, s.durableEverywhere, s.agreed, s.lastDeletes, s.minority} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Sim) up() []*node {
	var up []*node
	for _, n := range s.nodes {
		if n.up {
			up = append(up, n)
		}
	}
	return up
}

// shaped checks that the newest configuration is final, that all its members
// work by it, and that nobody keeps what he does not own in it.
func (s *Sim) shaped() error {
	if !s.reshape {
		return nil
	}
	newest := s.placement
	for _, n := range s.up() {
		if newest.Configuration().Epoch < n.conf().Epoch {
			newest = n.placement
		}
	}
	c := newest.Configuration()
	if c.Joint() {
		return fmt.Errorf("the ring is still in the joint configuration %d, %v after the last fault", c.Epoch, settle)
	}
	s.placement = newest
	for _, n := range s.up() {
		if n.conf().Epoch != c.Epoch {
			return fmt.Errorf("node %s works by epoch %d and the ring by %d, %v after the last fault", n.name, n.conf().Epoch, c.Epoch, settle)
		}
		if n.disk == nil {
			continue
		}
		if keys := n.foreign(); len(keys) > 0 {
			return fmt.Errorf("node %s keeps the keys %q, which it does not own in the configuration %d", n.name, keys, c.Epoch)
		}
	}
	return nil
}

// lastReads reads every key at every node.
func (s *Sim) lastReads() error {
	for i, n := range s.up() {
		for _, key := range s.everyKey {
			err := s.await(fmt.Sprintf("the last read of %q at node %s", key, n.name), func(done func(register.Result)) {
				n.read(key, false, 0, done)
			}, func(call time.Duration, res register.Result) error {
				v := versionOf(&res.Value)
				s.record(100+i, call, input{kind: opGet, key: key}, output{data: v.data, index: v.index})
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// durable checks that what is chosen is on the disks of a quorum and not older
// than any write that a client knows of.
func (s *Sim) durable() error {
	acknowledged := map[string]uint64{}
	for _, o := range s.history {
		in, out := o.Input.(input), o.Output.(output)
		acknowledged[in.key] = max(acknowledged[in.key], out.index)
	}
	for _, key := range s.everyKey {
		chosen, err := s.chosen(key)
		if err != nil {
			return err
		}
		at := chosen.Value.Write().Time
		if chosen.IsZero() {
			if at = s.forgotUpTo(key); at < acknowledged[key] {
				return fmt.Errorf("key %q: the owners have nothing and promise all up to %d, and a write at %d was acknowledged", key, at, acknowledged[key])
			}
		}
		if at < acknowledged[key] {
			return fmt.Errorf("key %q: the owners agree on a write at %d, and one at %d was acknowledged", key, at, acknowledged[key])
		}
	}
	return nil
}

// chosen returns the cell that a quorum of disks agrees on.
func (s *Sim) chosen(key string) (register.Cell, error) {
	g := s.placement.Group(key)
	sets := map[register.Ballot]uint16{}
	for i, o := range g.Owners() {
		c := s.network.nodes[o].disk.cells[key]
		sets[c.Accepted] |= 1 << i
		if g.Quorum(sets[c.Accepted]) {
			return c, nil
		}
	}
	return register.Cell{}, fmt.Errorf("key %q was read, but no quorum of disks agrees: %v", key, sets)
}

// lastWrites puts a value into every key.
func (s *Sim) lastWrites() error {
	up := s.up()
	for i, key := range s.everyKey {
		s.nextData++
		data := s.nextData
		n := up[i%len(up)]
		err := s.await(fmt.Sprintf("the last write of %q at node %s", key, n.name), func(done func(register.Result)) {
			n.submit(key, register.Change{Kind: register.Put, Data: encodeData(data)}, 0, done)
		}, func(call time.Duration, res register.Result) error {
			s.record(99, call, input{kind: opPut, key: key, data: data}, output{ok: true, index: res.Index})
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// durableEverywhere checks that no owner has anything above the last write. One
// may have less: after a restart its floor can be ahead of everybody's clock.
func (s *Sim) durableEverywhere() error {
	s.run(2 * time.Second)
	for _, key := range s.everyKey {
		chosen, err := s.chosen(key)
		if err != nil {
			return err
		}
		g := s.placement.Group(key)
		for _, o := range g.Owners() {
			n := s.network.nodes[o]
			if have := n.disk.cells[key].Accepted; n.up && chosen.Accepted.Less(have) && len(n.disk.cells[key].Value.Tags) == 0 { // else dead
				return fmt.Errorf("key %q: node %s has %v after the last write, chosen is %v", key, n.name, have, chosen.Accepted)
			}
		}
	}
	return nil
}

// minority cuts every node off from all but itself: a stale read of what it owns
// must still be answered, a read or write of a key with more owners must not.
func (s *Sim) minority() error {
	for _, a := range s.nodes {
		for _, b := range s.nodes {
			s.network.cut[[2]ring.Node{a.id, b.id}] = a != b
		}
	}
	for _, n := range s.up() {
		for _, key := range s.keys {
			g := s.placement.Group(key)
			i := g.Index(n.id)
			if n.disk == nil || i < 0 || g.Quorum(1<<i) {
				continue
			}
			err := s.await(fmt.Sprintf("a stale read of %q at its owner %s, alone", key, n.name), func(done func(register.Result)) {
				n.read(key, true, 0, done)
			}, func(time.Duration, register.Result) error { return nil })
			if err != nil {
				return err
			}
			var got []register.Result
			n.read(key, false, time.Second, func(res register.Result) { got = append(got, res) })
			n.submit(key, register.Change{Kind: register.Put, Data: encodeData(0)}, time.Second, func(res register.Result) { got = append(got, res) })
			s.run(2 * time.Second)
			if len(got) != 2 {
				return fmt.Errorf("key %q: two operations at node %s, alone, got %d results", key, n.name, len(got))
			}
			for _, res := range got {
				if res.Outcome == register.Done || res.Outcome == register.Refused {
					return fmt.Errorf("key %q: node %s, alone, answered %v", key, n.name, res.Outcome)
				}
			}
		}
	}
	return nil
}

// run lets time pass.
func (s *Sim) run(d time.Duration) {
	end := s.kernel.Now + d
	for s.kernel.Step(end) {
	}
	s.kernel.Now = end
}

// await begins an operation and runs until it ends, well and in time. A node that
// is full, with tables as small as these, is asked again.
func (s *Sim) await(what string, begin func(done func(register.Result)), ended func(call time.Duration, res register.Result) error) error {
	for first := s.kernel.Now; ; s.run(10 * time.Millisecond) {
		call := s.kernel.Now
		var result *register.Result
		begin(func(res register.Result) { result = &res })
		for result == nil && s.kernel.Step(first+slow) {
		}
		switch {
		case result == nil || s.kernel.Now > first+slow:
			return fmt.Errorf("%s took more than %v", what, slow)
		case result.Outcome == register.Overloaded:
			continue
		case result.Outcome != register.Done:
			return fmt.Errorf("%s ended as %v", what, result.Outcome)
		}
		s.stats.Slowest = max(s.stats.Slowest, s.kernel.Now-first)
		return ended(call, *result)
	}
}
