package txnsim

import (
	"fmt"
	"testing"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/txn"
)

// TestDisjointWritersNeverConflict: 100 writers on keys of their own under
// prefixes of their own, which they list: no commit fails.
func TestDisjointWritersNeverConflict(t *testing.T) { disjointWriters(t, 0) }

// TestDoubtsFailNoCommit: that of some changes nobody says whether they happened, or
// will, as when a connection breaks, is no reason for a commit to fail. Only when the
// doubt is about the commit itself, and others have finished the transaction meanwhile,
// it remains.
func TestDoubtsFailNoCommit(t *testing.T) { disjointWriters(t, 0.01) }

func disjointWriters(t *testing.T, doubting float64) {
	r := newRun(1, 500*time.Millisecond)
	defer r.close()
	r.doubting = doubting
	r.shortest = 2 * time.Second
	commits, unknown := 0, 0
	r.onError = func(err error) {
		if doubting > 0 && txn.KindOf(err) == txn.Unknown {
			unknown++
			return
		}
		r.violated("an operation failed: %w", err)
	}
	err := r.clients(100, func(e *port, _ **operation) error {
		prefix := fmt.Sprintf("writer/%d/", e.client)
		tx, err := e.n.c.Begin(e, false)
		if err != nil {
			return err
		}
		items, _, err := tx.List(e, txn.Query{Prefix: prefix})
		if err != nil {
			return err
		}
		for i := range 3 {
			if err := tx.Put(e, fmt.Sprintf("%s%d", prefix, len(items)+i), data(i), 0, 0); err != nil {
				return err
			}
		}
		_, err = tx.Commit(e)
		commits++
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if commits < 300 || unknown > commits/200 {
		t.Errorf("of %d commits %d are in doubt, of %d changes", commits, unknown, r.stats.Doubts)
	}
}

// TestContendedOneShotsAllCommit: many one-shot transactions write the same keys
// in different orders and read one; each commits within its attempts.
func TestContendedOneShotsAllCommit(t *testing.T) {
	for _, clients := range []int{5, 20, 60} {
		r := newRun(uint64(clients), 5*time.Second)
		r.cfg = txn.Config{Timeout: 5 * time.Second, Life: time.Minute, Moment: 20 * time.Millisecond, Pause: time.Millisecond}
		for n := range r.nodes {
			r.restart(n)
		}
		r.shortest = 60 * time.Second
		r.onError = func(err error) { r.violated("%d clients: an operation failed: %w", clients, err) }
		r.keys = []string{"k/0", "k/1", "k/2"}
		done := 0
		var slowest time.Duration
		err := r.clients(clients, func(e *port, _ **operation) error {
			began := r.Now
			i := r.Rand.IntN(3)
			_, err := e.n.c.Run(e, []txn.Op{
				{Verb: txn.Set, Key: r.keys[i], Data: data(i)}, {Verb: txn.Set, Key: r.keys[(i+1)%3], Data: data(i)},
				{Verb: txn.GetOrEmpty, Key: r.keys[(i+2)%3]},
			})
			done++
			slowest = max(slowest, r.Now-began)
			return err
		})
		t.Logf("%d clients: %d transactions, the slowest %v, %+v", clients, done, slowest, r.stats)
		if err != nil {
			t.Error(err)
		}
		r.close()
	}
}

// TestDeadCoordinator: a coordinator dies after each of its steps. A reader is not
// held up for longer than a moment, a writer not for longer than the timeout, and
// all or nothing of what it wrote is there.
func TestDeadCoordinator(t *testing.T) {
	outcomes := map[int]int{}
	for steps := 1; steps < 14; steps++ {
		r := newRun(uint64(steps), 0)
		e := r.spawnPort(time.Minute)
		dying := &mortal{port: e, left: steps}
		e.p.Spawn(func() {
			_, _ = e.n.c.Run(dying, []txn.Op{{Verb: txn.Set, Key: "a", Data: data(1)}, {Verb: txn.Set, Key: "b", Data: data(1)}, {Verb: txn.GetOrEmpty, Key: "c"}})
		}, func() {})
		r.run(time.Second, func() bool { return e.p.Dead() })

		other := r.spawnPort(time.Minute)
		other.n = r.nodes[1]
		sum := 0
		var reading, writing time.Duration
		var err error
		other.p.Spawn(func() {
			for _, key := range []string{"a", "b"} {
				began := r.Now
				cell, readErr := other.n.c.Read(other, key)
				if readErr != nil {
					err = readErr
				}
				sum += number(&cell)
				reading = max(reading, r.Now-began)
			}
			began := r.Now
			for _, key := range []string{"a", "b"} {
				if _, writeErr := other.n.c.Change(other, key, register.Change{Kind: register.Put, Data: data(7)}); writeErr != nil {
					err = writeErr
				}
			}
			writing = r.Now - began
		}, func() {})
		r.run(time.Minute, func() bool { return other.p.Done() })
		const slack = 20 * 2 * slowest // some calls, there and back
		if err != nil || sum != 0 && sum != 2 || reading > 2*r.cfg.Moment+slack || writing > r.cfg.Timeout+r.cfg.Moment+slack {
			t.Errorf("after %d steps: read %d in %v, written in %v (timeout %v): %v", steps, sum, reading, writing, r.cfg.Timeout, err)
		}
		outcomes[sum]++
		r.close()
	}
	if outcomes[0] == 0 || outcomes[2] == 0 {
		t.Errorf("not both outcomes were seen: %v", outcomes)
	}
}

// mortal is a port whose process dies once so many changes of registers are done.
type mortal struct {
	*port
	left int
}

func (m *mortal) step() {
	if m.left--; m.left == 0 {
		rt := m.w.Current()
		m.w.After(0, m.p.kill)
		rt.Wait()
	}
}

func (m *mortal) Read(key string) (register.Value, error) { defer m.step(); return m.port.Read(key) }

func (m *mortal) Change(key string, c register.Change) (register.Result, error) {
	defer m.step()
	return m.port.Change(key, c)
}

func (m *mortal) Later(do func(r txn.Registers)) {
	m.port.Later(func(txn.Registers) { do(m) })
}
