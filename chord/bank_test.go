package chord

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

const (
	accounts = 8
	deposit  = 100
)

// bank is accounts between which money moves while auditors count it.
type bank struct {
	testing.TB
	moved, audits, lost atomic.Int64
}

func account(i int) string { return fmt.Sprint("bank/", i) }

func openBank(t testing.TB, n *Node) *bank {
	var ops []backend.TxnOp
	for i := range accounts {
		ops = append(ops, backend.TxnOp{Verb: backend.VerbSet, Key: account(i), Value: []byte(strconv.Itoa(deposit))})
	}
	_, err := n.Txn(within(t, limit), ops)
	require.NoError(t, err)
	return &bank{TB: t}
}

// transfer moves money in an interactive transaction.
func (b *bank) transfer(ctx context.Context, n *Node, from, to string, amount int) error {
	tx, err := n.Begin(ctx, backend.TxOptions{})
	if err != nil {
		return err
	}
	for _, m := range []struct {
		key string
		by  int
	}{{from, -amount}, {to, amount}} {
		e, err := tx.Get(ctx, m.key)
		if err != nil {
			return errors.Join(err, tx.Rollback(ctx))
		}
		if err := tx.Put(ctx, m.key, []byte(strconv.Itoa(number(e)+m.by)), backend.PutOptions{}); err != nil {
			return errors.Join(err, tx.Rollback(ctx))
		}
	}
	return tx.Commit(ctx)
}

func number(e *backend.Entry) int {
	n, err := strconv.Atoi(string(e.Value))
	if err != nil {
		panic(err)
	}
	return n
}

// transferOnce moves money in a one-shot transaction.
func (b *bank) transferOnce(ctx context.Context, n *Node, from, to string, amount int) error {
	var ops []backend.TxnOp
	for key, by := range map[string]int{from: -amount, to: amount} {
		e, err := n.Get(ctx, key, backend.GetOptions{})
		if err != nil {
			return err
		}
		ops = append(ops, backend.TxnOp{Verb: backend.VerbCAS, Key: key, Index: e.ModifyIndex, Value: []byte(strconv.Itoa(number(e) + by))})
	}
	_, err := n.Txn(ctx, ops)
	return err
}

// audit counts the money in one listing, or in one transaction.
func (b *bank) audit(ctx context.Context, n *Node, once bool) error {
	total, found := 0, 0
	if once {
		res, err := n.Txn(ctx, []backend.TxnOp{{Verb: backend.VerbGetTree, Key: "bank/"}})
		if err != nil {
			return err
		}
		for _, r := range res.Results {
			total, found = total+number(r.Entry), found+1
		}
	} else {
		res, err := n.List(ctx, backend.ListQuery{Prefix: "bank/", Values: true})
		if err != nil {
			return err
		}
		for _, it := range res.Items {
			total, found = total+number(it.Entry), found+1
		}
	}
	if total != accounts*deposit || found != accounts {
		b.Errorf("%d accounts hold %d and should hold %d", found, total, accounts*deposit)
	}
	return nil
}

// retry reports whether an error is one that is no fault of a ring that changes, or
// of which a member is closed.
func retry(err error) bool {
	switch backend.CodeOf(err) {
	case backend.Conflict, backend.TxnConflict, backend.UnknownOutcome, backend.NoQuorum, backend.NotReady, backend.Closed:
		return true
	}
	return false
}

// work has tellers move money, and auditors count it, through all the nodes, until
// the returned function is called.
func (b *bank) work(nodes []*Node) (stop func()) {
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	for w := range 3 * len(nodes) {
		n := nodes[w%len(nodes)]
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				one, done := context.WithTimeout(ctx, limit)
				from := rand.IntN(accounts)
				to := (from + 1 + rand.IntN(accounts-1)) % accounts
				var err error
				count := &b.moved
				switch {
				case w < len(nodes):
					count, err = &b.audits, b.audit(one, n, i%4 == 3)
				case i%2 == 0:
					err = b.transfer(one, n, account(from), account(to), rand.IntN(10))
				default:
					err = b.transferOnce(one, n, account(from), account(to), rand.IntN(10))
				}
				done()
				if err != nil {
					count = &b.lost
				}
				if count.Add(1); err == nil || ctx.Err() != nil {
					continue
				}
				if n.closed.Load() {
					return
				}
				if !retry(err) {
					b.Error(err)
					return
				}
			}
		})
	}
	return func() {
		cancel()
		wg.Wait()
		b.Logf("%d transfers, %d audits, %d tried in vain", b.moved.Load(), b.audits.Load(), b.lost.Load())
	}
}

// goOn waits until more has been moved and counted.
func (b *bank) goOn() {
	b.Helper()
	moved, audits := b.moved.Load(), b.audits.Load()
	eventually(b, func() bool { return b.moved.Load() >= moved+20 && b.audits.Load() >= audits+5 }, "money moves, and is counted")
}

// TestBankWhileAMemberGoes: one of five members is closed while money moves through
// all of them.
func TestBankWhileAMemberGoes(t *testing.T) {
	t.Parallel()
	nodes := openMembers(t, 5, 5, func(_ int, cfg *Config) { cfg.txns.Timeout = 500 * time.Millisecond })
	for _, n := range nodes {
		waitReady(t, n)
	}
	b := openBank(t, nodes[0])
	stop := b.work(nodes)
	b.goOn()
	require.NoError(t, nodes[4].Close())
	b.goOn()
	stop()
	require.NoError(t, b.audit(within(t, limit), nodes[0], false))
	nothingLeft(t, nodes[:4])
}

// TestBankWhileTheRingGrows: two members join while money moves.
func TestBankWhileTheRingGrows(t *testing.T) {
	t.Parallel()
	nodes := openRing(t, 3)
	b := openBank(t, nodes[0])
	stop := b.work(nodes)
	b.goOn()
	for i := 3; i < 5; i++ {
		nodes = append(nodes, openNode(t, Config{Name: fmt.Sprint("m", i), Memory: true, Seeds: []string{nodes[0].GossipAddr()}}))
	}
	shaped(t, nodes, "m0", "m1", "m2", "m3", "m4")
	b.goOn()
	stop()
	for _, n := range nodes {
		require.NoError(t, b.audit(within(t, limit), n, false))
	}
	nothingLeft(t, nodes)
}
