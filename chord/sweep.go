package chord

import (
	"context"
	"errors"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/store"
	"github.com/chord-plugin/chord-plugin/chord/txn"
)

const (
	// sweepPause is the time between two looks at the statuses of transactions.
	sweepPause = time.Second
	// sweepPage is how many statuses and sessions, tombstones included, one look
	// takes in; the next one goes on from there.
	sweepPage = 8192
	// sweepTime bounds the finishing of what one look found; after sweepBegin no
	// further one is begun.
	sweepTime  = 5 * time.Second
	sweepBegin = 4 * time.Second
	// statusAge is for how long the tombstone of a status is kept. The transaction
	// needs none: a status is created once, under a name that never was, and a change
	// of one that is gone does nothing. But the ballots that proposers hold ready for
	// other keys do not outlive what is forgotten. It is the same with a session.
	statusAge = 15 * time.Second
)

// internalPrefix begins the keys that are not for hosts.
const internalPrefix = "\x00"

// sweeper finishes the transactions whose coordinators do not, and forgets the
// tombstones that each transaction and each session leaves.
type sweeper struct {
	node      *Node
	txns      *txn.Sweeper
	forgetter *forgetter
	page      int           // see sweepPage
	age       time.Duration // see statusAge
	after     string        // where the next look begins
}

func newSweeper(n *Node, limit *rate.Limiter) *sweeper {
	return &sweeper{node: n, txns: txn.NewSweeper(n.txns), forgetter: newForgetter(n, limit), page: sweepPage, age: min(statusAge, n.cfg.forgetAge)}
}

// run sweeps until the node stops.
func (s *sweeper) run() {
	tick := time.NewTicker(sweepPause)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.node.ctx.Done():
			return
		}
		for more := true; more; {
			var err error
			if more, err = s.look(s.node.ctx); err != nil && s.node.ctx.Err() == nil {
				s.node.log.Debug("transactions that nobody finishes are left for later", "error", err)
			}
			more = more && err == nil && spend(s.node.ctx, s.forgetter.limit, s.page*noteBytes) == nil
		}
	}
}

// sweeps reports whether the tombstones of a key are the sweeper's.
func sweeps(key string) bool {
	return strings.HasPrefix(key, register.TxnPrefix) || strings.HasPrefix(key, register.SessionPrefix)
}

// look takes in one page of statuses and sessions. It reports whether the next one
// is not to wait, since there are more tombstones than it can know the age of: how
// many go in a pass is bounded then, and what a pass takes grows with them.
func (s *sweeper) look(ctx context.Context) (more bool, err error) {
	n := s.node
	st := n.ring.Load()
	if st == nil || !st.member {
		return false, nil
	}
	page, err := n.store.Scan(ctx, store.ScanOptions{Prefix: internalPrefix, After: s.after, Limit: s.page})
	if err != nil {
		return false, err
	}
	var ids []txn.ID
	var old []tombstone
	for i := range page.Cells {
		c := &page.Cells[i]
		if !c.Cell.Value.Live {
			if sweeps(c.Key) && s.forgetter.due(st, c, s.age) {
				old = append(old, tombstone{c.Key, c.Cell.Accepted})
			}
		} else if id, ok := register.ParseTxnKey(c.Key); ok && n.rank(st, c.Key) == 0 {
			ids = append(ids, id)
		}
	}
	if s.after = ""; page.More {
		s.after = page.Cells[len(page.Cells)-1].Key
	}
	left := s.finish(ctx, ids)
	if !page.More {
		s.txns.Passed()
		s.forgetter.passed()
	}
	if !st.clean() || st.placement.Configuration().Joint() {
		return false, left
	}
	_, err = s.forgetter.forget(ctx, st, old)
	return page.More && (s.forgetter.crowded || s.forgetter.wasCrowded), errors.Join(left, err)
}

// finish brings transactions to their ends that have been known for too long.
func (s *sweeper) finish(ctx context.Context, ids []txn.ID) error {
	ctx, cancel := context.WithTimeout(ctx, sweepTime)
	defer cancel()
	return s.txns.Sweep(registers{s.node, ctx}, ids, sweepBegin)
}
