package bank

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/integration/crew"
)

// Of two doctors one must be on duty. Who goes looks whether the other one is: two
// who do so at the same time write nothing of what the other one writes, and only
// what they have read stands between them (write skew; Cahill, Röhm and Fekete,
// SIGMOD 2008, section 1.1).
const (
	shiftsPrefix = "shifts/"
	onDuty       = "on"
	offDuty      = "off"
)

func shiftPrefix(pair int) string { return fmt.Sprintf("%s%02d/", shiftsPrefix, pair) }

func doctorKey(pair, doctor int) string { return fmt.Sprint(shiftPrefix(pair), "ab"[doctor:doctor+1]) }

// swap lets a doctor go if the other one is on duty, and come if not on duty.
func (b *Bank) swap(rng *rand.Rand, at crew.Target) {
	pair, who, way := rng.IntN(b.cfg.Shifts), rng.IntN(2), b.swapInteractive
	if rng.IntN(2) == 0 {
		way = b.swapOneShot
	}
	err := way(at, doctorKey(pair, who), doctorKey(pair, 1-who))
	switch {
	case err == nil:
		b.mu.Lock()
		defer b.mu.Unlock()
		b.shifts++
	case !b.mayEnd(err) && backend.CodeOf(err) != backend.UnknownOutcome:
		b.WentWrong("a doctor of shift %d at %s: %v", pair, at.Name, err)
	}
}

// next says what a doctor does.
func next(own, other *backend.Entry) (string, error) {
	if own == nil || other == nil {
		return "", fmt.Errorf("a doctor is gone: %v, %v", own, other)
	}
	switch {
	case string(own.Value) == offDuty:
		return onDuty, nil
	case string(other.Value) == onDuty:
		return offDuty, nil
	}
	return "", errNotNow
}

func (b *Bank) swapInteractive(at crew.Target, own, other string) error {
	_, err := b.inTx(at, backend.TxOptions{}, func(ctx context.Context, tx backend.Tx) error {
		mine, err := tx.Get(ctx, own)
		if err != nil {
			return err
		}
		theirs, err := tx.Get(ctx, other)
		if err != nil {
			return err
		}
		to, err := next(mine, theirs)
		if err != nil {
			return err
		}
		return inDoubt(tx.Put(ctx, own, []byte(to), backend.PutOptions{}))
	})
	return err
}

func (b *Bank) swapOneShot(at crew.Target, own, other string) error {
	ctx, cancel := crew.Call(b.cfg.Timeout)
	defer cancel()
	mine, err := at.Backend.Get(ctx, own, backend.GetOptions{})
	if err != nil {
		return err
	}
	theirs, err := at.Backend.Get(ctx, other, backend.GetOptions{})
	if err != nil {
		return err
	}
	to, err := next(mine, theirs)
	if err != nil {
		return err
	}
	_, err = transactional(at).Txn(ctx, []backend.TxnOp{
		{Verb: backend.VerbCheckIndex, Key: other, Index: theirs.ModifyIndex},
		{Verb: backend.VerbCAS, Key: own, Index: mine.ModifyIndex, Value: []byte(to)},
	})
	return err
}

// watch looks at all doctors.
func (b *Bank) watch(at crew.Target, way view) {
	call := b.Now()
	entries, err := way.shifts(b, at)
	if err != nil {
		b.failed(way, at, err)
		return
	}
	duty := map[string]string{}
	for _, e := range entries {
		duty[e.Key] = string(e.Value)
	}
	for pair := range b.cfg.Shifts {
		first, second := duty[doctorKey(pair, 0)], duty[doctorKey(pair, 1)]
		if first != onDuty && second != onDuty {
			b.WentWrong("SKEW: a %s at %s that began at %v shows the doctors of shift %d as %q and %q", way.name, at.Name, call, pair, first, second)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watched++
}
