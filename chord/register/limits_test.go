package register

import "testing"

func TestOverloaded(t *testing.T) {
	a := newAlone(t, Config{MaxWaiting: 3})
	outcomes := func() (o []Outcome) {
		for _, r := range a.got {
			o = append(o, r.Outcome)
		}
		a.got = nil
		return o
	}
	for token := uint64(1); token <= 3; token++ {
		a.submit(token, Change{Kind: Put})
		a.do(func() { a.Read(a.now, 10+token, "k", false, 0) })
	}
	if got := outcomes(); len(got) != 0 || a.Busy() != 6 {
		t.Fatalf("%v, busy %d", got, a.Busy())
	}
	a.submit(4, Change{Kind: Put})
	a.do(func() { a.Read(a.now, 14, "k", false, 0) })
	if got := outcomes(); len(got) != 2 || got[0] != Overloaded || got[1] != Overloaded || a.Busy() != 6 {
		t.Fatalf("%v, busy %d", got, a.Busy())
	}
	// What others forward here is refused with a result of its own.
	a.sent = nil
	m := Message{Kind: MsgForward, Key: "k", Epoch: 1, Round: 9, Time: a.clock.Last(), Op: Ballot{a.clock.Last(), a.peers[0]}, Until: MaxTime, Change: &Change{Kind: Put}}
	a.do(func() { a.Step(a.now, a.peers[0], &m) })
	if len(a.sent) != 1 || a.sent[0].Msg.Kind != MsgResult || a.sent[0].Msg.Result.Outcome != Overloaded || a.sent[0].Msg.Round != 9 {
		t.Fatalf("%+v", a.sent)
	}
	// An end makes room.
	a.do(func() { a.Cancel(a.now, 13) })
	a.do(func() { a.Cancel(a.now, 3) })
	outcomes()
	a.submit(4, Change{Kind: Put})
	a.do(func() { a.Read(a.now, 14, "k", false, 0) })
	if got := outcomes(); len(got) != 0 || a.Busy() != 6 {
		t.Fatalf("%v, busy %d", got, a.Busy())
	}
}

// TestBatchBytes: a round carries at most maxBatchBytes and maxBatch changes, the
// first always.
func TestBatchBytes(t *testing.T) {
	of := func(n, size int) int {
		q := &queue{}
		for range n {
			q.ops = append(q.ops, &op{change: Change{Kind: Put, Data: make([]byte, size)}})
		}
		took := len(q.batch())
		if len(q.ops) != n-took {
			t.Errorf("%d left of %d, %d taken", len(q.ops), n, took)
		}
		return took
	}
	for _, tt := range []struct{ n, size, want int }{
		{1, 2 * maxBatchBytes, 1}, {3, 2 * maxBatchBytes, 1}, {3, maxBatchBytes/2 - 64, 2}, {maxBatch, 10, maxBatch}, {maxBatch + 1, 10, maxBatch},
	} {
		if got := of(tt.n, tt.size); got != tt.want {
			t.Errorf("of %d changes of %d bytes a round takes %d, want %d", tt.n, tt.size, got, tt.want)
		}
	}
}
