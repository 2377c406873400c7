package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/chord/txn"
)

// node is one process: a shard, its disk and its clock. A client has no disk and
// a new identity at each start.
type node struct {
	sim   *Sim
	name  string
	id    ring.Node
	full  ring.ID // of a node with a disk
	up    bool
	boot  int
	disk  *disk
	shard *register.Shard
	skew  time.Duration
	rate  float64 // of the wall clock
	calls map[uint64]func(register.Result)
	token uint64
	// processes run here; completing are the locks whose fences are being sealed.
	processes  map[*process]bool
	completing map[string]bool
	txns       *txn.Coordinator // of this life
	tick       time.Duration    // when the next Tick is due

	placement *ring.Placement // of the configuration that it works by
	chain     follower
	sync      syncer
}

func (n *node) start() {
	n.up = true
	n.boot++
	n.txns = nil
	n.calls = map[uint64]func(register.Result){}
	n.tick = 0
	n.processes, n.completing = map[*process]bool{}, map[string]bool{}
	cfg := n.sim.register
	cfg.Rand = rand.New(rand.NewPCG(n.sim.kernel.Rand.Uint64(), 1))
	if n.disk == nil {
		delete(n.sim.network.nodes, n.id)
		n.id = ring.NodeID(fmt.Appendf(nil, "%s/%d/%d", n.name, n.boot, n.sim.seed)).Node()
		n.sim.network.nodes[n.id] = n
	} else {
		cfg.Cells = n.disk
		cfg.Mark = n.disk.mark
		cfg.Fences = n.table()
	}
	cfg.Self = n.id
	if n.disk != nil {
		n.placement = n.sim.placed(n.disk.chain[len(n.disk.chain)-1])
	}
	n.shard = register.NewShard(cfg, n.sim.quorums(n.placement))
	if n.sim.reshape {
		n.chain, n.sync = follower{known: map[uint64]*ring.Configuration{}}, syncer{}
		n.entered()
	}
}

func (n *node) crash() {
	n.up = false
	if n.disk != nil {
		n.disk.crash()
	}
	n.shard = nil
	for p := range n.processes {
		p.Kill()
	}
	for _, t := range sortedTokens(n.calls) {
		n.calls[t](register.Result{Outcome: register.Unknown}) // the caller never hears
	}
	n.calls = nil
}

// dead reports whether the node will never come back.
func (n *node) dead() bool { return n.disk != nil && n.disk.broken }

func (n *node) time() register.Now {
	now := n.sim.kernel.Now
	wall := n.sim.began.Add(time.Duration(float64(now)*n.rate) + n.skew)
	return register.Now{Mono: now, Wall: register.Timestamp(wall)}
}

// do gives the shard an input and carries out what follows.
func (n *node) do(input func(now register.Now)) {
	if !n.up {
		return
	}
	input(n.time())
	r := n.shard.Ready()
	if n.disk != nil && len(r.Writes) > 0 {
		n.disk.write(r.Writes)
	}
	for _, env := range r.Messages {
		n.sim.network.send(n, env)
	}
	for _, res := range r.Results {
		if done := n.calls[res.Token]; done != nil { // else: crashed meanwhile
			delete(n.calls, res.Token)
			done(res)
		}
	}
	if len(r.Learned) > 0 {
		n.know(r.Learned, nil)
	}
	for _, lock := range r.Unsealed {
		n.complete(lock)
	}
	n.sim.stats.Refused += len(r.Refused)
	for _, newer := range r.Newer {
		n.askChain(newer)
	}
	if n.up && n.shard.Err() != nil {
		n.crash() // and never again: mend and crashOne leave broken disks alone
	}
	if !n.up {
		return
	}
	if at, ok := n.shard.Deadline(); ok && (n.tick == 0 || at < n.tick) {
		n.tick = at
		boot := n.boot
		n.sim.kernel.After(max(at-n.sim.kernel.Now, 0), func() {
			if n.up && n.boot == boot && n.tick == at {
				n.tick = 0
				n.do(n.shard.Tick)
			}
		})
	}
}

// call gives the shard an input that has a result; done is called once, also when
// the node crashes.
func (n *node) call(input func(now register.Now, token uint64), done func(register.Result)) {
	n.token++
	token := n.token
	n.calls[token] = done
	n.do(func(now register.Now) { input(now, token) })
}

// submit begins a change; done is called once, also when the node crashes.
func (n *node) submit(key string, c register.Change, timeout time.Duration, done func(register.Result)) (token uint64) {
	n.token++
	token = n.token
	n.calls[token] = done
	n.do(func(now register.Now) { n.shard.Submit(now, token, key, c, timeout) })
	return token
}

func (n *node) read(key string, stale bool, timeout time.Duration, done func(register.Result)) {
	n.token++
	token := n.token
	n.calls[token] = done
	n.do(func(now register.Now) { n.shard.Read(now, token, key, stale, timeout) })
}
