package sim

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/txn"
)

// accounts are registers whose values add up to nothing, as each transfer takes
// from one what it gives to another.
var accounts = []string{"\x00account 1", "\x00account 2", "\x00account 3", "\x00account 4"}

// teller is a client that transfers amounts by transactions, and audits: it counts
// all accounts in a transaction that only reads, or in a snapshot. Its own transfers
// are counted by a register that each of them adds one to.
type teller struct {
	sim   *Sim
	id    int
	until time.Duration
	// begun and sure count its transfers, and those of them that it knows to have
	// happened.
	begun, sure int
}

const tellerTime = 4 * time.Second

func (t *teller) mark() string { return fmt.Sprintf("\x00teller %d", t.id) }

// run does one thing after the other, at nodes that may crash meanwhile.
func (t *teller) run() {
	s := t.sim
	if s.kernel.Now > t.until {
		return
	}
	n := s.someNode()
	over := false
	next := func() {
		if !over {
			over = true
			s.kernel.After(s.kernel.Between(time.Millisecond, 60*time.Millisecond), t.run)
		}
	}
	if n == nil {
		next()
		return
	}
	transfer := s.kernel.Chance(0.6)
	from, to := s.kernel.Rand.IntN(len(accounts)), s.kernel.Rand.IntN(len(accounts)-1)
	if to >= from {
		to++
	}
	n.spawn(tellerTime, func(p *process) {
		r := registers{fencing{p}}
		if transfer {
			t.begun++
			if t.transfer(n.coordinator(), r, accounts[from], accounts[to], 1+t.begun%7) == nil {
				t.sure++
				s.stats.Transfers++
			}
		} else if err := s.audit(n.coordinator(), r); err != nil && s.violation == nil {
			s.violation = err
		}
		next()
	})
	s.kernel.After(tellerTime+2*time.Second, next) // the node has crashed
}

// coordinator runs the transactions of a node in one of its lives.
func (n *node) coordinator() *txn.Coordinator {
	if n.txns == nil {
		c, err := txn.New(txn.Config{Timeout: 500 * time.Millisecond})
		if err != nil {
			panic(err)
		}
		n.txns = c
	}
	return n.txns
}

func balance(data []byte) int64 {
	if len(data) == 0 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(data))
}

// transfer moves an amount. Its error may leave a doubt.
func (t *teller) transfer(c *txn.Coordinator, r registers, from, to string, amount int) error {
	tx, err := c.Begin(r, false)
	if err != nil {
		return err
	}
	for _, part := range []struct {
		key string
		by  int
	}{{from, -amount}, {to, amount}, {t.mark(), 1}} {
		v, err := tx.Get(r, part.key)
		if err != nil {
			return err
		}
		data := binary.BigEndian.AppendUint64(nil, uint64(balance(v.Data)+int64(part.by)))
		if err := tx.Put(r, part.key, data, 0, 0); err != nil {
			return err
		}
	}
	_, err = tx.Commit(r)
	return err
}

// audit counts everything once and returns what can not be. That too few owners
// answer is no fault.
func (s *Sim) audit(c *txn.Coordinator, r registers) error {
	least := make([]int, len(s.tellers))
	for i, t := range s.tellers {
		least[i] = t.sure
	}
	sum, err := s.tally(c, r, least)
	if err != nil {
		return nil
	}
	s.stats.Audits++
	if sum.total != 0 {
		return fmt.Errorf("the accounts add up to %d at %v", sum.total, s.kernel.Now)
	}
	for i, t := range s.tellers {
		if n := sum.marks[i]; n != nil && (*n < int64(least[i]) || *n > int64(t.begun)) {
			return fmt.Errorf("teller %d has made %d transfers by its own count, of %d that happened before and %d that it began", t.id, *n, least[i], t.begun)
		}
	}
	return nil
}

// counted is what an audit saw; marks that it did not look at are nil.
type counted struct {
	total int64
	marks []*int64
}

func (s *Sim) tally(c *txn.Coordinator, r registers, least []int) (sum counted, err error) {
	sum.marks = make([]*int64, len(least))
	if s.kernel.Chance(0.5) {
		snapshot, err := c.Snapshot(r, txn.Range{Prefix: "\x00account ", Values: true})
		for i := range snapshot.Keys {
			sum.total += balance(snapshot.Keys[i].Data)
		}
		return sum, err
	}
	tx, err := c.Begin(r, true)
	if err != nil {
		return sum, err
	}
	for _, key := range accounts {
		v, err := tx.Get(r, key)
		if err != nil {
			return sum, err
		}
		sum.total += balance(v.Data)
	}
	for i, t := range s.tellers {
		v, err := tx.Get(r, t.mark())
		if err != nil {
			return sum, err
		}
		n := balance(v.Data)
		sum.marks[i] = &n
	}
	_, err = tx.Commit(r)
	return sum, err
}

// lastAudit checks that, when all faults have ended, every account can be written
// and counted at every node.
func (s *Sim) lastAudit() error {
	if len(s.tellers) == 0 {
		return nil
	}
	t := s.tellers[0]
	for _, n := range s.up() {
		var err error
		ended := false
		n.spawn(settle, func(p *process) {
			r := registers{fencing{p}}
			for i := range accounts {
				for try := 0; ; try++ {
					t.begun++
					if err = t.transfer(n.coordinator(), r, accounts[i], accounts[(i+1)%len(accounts)], 1); err == nil || try == 20 {
						break
					}
				}
				if err != nil {
					break
				}
				t.sure++
			}
			if err == nil {
				before := s.stats.Audits
				for try := 0; err == nil && s.stats.Audits == before && try < 20; try++ {
					err = s.audit(n.coordinator(), r)
				}
				if err == nil && s.stats.Audits == before {
					err = fmt.Errorf("the accounts can not be counted")
				}
			}
			ended = true
		})
		for end := s.kernel.Now + settle; !ended && s.kernel.Now < end; {
			s.run(20 * time.Millisecond)
		}
		if err != nil || !ended {
			return fmt.Errorf("at node %s after the last fault (ended: %v): %w", n.name, ended, err)
		}
	}
	return nil
}
