package register

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestSession: a session is renewed until it ends, which is for good.
func TestSession(t *testing.T) {
	s := &store{t: t}
	is := func(want Session, lasts time.Duration) {
		t.Helper()
		got, err := SessionOf(&s.v)
		if err != nil || cmp.Diff(want, got) != "" || s.v.Expires != lasts {
			t.Fatalf("%v, lasts %v: %s", err, s.v.Expires, cmp.Diff(want, got))
		}
	}
	for _, k := range []Kind{Renew, End} {
		if res := s.do(Change{Kind: k}); res.Outcome != Done || res.Value.Live {
			t.Fatalf("%v of none: %+v", k, res)
		}
	}
	live := Session{State: SessionLive, TTL: time.Minute, Delay: time.Second, Delete: true, Name: "n", Data: []byte("d")}
	s.do(Change{Kind: Put, Data: AppendSession(nil, &live), Expires: live.Lasts(), If: true})
	is(live, time.Minute)
	made := s.v.Index()
	res := s.do(Change{Kind: Renew})
	live.Renewals = 1
	is(live, time.Minute)
	if got, _ := SessionOf(&res.Value); res.Outcome != Done || got.State != SessionLive || res.Value.Create != made {
		t.Fatalf("%+v", res)
	}
	if res := s.do(Change{Kind: End, If: true, Index: made}); res.Outcome != Refused {
		t.Fatalf("ended though it was renewed: %+v", res)
	}
	s.do(Change{Kind: End, If: true, Index: s.v.Index()})
	ended := live
	ended.State, ended.Data = SessionEnded, nil
	is(ended, time.Second)
	at := s.v.Index()
	for _, k := range []Kind{Renew, End} {
		if res := s.do(Change{Kind: k}); res.Outcome != Done || res.Index != at {
			t.Fatalf("%v after its end: %+v", k, res)
		}
	}
	is(ended, time.Second)
	if none := (Session{State: SessionEnded}); none.Lasts() != 1 {
		t.Fatal("an ended session without delay stays for ever")
	}
	for _, data := range [][]byte{nil, {9, 0, 0, 0, 0, 0}, {1, 2}, {1, 0, 0, 0, 0, 200}} {
		if got, err := SessionOf(&Value{Live: true, Data: data}); err == nil {
			t.Errorf("%v is taken for %+v", data, got)
		}
	}
	if id, ok := ParseSessionKey(SessionKey("x")); id != "x" || !ok {
		t.Fatal(id, ok)
	}
	if _, ok := ParseSessionKey("x"); ok {
		t.Fatal("a key of a host is taken for a session")
	}
}

func held(session string, del bool) Change {
	return Change{Kind: Put, Data: []byte("a"), Expires: time.Hour, Take: true, Holding: Holding{Session: session, Holders: 1, Delete: del}, Alive: session}
}

// TestRelease: who held a key is named until it is locked again, through whatever
// else happens to the key.
func TestRelease(t *testing.T) {
	s := &store{t: t}
	s.do(held("s", false)) // at 10
	if res := s.do(Change{Kind: Release, Holding: Holding{Session: "z"}}); res.Outcome != Done || s.v.Over {
		t.Fatalf("another's hold was ended: %+v", res)
	}
	s.do(Change{Kind: Release, Holding: Holding{Session: "s"}})
	s.is(true, "a", s.n, s.n)
	if want := (Holding{Session: "s", Holders: 1, Over: true}); s.v.Holding != want || s.v.Expires != time.Hour || s.v.Create != 10 {
		t.Fatalf("%+v", s.v)
	}
	at := s.n
	s.do(Change{Kind: Release, Holding: Holding{Session: "s"}})
	s.is(true, "a", at, at)
	s.do(Change{Kind: Put, Data: []byte("b")})
	if want := (Holding{Session: "s", Holders: 1, Over: true}); s.v.Holding != want {
		t.Fatalf("%+v", s.v)
	}
	past := Holding{Session: "s", Over: true}
	s.do(Change{Kind: Delete})
	if s.v.Holding != past || s.v.Live {
		t.Fatalf("%+v", s.v)
	}
	s.do(Change{Kind: Place, Txn: txn1, Data: []byte("c")})
	s.do(Change{Kind: Resolve, Over: Ended{Txn: txn1, Committed: true}})
	if s.v.Holding != past || !s.v.Live {
		t.Fatalf("%+v", s.v)
	}
	s.do(Change{Kind: Place, Txn: txn2, Remove: true})
	s.do(Change{Kind: Release, Holding: Holding{Session: "s"}, Over: Ended{Txn: txn2, Committed: true}})
	if s.v.Holding != past || s.v.Live || s.v.Intent != nil {
		t.Fatalf("%+v", s.v)
	}
	s.do(held("t", false))
	if want := (Holding{Session: "t", Holders: 1, Token: s.n}); s.v.Holding != want {
		t.Fatalf("%+v", s.v.Holding)
	}
}

// TestHeld: a key that is held can not be changed by who does not know whether the
// holder lives.
func TestHeld(t *testing.T) {
	s := &store{t: t}
	s.do(held("s", false))
	for _, c := range []Change{{Kind: Put}, {Kind: Delete, If: true}, {Kind: Place, Txn: txn1, Guard: true, Alive: "z"}} {
		if res := s.do(c); res.Outcome != Held || res.Value.Intent != nil || res.Value.Session != "s" {
			t.Fatalf("%v: %+v", c.Kind, res)
		}
	}
	s.do(Change{Kind: Place, Txn: txn1, Data: []byte("b"), Alive: "s"})
	s.do(Change{Kind: Delete, Over: Ended{Txn: txn1, Committed: true}, Alive: "s"})
	if s.v.Live || s.v.Holder() != "" {
		t.Fatalf("%+v", s.v)
	}
}

// TestDeletedWithHolder: a key that goes with its holder is gone once that is
// released, with what was written to it before.
func TestDeletedWithHolder(t *testing.T) {
	s := &store{t: t}
	s.do(held("s", true))
	at := s.n
	for _, c := range []Change{{Kind: Put, If: true}, {Kind: Delete, Alive: "z"}, {Kind: Pop}, {Kind: Place, Txn: txn1}, held("t", true)} {
		if res := s.do(c); res.Outcome != Held || res.Value.Intent != nil || res.Value.Session != "s" || !res.Value.Delete {
			t.Fatalf("%v: %+v", c.Kind, res)
		}
	}
	s.is(true, "a", at, at)
	s.do(Change{Kind: Put, Data: []byte("b"), Alive: "s"})
	if s.v.Session != "s" || s.v.Token != at {
		t.Fatalf("%+v", s.v)
	}
	s.do(Change{Kind: Place, Txn: txn1, Data: []byte("c"), Alive: "s"})
	if res := s.do(Change{Kind: Release, Holding: Holding{Session: "s"}}); res.Outcome != Held || res.Value.Intent.Txn != txn1 {
		t.Fatalf("%+v", res)
	}
	s.do(Change{Kind: Release, Holding: Holding{Session: "s"}, Over: Ended{Txn: txn1, Committed: true}})
	s.is(false, "", 0, s.n)
	if want := (Holding{Session: "s", Over: true}); s.v.Holding != want {
		t.Fatalf("%+v", s.v.Holding)
	}
	s.do(Change{Kind: Put, Data: []byte("d")})
	if want := (Holding{Session: "s", Over: true}); s.v.Holding != want || s.v.Create != s.n {
		t.Fatalf("%+v", s.v)
	}
}
