package register

import (
	"testing"
	"time"
)

// deleted returns a shard that deleted k, and the tombstone that it holds.
func deleted(t testing.TB, cfg Config) (*alone, Cell) {
	t.Helper()
	a := newAlone(t, cfg)
	for token, kind := range []Kind{Put, Delete} {
		a.submit(uint64(token), Change{Kind: kind})
		a.answer()
		a.answer()
	}
	c := a.disk.byKey["k"]
	if len(a.got) != 2 || a.got[1].Outcome != Done || c.IsZero() || c.Value.Live {
		t.Fatalf("%+v, %+v", a.got, c)
	}
	a.got, a.sent = nil, nil
	return a, c
}

// TestForget: a tombstone goes, with the promise and the lease of its key, and what
// it refused is refused still.
func TestForget(t *testing.T) {
	a, c := deleted(t, Config{})
	promised := a.acceptor.promised("k", c.Accepted)
	if !c.Accepted.Less(promised) {
		t.Fatalf("promised %v, accepted %v", promised, c.Accepted)
	}
	forget := func(epoch uint64, b Ballot) Outcome {
		a.got = nil
		a.do(func() { a.Forget(a.now, 9, epoch, "k", b) })
		if len(a.got) != 1 || a.got[0].Token != 9 {
			t.Fatalf("%+v", a.got)
		}
		return a.got[0].Outcome
	}
	other := c.Accepted
	other.Time++
	if forget(2, c.Accepted) != Refused || forget(1, other) != Refused || forget(1, Ballot{}) != Refused {
		t.Fatal("forgot another tombstone, or one of another epoch")
	}
	for _, tt := range []struct {
		epoch uint64
		b     Ballot
		want  bool
	}{{1, c.Accepted, true}, {1, other, false}, {1, Ballot{}, false}, {2, c.Accepted, false}} {
		if got := a.Forgettable(tt.epoch, "k", tt.b); got != tt.want {
			t.Errorf("forgettable in epoch %d at %v: %v", tt.epoch, tt.b, got)
		}
	}
	if forget(1, c.Accepted) != Done || len(a.disk.byKey) != 0 || forget(1, c.Accepted) != Refused {
		t.Fatalf("%+v, %+v", a.got, a.disk.byKey)
	}
	n, floor := a.Promises()
	if n != 0 || len(a.leases.byKey) != 0 || floor.Less(promised) || floor.Time < c.Value.Write().Time || a.Bound() < floor.Time {
		t.Errorf("%d promises, %d leases, floor %v, bound %d", n, len(a.leases.byKey), floor, a.Bound())
	}
	// It forgot this one, and whatever is not above its floor, but no more.
	if !a.Forgettable(1, "k", c.Accepted) || !a.Forgettable(1, "k", floor) || a.Forgettable(1, "k", Ballot{floor.Time + 1, 0}) {
		t.Error("what is forgotten is not what the floor says")
	}
	// The next change of the key needs a Prepare, and says below what it knows nothing.
	a.submit(3, Change{Kind: Put})
	a.answer()
	if got := a.disk.byKey["k"].Value.Lineage; len(got) != 2 || got[1] != (Past{Write: floor}) || got[0].Write.Time <= floor.Time {
		t.Errorf("%+v above %v", got, floor)
	}
}

// TestForgetParks: the mark must cover the floor before anything is dropped.
func TestForgetParks(t *testing.T) {
	a := newAlone(t, Config{MaxWaiting: 1})
	high := wall + ticks(time.Minute)
	c := Cell{Accepted: Ballot{wall, a.peers[0]}, Value: Value{Lineage: []Past{{Write: Ballot{high, a.peers[0]}}}}}
	a.disk.byKey["k"] = c
	a.Forget(a.now, 1, 1, "k", c.Accepted)
	r := a.Ready()
	if len(r.Results) != 0 || len(r.Writes) != 1 || r.Writes[0].Mark == nil || r.Writes[0].Mark.HighWater < high {
		t.Fatalf("before the mark is durable: %+v", r)
	}
	a.do(func() { a.Forget(a.now, 2, 1, "k", c.Accepted) })
	if len(a.got) != 1 || a.got[0].Token != 2 || a.got[0].Outcome != Overloaded {
		t.Fatalf("%+v", a.got)
	}
	a.do(func() { a.Synced(a.now, r.Writes[0].Seq) })
	if _, floor := a.Promises(); len(a.got) != 2 || a.got[1].Token != 1 || a.got[1].Outcome != Done || floor != ceiling(high) || len(a.disk.byKey) != 0 {
		t.Fatalf("%+v, floor %v, %+v", a.got, floor, a.disk.byKey)
	}
}

// TestForgetsNotWhatItDoesNotOwn: a client, or a stranger to the key.
func TestForgetsNotWhatItDoesNotOwn(t *testing.T) {
	a := newAlone(t, Config{Self: 77})
	a.do(func() { a.Forget(a.now, 1, 1, "k", Ballot{5, 5}) })
	if len(a.got) != 1 || a.got[0].Outcome != Refused || a.Forgettable(1, "k", Ballot{5, 5}) {
		t.Errorf("%+v", a.got)
	}
}

// TestParkedPrepareMeetsReconfigure: a promise that waited for the mark is not made
// in an epoch in which nobody asked for it.
func TestParkedPrepareMeetsReconfigure(t *testing.T) {
	a := newAlone(t, Config{})
	b := Ballot{wall + 5, a.peers[0]}
	a.Step(a.now, a.peers[0], &Message{Kind: MsgPrepare, Key: "k", Epoch: 1, Round: 5, Time: b.Time, Ballot: b})
	r := a.Ready()
	if len(r.Messages) != 0 || len(r.Writes) != 1 || r.Writes[0].Mark == nil {
		t.Fatalf("%+v", r)
	}
	a.reconfigured(t, 2, 0, 1, 2)
	a.sent = nil
	a.do(func() { a.Synced(a.now, r.Writes[0].Seq) })
	if len(a.sent) != 1 || a.sent[0].To != a.peers[0] || a.sent[0].Msg.Kind != MsgStale || a.sent[0].Msg.Round != 5 {
		t.Errorf("%+v", a.sent)
	}
	if n, _ := a.Promises(); n != 0 {
		t.Errorf("%d promises", n)
	}
}

// TestForwardTooLate: an operation whose window has closed goes back at once, and
// waits in no queue.
func TestForwardTooLate(t *testing.T) {
	a := newAlone(t, Config{})
	op := OpID{wall - 20, a.peers[0]}
	forward := func(until uint64) Message {
		a.sent = nil
		a.do(func() {
			a.Step(a.now, a.peers[0], &Message{Kind: MsgForward, Key: "k", Epoch: 1, Round: 5, Time: wall, Op: op, Until: until, Change: &Change{Kind: Put}})
		})
		return a.sent[0].Msg
	}
	if m := forward(wall); m.Kind != MsgExpired || m.Doubt || m.Round != 5 || a.Busy() != 0 {
		t.Errorf("%+v, %d busy", m, a.Busy())
	}
	if m := forward(wall + ticks(time.Second)); m.Kind != MsgPrepare || a.Busy() != 1 {
		t.Errorf("%+v, %d busy", m, a.Busy())
	}
}

// TestPromiseThatForgotTooMuch: who promises a ballot has forgotten nothing at or
// above it; what says else is ignored.
func TestPromiseThatForgotTooMuch(t *testing.T) {
	a := newAlone(t, Config{})
	a.submit(1, Change{Kind: Put})
	r := a.rounds[a.last]
	for _, forgot := range []Ballot{ceiling(MaxTime), r.ballot, {r.ballot.Time - 1, 0}} {
		a.do(func() {
			a.Step(a.now, a.peers[0], &Message{Kind: MsgPromise, Key: "k", Epoch: 1, Round: r.number, Time: wall, Ballot: r.ballot, Forgot: forgot})
		})
		if counted := r.yes != 1; counted != forgot.Less(r.ballot) {
			t.Errorf("forgot %v: counted %v", forgot, counted)
		}
	}
	// Its stamps are not above what was forgotten: it tries again above it.
	if r.phase != phasePrepare || len(a.rounds) != 0 || len(a.disk.byKey) != 0 {
		t.Errorf("phase %d, %d rounds, %+v", r.phase, len(a.rounds), a.disk.byKey)
	}
	a.after(time.Second)
	if again := a.queues["k"].round; again == nil || again.first <= r.ballot.Time-1 {
		t.Errorf("%+v", again)
	}
}
