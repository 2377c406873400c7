package chord

import (
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// driver runs one register.Shard: it gives it inputs one at a time, hands its
// writes to the store in order, its messages to the mesh and its results to the
// callers, and keeps its timer.
type driver struct {
	node  *Node
	index int

	mu      sync.Mutex
	shard   *register.Shard
	callers map[uint64]chan<- register.Result
	token   uint64
	timer   *time.Timer
	due     time.Duration // when the timer fires; 0 when it is not set
	closed  bool
}

func newDriver(n *Node, index int, cfg register.Config, placement *ring.Placement) *driver {
	d := &driver{node: n, index: index, callers: map[uint64]chan<- register.Result{}}
	d.shard = register.NewShard(cfg, placement)
	d.timer = time.AfterFunc(time.Hour, d.tick)
	d.timer.Stop()
	return d
}

// input gives the shard one input and carries out what follows.
func (d *driver) input(f func(now register.Now)) {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return
	}
	f(d.node.now())
	ready := d.shard.Ready()
	if len(ready.Writes) > 0 {
		d.node.store.Commit(d.index, ready.Writes, d.synced) // in order, so under the lock
	}
	for _, res := range ready.Results {
		if c := d.callers[res.Token]; c != nil {
			delete(d.callers, res.Token)
			c <- res // has room for the one result
		}
	}
	d.arm()
	d.mu.Unlock()
	if len(ready.Newer) > 0 {
		d.node.follower.behind(ready.Newer)
	}
	d.node.fences.took(&ready)
	d.send(ready.Messages)
}

// send hands messages to the mesh; those that it does not take go back.
func (d *driver) send(msgs []register.Envelope) {
	var body []byte
	for i := range msgs {
		m := &msgs[i].Msg
		if i == 0 || !sameQuestion(m, &msgs[i-1].Msg) {
			body = register.AppendMessage(make([]byte, 0, 256+m.Size()), m)
		}
		if err := d.node.mesh.Send(msgs[i].To, sendRegister, body); err != nil {
			d.input(func(now register.Now) { d.shard.Unsent(now, &msgs[i]) })
		}
	}
}

// sameQuestion reports whether two messages that follow each other are one
// question to two owners, which is encoded once.
func sameQuestion(a, b *register.Message) bool {
	switch a.Kind {
	case register.MsgPrepare, register.MsgAccept, register.MsgRead:
		return a.Kind == b.Kind && a.Round == b.Round && a.Digest == b.Digest && a.Time == b.Time
	}
	return false
}

// arm sets the timer to the shard's next deadline, if it is sooner than it is set.
func (d *driver) arm() {
	at, ok := d.shard.Deadline()
	if !ok || d.due != 0 && d.due <= at {
		return
	}
	d.due = at
	d.timer.Reset(max(at-d.node.mono(), 0))
}

func (d *driver) tick() {
	d.input(func(now register.Now) {
		d.due = 0
		d.shard.Tick(now)
	})
}

// synced is called by the store when writes are durable, or never will be. In
// the latter case the node has been told, and nothing is acknowledged.
func (d *driver) synced(upTo uint64, err error) {
	if err == nil {
		d.input(func(now register.Now) { d.shard.Synced(now, upTo) })
	}
}

// begin starts an operation and returns its token and where its one result comes.
func (d *driver) begin(start func(now register.Now, token uint64)) (token uint64, result <-chan register.Result) {
	c := make(chan register.Result, 1)
	d.input(func(now register.Now) {
		d.token++
		token = d.token
		d.callers[token] = c
		start(now, token)
	})
	return token, c
}

// close ends the driver. Operations that wait get no result; the node answers them.
func (d *driver) close() {
	d.mu.Lock()
	d.closed = true
	d.timer.Stop()
	d.mu.Unlock()
}
