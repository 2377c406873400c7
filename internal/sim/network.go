package sim

import (
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/internal/kernel"
)

// network delivers messages late, twice or never. It never doubles an Accept or
// a Forward, as the real transport never repeats a frame.
type network struct {
	k     *kernel.Kernel
	nodes map[ring.Node]*node
	loss  float64
	late  float64
	cut   map[[2]ring.Node]bool
	stats *Stats
}

// send delivers a message between shards.
func (n *network) send(from *node, env register.Envelope) {
	once := env.Msg.Kind == register.MsgAccept || env.Msg.Kind == register.MsgForward
	// The codec is part of what is simulated.
	bytes := register.AppendMessage(nil, &env.Msg)
	sender := from.id
	n.deliver(sender, env.To, once, func(to *node) {
		m, err := register.DecodeMessage(append([]byte(nil), bytes...))
		if err != nil {
			panic(err)
		}
		to.do(func(now register.Now) { to.shard.Step(now, sender, &m) })
	})
}

// deliver lets arrive happen at a node: late, perhaps not, perhaps twice unless
// once is set.
func (n *network) deliver(from, addressee ring.Node, once bool, arrive func(to *node)) {
	copies := 1
	if !once && n.k.Chance(0.03) {
		copies = 2
	}
	to := n.nodes[addressee]
	if to == nil {
		return // a node that has started anew
	}
	for range copies {
		if n.k.Chance(n.loss) {
			n.stats.Lost++
			continue
		}
		d := n.k.Between(100*time.Microsecond, 10*time.Millisecond)
		if n.k.Chance(n.late) {
			d += n.k.Between(0, 3*time.Second)
		}
		n.k.After(d, func() {
			if !to.up || n.nodes[addressee] != to || n.cut[[2]ring.Node{from, addressee}] {
				return
			}
			n.stats.Messages++
			arrive(to)
		})
	}
}
