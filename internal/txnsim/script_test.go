package txnsim

import (
	"fmt"
	"testing"

	"github.com/anishathalye/porcupine"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/txn"
)

// between is a port that runs something before it reads the status of a
// transaction, once.
type between struct {
	*port
	id     txn.ID
	before func()
}

func (b *between) Read(key string) (register.Value, error) {
	if do := b.before; do != nil && key == b.id.Key() {
		b.before = nil
		do()
	}
	return b.port.Read(key)
}

func (b *between) Change(key string, c register.Change) (register.Result, error) {
	if do := b.before; do != nil && key == b.id.Key() {
		b.before = nil
		do()
	}
	return b.port.Change(key, c)
}

// listOfTwoMoments is a schedule: two transactions that each write a key under a/
// and one under b/, both pending. A list of a/ reads the status of the first. Then
// the first commits, a client sees that at its key under b/ and still the old
// value at the second's key under a/, and the second commits. Then the list reads
// the status of the second. The old value of the first and the new one of the
// second were never true together.
func listOfTwoMoments() error {
	r := newRun(1, 0)
	defer r.close()
	n := r.nodes[0]
	p := r.process(func() {})
	r.processes = append(r.processes, p)
	e := &port{w: r.world, p: p, n: n, deadline: backgroundTime}

	var ids []txn.ID
	var err error
	fail := func(format string, args ...any) {
		if err == nil {
			err = fmt.Errorf(format, args...)
		}
	}
	note := func(client int, call int64, steps ...step) {
		r.history = append(r.history, porcupine.Operation{ClientId: client, Input: operation{steps: steps}, Call: call, Return: int64(r.Now)})
	}
	get := func(key, want string) {
		call := int64(r.Now)
		cell, readErr := n.c.Read(e, key)
		if saw := fmt.Sprint(number(&cell)); readErr != nil || saw != want {
			fail("key %q has %s: %v", key, saw, readErr)
		}
		note(3, call, step{verb: txn.GetOrEmpty, key: key, saw: want})
	}
	commit := func(i int) {
		res, commitErr := e.Change(ids[i].Key(), register.Change{Kind: register.Commit})
		if commitErr != nil || r.statusAt(&res.Value).State != register.Committed {
			fail("transaction %d: %v: %v", i, res, commitErr)
		}
		note(i, 0, step{verb: txn.Set, key: fmt.Sprintf("a/%d", i), val: 1 + i}, step{verb: txn.Set, key: fmt.Sprintf("b/%d", i), val: 1 + i})
	}
	p.Spawn(func() {
		for i := range 2 {
			start, _ := e.NewID()
			ids = append(ids, txn.ID{Start: start})
			keys := []string{fmt.Sprintf("a/%d", i), fmt.Sprintf("b/%d", i)}
			st := register.Status{State: register.Pending, Keys: keys}
			_, _ = e.Change(ids[i].Key(), register.Change{Kind: register.Put, Data: register.AppendStatus(nil, &st)})
			for _, key := range keys {
				_, _ = e.Change(key, register.Change{Kind: register.Place, Txn: ids[i], Data: data(1 + i)})
			}
		}
		call := int64(r.Now)
		// One after the other, so that the list reads the statuses in this order.
		b := &between{port: e, id: ids[1]}
		b.before = func() { commit(0); get("b/0", "1"); get("a/1", "0"); commit(1) }
		snap, listErr := n.c.Snapshot(inOrder{b}, txn.Range{Prefix: "a/", Values: true})
		if listErr != nil {
			fail("the list: %v", listErr)
		}
		s := map[string]string{}
		for i := range snap.Keys {
			s[snap.Keys[i].Key] = show(&snap.Keys[i].Value)
		}
		note(4, call, step{verb: txn.GetTree, key: "a/", saw: listed(s, "a/")})
	}, func() {})
	r.run(backgroundTime, func() bool { return p.Done() })
	if err != nil {
		return err
	}
	if len(r.history) != 5 {
		return fmt.Errorf("the script did not run to its end: %s", printed(r.history))
	}
	_, err = judge(r.history)
	return err
}

// inOrder runs Each one after the other.
type inOrder struct{ *between }

func (o inOrder) Each(n int, do func(i int) error) error {
	for i := range n {
		if err := do(i); err != nil {
			return err
		}
	}
	return nil
}

// TestListIsOfOneMoment runs the schedule with all rules in place.
func TestListIsOfOneMoment(t *testing.T) {
	if err := listOfTwoMoments(); err != nil {
		t.Error(err)
	}
}
