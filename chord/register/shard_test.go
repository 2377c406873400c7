package register

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// cells is a disk on which everything is durable at once; broken fails.
type cells struct {
	byKey  map[string]Cell
	broken bool
}

func (c *cells) Load(key string) (Cell, error) {
	if c.broken {
		return Cell{}, errors.New("the disk is broken")
	}
	return c.byKey[key], nil
}

// wall is the wall clock of these tests.
var wall = Timestamp(time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC))

// alone is one shard of a ring of three that all own every key; the others are
// played by the test.
type alone struct {
	*Shard
	disk  *cells
	now   Now
	peers []ring.Node
	sent  []Envelope
	got   []Result
	newer []ring.Node
}

func newAlone(t testing.TB, cfg Config) *alone {
	t.Helper()
	c := &ring.Configuration{RingID: ring.RingID(strings.Repeat("0", 32)), Epoch: 1, Level: ring.Level, New: ring.Side{Replicas: 3}}
	for i := range 3 {
		c.New.Members = append(c.New.Members, ring.Member{ID: ring.NodeID(fmt.Appendf(nil, "member %d", i)), Name: fmt.Sprint(i), Tokens: 8})
	}
	c.Sort()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	p := ring.NewPlacement(c)
	g := p.Group("k")
	a := &alone{disk: &cells{byKey: map[string]Cell{}}, now: Now{Wall: wall}, peers: g.Owners()[1:]}
	if cfg.Self == 0 { // the primary of k
		cfg.Self, cfg.Cells = g.Owner(0), a.disk
	} else {
		a.peers = g.Owners()
	}
	cfg.Rand = rand.New(rand.NewPCG(1, 2))
	a.Shard = NewShard(cfg, p)
	return a
}

// do gives the shard an input and makes what follows durable.
func (a *alone) do(input func()) {
	input()
	for r := a.Ready(); !r.Empty(); r = a.Ready() {
		a.sent = append(a.sent, r.Messages...)
		a.got = append(a.got, r.Results...)
		a.newer = append(a.newer, r.Newer...)
		for _, w := range r.Writes {
			switch {
			case w.Drop:
				delete(a.disk.byKey, w.Key)
			case w.Mark == nil:
				a.disk.byKey[w.Key] = w.Cell
			}
			a.Synced(a.now, w.Seq)
		}
	}
}

func (a *alone) submit(token uint64, c Change) {
	a.do(func() { a.Submit(a.now, token, "k", c, 0) })
}

func (a *alone) after(d time.Duration) {
	a.now.Mono += d
	a.now.Wall += ticks(d)
	a.do(func() { a.Tick(a.now) })
}

// answer lets every peer answer what it was sent as an owner without cells does.
func (a *alone) answer() {
	sent := a.sent
	a.sent = nil
	for _, env := range sent {
		m := Message{Key: env.Msg.Key, Epoch: 1, Round: env.Msg.Round, Time: env.Msg.Time, Ballot: env.Msg.Ballot, Next: env.Msg.Next, Digest: env.Msg.Digest}
		switch env.Msg.Kind {
		case MsgPrepare:
			m.Kind = MsgPromise
		case MsgAccept:
			m.Kind = MsgAccepted
		case MsgRead:
			m.Kind = MsgCell
		default:
			continue
		}
		a.do(func() { a.Step(a.now, env.To, &m) })
	}
}

// The states in which a shard meets messages.
var states = []struct {
	name string
	make func(t testing.TB) *alone
}{
	{"fresh", func(t testing.TB) *alone { return newAlone(t, Config{}) }},
	{"preparing", func(t testing.TB) *alone {
		a := newAlone(t, Config{})
		a.submit(1, Change{Kind: Put})
		return a
	}},
	{"accepting", func(t testing.TB) *alone {
		a := newAlone(t, Config{})
		a.submit(1, Change{Kind: Put})
		a.answer()
		return a
	}},
	{"leased", func(t testing.TB) *alone {
		a := newAlone(t, Config{})
		a.submit(1, Change{Kind: Put})
		a.answer()
		a.answer()
		return a
	}},
	{"doubtful", func(t testing.TB) *alone {
		a := newAlone(t, Config{})
		a.submit(1, Change{Kind: Pop})
		a.submit(2, Change{Kind: Put})
		a.answer()
		a.answer()
		a.after(time.Second)
		a.after(time.Second)
		return a
	}},
	{"confirming", func(t testing.TB) *alone {
		a := newAlone(t, Config{})
		a.submit(1, Change{Kind: Identity})
		return a
	}},
	{"reading", func(t testing.TB) *alone {
		a := newAlone(t, Config{})
		a.do(func() { a.Read(a.now, 1, "k", false, 0) })
		return a
	}},
	{"reading all", func(t testing.TB) *alone {
		a := newAlone(t, Config{})
		a.do(func() { a.Read(a.now, 1, "k", false, 0) })
		a.after(45 * time.Millisecond)
		return a
	}},
	{"forwarding", func(t testing.TB) *alone {
		a := newAlone(t, Config{Self: 77})
		a.submit(1, Change{Kind: Put})
		return a
	}},
	{"client proposing", func(t testing.TB) *alone {
		a := newAlone(t, Config{Self: 77})
		a.submit(1, Change{Kind: Put})
		a.after(time.Second)
		return a
	}},
}

// nearby draws a number that is near one that means something, or any.
func nearby(t *rapid.T, at uint64, label string) uint64 {
	if rapid.IntRange(0, 9).Draw(t, label+"?") == 0 {
		return rapid.Uint64Range(0, MaxTime).Draw(t, label)
	}
	return min(at-8+rapid.Uint64Range(0, 16).Draw(t, label), MaxTime)
}

// pointed draws a message that fits the shard's state more or less.
func pointed(t *rapid.T, a *alone) Message {
	m := anyMessage(t)
	nodes := append([]ring.Node{a.cfg.Self, 5}, a.peers...)
	ballot := func(b *Ballot) {
		b.Time = nearby(t, a.clock.Last(), "time")
		b.Node = rapid.SampledFrom(nodes).Draw(t, "node")
	}
	m.Epoch = rapid.SampledFrom([]uint64{1, 1, 1, 1, 0, 2}).Draw(t, "epoch")
	m.Time = a.clock.Last() + rapid.Uint64Range(0, 1<<20).Draw(t, "ahead")
	m.Round = a.last - rapid.Uint64Range(0, 3).Draw(t, "round")
	for _, b := range []*Ballot{&m.Ballot, &m.Next, &m.Cell.Accepted, &m.Op, &m.Forgot} {
		if rapid.Bool().Draw(t, "near") {
			ballot(b)
		}
	}
	if m.Kind == MsgPromise || m.Kind == MsgAccepted { // the ballot of a round there is
		for _, r := range sortedKeys(a.rounds) {
			m.Ballot = a.rounds[r].ballot
		}
	}
	return m
}

// noPanic sends messages of all sorts to a shard in some state, some of them with
// a byte changed on the way. Nothing may panic, what the shard says must be
// readable, and it must never promise less than before.
func noPanic(t *rapid.T) {
	state := rapid.SampledFrom(states).Draw(t, "state")
	a := state.make(builder{})
	for range rapid.IntRange(1, 8).Draw(t, "messages") {
		m := pointed(t, a)
		b := AppendMessage(nil, &m)
		if rapid.IntRange(0, 3).Draw(t, "flip?") == 0 {
			b[rapid.IntRange(0, len(b)-1).Draw(t, "where")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		}
		m, err := DecodeMessage(b)
		if err != nil {
			continue
		}
		from := rapid.SampledFrom(append([]ring.Node{5}, a.peers...)).Draw(t, "from")
		before := a.acceptor.promised(m.Key, a.disk.byKey[m.Key].Accepted)
		a.do(func() { a.Step(a.now, from, &m) })
		if after := a.acceptor.promised(m.Key, a.disk.byKey[m.Key].Accepted); after.Less(before) {
			t.Fatalf("%v: promised %v, then %v", m.Kind, before, after)
		}
		a.after(time.Duration(rapid.IntRange(0, 200).Draw(t, "ms")) * time.Millisecond)
	}
	for _, env := range a.sent {
		if _, err := DecodeMessage(AppendMessage(nil, &env.Msg)); err != nil {
			t.Fatalf("%v: %v", env.Msg.Kind, err)
		}
	}
	// It still works: its clock was not driven away.
	if ahead := a.Clock(); ahead > a.now.Wall+ticks(DefaultMaxDrift)+1<<21 || a.reserved > a.now.Wall+2*ticks(DefaultMaxDrift) && a.cfg.Cells != nil {
		t.Fatalf("in state %s the clock was driven to %v and the mark to %v", state.name, TimeOf(ahead), TimeOf(a.reserved))
	}
}

// builder stands for the test while a state is made: a failure there is a bug of
// the test itself.
type builder struct{ testing.TB }

func (builder) Helper()        {}
func (builder) Fatal(a ...any) { panic(fmt.Sprint(a...)) }

func TestShardStep(t *testing.T) { rapid.Check(t, noPanic) }

// FuzzShardStep is the same, guided by what the fuzzer finds.
func FuzzShardStep(f *testing.F) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 8 {
		seed := make([]byte, 8192)
		for i := range seed {
			seed[i] = byte(rng.Uint32())
		}
		f.Add(seed)
	}
	f.Fuzz(rapid.MakeFuzz(noPanic))
}
