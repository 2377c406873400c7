package integration

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/integration/cluster"
	"github.com/chord-plugin/chord-plugin/integration/crew"
)

const (
	// coordinators are killed, two at a time.
	coordinators = 20
	// coordinated is how many keys each of their transactions writes.
	coordinated = 40
	// maxLocked is how long a transaction that nobody ends is in the way: its timeout,
	// and a little for who waits to look again.
	maxLocked = 5*time.Second + 2*time.Second
)

// coordination is a transaction whose coordinator is killed.
type coordination struct {
	r           *ring
	coordinator *cluster.Member
	prefix      string
	interactive bool
	// value is what all keys hold.
	value string
}

func (c *coordination) key(i int) string { return fmt.Sprintf("%s%d/%d", c.prefix, i%4, i) }

// change writes all keys in one transaction. It tells when it begins to commit.
func (c *coordination) change(ctx context.Context, at crew.Target, value string, begins func()) error {
	t := at.Backend.(backend.Transactional)
	if !c.interactive {
		var ops []backend.TxnOp
		for i := range coordinated {
			ops = append(ops, backend.TxnOp{Verb: backend.VerbSet, Key: c.key(i), Value: []byte(value)})
		}
		begins()
		_, err := t.Txn(ctx, ops)
		return err
	}
	tx, err := t.Begin(ctx, backend.TxOptions{})
	if err == nil {
		_, err = tx.List(ctx, backend.ListQuery{Prefix: c.prefix})
	}
	for i := range coordinated {
		if err == nil {
			err = tx.Put(ctx, c.key(i), []byte(value), backend.PutOptions{})
		}
	}
	c.r.must(err)
	begins()
	return tx.Commit(ctx)
}

// look returns what all keys hold at a target, which must be the same.
func (c *coordination) look(ctx context.Context, at crew.Target) (string, []backend.TxnOp, error) {
	page, err := at.Backend.List(ctx, backend.ListQuery{Prefix: c.prefix, Values: true})
	if err != nil {
		return "", nil, err
	}
	require.Len(c.r.t, page.Items, coordinated)
	var ops []backend.TxnOp
	for _, it := range page.Items {
		require.Equal(c.r.t, string(page.Items[0].Entry.Value), string(it.Entry.Value), "HALF: %s and %s at %s", page.Items[0].Name, it.Name, at.Name)
		ops = append(ops, backend.TxnOp{Verb: backend.VerbCAS, Key: it.Name, Index: it.Entry.ModifyIndex})
	}
	return string(page.Items[0].Entry.Value), ops, nil
}

// survive sees at another member that all is as before or all as it was to be, and
// writes all keys again. It returns which, and after how long that succeeded.
func (c *coordination) survive(at crew.Target, wanted, next string) (found string, took time.Duration) {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(c.r.ctx, maxLocked)
	defer cancel()
	c.r.must(cluster.Wait(ctx, "a transaction of all that "+c.coordinator.Name+" was to write at "+at.Name, func(ctx context.Context) error {
		value, ops, err := c.look(ctx, at)
		if err != nil {
			return err
		}
		require.Contains(c.r.t, []string{c.value, wanted}, value)
		for i := range ops {
			ops[i].Value = []byte(next)
		}
		if _, err = at.Backend.(backend.Transactional).Txn(ctx, ops); err == nil {
			found = value
		}
		return err
	}))
	return found, time.Since(begun)
}

// TestKillCoordinator kills the members that carry out transactions, at any moment
// of these: the others find nothing that is half done, and nothing stays locked.
func TestKillCoordinator(t *testing.T) {
	t.Parallel()
	r := startRing(t)
	ctx, cancel := context.WithTimeout(context.Background(), 3*testPatience)
	defer cancel()
	r.ctx = ctx
	rng := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	var all []*coordination
	for i, m := range r.Members {
		for _, interactive := range []bool{false, true} {
			all = append(all, &coordination{r: r, coordinator: m, prefix: fmt.Sprintf("coordinated/%d/%v/", i, interactive), interactive: interactive})
		}
	}
	var usual time.Duration // for a transaction that nobody disturbs
	for _, c := range all {
		c.value = "at first"
		begun := time.Now()
		r.must(c.change(ctx, r.targets(c.coordinator)[0], c.value, func() { begun = time.Now() }))
		usual = max(usual, time.Since(begun))
	}
	t.Logf("a transaction of %d keys takes up to %v", coordinated, usual)
	done := map[string]int{}
	var longest time.Duration
	for round := range coordinators / 2 {
		r.must(r.WaitAlive(ctx))
		one := all[(2*round)%len(all)]
		two := all[(2*round+3)%len(all)]
		survivors := slices.DeleteFunc(r.targets(), func(x crew.Target) bool {
			return x.Name == one.coordinator.Name || x.Name == two.coordinator.Name
		})
		require.Len(t, survivors, 3)
		victims := []*coordination{one, two}
		wanted, next := fmt.Sprint("wanted in round ", round), fmt.Sprint("after round ", round)
		ended := make([]chan error, 2)
		for i, c := range victims {
			ended[i] = make(chan error, 1)
			begins := make(chan struct{})
			at := r.targets(c.coordinator)[0]
			go func() { ended[i] <- c.change(ctx, at, wanted, func() { close(begins) }) }()
			<-begins
			wait := time.Duration(rng.Int64N(int64(usual)))
			time.Sleep(wait)
			r.must(c.coordinator.Kill())
		}
		for i, c := range victims {
			err := <-ended[i]
			found, took := c.survive(survivors[rng.IntN(len(survivors))], wanted, next)
			longest = max(longest, took)
			outcome := "not done"
			if found == wanted {
				outcome = "done"
			}
			switch code := backend.CodeOf(err); {
			case err == nil:
				require.Equal(t, wanted, found, "LOST: it was acknowledged")
				outcome += ", acknowledged"
			case code == backend.UnknownOutcome:
				outcome += ", of unknown outcome"
			default:
				require.True(t, code == backend.TxnConflict || crew.Nothing(code), "%v", err)
				require.Equal(t, c.value, found, "it was said that nothing happened: %v", err)
			}
			done[outcome]++
			c.value = next
			r.must(c.coordinator.Start())
		}
	}
	r.must(r.WaitAlive(ctx))
	for _, c := range all {
		for _, at := range r.targets() {
			value, _, err := c.look(ctx, at)
			r.must(err)
			require.Equal(t, c.value, value)
		}
	}
	t.Logf("%d coordinators killed: %v; all keys could be written again after %v at most", coordinators, done, longest.Round(time.Millisecond))
}

// TestLargestTransaction: 128 operations and 8 MiB pass, and one more of either is
// refused before anything is written.
func TestLargestTransaction(t *testing.T) {
	t.Parallel()
	r := startRing(t, func(c *cluster.Config) { c.Members = 3 })
	at := r.targets()[1]
	do := at.Backend.(backend.Transactional)
	sets := func(prefix string, n, size int) (ops []backend.TxnOp) {
		for i := range n {
			ops = append(ops, backend.TxnOp{Verb: backend.VerbSet, Key: fmt.Sprint(prefix, i), Value: bytes.Repeat([]byte("x"), size)})
		}
		return ops
	}
	count := func(prefix string) int {
		page, err := r.targets()[2].Backend.List(r.ctx, backend.ListQuery{Prefix: prefix})
		r.must(err)
		return len(page.Items)
	}
	for _, tc := range []struct {
		prefix  string
		n, size int
		want    error
	}{
		{"most/", backend.MaxTxnOps, 10, nil},
		{"more/", backend.MaxTxnOps + 1, 10, backend.ErrTooLarge},
		{"largest/", 16, backend.MaxTxnSize / 16, nil},
		{"larger/", 17, backend.MaxTxnSize / 16, backend.ErrTooLarge},
	} {
		_, err := do.Txn(r.ctx, sets(tc.prefix, tc.n, tc.size))
		if tc.want == nil {
			r.must(err)
			require.Equal(t, tc.n, count(tc.prefix))
			continue
		}
		require.ErrorIs(t, err, tc.want)
		require.Zero(t, count(tc.prefix))
		t.Log(err)
	}
	tx, err := do.Begin(r.ctx, backend.TxOptions{})
	r.must(err)
	for i := range backend.MaxTxnOps {
		r.must(tx.Put(r.ctx, fmt.Sprint("interactive/", i), nil, backend.PutOptions{}))
	}
	require.ErrorIs(t, tx.Put(r.ctx, "interactive/more", nil, backend.PutOptions{}), backend.ErrTooLarge)
	r.must(tx.Commit(r.ctx))
	require.Equal(t, backend.MaxTxnOps, count("interactive/"))
}
