package txnsim

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/session"
	"github.com/chord-plugin/chord-plugin/chord/txn"
)

// hooked is a port that runs something before a kind of change of a key, or of any
// key, once.
type hooked struct {
	*port
	key    string
	kind   register.Kind
	before func()
}

func (h *hooked) Change(key string, c register.Change) (register.Result, error) {
	if do := h.before; do != nil && (h.key == "" || key == h.key) && c.Kind == h.kind {
		h.before = nil
		do()
	}
	return h.port.Change(key, c)
}

// forgetful is a port that loses what is left for later.
type forgetful struct{ *port }

func (forgetful) Later(func(r txn.Registers)) {}

// script runs body in a world without faults, in which sessions begin.
func script(sessions map[string]register.Session, body func(r *run, e *port) error) (err error) {
	r := newRun(1, 0)
	defer r.close()
	e := r.spawnPort(time.Hour)
	e.p.Spawn(func() {
		for id, s := range sessions {
			if _, err = session.Create(e, id, s); err != nil {
				return
			}
		}
		err = body(r, e)
	}, func() {})
	r.run(time.Hour, func() bool { return e.p.Done() })
	if !e.p.Done() {
		return errors.New("it did not end within an hour")
	}
	return err
}

func lockBy(r txn.Registers, n *node, key, id string) error {
	_, err := n.c.Run(r, []txn.Op{{Verb: txn.Lock, Key: key, Data: data(1), Session: id}})
	return err
}

// lockOfTombstone is a schedule: s2 reads a key that is not there, to lock it.
// Before it does, s1 locks it, and ends, which deletes it again: its lock delay is
// running.
func lockOfTombstone() error {
	sessions := map[string]register.Session{"s1": {Delete: true, Delay: time.Minute}, "s2": {}}
	return script(sessions, func(r *run, e *port) error {
		var between error
		h := &hooked{port: e, key: "k", kind: register.Place, before: func() {
			between = errors.Join(lockBy(e, r.nodes[1], "k", "s1"), session.Destroy(r.nodes[1].c, forgetful{e}, "s1", nil))
			if v, err := r.nodes[1].c.Read(e, "k"); err != nil || v.Live || !v.Over {
				between = fmt.Errorf("%+v: %w", v, err)
			}
		}}
		var failed *txn.Failed
		switch err := lockBy(h, e.n, "k", "s2"); {
		case between != nil:
			return between
		case err == nil:
			return errors.New("it was locked while the lock delay of its last holder was running")
		case !errors.As(err, &failed) || failed.Errors[0].Fault != txn.FaultLocked:
			return err
		}
		return nil
	})
}

// sweptUnderIntent is a schedule: a coordinator dies after it has locked a key, and
// before it applied that. Then the session ends, is swept and forgotten.
func sweptUnderIntent() error {
	return script(map[string]register.Session{"s": {}}, func(r *run, e *port) error {
		named := r.named(e)
		if err := lockBy(forgetful{e}, e.n, "k", "s"); err != nil {
			return err
		}
		if err := session.Destroy(e.n.c, forgetful{e}, "s", named); err != nil {
			return err
		}
		key := register.SessionKey("s")
		v := r.held[key]
		if err := session.Expire(e.n.c, e, session.Due{Key: key, Index: v.Index()}, named); err != nil {
			return err
		}
		if v := r.held[key]; v.Live {
			return fmt.Errorf("the session is still there: %+v", v)
		}
		v = r.held["k"]
		if now, then := v.Names(); now != "" || then != "" {
			return fmt.Errorf("the key still names a session that was forgotten: %q, %q", now, then)
		}
		return nil
	})
}

// holderEndsUnread is a schedule: a transaction changes two keys as it read them, of
// which s holds one. Before it commits s ends, which deletes that key; then a client
// that knows reads the old value of the other.
func holderEndsUnread() error {
	return script(map[string]register.Session{"s": {Delete: true}}, func(r *run, e *port) error {
		if err := lockBy(e, e.n, "k", "s"); err != nil {
			return err
		}
		if _, err := e.n.c.Run(e, []txn.Op{{Verb: txn.Set, Key: "j", Data: data(1)}}); err != nil {
			return err
		}
		j, err1 := e.n.c.Read(e, "j")
		k, err2 := e.n.c.Read(e, "k")
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		var between error
		h := &hooked{port: e, kind: register.Commit, before: func() {
			between = session.Destroy(r.nodes[1].c, forgetful{e}, "s", nil)
			if v, err := r.nodes[1].c.Read(e, "j"); err != nil || number(&v) != 1 {
				between = fmt.Errorf("%+v: %w", v, errors.Join(err, between))
			}
		}}
		_, err := e.n.c.Run(h, []txn.Op{
			{Verb: txn.CAS, Key: "j", Index: j.Index(), Data: data(2)},
			{Verb: txn.CAS, Key: "k", Index: k.Index(), Data: data(2)},
		})
		var failed *txn.Failed
		switch {
		case between != nil:
			return between
		case err == nil:
			return errors.New("it committed after the old value of one key was read, and changed another one that was gone by then")
		case !errors.As(err, &failed) || failed.Errors[0].Fault != txn.FaultMissing:
			return err
		}
		return nil
	})
}

// TestScripts runs the schedules with all rules in place.
func TestScripts(t *testing.T) {
	for name, run := range map[string]func() error{"lockOfTombstone": lockOfTombstone, "sweptUnderIntent": sweptUnderIntent, "holderEndsUnread": holderEndsUnread} {
		if err := run(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// statuses is a port that notes which transactions say that they validate.
type statuses struct {
	*port
	validate []bool
}

func (s *statuses) Change(key string, c register.Change) (register.Result, error) {
	if _, ok := register.ParseTxnKey(key); ok && c.Kind == register.Put {
		st, err := register.StatusOf(&register.Value{Live: true, Data: c.Data})
		if err != nil {
			return register.Result{}, err
		}
		s.validate = append(s.validate, st.Validates)
	}
	return s.port.Change(key, c)
}

// TestWhoValidates: readers have to tell only those transactions of what they read
// that depend on what can change under an intent; one key needs no status.
func TestWhoValidates(t *testing.T) {
	err := script(map[string]register.Session{"s": {}}, func(r *run, e *port) error {
		if err := lockBy(e, e.n, "held", "s"); err != nil {
			return err
		}
		for _, c := range []struct {
			read, write []string
			want        []bool
		}{
			{nil, []string{"a", "b"}, []bool{false}},
			{[]string{"a", "b"}, []string{"a", "b"}, []bool{false}},
			{[]string{"a"}, []string{"a", "b"}, []bool{false}},
			{[]string{"c"}, []string{"a", "b"}, []bool{true}},
			{[]string{"held"}, []string{"a", "held"}, []bool{true}},
			{[]string{"held"}, []string{"held"}, nil},
			{[]string{"a"}, []string{"a"}, nil},
		} {
			s := &statuses{port: e}
			tx, err := e.n.c.Begin(s, false)
			for _, key := range c.read {
				_, bad := tx.Get(s, key)
				err = errors.Join(err, bad)
			}
			for _, key := range c.write {
				err = errors.Join(err, tx.Put(s, key, data(1), 0, 0))
			}
			_, bad := tx.Commit(s)
			if err := errors.Join(err, bad); err != nil || !slices.Equal(s.validate, c.want) {
				t.Errorf("reads %q, writes %q: validates %v and not %v; %v", c.read, c.write, s.validate, c.want, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestSessionCalls: what the calls return, one after the other.
func TestSessionCalls(t *testing.T) {
	err := script(nil, func(r *run, e *port) error {
		named := r.named(e)
		want := register.Session{TTL: time.Minute, Delay: time.Second, Name: "n", Data: []byte("d")}
		if _, err := session.Renew(e, "s"); !errors.Is(err, session.ErrEnded) {
			t.Error(err)
		}
		// Ended before it began, it is not swept.
		if err := session.Destroy(e.n.c, e, "s", func(string) ([]string, error) { t.Error("it was swept"); return nil, nil }); err != nil {
			t.Error(err)
		}
		made, err := session.Create(e, "s", want)
		if err != nil || made.TTL != want.TTL || made.State != register.SessionLive {
			t.Errorf("%+v, %v", made, err)
		}
		if _, err := session.Create(e, "s", want); err == nil {
			t.Error("two sessions have the same ID")
		}
		renewed, err := session.Renew(e, "s")
		if err != nil || renewed.Renewals != 1 || renewed.Create != made.Create || string(renewed.Data) != "d" {
			t.Errorf("%+v, %v", renewed, err)
		}
		got, err := session.Get(e, "s")
		if err != nil || got.Renewals != 1 || got.Name != "n" || got.Create != made.Create {
			t.Errorf("%+v, %v", got, err)
		}
		for range 2 {
			if err := session.Destroy(e.n.c, e, "s", named); err != nil {
				t.Error(err)
			}
			if got, err := session.Get(e, "s"); err != nil || got.State != register.SessionGone {
				t.Errorf("%+v, %v", got, err)
			}
		}
		if _, err := session.Renew(e, "s"); !errors.Is(err, session.ErrEnded) {
			t.Error(err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestDestroyWithManyLocks: a session that holds 5,000 keys ends as fast as one that
// holds one; who reads a key sees it at once, and the others follow.
func TestDestroyWithManyLocks(t *testing.T) {
	const many = 5000
	err := script(map[string]register.Session{"s": {}}, func(r *run, e *port) error {
		for i := range many {
			r.world.change(e.n, fmt.Sprintf("k/%04d", i), register.Change{Kind: register.Put, Data: data(1), Take: true, Holding: register.Holding{Session: "s", Holders: 1}})
		}
		began := r.Now
		if err := session.Destroy(e.n.c, e, "s", r.named(e)); err != nil {
			return err
		}
		if took := r.Now - began; took > 2*slowest {
			t.Errorf("it took %v", took)
		}
		if v, err := e.n.c.Read(e, "k/0000"); err != nil || v.Holder() != "" {
			t.Errorf("%+v, %v", v, err)
		}
		snap, err := e.n.c.Snapshot(e, txn.Range{Prefix: "k/"})
		if err != nil || len(snap.Keys) != many {
			t.Errorf("%d keys, %v", len(snap.Keys), err)
		}
		for i := range snap.Keys {
			if snap.Keys[i].Holder() != "" {
				t.Fatalf("%+v", snap.Keys[i])
			}
		}
		if err := e.Sleep(backgroundTime); err != nil {
			return err
		}
		for key, v := range r.held {
			if v.Holder() != "" {
				t.Fatalf("key %q: %+v", key, v)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
