package sim

import (
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// network delivers messages late, twice or never. It never doubles an Accept or
// a Forward, as the real transport never repeats a frame.
type network struct {
	k     *kernel
	nodes map[ring.Node]*node
	loss  float64
	late  float64
	cut   map[[2]ring.Node]bool
	stats *Stats
}

func (n *network) send(from *node, env register.Envelope) {
	copies := 1
	once := env.Msg.Kind == register.MsgAccept || env.Msg.Kind == register.MsgForward
	if !once && n.k.chance(0.03) {
		copies = 2
	}
	// The codec is part of what is simulated.
	bytes := register.AppendMessage(nil, &env.Msg)
	to := n.nodes[env.To]
	if to == nil {
		return // a client that has started anew
	}
	for range copies {
		if n.k.chance(n.loss) {
			n.stats.Lost++
			continue
		}
		d := n.k.between(100*time.Microsecond, 10*time.Millisecond)
		if n.k.chance(n.late) {
			d += n.k.between(0, 3*time.Second)
		}
		id, sender := from.id, from.id
		n.k.after(d, func() {
			if !to.up || n.nodes[env.To] != to || n.cut[[2]ring.Node{sender, env.To}] {
				return
			}
			m, err := register.DecodeMessage(append([]byte(nil), bytes...))
			if err != nil {
				panic(err)
			}
			n.stats.Messages++
			to.do(func(now register.Now) { to.shard.Step(now, id, &m) })
		})
	}
}
