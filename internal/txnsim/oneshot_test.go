package txnsim

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/session"
	"github.com/chord-plugin/chord-plugin/chord/txn"
)

// calm runs body in a world without faults.
func calm(t *testing.T, body func(e *port)) {
	t.Helper()
	r := newRun(1, 0)
	defer r.close()
	e := r.spawnPort(time.Hour)
	over := false
	e.p.Spawn(func() { body(e); over = true }, func() {})
	r.run(time.Hour, func() bool { return over })
	if !over {
		t.Fatal("it did not end within an hour")
	}
	r.run(r.Now+time.Second, func() bool { return e.p.Done() })
	for key, v := range r.held {
		if v.Intent != nil || strings.HasPrefix(key, register.TxnPrefix) && v.Live {
			t.Errorf("key %q was left as %+v", key, v)
		}
	}
}

// TestVerbs: each verb, alone and with another, so that it goes both ways.
func TestVerbs(t *testing.T) {
	calm(t, func(e *port) {
		for _, id := range []string{"s", "z", "d"} {
			if _, err := session.Create(e, id, register.Session{TTL: time.Minute, Delay: time.Second, Delete: id == "d"}); err != nil {
				t.Fatal(err)
			}
		}
		end := func(id string) {
			t.Helper()
			if err := session.Destroy(e.n.c, e, id, func(string) ([]string, error) { return nil, nil }); err != nil {
				t.Fatal(err)
			}
		}
		run := func(ops ...txn.Op) []txn.Result {
			t.Helper()
			results, err := e.n.c.Run(e, ops)
			if err != nil {
				t.Fatalf("%v: %v", ops, err)
			}
			return results
		}
		fails := func(want []txn.Fault, ops ...txn.Op) {
			t.Helper()
			_, err := e.n.c.Run(e, ops)
			var failed *txn.Failed
			if !errors.As(err, &failed) {
				t.Fatalf("%v: %v; want %v", ops, err, want)
			}
			got := make([]txn.Fault, len(ops))
			for _, f := range failed.Errors {
				got[f.Op] = f.Fault
				if f.Key != ops[f.Op].Key {
					t.Errorf("%+v", f)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%v: %s", ops, diff)
			}
		}
		is := func(key, want string) *register.Value {
			t.Helper()
			v, err := e.n.c.Read(e, key)
			if err != nil || v.Live != (want != "") || string(v.Data) != want {
				t.Fatalf("key %q: %+v, %v; want %q", key, v, err, want)
			}
			return &v
		}
		op := func(verb txn.Verb, key, data string) txn.Op {
			return txn.Op{Verb: verb, Key: key, Data: []byte(data), Flags: 7}
		}
		at := func(verb txn.Verb, key string, index uint64) txn.Op {
			return txn.Op{Verb: verb, Key: key, Data: []byte("cas"), Index: index}
		}
		by := func(verb txn.Verb, key, session string) txn.Op {
			return txn.Op{Verb: verb, Key: key, Data: []byte(session), Session: session}
		}

		// Alone it is one change, with others it goes by intents; the results are alike.
		one := run(op(txn.Set, "a", "1"))[0].Value
		two := run(op(txn.Set, "b", "1"), op(txn.Set, "c", "1"))
		for key, v := range map[string]register.Value{"a": one, "b": two[0].Value, "c": two[1].Value} {
			now := is(key, "1")
			if v.Index() != now.Index() || v.Create != now.Index() || v.Flags != 7 || v.Data != nil || !v.Live {
				t.Errorf("key %q: %+v; it is %+v", key, v, now)
			}
		}
		b := two[0].Value.Index()
		fails([]txn.Fault{txn.FaultIndex}, at(txn.CAS, "b", b+1))
		fails([]txn.Fault{txn.FaultExists}, at(txn.CAS, "b", 0))
		fails([]txn.Fault{txn.FaultMissing}, at(txn.DeleteCAS, "none", 1))
		fails([]txn.Fault{0, txn.FaultExists, txn.FaultMissing, txn.FaultIndex, txn.FaultMissing, 0, txn.FaultExists, txn.FaultMissing},
			op(txn.Set, "a", "wrong"), at(txn.CAS, "b", 0), at(txn.CAS, "none", 1), at(txn.CheckIndex, "c", 1), at(txn.CheckIndex, "none", 0),
			op(txn.GetOrEmpty, "none", ""), op(txn.CheckNotExists, "c", ""), op(txn.Get, "none", ""))
		is("a", "1")
		res := run(at(txn.CAS, "b", b), at(txn.CAS, "new", 0), at(txn.CheckIndex, "a", one.Index()), op(txn.CheckNotExists, "none", ""), op(txn.Get, "b", ""))
		if len(res) != 4 || res[0].Value.Create != b || res[2].Value.Data != nil || string(res[3].Value.Data) != "cas" || res[3].Value.Index() != is("b", "cas").Index() {
			t.Errorf("%+v", res)
		}
		// What it wrote itself has no index that could be asked for.
		fails([]txn.Fault{0, txn.FaultIndex}, op(txn.Set, "b", "2"), at(txn.CAS, "b", is("b", "cas").Index()))
		run(op(txn.Delete, "b", ""), at(txn.CAS, "b", 0))
		if v := is("b", "cas"); v.Create != v.Index() {
			t.Errorf("created anew at %d, and it is %d", v.Create, v.Index())
		}
		run(at(txn.DeleteCAS, "b", is("b", "cas").Index()))
		is("b", "")

		// Trees, in their order.
		run(op(txn.Set, "t/2", "2"), op(txn.Set, "t/1", "1"), op(txn.Set, "t", "0"), op(txn.Delete, "t/2", ""), op(txn.Set, "t/3", "3"))
		res = run(op(txn.Set, "t/0", "0"), op(txn.GetTree, "t/", ""), op(txn.DeleteTree, "t/", ""), op(txn.GetTree, "t", ""))
		var names []string
		for _, r := range res {
			names = append(names, fmt.Sprint(r.Op, " ", r.Key))
		}
		if diff := cmp.Diff([]string{"0 t/0", "1 t/0", "1 t/1", "1 t/3", "3 t"}, names); diff != "" {
			t.Error(diff)
		}
		is("t/1", "")

		// Locks.
		fails([]txn.Fault{txn.FaultSession}, by(txn.Lock, "l", "dead"))
		fails([]txn.Fault{txn.FaultMissing, txn.FaultMissing}, by(txn.Unlock, "none", "s"), by(txn.CheckSession, "none", ""))
		lock := run(by(txn.Lock, "l", "s"))[0].Value
		if now := is("l", "s"); lock.Holding != (register.Holding{Session: "s", Holders: 1, Token: now.Index()}) || now.Holding != lock.Holding {
			t.Errorf("%+v; it is %+v", lock, now)
		}
		fails([]txn.Fault{txn.FaultLocked, txn.FaultNotHeld, txn.FaultNotHeld, txn.FaultNotHeld},
			by(txn.Lock, "l", "z"), by(txn.Unlock, "l", "z"), by(txn.CheckSession, "l", "z"), by(txn.CheckSession, "l", ""))
		res = run(by(txn.Lock, "l", "s"), op(txn.Set, "l", "mine"), by(txn.CheckSession, "l", "s"), op(txn.Set, "other", "1"))
		if now := is("l", "mine"); now.Holding != lock.Holding || res[1].Value.Holding != lock.Holding || res[2].Value.Holding != lock.Holding {
			t.Errorf("%+v, results %+v", now, res)
		}
		end("s")
		fails([]txn.Fault{txn.FaultNotHeld}, by(txn.CheckSession, "l", "s"))
		run(by(txn.CheckSession, "l", ""))
		fails([]txn.Fault{txn.FaultLocked}, by(txn.Lock, "l", "z"))
		fails([]txn.Fault{0, txn.FaultLocked}, op(txn.Delete, "l", ""), by(txn.Lock, "l", "z"))
		if _, err := e.Change(register.SessionKey("s"), register.Change{Kind: register.Delete}); err != nil {
			t.Fatal(err)
		}
		run(by(txn.Lock, "l", "z"))
		if now := is("l", "z"); now.Session != "z" || now.Holders != 2 || now.Token != now.Index() {
			t.Errorf("%+v", now)
		}
		run(by(txn.Unlock, "l", "z"))
		if now := is("l", "z"); now.Holding != (register.Holding{Holders: 2}) {
			t.Errorf("%+v", now)
		}
		// A key that goes with its holder.
		run(by(txn.Lock, "l", "d"), op(txn.Set, "l", "1"))
		run(op(txn.Set, "l", "2"))
		run(op(txn.Set, "l", "3"), op(txn.Set, "other", "3"))
		is("l", "3")
		end("d")
		is("l", "")
		fails([]txn.Fault{txn.FaultLocked}, by(txn.Lock, "l", "z"))
		run(op(txn.Set, "l", "4"))
		fails([]txn.Fault{txn.FaultLocked}, by(txn.Lock, "l", "z"))
	})
}

// TestTxSeesWhatItWrote: its own writes, in Get and in List, folded and paged.
func TestTxSeesWhatItWrote(t *testing.T) {
	calm(t, func(e *port) {
		for _, key := range []string{"a", "b/1", "b/2", "c", "d/1"} {
			if _, err := e.n.c.Change(e, key, register.Change{Kind: register.Put, Data: []byte("old")}); err != nil {
				t.Fatal(err)
			}
		}
		tx, err := e.n.c.Begin(e, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"a0", "b/0", "c", "e/1", "e/2"} {
			err = errors.Join(err, tx.Put(e, key, []byte("new"), 3, time.Minute))
		}
		for _, key := range []string{"a", "d/1", "e/2"} {
			err = errors.Join(err, tx.Delete(e, key))
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			q     txn.Query
			names []string
			more  bool
		}{
			{txn.Query{}, []string{"a0", "b/0", "b/1", "b/2", "c", "e/1"}, false},
			{txn.Query{Separator: "/"}, []string{"a0", "b/", "c", "e/"}, false},
			{txn.Query{Separator: "/", Limit: 2}, []string{"a0", "b/"}, true},
			{txn.Query{Separator: "/", After: "b/"}, []string{"c", "e/"}, false},
			{txn.Query{Separator: "/", After: "b/", Limit: 2}, []string{"c", "e/"}, false},
			{txn.Query{Prefix: "b/", After: "b/0", Limit: 1}, []string{"b/1"}, true},
			{txn.Query{Prefix: "d"}, nil, false},
		} {
			items, more, err := tx.List(e, tt.q)
			var names []string
			for _, item := range items {
				names = append(names, item.Name)
			}
			if diff := cmp.Diff(tt.names, names); diff != "" || more != tt.more || err != nil {
				t.Errorf("%+v: more %v, %v %s", tt.q, more, err, diff)
			}
		}
		v, err := tx.Get(e, "c")
		if diff := cmp.Diff(register.Value{Live: true, Data: []byte("new"), Flags: 3, Expires: time.Minute}, v); diff != "" || err != nil {
			t.Error(diff, err)
		}
		after, err := tx.Commit(e)
		if err != nil || len(after) != 7 {
			t.Fatal(after, err)
		}
		for key, v := range after {
			if now, err := e.n.c.Read(e, key); err != nil || now.Index() != v.Index() || now.Create != v.Create {
				t.Errorf("key %q: %+v; it is %+v, %v", key, v, now, err)
			}
		}
		if err := tx.Rollback(); txn.KindOf(err) != txn.Over {
			t.Error(err)
		}
		if _, err := tx.Get(e, "a"); txn.KindOf(err) != txn.Over {
			t.Error(err)
		}
	})
}

// TestLimits: what is over a limit is refused before anything is written.
func TestLimits(t *testing.T) {
	calm(t, func(e *port) {
		kind := func(want txn.Kind, err error) {
			t.Helper()
			if txn.KindOf(err) != want {
				t.Errorf("%v; want kind %d", err, want)
			}
		}
		var ops []txn.Op
		for i := range txn.MaxOps {
			ops = append(ops, txn.Op{Verb: txn.Set, Key: fmt.Sprintf("k/%03d", i), Data: []byte("v")})
		}
		_, err := e.n.c.Run(e, append(ops, txn.Op{Verb: txn.Get, Key: "k"}))
		kind(txn.TooLarge, err)
		half := txn.Op{Verb: txn.Set, Key: "k", Data: make([]byte, txn.MaxBytes/2)}
		_, err = e.n.c.Run(e, []txn.Op{half, half, ops[0]})
		kind(txn.TooLarge, err)
		_, err = e.n.c.Run(e, []txn.Op{{Verb: 99, Key: "k"}})
		kind(txn.Invalid, err)
		_, err = e.n.c.Run(e, []txn.Op{{Verb: txn.Lock, Key: "k"}})
		kind(txn.Invalid, err)

		tx, _ := e.n.c.Begin(e, false)
		for _, op := range ops {
			kind(0, tx.Put(e, op.Key, op.Data, 0, 0))
		}
		kind(txn.TooLarge, tx.Put(e, "one more", nil, 0, 0))
		kind(txn.TooLarge, tx.Put(e, ops[0].Key, make([]byte, txn.MaxBytes), 0, 0))
		kind(0, tx.Put(e, ops[0].Key, make([]byte, txn.MaxBytes-txn.MaxOps), 0, 0))
		kind(0, tx.Rollback())
		if len(e.w.held) != 0 {
			t.Errorf("something was written: %d keys", len(e.w.held))
		}
		_, err = e.n.c.Run(e, ops)
		kind(0, err)

		tx, _ = e.n.c.Begin(e, true)
		kind(txn.ReadOnly, tx.Put(e, "k", nil, 0, 0))
		kind(txn.ReadOnly, tx.Delete(e, "k"))
		for range txn.MaxCalls {
			if _, err := tx.Get(e, "k"); err != nil {
				t.Fatal(err)
			}
		}
		_, err = tx.Get(e, "k")
		kind(txn.TooLarge, err)
		_, err = tx.Commit(e)
		kind(0, err)

		tx, _ = e.n.c.Begin(e, false)
		kind(0, e.Sleep(3*e.w.cfg.Life))
		kind(txn.Conflict, tx.Put(e, "k", nil, 0, 0))
		_, err = tx.Commit(e)
		kind(txn.Conflict, err)

		// A value beside which no other of that size fits.
		kind(0, change(e, "big", make([]byte, register.MaxCellData)))
		_, err = e.n.c.Run(e, []txn.Op{{Verb: txn.Set, Key: "big", Data: []byte("v")}, ops[0]})
		kind(txn.TooLarge, err)
		kind(0, change(e, "big", []byte("v")))

		for i := range txn.MaxTree + 1 {
			e.w.change(e.n, fmt.Sprintf("tree/%04d", i), register.Change{Kind: register.Put, Data: []byte("v")})
		}
		var failed *txn.Failed
		if _, err := e.n.c.Run(e, []txn.Op{{Verb: txn.DeleteTree, Key: "tree/"}}); !errors.As(err, &failed) || failed.Errors[0].Fault != txn.FaultTree {
			t.Error(err)
		}
	})
}

func change(e *port, key string, data []byte) error {
	_, err := e.n.c.Change(e, key, register.Change{Kind: register.Put, Data: bytes.Clone(data)})
	return err
}

// TestReadThatConflictsDooms: a transaction that was told of a conflict can not
// commit.
func TestReadThatConflictsDooms(t *testing.T) {
	calm(t, func(e *port) {
		tx, _ := e.n.c.Begin(e, false)
		_ = tx.Put(e, "a", []byte("v"), 0, 0)
		restless := &restless{port: e}
		if _, _, err := tx.List(restless, txn.Query{}); txn.KindOf(err) != txn.Conflict {
			t.Fatal(err)
		}
		if _, err := tx.Commit(e); txn.KindOf(err) != txn.Conflict {
			t.Error(err)
		}
		if v := e.w.held["a"]; v.Live {
			t.Error("it committed")
		}
	})
}

// restless is a port whose ranges never stand still.
type restless struct{ *port }

func (r *restless) Scan(q txn.Range) (txn.Picture, error) {
	pic, err := r.port.Scan(q)
	pic.Moved = func() ([]txn.Move, bool, error) { return nil, false, nil }
	return pic, err
}
