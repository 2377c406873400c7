package sim

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/chord-plugin/chord-plugin/chord/fence"
	"github.com/chord-plugin/chord-plugin/chord/register"
)

// lockKeys are the locks. A lock is a register; who changes it is its holder, and
// the change's index is the token.
var lockKeys = []string{"\x00lock 1", "\x00lock 2"}

// inForce says that a fence was in force at a time.
type inForce struct {
	fence register.Fence
	at    time.Duration
}

// holder is a client that takes a lock, brings its fence into force and writes with
// it: for longer than it holds the lock, if another takes it meanwhile.
type holder struct {
	client
	lock   string
	token  uint64
	writes int // left with this token
}

// someNode returns a node that is up, or nil.
func (s *Sim) someNode() *node {
	if n := s.nodes[s.kernel.Rand.IntN(len(s.nodes))]; n.up {
		return n
	}
	return nil
}

// after goes on after a pause, while clients run.
func (h *holder) after(d time.Duration, next func()) {
	h.sim.kernel.After(h.sim.kernel.Between(d/4, d), func() {
		if h.sim.kernel.Now < h.until {
			next()
		}
	})
}

// run takes the lock from whoever has it.
func (h *holder) run() {
	n := h.sim.someNode()
	if n == nil {
		h.after(20*time.Millisecond, h.run)
		return
	}
	n.takeLock(h.lock, time.Second, func(token uint64) {
		if h.token = token; token == 0 {
			h.after(50*time.Millisecond, h.run)
			return
		}
		h.writes = 1 + h.sim.kernel.Rand.IntN(12)
		h.raise()
	})
}

// takeLock makes the caller the holder of a lock; done is told the token, or 0.
func (n *node) takeLock(lock string, timeout time.Duration, done func(token uint64)) {
	n.read(lock, false, timeout, func(res register.Result) {
		if res.Outcome != register.Done || !n.up {
			done(0)
			return
		}
		n.submit(lock, register.Change{Kind: register.Put, If: true, Index: res.Index}, timeout, func(res register.Result) {
			if res.Outcome != register.Done {
				res.Index = 0
			}
			done(res.Index)
		})
	})
}

// raise brings the fence into force, at one node after the other until it is.
func (h *holder) raise() {
	s := h.sim
	n := s.someNode()
	if n == nil {
		h.after(20*time.Millisecond, h.raise)
		return
	}
	over, timeout := false, s.kernel.Between(200*time.Millisecond, 3*time.Second)
	ended := func(err error) {
		if over {
			return
		}
		over = true
		switch {
		case err == nil:
			s.stats.Fences++
			s.inForce = append(s.inForce, inForce{register.Fence{Key: h.lock, Token: h.token}, s.kernel.Now})
			h.look(0)
		case errors.Is(err, fence.ErrNewer):
			h.after(100*time.Millisecond, h.write) // although it has lost
		default:
			h.after(20*time.Millisecond, h.raise)
		}
	}
	n.raiseFence(h.lock, h.token, timeout, ended)
	s.kernel.After(timeout+4*time.Second, func() { ended(errNoAnswer) }) // the node has crashed
	if s.kernel.Chance(0.1) {
		boot := n.boot
		s.kernel.After(s.kernel.Between(0, 100*time.Millisecond), func() { // in the middle of it
			if n.up && n.boot == boot && !over && s.kernel.Now < h.until {
				s.restart(n)
			}
		})
	}
}

// restart crashes a node and starts it again soon.
func (s *Sim) restart(n *node) {
	n.crash()
	s.stats.Crashes++
	s.kernel.After(s.kernel.Between(time.Millisecond, 100*time.Millisecond), func() {
		if !n.up && !n.dead() {
			n.start()
		}
	})
}

// look reads some keys, as a new holder does before it writes.
func (h *holder) look(i int) {
	n := h.sim.someNode()
	if i == len(h.sim.keys) || n == nil {
		h.after(20*time.Millisecond, h.write)
		return
	}
	if h.sim.kernel.Chance(0.5) {
		h.look(i + 1)
		return
	}
	h.get(n, h.sim.keys[i], time.Second, func() { h.look(i + 1) })
}

// write writes with the token, as often as it was drawn, now and then after a
// long time.
func (h *holder) write() {
	k, n := h.sim.kernel, h.sim.someNode()
	switch {
	case h.writes == 0:
		h.after(300*time.Millisecond, h.run)
		return
	case n == nil:
		h.after(20*time.Millisecond, h.write)
		return
	}
	h.writes--
	pause := 30 * time.Millisecond
	if k.Chance(0.1) {
		pause = 1500 * time.Millisecond
	}
	h.sim.nextData++
	key := h.sim.keys[k.Rand.IntN(len(h.sim.keys))]
	in := input{kind: opPut, key: key, data: h.sim.nextData, fence: register.Fence{Key: h.lock, Token: h.token}}
	ch := register.Change{Kind: register.Put, Data: encodeData(in.data), Fences: []register.Fence{in.fence}}
	call := k.Now
	n.submit(key, ch, k.Between(50*time.Millisecond, 2*time.Second), func(res register.Result) {
		h.changed(in, call, res)
		h.after(pause, h.write)
	})
}

// heedFences returns the history as it is to be judged: a write that took effect
// did so before a newer fence was in force. Its error names one that can not have,
// or that was seen although its caller was told that it would not be.
func heedFences(history []porcupine.Operation, fences []inForce, fenced map[int]bool) ([]porcupine.Operation, error) {
	history = slices.DeleteFunc(slices.Clone(history), func(o porcupine.Operation) bool {
		return o.Input.(input).kind == opStale && fenced[o.Output.(output).data] // one owner had it for a while
	})
	seen := map[int]bool{}
	for _, o := range history {
		in, out := o.Input.(input), o.Output.(output)
		if in.kind == opStale || in.kind != opGet && in.kind != opPop || out.data == 0 {
			continue
		}
		if seen[out.data] = true; fenced[out.data] {
			return history, fmt.Errorf("key %q: %d was seen, and its writer was told that it was fenced", in.key, out.data)
		}
	}
	slices.SortFunc(fences, func(a, b inForce) int { return cmp.Compare(a.at, b.at) })
	for i := range history {
		o := &history[i]
		in, out := o.Input.(input), o.Output.(output)
		if in.fence.Token == 0 || out.unknown && !seen[in.data] {
			continue
		}
		for _, f := range fences {
			if f.fence.Key != in.fence.Key || f.fence.Token <= in.fence.Token {
				continue
			}
			if int64(f.at) < o.Call {
				return history, fmt.Errorf("key %q: the write of %d with token %d began after that with token %d was in force, and took effect", in.key, in.data, in.fence.Token, f.fence.Token)
			}
			out.unknown = false
			o.Return, o.Output = min(o.Return, int64(f.at)), out
			break
		}
	}
	return history, nil
}

// lastHolder checks that a new holder gets its fence into force and can write every
// key, and that an old one can not.
func (s *Sim) lastHolder() error {
	up := s.up()
	for i, lock := range lockKeys {
		if len(s.inForce) == 0 {
			return nil
		}
		var tokens []uint64
		for range 2 {
			err := s.await("taking a lock", func(done func(register.Result)) {
				up[i%len(up)].takeLock(lock, 0, func(token uint64) {
					res := register.Result{Outcome: register.Done, Index: token}
					if token == 0 {
						res.Outcome = register.Overloaded
					}
					done(res)
				})
			}, func(_ time.Duration, res register.Result) error {
				tokens = append(tokens, res.Index)
				return nil
			})
			if err != nil {
				return err
			}
		}
		err := s.await("the last fence", func(done func(register.Result)) {
			up[(i+1)%len(up)].raiseFence(lock, tokens[1], slow, func(err error) {
				if err == nil {
					done(register.Result{Outcome: register.Done})
				}
			})
		}, func(time.Duration, register.Result) error { return nil })
		if err != nil {
			return err
		}
		for j, key := range s.everyKey {
			s.nextData++
			data := s.nextData
			n := up[(i+j)%len(up)]
			err := s.await(fmt.Sprintf("the newest holder's write of %q at node %s", key, n.name), func(done func(register.Result)) {
				n.submit(key, register.Change{Kind: register.Put, Data: encodeData(data), Fences: []register.Fence{{Key: lock, Token: tokens[1]}}}, 0, done)
			}, func(call time.Duration, res register.Result) error {
				s.record(97, call, input{kind: opPut, key: key, data: data}, output{ok: true, index: res.Index})
				return nil
			})
			if err != nil {
				return err
			}
			err = s.await(fmt.Sprintf("the old holder's write of %q at node %s", key, n.name), func(done func(register.Result)) {
				n.submit(key, register.Change{Kind: register.Put, Data: encodeData(data), Fences: []register.Fence{{Key: lock, Token: tokens[0]}}}, 0, func(res register.Result) {
					if res.Outcome == register.Fenced {
						res.Outcome = register.Done
					} else if res.Outcome == register.Done {
						res.Outcome = register.Unknown
					}
					done(res)
				})
			}, func(time.Duration, register.Result) error { return nil })
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// end ends what still runs, so that nothing is left behind.
func (s *Sim) end() {
	for _, n := range s.nodes {
		for p := range n.processes {
			p.Kill()
		}
	}
}
