package register

import (
	"fmt"
	"slices"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// Now is the time at an input: Mono orders waiting and timeouts, Wall (a
// Timestamp) feeds the hybrid logical clock and may be wrong.
type Now struct {
	Mono time.Duration
	Wall uint64
}

// Shard is one node's part in the registers of the keys that fall into it: as an
// acceptor of those it owns, as a proposer and reader of all. Each input is a
// method that takes the time; after it, Ready says what follows. A Shard is not
// safe for concurrent use. Shards share nothing.
type Shard struct {
	cfg       Config
	placement placement
	epoch     uint64
	now       Now
	clock     Clock
	err       error

	// reserved is the durable high-water mark: no ballot is issued and no promise
	// answered above it. reserving is the mark being written, at marking.
	reserved, reserving uint64
	marking             uint64
	parked              []func() // waits for a higher mark

	acceptor acceptor
	fences   Fences
	pending  map[string]pendingCell
	unsynced []pendingKey // the writes of pending, and those that others have replaced there, in order
	seq      uint64       // last write handed out
	synced   uint64       // last write durable
	held     []heldMessage
	answers  []heldResult
	early    []earlyMessage // of an epoch that is not here yet

	ops      map[uint64]*op     // by number
	callers  map[uint64]func()  // by token: what ends it before its time
	queues   map[string]*queue  // keys with changes under way here
	leases   leases             // ballots promised to us ahead
	rounds   map[uint64]*round  // by number
	reads    map[uint64]*read   // by number
	forwards map[uint64]*op     // by number
	last     uint64             // last number used; begins at random
	peers    map[ring.Node]peer // those that do not answer
	answer   time.Duration      // usual time until a forwarded operation is answered
	timers   timers

	local []Envelope
	ready Ready
}

type pendingCell struct {
	cell Cell
	seq  uint64
}

type pendingKey struct {
	key string
	seq uint64
}

// maxSpare bounds the messages for which memory is kept.
const maxSpare = 64

// heldMessage is an answer that waits for a write to be durable.
type heldMessage struct {
	seq uint64
	env Envelope
}

// peer is what is known against a node.
type peer struct {
	unreachable bool
	avoid       time.Duration // passed over until then
}

// NewShard returns a shard as it is after a start: without promises, behind the
// floor that its mark implies.
func NewShard(cfg Config, placement *ring.Placement) *Shard {
	cfg.setDefaults()
	s := &Shard{
		cfg: cfg, placement: newPlacement(placement), epoch: placement.Configuration().Epoch,
		clock:    Clock{last: cfg.Mark.HighWater, maxDrift: cfg.MaxDrift},
		reserved: cfg.Mark.HighWater, reserving: cfg.Mark.HighWater,
		acceptor: newAcceptor(cfg.Mark, cfg.MaxPromises), fences: Fences{},
		pending: map[string]pendingCell{},
		ops:     map[uint64]*op{}, callers: map[uint64]func(){}, queues: map[string]*queue{}, rounds: map[uint64]*round{},
		leases: newLeases(cfg.MaxPromises),
		reads:  map[uint64]*read{}, forwards: map[uint64]*op{}, peers: map[ring.Node]peer{},
	}
	for i := range cfg.Fences {
		s.fences.Learn(&cfg.Fences[i])
	}
	// An answer to a question of before a restart must not meet a question of
	// after it that has the same number.
	s.last = cfg.Rand.Uint64() >> 1
	if cfg.Cells == nil { // a client keeps nothing: its ID is new at each start
		s.reserved, s.reserving = MaxTime, MaxTime
	}
	if !holds(ruleReissue) {
		s.clock.last = 0
	}
	return s
}

// Ready returns what the inputs since the last call ask for, and forgets it. The
// slices are the caller's.
func (s *Shard) Ready() Ready {
	r := s.ready
	s.ready = Ready{}
	return r
}

// Err returns the store's error that stopped the shard, or nil. A stopped shard
// answers nothing any more.
func (s *Shard) Err() error { return s.err }

// Clock returns the newest timestamp issued or observed.
func (s *Shard) Clock() uint64 { return s.clock.Last() }

// Busy returns the number of operations under way.
func (s *Shard) Busy() int { return len(s.ops) + len(s.reads) }

// Promises returns the number of explicit promises, and the floor.
func (s *Shard) Promises() (int, Ballot) { return len(s.acceptor.explicit), s.acceptor.floor }

// Deadline returns when Tick is due next.
func (s *Shard) Deadline() (time.Duration, bool) {
	if len(s.timers) == 0 {
		return 0, false
	}
	return s.timers[0].at, true
}

// Tick lets what is due happen.
func (s *Shard) Tick(now Now) {
	if !s.begin(now) {
		return
	}
	for fire := s.timers.pop(now.Mono); fire != nil; fire = s.timers.pop(now.Mono) {
		fire()
	}
	s.drain()
}

// Step takes a message from another node.
func (s *Shard) Step(now Now, from ring.Node, m *Message) {
	if !s.begin(now) {
		return
	}
	s.step(from, m)
	s.drain()
}

// Unsent takes back a message that the transport certainly did not deliver.
func (s *Shard) Unsent(now Now, env *Envelope) {
	if !s.begin(now) {
		return
	}
	switch env.Msg.Kind {
	case MsgPrepare, MsgAccept:
		if r := s.rounds[env.Msg.Round]; r != nil {
			if i := r.group.Index(env.To); i >= 0 {
				r.unsent |= 1 << i
				if r.phase == phasePrepare && r.no&^r.unsent == 0 && r.yes>>i&1 == 0 {
					// Nobody has refused: the round goes on until its time is up or the
					// node is back, so that the answers can tell the caller how many
					// owners there are.
					r.no |= 1 << i
					s.waited(r)
				} else {
					s.against(r, env.To)
				}
			}
		}
	case MsgForward:
		s.forwardFailed(env.Msg.Round, false)
	}
	s.drain()
}

// Synced reports that every write up to seq is durable.
func (s *Shard) Synced(now Now, seq uint64) {
	if seq > s.seq {
		panic(fmt.Sprintf("register: write %d reported durable, only %d handed out", seq, s.seq))
	}
	if !s.begin(now) || seq <= s.synced {
		return
	}
	s.synced = seq
	n := 0
	for ; n < len(s.unsynced) && s.unsynced[n].seq <= seq; n++ {
		if w := s.unsynced[n]; s.pending[w.key].seq == w.seq {
			delete(s.pending, w.key)
		}
	}
	s.unsynced = slices.Delete(s.unsynced, 0, n)
	kept := s.held[:0]
	for _, h := range s.held {
		if h.seq <= seq {
			s.post(h.env.To, h.env.Msg)
		} else {
			kept = append(kept, h)
		}
	}
	clear(s.held[len(kept):])
	s.held = kept
	s.releaseResults(seq)
	if s.marking != 0 && s.marking <= seq {
		s.reserved, s.marking = s.reserving, 0
		parked := s.parked
		s.parked = nil
		for _, resume := range parked {
			resume()
		}
	}
	s.drain()
}

// Reachable reports whether messages to a node can be delivered, as far as the
// transport and the failure detector know. It only changes whom to ask first and
// when to try again.
func (s *Shard) Reachable(now Now, node ring.Node, up bool) {
	if !s.begin(now) || s.peers[node].unreachable == !up {
		return
	}
	if up {
		delete(s.peers, node)
		for _, key := range sortedKeys(s.queues) {
			q := s.queues[key]
			if q == nil {
				continue
			}
			if r := q.round; r != nil && r.missed(node) {
				s.lost(r, false)
			}
			if q.round == nil {
				s.timers.stop(&q.pause)
				s.start(q)
			}
		}
	} else {
		s.peers[node] = peer{unreachable: true}
		for _, n := range sortedKeys(s.forwards) {
			if o := s.forwards[n]; o != nil && o.to == node {
				s.forwardFailed(n, true)
			}
		}
	}
	s.drain()
}

// begin takes the time of an input; false once the shard has stopped.
func (s *Shard) begin(now Now) bool {
	s.now = now
	return s.err == nil
}

// drain delivers the messages that the shard sent to itself.
func (s *Shard) drain() {
	for i := 0; i < len(s.local) && s.err == nil; i++ {
		env := s.local[i] // a copy: others may be added
		s.step(env.To, &env.Msg)
	}
	clear(s.local)
	if s.local = s.local[:0]; cap(s.local) > maxSpare {
		s.local = nil
	}
}

// step dispatches one message, our own included.
func (s *Shard) step(from ring.Node, m *Message) {
	asks := m.Kind == MsgPrepare || m.Kind == MsgAccept || m.Kind == MsgRead || m.Kind == MsgForward
	if err := s.clock.observe(m.Time, s.now.Wall); err != nil && m.Kind != MsgResult {
		if asks {
			s.send(from, Message{Kind: MsgDrift, Key: m.Key, Round: m.Round})
		} else {
			s.onDrift(from, m)
		}
		return
	}
	if asks && m.newest() > m.Time {
		return // nobody asks for what its own clock has not reached
	}
	if m.Epoch != s.epoch && !s.current(from, m, asks) {
		return
	}
	if p, ok := s.peers[from]; ok && p.avoid > 0 && !asks {
		p.avoid = 0
		s.peers[from] = p
	}
	s.hear(m.Fences)
	switch m.Kind {
	case MsgPrepare:
		s.onPrepare(from, m)
	case MsgAccept:
		s.onAccept(from, m)
	case MsgRead:
		s.onRead(from, m)
	case MsgForward:
		s.onForward(from, m)
	case MsgPromise:
		s.onPromise(from, m)
	case MsgAccepted:
		s.onAccepted(from, m)
	case MsgRefuse:
		s.onRefuse(from, m)
	case MsgCell:
		s.onCell(from, m)
	case MsgResult:
		s.onResult(m)
	case MsgExpired:
		s.onExpired(m)
	case MsgStale:
		s.onStale(from, m)
	case MsgDrift:
		s.onDrift(from, m)
	}
}

// send completes a message and posts it.
func (s *Shard) send(to ring.Node, m Message) {
	m.Epoch = s.epoch
	s.post(to, m)
}

// sendAll sends a message to all of a group.
func (s *Shard) sendAll(g *ring.Group, m Message) {
	s.ready.Messages = slices.Grow(s.ready.Messages, g.Len())
	for _, o := range g.Owners() {
		s.send(o, m)
	}
}

// post sends a completed message, stamped with the clock as it is now.
func (s *Shard) post(to ring.Node, m Message) {
	m.Time = s.clock.Last()
	if to == s.cfg.Self {
		s.local = append(s.local, Envelope{to, m})
		return
	}
	s.ready.Messages = append(s.ready.Messages, Envelope{to, m})
}

// sendAfter sends a message once the write seq is durable.
func (s *Shard) sendAfter(seq uint64, to ring.Node, m Message) {
	if seq <= s.synced {
		s.send(to, m)
		return
	}
	m.Epoch = s.epoch
	s.held = append(s.held, heldMessage{seq, Envelope{to, m}})
}

func (s *Shard) number() uint64 {
	s.last++
	return s.last
}

// usable reports whether to ask a node before others.
func (s *Shard) usable(node ring.Node) bool {
	p, ok := s.peers[node]
	return !ok || !p.unreachable && p.avoid <= s.now.Mono
}

func sortedKeys[K string | uint64, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
