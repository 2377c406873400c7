// Package bank lets tellers move money between accounts, in transactions of all
// kinds and at all members of a ring, while readers take snapshots of everything,
// and judges whether what they saw is strictly serializable.
//
// Each teller counts its transfers in a key of its own, its mark, which it changes
// in the same transaction. So a snapshot says by the marks which transfers it is to
// show, and the accounts must agree; and a teller that does not know whether a
// transfer happened finds out by the mark, and makes sure that it never will.
package bank

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/integration/crew"
)

const (
	// bankPrefix is that of all accounts and marks, marksPrefix that of the marks.
	bankPrefix  = "bank/"
	marksPrefix = bankPrefix + "marks/"
	// deposit is what is in each account at first.
	deposit = 100
	// retryPause is how long who failed waits before it tries again.
	retryPause = 50 * time.Millisecond
)

// Config says what goes on in the bank. With more than backend.MaxTxnOps accounts
// and tellers together no transaction could read them all.
type Config struct {
	// Seed makes the choices of everybody the same again; not the order in which
	// they come to their turn.
	Seed uint64
	// Branches is how many prefixes the accounts are spread over. Default: 4.
	Branches int
	// Accounts is how many a branch has at most. Default: 4.
	Accounts int
	// Tellers is how many move money. Default: 4.
	Tellers int
	// Readers is how many take snapshots. Default: 2.
	Readers int
	// Shifts is how many pairs of doctors there are, of whom one must be on duty,
	// and as many goroutines that change who is. Default: 2.
	Shifts int
	// Think is the longest pause of each between two transactions; on average it is
	// half of that. Default: 10 ms.
	Think time.Duration
	// Timeout is the deadline of a transaction. Default: 5 s.
	Timeout time.Duration
}

// Bank is tellers, readers and doctors at work.
type Bank struct {
	*crew.Crew
	cfg     Config
	names   []string       // the keys of all accounts
	account map[string]int // their numbers
	tellers []*teller

	mu        sync.Mutex
	snapshots []snapshot
	shifts    int // transactions of the doctors that were done
	watched   int // times that both doctors of a pair were seen
}

// Open fills the accounts through the first target and lets the bank work with all
// of them until Stop. All must be backend.Transactional. Nobody else may use the
// keys that begin with "bank/" and "shifts/".
func Open(ctx context.Context, cfg Config, targets ...crew.Target) (*Bank, error) {
	setDefault(&cfg.Branches, 4)
	setDefault(&cfg.Accounts, 4)
	setDefault(&cfg.Tellers, 4)
	setDefault(&cfg.Readers, 2)
	setDefault(&cfg.Shifts, 2)
	setDefault(&cfg.Think, 10*time.Millisecond)
	setDefault(&cfg.Timeout, 5*time.Second)
	b := &Bank{Crew: crew.New(targets...), cfg: cfg, account: map[string]int{}}
	for branch := range cfg.Branches {
		for n := range cfg.Accounts {
			name := fmt.Sprintf("%s%02d", branchPrefix(branch), n)
			b.account[name] = len(b.names)
			b.names = append(b.names, name)
		}
	}
	for id := range cfg.Tellers {
		b.tellers = append(b.tellers, &teller{bank: b, id: id, rng: b.rng(id)})
	}
	if err := b.found(ctx, targets[0]); err != nil {
		return nil, fmt.Errorf("found the bank at %s: %w", targets[0].Name, err)
	}
	for _, t := range b.tellers {
		b.work(t.rng, t.transfer)
	}
	for i := range cfg.Readers {
		rng := b.rng(cfg.Tellers + i)
		b.work(rng, func(at crew.Target) { b.read(rng, at) })
	}
	for i := range cfg.Shifts {
		rng := b.rng(cfg.Tellers + cfg.Readers + i)
		b.work(rng, func(at crew.Target) { b.swap(rng, at) })
	}
	return b, nil
}

func setDefault[T int | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

func branchPrefix(n int) string { return fmt.Sprintf("%s%02d/", bankPrefix, n) }

func markKey(teller int) string { return fmt.Sprintf("%s%02d", marksPrefix, teller) }

func (b *Bank) rng(worker int) *rand.Rand { return rand.New(rand.NewPCG(b.cfg.Seed, uint64(worker))) }

// work does something over and over in a goroutine, at one target or another.
func (b *Bank) work(rng *rand.Rand, do func(crew.Target)) {
	b.Go(func() {
		for b.Pause(time.Duration(rng.Int64N(int64(b.cfg.Think)))) {
			if at, ok := b.Any(rng); ok {
				do(at)
			} else if !b.Pause(retryPause) {
				return
			}
		}
	})
}

// found writes the accounts, the marks and the shifts.
func (b *Bank) found(ctx context.Context, at crew.Target) error {
	var ops []backend.TxnOp
	create := func(key, value string) {
		ops = append(ops, backend.TxnOp{Verb: backend.VerbCAS, Key: key, Value: []byte(value)})
	}
	for _, name := range b.names {
		create(name, strconv.Itoa(deposit))
	}
	for id := range b.tellers {
		create(markKey(id), "0")
	}
	for pair := range b.cfg.Shifts {
		create(doctorKey(pair, 0), onDuty)
		create(doctorKey(pair, 1), onDuty)
	}
	doubt := false
	for {
		_, err := transactional(at).Txn(ctx, ops)
		switch code := backend.CodeOf(err); {
		case err == nil, doubt && code == backend.Conflict: // it was done, or had been
			return nil
		case code == backend.UnknownOutcome:
			doubt = true
		case code != backend.TxnConflict && !crew.Nothing(code):
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(retryPause):
		}
	}
}

func transactional(at crew.Target) backend.Transactional {
	return at.Backend.(backend.Transactional)
}

// inTx does something in an interactive transaction and commits it, or rolls it
// back. committing tells whether the error is that of the commit, so that it may
// have happened for all that.
func (b *Bank) inTx(at crew.Target, opts backend.TxOptions, do func(context.Context, backend.Tx) error) (committing bool, err error) {
	ctx, cancel := crew.Call(b.cfg.Timeout)
	defer cancel()
	tx, err := transactional(at).Begin(ctx, opts)
	if err != nil {
		return false, err
	}
	if err := do(ctx, tx); err != nil {
		// The transaction may be gone with its member, and then the error is that of
		// the rollback again.
		if end := tx.Rollback(ctx); end != nil && !b.mayEnd(end) && backend.CodeOf(end) != backend.UnknownOutcome {
			b.WentWrong("a rollback at %s: %v", at.Name, end)
		}
		return false, err
	}
	return true, tx.Commit(ctx)
}

// errNotNow is that what was read does not allow what was wanted.
var errNotNow = errors.New("not now")

// mayEnd reports whether a transaction may end so and change nothing. TxnDone is
// the word of a member that has died and come back meanwhile.
func (b *Bank) mayEnd(err error) bool {
	switch code := backend.CodeOf(err); code {
	case backend.Conflict, backend.TxnConflict, backend.TxnDone:
		return true
	default:
		return errors.Is(err, errNotNow) || crew.Nothing(code)
	}
}

// money returns what an entry of an account says, 0 for nil.
func money(e *backend.Entry) (int, error) {
	if e == nil {
		return 0, nil
	}
	n, err := strconv.Atoi(string(e.Value))
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("the account %q holds %q, which nobody wrote", e.Key, e.Value)
	}
	return n, nil
}

// isMark reports whether a key is a mark, and whose.
func (b *Bank) isMark(key string) (teller int, ok bool) {
	after, ok := strings.CutPrefix(key, marksPrefix)
	if !ok {
		return 0, false
	}
	teller, err := strconv.Atoi(after)
	return teller, err == nil && teller < b.cfg.Tellers
}
