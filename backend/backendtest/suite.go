// Package backendtest states the contract of package backend as tests. A
// backend passes when
//
//	backendtest.Run(t, func(t *testing.T) backend.Backend { return open(t) })
//
// does; RunWith says what more it must be able to do. The cases need a backend that serves: they treat NoQuorum and
// UnknownOutcome as failures except where concurrency is judged.
package backendtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

const (
	// caseTimeout is how long one case may take.
	caseTimeout = 2 * time.Minute
	// writers is how many calls a case has under way when it fills a backend.
	writers = 16
)

// Options say more about the backend under test.
type Options struct {
	// Must is what the backend must be able to do; see backend.CapabilitiesOf. The
	// cases about what it can do beyond Must run too, those about what it can not
	// do not.
	Must backend.Capability
	// Advance, if the backend lives in a time of its own, moves that ahead by d and
	// returns when all that is due by then has been done.
	Advance func(d time.Duration)
	// Patience is how much later than it is due something may happen that depends
	// on time, for example the end of a session whose TTL is over.
	//
	// The cases that need time run if Advance or Patience is set, and Must needs one
	// of them if it has sessions, locks or expiry. Without Advance they wait in real
	// time, together and for about half a minute, since the shortest TTL is 10 s.
	Patience time.Duration
}

// Run is RunWith without options.
func Run(t *testing.T, open func(t *testing.T) backend.Backend) {
	t.Helper()
	RunWith(t, open, Options{})
}

// RunWith tests that what open returns satisfies the contract, one subtest a
// promise. It opens one backend for all cases and, so that they can be closed, one
// more for each of the cases about Close. What lies below a backend is open's to
// end, with t.Cleanup; RunWith closes the backend itself before that.
//
// Nothing else may use the backend meanwhile, because PopItem takes any key. It
// may hold at most maxLeftovers keys to begin with; they are popped.
//
// The cases respect the backend's Limits, which must allow keys of 256 bytes
// and values of 1 KiB. The flag -rapid.checks sets the length of the random case.
func RunWith(t *testing.T, open func(t *testing.T) backend.Backend, opts Options) {
	t.Helper()
	shared := open(t)
	require.NotNil(t, shared)
	t.Cleanup(func() { require.NoError(t, shared.Close()) })
	opts.require(t, shared)
	var waiting []testCase // for time to pass, which they do together
	for _, g := range groups() {
		switch {
		case !opts.allow(shared, g):
		case g.timed && opts.Advance == nil:
			waiting = append(waiting, g.cases...)
		default:
			for _, cs := range g.cases {
				cs.runIn(t, shared, open, opts)
			}
		}
	}
	// Not t.Parallel, which would let only as many wait as there are processors.
	var wg sync.WaitGroup
	for _, cs := range waiting {
		wg.Go(func() { cs.runIn(t, shared, open, opts) })
	}
	wg.Wait()
}

// runIn runs the case as a subtest of t.
func (cs testCase) runIn(t *testing.T, shared backend.Backend, open func(t *testing.T) backend.Backend, opts Options) {
	t.Helper()
	t.Run(cs.name, func(t *testing.T) {
		cs.start(t, shared, func() backend.Backend { return open(t) }, opts)
	})
}

// require fails t unless b can do what it must, and that can be tested.
func (o Options) require(t testing.TB, b backend.Backend) {
	t.Helper()
	have := backend.CapabilitiesOf(b)
	require.True(t, have.Has(o.Must), "the backend can do: %v; it must be able to do: %v", have, o.Must)
	const timed = backend.CanKeepSessions | backend.CanLock | backend.CanExpire
	require.True(t, o.Must&timed == 0 || o.hasTime(), "%v need time: set Advance or Patience", o.Must&timed)
}

func (o Options) hasTime() bool { return o.Advance != nil || o.Patience > 0 }

// allow reports whether the cases of g can run against b.
func (o Options) allow(b backend.Backend, g group) bool {
	return backend.CapabilitiesOf(b).Has(g.needs) && (!g.timed || o.hasTime())
}

// A group is cases that need the same of a backend.
type group struct {
	needs backend.Capability
	// timed tells that they need time to pass.
	timed bool
	cases []testCase
}

// A testCase is one promise of the contract. It takes a testing.TB so that the
// suite can be tested with backends that break the promise.
type testCase struct {
	name string
	run  func(c *check)
}

// groups lists all cases in the order in which they run. PopItem comes first
// because it empties the backend.
func groups() []group {
	const (
		transact = backend.CanTransact
		watch    = backend.CanWatch
		sessions = backend.CanKeepSessions
		locks    = backend.CanLock | sessions
		fences   = backend.CanFence | locks | transact
		expire   = backend.CanExpire
	)
	return []group{
		{cases: slices.Concat(popCases, singleCases, conditionCases, listCases, pageCases,
			iterateCases, limitCases, concurrentCases, endCases)},
		{needs: transact, cases: slices.Concat(txnCases, txnLimitCases, txCases, isolationCases, bankCases)},
		{needs: watch, cases: watchCases},
		{needs: watch | transact, cases: watchTxnCases},
		{needs: sessions, cases: sessionCases},
		{needs: sessions, timed: true, cases: sessionTimeCases},
		{needs: sessions | transact, cases: holdCases},
		{needs: sessions | transact, timed: true, cases: holdTimeCases},
		{needs: sessions | transact | watch, cases: watchHoldCases},
		{needs: locks, cases: lockCases},
		{needs: locks, timed: true, cases: lockTimeCases},
		{needs: fences, cases: fenceCases},
		{needs: expire, cases: expireCases},
		{needs: expire | locks, cases: expireLockCases},
		{needs: expire | watch | transact, timed: true, cases: expireTimeCases},
		{needs: transact | watch | locks | fences, cases: endingCases},
	}
}

func (cs testCase) start(t testing.TB, shared backend.Backend, open func() backend.Backend, opts Options) {
	ctx, cancel := context.WithTimeout(t.Context(), caseTimeout)
	defer cancel()
	cs.run(&check{TB: t, ctx: ctx, b: shared, open: open, opts: opts, prefix: uniquePrefix()})
}

var prefixes atomic.Uint64

// uniquePrefix returns a prefix that no other case has, in this process or,
// very likely, in any other that uses the same backend.
func uniquePrefix() string {
	return fmt.Sprintf("backendtest-%08x/%d/", rand.Uint32(), prefixes.Add(1))
}

// A check is a run of a case: a backend, and a prefix of its own.
type check struct {
	testing.TB
	ctx    context.Context
	b      backend.Backend
	open   func() backend.Backend
	opts   Options
	prefix string
}

// key returns the key that the case calls name.
func (c *check) key(name string) string { return c.prefix + name }

// keys returns the keys that the case calls names.
func (c *check) keys(names ...string) []string {
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = c.key(name)
	}
	return keys
}

// numbered returns n keys below dir in byte order.
func (c *check) numbered(dir string, n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = c.key(fmt.Sprintf("%s%05d", dir, i))
	}
	return keys
}

// put stores value at name and returns the index.
func (c *check) put(name, value string) uint64 {
	c.Helper()
	index, err := c.b.Put(c.ctx, c.key(name), []byte(value), backend.PutOptions{})
	require.NoError(c, err)
	return index
}

// fill stores each key's own name as its value, many at a time.
func (c *check) fill(keys []string) {
	c.Helper()
	c.parallel(writers, func(w int) error {
		for i := w; i < len(keys); i += writers {
			if _, err := c.b.Put(c.ctx, keys[i], []byte(keys[i]), backend.PutOptions{}); err != nil {
				return err
			}
		}
		return nil
	})
}

// get returns the entry of name, which must be there.
func (c *check) get(name string) *backend.Entry {
	c.Helper()
	e, err := c.b.Get(c.ctx, c.key(name), backend.GetOptions{})
	require.NoError(c, err)
	require.NotNil(c, e, "%q is missing", name)
	require.Equal(c, c.key(name), e.Key)
	return e
}

// missing requires that name is not there.
func (c *check) missing(name string) {
	c.Helper()
	e, err := c.b.Get(c.ctx, c.key(name), backend.GetOptions{})
	require.NoError(c, err)
	require.Nil(c, e, "%q is there", name)
}

// delete removes name.
func (c *check) delete(name string) {
	c.Helper()
	require.NoError(c, c.b.Delete(c.ctx, c.key(name), backend.DeleteOptions{}))
}

// list answers q, whose prefix and after are below the case's own prefix.
func (c *check) list(q backend.ListQuery) *backend.ListResult {
	c.Helper()
	q.Prefix = c.prefix + q.Prefix
	if q.After != "" {
		q.After = c.prefix + q.After
	}
	res, err := c.b.List(c.ctx, q)
	require.NoError(c, err)
	require.NotNil(c, res)
	return res
}

// names requires what q lists, in order.
func (c *check) names(q backend.ListQuery, names ...string) {
	c.Helper()
	require.Equal(c, c.keys(names...), c.list(q).Names(), "query %+v", q)
}

// fails requires that err is whole: of code want, about key when it is not
// empty, with a message. It returns err.
func (c *check) fails(err error, want backend.Code, key string) *backend.Error {
	c.Helper()
	require.Error(c, err)
	require.Equal(c, want, backend.CodeOf(err), "code of error %q", err)
	require.ErrorIs(c, err, &backend.Error{Code: want})
	var e *backend.Error
	require.True(c, errors.As(err, &e), "%q (%T) is no *backend.Error", err, err)
	require.True(c, e.Code.Known(), "code %d is not known", e.Code)
	require.NotEmpty(c, e.Message)
	if key != "" {
		require.Equal(c, key, e.Key, "key of error %q", err)
	}
	return e
}

// parallel runs n workers, waits for them and fails on the first error of each.
func (c *check) parallel(n int, work func(worker int) error) {
	c.Helper()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for w := range n {
		wg.Go(func() { errs[w] = work(w) })
	}
	wg.Wait()
	require.NoError(c, errors.Join(errs...))
}

// fatal reports that a worker can not go on after err: it is neither nil nor means
// to try again, or there is no time left for that.
func (c *check) fatal(err error) bool {
	return err != nil && (c.ctx.Err() != nil || !again(err) && !errors.Is(err, backend.ErrTxnConflict))
}

// again reports that err means that nothing happened and to try again.
func again(err error) bool {
	return errors.Is(err, backend.ErrConflict) || errors.Is(err, backend.ErrNotReady)
}
