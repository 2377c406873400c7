package register

import (
	"testing"
	"time"
)

func TestBrokenDiskStopsTheShard(t *testing.T) {
	a := newAlone(t, Config{})
	a.disk.broken = true
	a.submit(1, Change{Kind: Put})
	if a.Err() == nil || a.Err().Error() != "the disk is broken" {
		t.Fatalf("%v", a.Err())
	}
	a.submit(2, Change{Kind: Put})
	a.do(func() { a.Read(a.now, 3, "k", false, 0) })
	a.do(func() { a.Cancel(a.now, 1) })
	a.do(func() { a.Reachable(a.now, a.peers[0], false) })
	a.do(func() { a.Unsent(a.now, &Envelope{}) })
	a.do(func() { a.Step(a.now, a.peers[0], &Message{Kind: MsgRead, Key: "k", Epoch: 1}) })
	a.after(time.Minute)
	if len(a.sent)+len(a.got) != 0 {
		t.Errorf("a stopped shard said %v and %v", a.sent, a.got)
	}
}

// TestStale: a question from an older epoch is not looked at, one from a newer
// waits until this node is there, and an answer that says so ends a round at once.
func TestStale(t *testing.T) {
	a := newAlone(t, Config{})
	ask := func(epoch uint64) {
		a.do(func() {
			a.Step(a.now, a.peers[0], &Message{Kind: MsgPrepare, Key: "k", Epoch: epoch, Round: 5, Time: wall, Ballot: Ballot{wall, a.peers[0]}})
		})
	}
	ask(0)
	if len(a.sent) != 1 || a.sent[0].Msg.Kind != MsgStale || a.sent[0].Msg.Round != 5 || a.sent[0].Msg.Epoch != 1 || len(a.newer) != 0 {
		t.Fatalf("%+v, newer %v", a.sent, a.newer)
	}
	a.sent = nil
	for range maxEarly + 3 {
		ask(2)
	}
	if len(a.sent) != 0 || len(a.early) != maxEarly || len(a.newer) == 0 || a.newer[0] != a.peers[0] {
		t.Fatalf("%+v, %d early, newer %v", a.sent, len(a.early), a.newer)
	}
	a.early = nil
	a.submit(1, Change{Kind: Put})
	first := a.sent
	a.sent = nil
	for _, env := range first {
		a.do(func() {
			a.Step(a.now, env.To, &Message{Kind: MsgStale, Round: env.Msg.Round, Time: env.Msg.Time, Epoch: 2})
		})
	}
	if n, _ := a.Promises(); n != 1 || len(a.rounds) != 0 {
		t.Errorf("%d promises, %d rounds", n, len(a.rounds))
	}
	if _, ok := a.Deadline(); !ok {
		t.Error("nothing will try again")
	}
	a.after(time.Second)
	if len(a.sent) == 0 {
		t.Error("nothing was tried again")
	}
	// A forward to a node of another epoch goes on elsewhere, without a doubt.
	c := newAlone(t, Config{Self: 77})
	c.submit(1, Change{Kind: Put})
	for range maxForwards {
		env := c.sent[len(c.sent)-1]
		if env.Msg.Kind != MsgForward {
			t.Fatalf("%v", env.Msg.Kind)
		}
		c.do(func() { c.Step(c.now, env.To, &Message{Kind: MsgStale, Round: env.Msg.Round, Time: env.Msg.Time}) })
	}
	if last := c.sent[len(c.sent)-1].Msg.Kind; last != MsgPrepare {
		t.Errorf("after %d forwards it says %v", maxForwards, last)
	}
}

// TestStrangers: what a node that is no owner answers counts for nothing.
func TestStrangers(t *testing.T) {
	a := newAlone(t, Config{})
	a.submit(1, Change{Kind: Put})
	for _, kind := range []MessageKind{MsgPromise, MsgRefuse, MsgAccepted, MsgCell, MsgStale, MsgDrift} {
		m := Message{Kind: kind, Key: "k", Epoch: 1, Round: a.last, Time: a.clock.Last(), Ballot: ceiling(MaxTime)}
		if kind == MsgPromise || kind == MsgAccepted {
			m.Ballot = a.rounds[a.last].ballot
		}
		a.do(func() { a.Step(a.now, 5, &m) })
		r := a.rounds[a.last]
		if r == nil || r.yes != 1 || r.no != 0 || r.drift != 0 {
			t.Fatalf("%v: %+v", kind, r)
		}
	}
}

func TestSyncedBeyondPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a write that was never handed out was reported durable")
		}
	}()
	a := newAlone(t, Config{})
	a.Synced(a.now, 1)
}
