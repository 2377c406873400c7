package txnsim

import (
	"fmt"
	"testing"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/txn"
)

// state is what keys hold.
type state map[string]int

// scenario runs clients under every fault in some seeds.
func scenario(t *testing.T, seeds uint64, setUp func(r *run) func(e *port, o **operation) error) {
	t.Helper()
	var total Stats
	for n := uint64(1); n <= seeds; n++ {
		r := newRun(n, 2*time.Second)
		work := setUp(r)
		r.faulty, r.dying = true, []float64{0, 0.004, 0.02}[n%3]
		if err := r.clients(5, work); err != nil {
			t.Errorf("seed %d: %v", n, err)
		}
		r.close()
		total.Add(r.stats)
	}
	t.Logf("%d seeds: %+v", seeds, total)
	if total.Commits < int(seeds)*5 {
		t.Errorf("only %d commits in %d seeds", total.Commits, seeds)
	}
}

// seen reads all keys under a prefix by one of the ways there are, as numbers.
func (r *run) seen(e *port, prefix string) (state, error) {
	s := state{}
	switch r.Rand.IntN(4) {
	case 0:
		snap, err := e.n.c.Snapshot(e, txn.Range{Prefix: prefix, Values: true})
		for i := range snap.Keys {
			s[snap.Keys[i].Key] = number(&snap.Keys[i].Value)
		}
		return s, err
	case 1:
		results, err := e.n.c.Run(e, []txn.Op{{Verb: txn.GetTree, Key: prefix}})
		for i := range results {
			s[results[i].Key] = number(&results[i].Value)
		}
		return s, err
	case 2:
		var ops []txn.Op
		for _, key := range r.keys {
			ops = append(ops, txn.Op{Verb: txn.GetOrEmpty, Key: key})
		}
		results, err := e.n.c.Run(e, ops)
		for i := range results {
			s[results[i].Key] = number(&results[i].Value)
		}
		return s, err
	}
	tx, err := e.n.c.Begin(e, true)
	if err != nil {
		return nil, err
	}
	for _, key := range r.keys {
		cell, err := tx.Get(e, key)
		if err != nil {
			return nil, err
		}
		s[key] = number(&cell)
	}
	_, err = tx.Commit(e)
	return s, err
}

func (s state) total() (sum int) {
	for _, v := range s {
		sum += v
	}
	return sum
}

// TestBank: money goes from one account to another, and there is never more or
// less of it.
func TestBank(t *testing.T) {
	const each = 100
	scenario(t, 150, func(r *run) func(e *port, o **operation) error {
		for i := range 2 + r.Rand.IntN(4) {
			key := fmt.Sprintf("account/%d", i)
			r.keys = append(r.keys, key)
			r.world.change(r.nodes[0], key, register.Change{Kind: register.Put, Data: data(each)})
		}
		return func(e *port, _ **operation) error {
			if r.Chance(0.4) {
				s, err := r.seen(e, "account/")
				if err == nil && s.total() != each*len(r.keys) {
					r.violated("the accounts hold %v", s)
				}
				return err
			}
			from, to := r.key(), r.key()
			if from == to {
				return nil
			}
			if r.Chance(0.5) {
				return transferOneShot(e, from, to, 1+r.Rand.IntN(5))
			}
			return transfer(e, from, to, 1+r.Rand.IntN(5))
		}
	})
}

// move is one side of a transfer.
type move struct {
	key string
	by  int
}

func moves(from, to string, amount int) []move { return []move{{from, -amount}, {to, amount}} }

func transfer(e *port, from, to string, amount int) error {
	tx, err := e.n.c.Begin(e, false)
	if err != nil {
		return err
	}
	for _, m := range moves(from, to, amount) {
		cell, err := tx.Get(e, m.key)
		if err != nil {
			return err
		}
		if err := tx.Put(e, m.key, data(number(&cell)+m.by), 0, 0); err != nil {
			return err
		}
	}
	_, err = tx.Commit(e)
	return err
}

func transferOneShot(e *port, from, to string, amount int) error {
	var ops []txn.Op
	for _, m := range moves(from, to, amount) {
		cell, err := e.n.c.Read(e, m.key)
		if err != nil {
			return err
		}
		ops = append(ops, txn.Op{Verb: txn.CAS, Key: m.key, Index: cell.Index(), Data: data(number(&cell) + m.by)})
	}
	_, err := e.n.c.Run(e, ops)
	return err
}

// TestWriteSkew: of two that are on call one may go if the other is there; never
// do both go (Berenson et al. 1995, A5B).
func TestWriteSkew(t *testing.T) {
	scenario(t, 150, func(r *run) func(e *port, o **operation) error {
		r.keys = []string{"call/0", "call/1"}
		for _, key := range r.keys {
			r.world.change(r.nodes[0], key, register.Change{Kind: register.Put, Data: data(1)})
		}
		return func(e *port, _ **operation) error {
			x := r.Rand.Float64()
			if x < 0.3 {
				s, err := r.seen(e, "call/")
				if err == nil && s.total() == 0 {
					r.violated("nobody is on call")
				}
				return err
			}
			if x < 0.5 {
				_, err := e.n.c.Run(e, []txn.Op{{Verb: txn.Set, Key: r.keys[0], Data: data(1)}, {Verb: txn.Set, Key: r.keys[1], Data: data(1)}})
				return err
			}
			tx, err := e.n.c.Begin(e, false)
			if err != nil {
				return err
			}
			there := 0
			for _, key := range r.keys {
				cell, err := tx.Get(e, key)
				if err != nil {
					return err
				}
				there += number(&cell)
			}
			if there < 2 {
				return nil
			}
			// One leaves; the second write makes it more than a change of one register.
			if err := tx.Put(e, r.key(), data(0), 0, 0); err != nil {
				return err
			}
			if r.Chance(0.5) {
				if err := tx.Put(e, fmt.Sprintf("log/%d", r.Rand.IntN(3)), data(1), 0, 0); err != nil {
					return err
				}
			}
			_, err = tx.Commit(e)
			return err
		}
	})
}

// TestPhantoms: who counts three keys under a prefix adds none. There are never
// four.
func TestPhantoms(t *testing.T) {
	scenario(t, 150, func(r *run) func(e *port, o **operation) error {
		r.keys = []string{"seat/0", "seat/1", "seat/2", "seat/3", "seat/4"}
		return func(e *port, _ **operation) error {
			x := r.Rand.Float64()
			if x < 0.3 {
				s, err := r.seen(e, "seat/")
				if err == nil && s.total() > 3 {
					r.violated("taken: %v", s)
				}
				return err
			}
			tx, err := e.n.c.Begin(e, false)
			if err != nil {
				return err
			}
			if x < 0.5 {
				if err := tx.Delete(e, r.key()); err != nil {
					return err
				}
			} else {
				items, _, err := tx.List(e, txn.Query{Prefix: "seat/", Limit: r.Rand.IntN(2) * 5})
				if err != nil {
					return err
				}
				if len(items) >= 3 {
					return nil
				}
				if err := tx.Put(e, r.key(), data(1), 0, 0); err != nil {
					return err
				}
			}
			_, err = tx.Commit(e)
			return err
		}
	})
}
