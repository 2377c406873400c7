package backendtest

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

const (
	accounts  = 5
	deposit   = 100
	tellers   = 6
	transfers = 25
)

var bankCases = []testCase{
	{"interactive bank transfers keep the total", func(c *check) { c.bank(c.transfer) }},
	{"one-shot bank transfers keep the total", func(c *check) { c.bank(c.transferOnce) }},
	{"100 writers under prefixes of their own all commit", func(c *check) {
		const crowd, rounds = 100, 3
		c.parallel(crowd, func(w int) error {
			for round := range rounds {
				if err := c.disjoint(fmt.Sprintf("%03d/", w), round); err != nil {
					return fmt.Errorf("writer %d, round %d: %w", w, round, err)
				}
			}
			return nil
		})
		require.Len(c, c.list(backend.ListQuery{}).Items, 2*crowd)
		require.Len(c, c.list(backend.ListQuery{Separator: "/"}).Items, crowd)
	}},
}

// bank lets tellers move money between accounts while an auditor counts it.
func (c *check) bank(transfer func(from, to string, amount int) (bool, error)) {
	c.Helper()
	var ops []backend.TxnOp
	for i := range accounts {
		ops = append(ops, c.set(fmt.Sprint("account", i), strconv.Itoa(deposit)))
	}
	c.commit(ops...)
	var left, moved atomic.Int64
	left.Store(tellers)
	c.parallel(tellers+1, func(w int) error {
		if w == 0 {
			for left.Load() > 0 {
				if err := c.audit(); c.fatal(err) {
					return err
				}
			}
			return nil
		}
		defer left.Add(-1)
		rng := rand.New(rand.NewPCG(2, uint64(w)))
		for done := 0; done < transfers; {
			from := rng.IntN(accounts)
			to := (from + 1 + rng.IntN(accounts-1)) % accounts
			ok, err := transfer(fmt.Sprint("account", from), fmt.Sprint("account", to), 1+rng.IntN(deposit/2))
			if c.fatal(err) {
				return fmt.Errorf("%d of %d transfers in time: %w", done, transfers, err)
			}
			if err == nil {
				done++
			}
			if ok {
				moved.Add(1)
			}
		}
		return nil
	})
	require.NoError(c, c.audit())
	require.Positive(c, moved.Load(), "transfers that found enough money")
}

// audit counts the money.
func (c *check) audit() error {
	res, err := c.b.List(c.ctx, backend.ListQuery{Prefix: c.prefix, Values: true})
	if err != nil {
		return err
	}
	total := 0
	for _, it := range res.Items {
		n, err := strconv.Atoi(string(it.Entry.Value))
		if err != nil {
			return err
		}
		if n < 0 {
			return fmt.Errorf("%q holds %d", it.Name, n)
		}
		total += n
	}
	if total != accounts*deposit {
		return fmt.Errorf("there are %d in %d accounts and should be %d", total, len(res.Items), accounts*deposit)
	}
	return nil
}

// transfer moves money in an interactive transaction, and reports whether there
// was enough.
func (c *check) transfer(from, to string, amount int) (enough bool, err error) {
	err = c.inTx(backend.TxOptions{}, func(tx backend.Tx) error {
		var held [2]int
		for i, name := range []string{from, to} {
			e, err := tx.Get(c.ctx, c.key(name))
			if err == nil && e == nil {
				err = fmt.Errorf("%q is gone", name)
			}
			if err == nil {
				held[i], err = strconv.Atoi(string(e.Value))
			}
			if err != nil {
				return err
			}
		}
		if enough = held[0] >= amount; !enough {
			return nil
		}
		for name, n := range map[string]int{from: held[0] - amount, to: held[1] + amount} {
			if err := tx.Put(c.ctx, c.key(name), []byte(strconv.Itoa(n)), backend.PutOptions{}); err != nil {
				return err
			}
		}
		return nil
	})
	return enough && err == nil, err
}

// transferOnce moves money in a one-shot transaction, and reports whether there
// was enough.
func (c *check) transferOnce(from, to string, amount int) (bool, error) {
	var ops []backend.TxnOp
	for name, change := range map[string]int{from: -amount, to: amount} {
		e, err := c.b.Get(c.ctx, c.key(name), backend.GetOptions{})
		if err == nil && e == nil {
			err = fmt.Errorf("%q is gone", name)
		}
		if err != nil {
			return false, err
		}
		n, err := strconv.Atoi(string(e.Value))
		if err != nil || n+change < 0 {
			return false, err
		}
		ops = append(ops, c.cas(name, strconv.Itoa(n+change), e.ModifyIndex))
	}
	_, err := c.b.(backend.Transactional).Txn(c.ctx, ops)
	return err == nil, err
}

// disjoint reads, lists and writes under dir in a transaction, which nobody else
// does.
func (c *check) disjoint(dir string, round int) error {
	return c.inTx(backend.TxOptions{}, func(tx backend.Tx) error {
		res, err := tx.List(c.ctx, backend.ListQuery{Prefix: c.key(dir), Values: true})
		if err == nil && len(res.Items) != min(2, 2*round) {
			err = fmt.Errorf("the list has %q", res.Names())
		}
		for _, name := range []string{"a", "b"} {
			var e *backend.Entry
			if err == nil {
				e, err = tx.Get(c.ctx, c.key(dir+name))
			}
			if err == nil && round > 0 && (e == nil || string(e.Value) != strconv.Itoa(round-1)) {
				err = fmt.Errorf("%q holds %+v in round %d", name, e, round)
			}
			if err == nil {
				err = tx.Put(c.ctx, c.key(dir+name), []byte(strconv.Itoa(round)), backend.PutOptions{})
			}
		}
		return err
	})
}
