package register

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// store applies changes one after the other, at stamps 10, 20, and so on.
type store struct {
	t *testing.T
	v Value
	n uint64
}

func (s *store) do(c Change) Result {
	s.t.Helper()
	s.n += 10
	w := Past{Write: Ballot{s.n, 1}, Op: Ballot{s.n - 1, 1}}
	next, changed, res := c.Apply(s.v, w)
	if !changed {
		if diff := cmp.Diff(s.v, next); diff != "" {
			s.t.Fatalf("%v changed nothing, and: %s", c.Kind, diff)
		}
		return res
	}
	if next.Write() != w.Write {
		s.t.Fatalf("%v: the last write is %v", c.Kind, next.Write())
	}
	// What is stored is what was meant.
	cell, err := DecodeCell(AppendCell(nil, &Cell{Accepted: w.Write, Value: next}))
	if err != nil {
		s.t.Fatal(err)
	}
	s.v = cell.Value
	if diff := cmp.Diff(next, s.v); diff != "" {
		s.t.Fatal(diff)
	}
	return res
}

func (s *store) is(live bool, data string, index, stamp uint64) {
	s.t.Helper()
	if s.v.Live != live || string(s.v.Data) != data || s.v.Index() != index || s.v.Stamp() != stamp {
		s.t.Fatalf("live %v, %q, index %d, stamp %d; want %v, %q, %d, %d", s.v.Live, s.v.Data, s.v.Index(), s.v.Stamp(), live, data, index, stamp)
	}
}

var (
	txn1 = TxnID{Start: Ballot{1, 1}}
	txn2 = TxnID{Start: Ballot{2, 1}, Attempt: 3}
)

// TestIntent: the index that hosts see changes when an intent is applied, to the
// stamp of its placing, and not when one is placed or removed.
func TestIntent(t *testing.T) {
	s := &store{t: t}
	told := s.do(Change{Kind: Put, Data: []byte("a"), Flags: 1, Tell: true}) // at 10
	if want := (Value{Live: true, Flags: 1, Create: 10, Hidden: true, Shown: 10}); cmp.Diff(want, told.Value) != "" {
		t.Fatalf("%+v", told.Value)
	}
	s.is(true, "a", 10, 10)
	res := s.do(Change{Kind: Place, Txn: txn1, Data: []byte("b"), If: true, Index: 10}) // at 20
	s.is(true, "a", 10, 10)
	if res.Outcome != Done || res.Index != 20 || res.Value.Create != 10 || !res.Value.Live {
		t.Fatalf("%+v", res)
	}
	if again := s.do(Change{Kind: Place, Txn: txn1, Data: []byte("b"), If: true, Index: 10}); cmp.Diff(res, again) != "" {
		t.Fatalf("again: %+v", again)
	}
	for _, c := range []Change{{Kind: Put}, {Kind: Delete}, {Kind: Pop}, {Kind: Place, Txn: txn2}, {Kind: Put, Over: Ended{Txn: txn2, Committed: true}}} {
		if res := s.do(c); res.Outcome != Held || res.Index != 10 || res.Value.Intent.Txn != txn1 || res.Value.Data != nil {
			t.Fatalf("%v: %+v", c.Kind, res)
		}
	}
	s.do(Change{Kind: Resolve, Over: Ended{Txn: txn2, Committed: true}})
	if s.v.Intent == nil {
		t.Fatal("another's intent was resolved")
	}
	s.do(Change{Kind: Resolve, Over: Ended{Txn: txn1}})
	s.is(true, "a", 10, 10)
	stamp := s.n + 10
	s.do(Change{Kind: Place, Txn: txn1, Data: []byte("c"), Flags: 3})
	s.do(Change{Kind: Resolve, Over: Ended{Txn: txn1, Committed: true}})
	s.is(true, "c", stamp, stamp)
	if s.v.Create != 10 || s.v.Flags != 3 || s.v.Intent != nil {
		t.Fatalf("%+v", s.v)
	}
	if res := s.do(Change{Kind: Place, Txn: txn2, If: true, Index: stamp - 1}); res.Outcome != Refused || res.Index != stamp {
		t.Fatalf("%+v", res)
	}
	// A deletion, over an intent that is applied in the same change.
	del := s.n + 10
	s.do(Change{Kind: Place, Txn: txn1, Remove: true})
	if res := s.do(Change{Kind: Place, Txn: txn2, Data: []byte("d"), If: true, Over: Ended{Txn: txn1, Committed: true}}); res.Outcome != Done || res.Value.Create != s.n {
		t.Fatalf("%+v", res)
	}
	s.is(false, "", 0, del)
	if s.v.IsTombstone() {
		t.Fatal("a tombstone beside an intent is none")
	}
	// A write of its own, over one that is removed.
	s.do(Change{Kind: Put, Data: []byte("e"), If: true, Over: Ended{Txn: txn2}})
	s.is(true, "e", s.n, s.n)
	if s.v.Create != s.n {
		t.Fatalf("%+v", s.v)
	}
}

// TestGuardAndNothing: what changes nothing that hosts see.
func TestGuardAndNothing(t *testing.T) {
	s := &store{t: t}
	s.do(Change{Kind: Place, Txn: txn1, Remove: true}) // of what is not there
	s.is(false, "", 0, 0)
	s.do(Change{Kind: Resolve, Over: Ended{Txn: txn1, Committed: true}})
	s.is(false, "", 0, 0)
	if !s.v.IsTombstone() {
		t.Fatal("it may not be forgotten")
	}
	s.do(Change{Kind: Put, Data: []byte("a")})
	at := s.n
	s.do(Change{Kind: Place, Txn: txn1, Guard: true, If: true, Index: at})
	s.do(Change{Kind: Resolve, Over: Ended{Txn: txn1, Committed: true}})
	s.is(true, "a", at, at)
	s.do(Change{Kind: Place, Txn: txn1, Remove: true})
	del := s.n
	s.do(Change{Kind: Delete, Over: Ended{Txn: txn1, Committed: true}}) // nothing left to delete
	s.is(false, "", 0, del)
	// A key of which nothing is known but up to where it was forgotten.
	s.v = Value{Lineage: []Past{{Write: Ballot{5, 1}}}}
	s.is(false, "", 0, 0)
}

// TestHoldingIsKept: what does not take the lock leaves it, also beside an intent,
// and a lock's token is the index of the change that took it.
func TestHoldingIsKept(t *testing.T) {
	s := &store{t: t}
	s.do(Change{Kind: Put, Data: []byte("a"), Take: true, Holding: Holding{Session: "s", Holders: 1}})
	want := Holding{Session: "s", Holders: 1, Token: 10}
	s.do(Change{Kind: Put, Data: []byte("b"), Alive: "s"})
	s.do(Change{Kind: Place, Txn: txn1, Data: []byte("c"), Alive: "s"})
	s.do(Change{Kind: Resolve, Over: Ended{Txn: txn1, Committed: true}})
	if s.v.Holding != want {
		t.Fatalf("%+v", s.v.Holding)
	}
	res := s.do(Change{Kind: Place, Txn: txn1, Take: true, Holding: Holding{Session: "z", Holders: 2}, Alive: "s"})
	if now, then := s.v.Names(); now != "s" || then != "z" {
		t.Fatalf("it names %q and %q", now, then)
	}
	if res.Value.Holding != (Holding{Session: "z", Holders: 2, Token: s.n}) {
		t.Fatalf("%+v", res)
	}
	s.do(Change{Kind: Resolve, Over: Ended{Txn: txn1, Committed: true}})
	if s.v.Holding != res.Value.Holding {
		t.Fatalf("%+v", s.v.Holding)
	}
	s.do(Change{Kind: Put, Fresh: true, Alive: "z"})
	if s.v.Holding != (Holding{}) || s.v.Create != s.n {
		t.Fatalf("%+v", s.v)
	}
	s.do(Change{Kind: Put, Take: true, Holding: Holding{Session: "s", Holders: 3}})
	// Deleted and created anew in one transaction: nothing is left.
	s.do(Change{Kind: Place, Txn: txn1, Data: []byte("d"), Fresh: true, Alive: "s"})
	at := s.n
	s.do(Change{Kind: Resolve, Over: Ended{Txn: txn1, Committed: true}})
	if s.v.Holding != (Holding{}) || s.v.Create != at {
		t.Fatalf("%+v", s.v)
	}
}

func TestOversized(t *testing.T) {
	s := &store{t: t}
	s.do(Change{Kind: Put, Data: make([]byte, MaxCellData/2)})
	if res := s.do(Change{Kind: Place, Txn: txn1, Data: make([]byte, MaxCellData/2+1)}); res.Outcome != Oversized || s.v.Intent != nil {
		t.Fatalf("%v", res.Outcome)
	}
	if res := s.do(Change{Kind: Place, Txn: txn1, Data: make([]byte, MaxCellData/2)}); res.Outcome != Done || s.v.Size() != MaxCellData {
		t.Fatalf("%v", res.Outcome)
	}
}

// TestStatus: a status goes from pending to one end, and readers are counted that
// it has to heed.
func TestStatus(t *testing.T) {
	keys := []string{"", "a", strings.Repeat("k", 300)}
	begin := func(validates bool) *store {
		s := &store{t: t}
		st := Status{State: Pending, Validates: validates, Keys: keys}
		s.do(Change{Kind: Put, Data: AppendStatus(nil, &st), If: true})
		return s
	}
	is := func(s *store, c Change, want Status) {
		t.Helper()
		res := s.do(c)
		got, err := StatusOf(&res.Value)
		if want.State != Absent {
			want.Keys = keys
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Fatalf("%v: %s %v", c.Kind, diff, err)
		}
	}
	s := begin(true)
	is(s, Change{Kind: Nudge}, Status{State: Pending, Validates: true, Nudges: 1})
	is(s, Change{Kind: Commit}, Status{State: Pending, Validates: true, Nudges: 1})
	is(s, Change{Kind: Commit, Index: 1}, Status{State: Committed, Validates: true, Nudges: 1})
	is(s, Change{Kind: Abort, Txn: txn1}, Status{State: Committed, Validates: true, Nudges: 1})
	is(s, Change{Kind: Nudge}, Status{State: Committed, Validates: true, Nudges: 1})
	s = begin(false)
	is(s, Change{Kind: Nudge}, Status{State: Pending})
	is(s, Change{Kind: Abort, Txn: txn2}, Status{State: Aborted, By: txn2})
	is(s, Change{Kind: Commit}, Status{State: Aborted, By: txn2})
	s = &store{t: t}
	for _, kind := range []Kind{Nudge, Commit, Abort} {
		is(s, Change{Kind: kind}, Status{})
	}
	if s.v.Write() != (Ballot{}) {
		t.Fatalf("something was written: %+v", s.v)
	}
	good := AppendStatus(nil, &Status{State: Pending, By: txn2, Keys: keys})
	for n := range good {
		if _, err := StatusOf(&Value{Live: true, Data: good[:n]}); err == nil {
			t.Errorf("the first %d of %d bytes are taken for a status", n, len(good))
		}
	}
	for _, bad := range [][]byte{append(bytes.Clone(good), 0), append([]byte{9}, good[1:]...)} {
		if _, err := StatusOf(&Value{Live: true, Data: bad}); err == nil {
			t.Errorf("%x is taken for a status", bad[:3])
		}
		s := &store{t: t, v: Value{Live: true, Data: bad}}
		if s.do(Change{Kind: Abort}); !bytes.Equal(s.v.Data, bad) {
			t.Error("what is no status was changed")
		}
	}
}

func TestTxnID(t *testing.T) {
	old, young := TxnID{Start: Ballot{1, 9}, Attempt: 7}, TxnID{Start: Ballot{2, 1}}
	if !old.Older(young) || young.Older(old) || old.Older(old) || !young.Older(TxnID{Start: young.Start, Attempt: 1}) {
		t.Error("age is the start, then the attempt")
	}
	for _, id := range []TxnID{{}, old, young, {Start: Ballot{MaxTime, 1<<64 - 1}, Attempt: 1<<32 - 1}} {
		if got, ok := ParseTxnKey(id.Key()); !ok || got != id {
			t.Errorf("%q is read as %v, %v", id.Key(), got, ok)
		}
	}
	for _, key := range []string{"", "\x00txn/", "txn/1-2-3", "\x00txn/1-2-3", old.Key() + "0x", strings.ToUpper(old.Key()), "\x00txn/20000000000000-0000000000000001-0"} {
		if id, ok := ParseTxnKey(key); ok {
			t.Errorf("%q is taken for %v", key, id)
		}
	}
}
