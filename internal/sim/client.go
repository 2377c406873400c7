package sim

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// client is one caller that does one thing after the other, at random nodes.
type client struct {
	sim   *Sim
	id    int
	until time.Duration
	// seen is the last value and index read, a key each, for conditional writes.
	seen map[string]version
}

type version struct {
	data  int
	index uint64
}

func (c *client) run() {
	k := c.sim.kernel
	if k.Now > c.until {
		return
	}
	n := c.sim.nodes[k.Rand.IntN(len(c.sim.nodes))]
	if !n.up {
		k.After(k.Between(time.Millisecond, 30*time.Millisecond), c.run)
		return
	}
	key := c.sim.keys[k.Rand.IntN(len(c.sim.keys))]
	timeout := k.Between(200*time.Millisecond, 3*time.Second)
	again := func() { k.After(k.Between(0, c.sim.think), c.run) }
	switch x := k.Rand.Float64(); {
	case x < 0.03:
		c.stale(n, key, timeout, again)
	case x < 0.35:
		c.get(n, key, timeout, again)
	default:
		c.change(n, key, x, timeout, again)
	}
}

// stale reads promise nothing but a value that was once sent to that key.
func (c *client) stale(n *node, key string, timeout time.Duration, again func()) {
	call := c.sim.kernel.Now
	n.read(key, true, timeout, func(res register.Result) {
		if res.Outcome == register.Done {
			c.sim.stats.Stale++
			c.sim.record(c.id, call, input{kind: opStale, key: key}, output{data: versionOf(&res.Value).data})
		}
		again()
	})
}

func (c *client) get(n *node, key string, timeout time.Duration, again func()) {
	call := c.sim.kernel.Now
	n.read(key, false, timeout, func(res register.Result) {
		if res.Outcome == register.Done {
			v := versionOf(&res.Value)
			c.seen[key] = v
			c.sim.record(c.id, call, input{kind: opGet, key: key}, output{data: v.data, index: v.index})
		} else {
			c.sim.stats.Failed++
		}
		again()
	})
}

func (c *client) change(n *node, key string, x float64, timeout time.Duration, again func()) {
	k := c.sim.kernel
	c.sim.nextData++
	in := input{key: key, data: c.sim.nextData}
	ch := register.Change{Kind: register.Put, Data: encodeData(in.data)}
	switch {
	case x < 0.55:
		in.kind = opPut
	case x < 0.65:
		in.kind, in.data = opPut, 0
		ch = register.Change{Kind: register.Delete}
	case x < 0.75:
		in.kind, in.data = opPop, 0
		ch = register.Change{Kind: register.Pop}
	default:
		in.kind, in.expect = opCas, c.seen[key].data
		ch.If, ch.Index = true, c.seen[key].index
	}
	call := k.Now
	token := n.submit(key, ch, timeout, func(res register.Result) {
		c.changed(in, call, res)
		again()
	})
	if k.Chance(0.02) { // the caller goes away
		boot := n.boot
		k.After(k.Between(0, 20*time.Millisecond), func() {
			if n.up && n.boot == boot {
				n.do(func(now register.Now) { n.shard.Cancel(now, token) })
			}
		})
	}
}

func (c *client) changed(in input, call time.Duration, res register.Result) {
	switch res.Outcome {
	case register.Done:
		out := output{ok: true, index: res.Index}
		if in.kind == opPop {
			out.data = versionOf(&res.Value).data
		}
		c.sim.record(c.id, call, in, out)
		if in.kind != opPop && in.data != 0 {
			c.seen[in.key] = version{in.data, res.Index}
		}
	case register.Refused:
		c.sim.record(c.id, call, in, output{})
	case register.Overloaded:
		c.sim.stats.Overloaded++
	case register.Fenced:
		c.sim.stats.Fenced++
		c.sim.fenced[in.data] = true
	case register.Unknown:
		c.sim.stats.Unknown++
		c.sim.doubtful(in.key)
		c.sim.recordUntil(c.id, call, math.MaxInt64/2, in, output{unknown: true})
	default: // nothing happened, the contract says
		c.sim.stats.Failed++
	}
}

// maxUnknown is how many operations of unknown outcome a key may have before the
// clients go on to a fresh one: each of them doubles what the checker has to try.
const maxUnknown = 10

// doubtful counts an unknown outcome and replaces the key that had enough.
func (s *Sim) doubtful(key string) {
	s.unknown[key]++
	i := slices.Index(s.keys, key)
	if i < 0 || s.unknown[key] < maxUnknown {
		return
	}
	s.keys[i] = fmt.Sprintf("%s%d", key[:1], len(s.everyKey))
	s.everyKey = append(s.everyKey, s.keys[i])
}

func versionOf(v *register.Value) version {
	if !v.Live {
		return version{}
	}
	return version{decodeData(v.Data), v.Index()}
}

func encodeData(n int) []byte { return []byte{byte(n >> 16), byte(n >> 8), byte(n)} }

func decodeData(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }

func (s *Sim) record(id int, call time.Duration, in input, out output) {
	s.recordUntil(id, call, int64(s.kernel.Now), in, out)
}

func (s *Sim) recordUntil(id int, call time.Duration, ret int64, in input, out output) {
	s.stats.Operations++
	s.history = append(s.history, porcupine.Operation{ClientId: id, Input: in, Output: out, Call: int64(call), Return: ret})
}

func sortedTokens(m map[uint64]func(register.Result)) []uint64 {
	tokens := make([]uint64, 0, len(m))
	for t := range m {
		tokens = append(tokens, t)
	}
	slices.Sort(tokens)
	return tokens
}
