package register

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// alone, but in another configuration of the ring of newAlone.
func (a *alone) reconfigured(t *testing.T, epoch uint64, members ...int) {
	t.Helper()
	c := &ring.Configuration{RingID: ring.RingID(strings.Repeat("0", 32)), Epoch: epoch, Level: ring.Level, New: ring.Side{Replicas: 3}}
	for _, i := range members {
		c.New.Members = append(c.New.Members, ring.Member{ID: ring.NodeID(fmt.Appendf(nil, "member %d", i)), Name: fmt.Sprint(i), Tokens: 8})
	}
	c.Sort()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	a.do(func() { a.Reconfigure(a.now, ring.NewPlacement(c)) })
}

// TestRaise: what others promised is promised here too, above a durable mark.
func TestRaise(t *testing.T) {
	a := newAlone(t, Config{})
	if b := a.Bound(); b != 0 {
		t.Fatalf("a fresh shard promised %d", b)
	}
	bound := wall + ticks(time.Minute)
	a.Raise(a.now, 7, bound)
	r := a.Ready()
	if len(r.Results) != 0 || len(r.Writes) != 1 || r.Writes[0].Mark == nil || r.Writes[0].Mark.HighWater < bound {
		t.Fatalf("before the mark is durable: %+v", r)
	}
	a.do(func() { a.Synced(a.now, r.Writes[0].Seq) })
	if len(a.got) != 1 || a.got[0].Token != 7 || a.got[0].Outcome != Done || a.Bound() != bound {
		t.Fatalf("%+v, bound %d", a.got, a.Bound())
	}
	// Nothing at or below is promised again, and nothing is lost by a lower bound.
	a.do(func() { a.Raise(a.now, 8, bound-5) })
	a.do(func() {
		a.Step(a.now, a.peers[0], &Message{Kind: MsgPrepare, Key: "k", Epoch: 1, Round: 5, Time: bound, Ballot: Ballot{bound, a.peers[0]}})
	})
	if last := a.sent[len(a.sent)-1].Msg; last.Kind != MsgRefuse || last.Ballot != ceiling(bound) {
		t.Errorf("%+v", last)
	}
	a.do(func() {
		a.Step(a.now, a.peers[0], &Message{Kind: MsgPrepare, Key: "k", Epoch: 1, Round: 6, Time: bound + 1, Ballot: Ballot{bound + 1, a.peers[0]}})
	})
	if last := a.sent[len(a.sent)-1].Msg; last.Kind != MsgPromise || a.Bound() != bound+1 {
		t.Errorf("%+v, bound %d", last, a.Bound())
	}
	a.got = nil
	a.do(func() { a.Raise(a.now, 9, wall+ticks(time.Hour)) })
	if len(a.got) != 1 || a.got[0].Outcome != Drifted {
		t.Errorf("an hour ahead: %+v", a.got)
	}
}

// TestReconfigureGoesBackPanics: epochs only grow.
func TestReconfigureGoesBackPanics(t *testing.T) {
	a := newAlone(t, Config{})
	defer func() {
		if recover() == nil {
			t.Error("a shard went back to epoch 1")
		}
	}()
	a.reconfigured(t, 1, 0, 1, 2)
}

// TestReconfigureKeepsCallers: whatever a shard is doing, each caller is answered
// once when it meets a new configuration, in which it is alone.
func TestReconfigureKeepsCallers(t *testing.T) {
	for _, state := range states {
		a := state.make(t)
		if a.cfg.Cells == nil {
			continue // it has nobody to ask in a ring of its own
		}
		self := 0
		for i := range 3 {
			if ring.NodeID(fmt.Appendf(nil, "member %d", i)).Node() == a.cfg.Self {
				self = i
			}
		}
		before := len(a.got)
		busy := a.Busy()
		a.reconfigured(t, 2, self)
		a.after(time.Second)
		if a.Busy() != 0 || len(a.got) != before+busy || a.Epoch() != 2 {
			t.Errorf("%s: %d of %d were answered, %d are busy", state.name, len(a.got)-before, busy, a.Busy())
		}
		seen := map[uint64]bool{}
		for _, r := range a.got {
			if seen[r.Token] || r.Outcome == Unknown {
				t.Errorf("%s: %+v", state.name, r)
			}
			seen[r.Token] = true
		}
	}
}
