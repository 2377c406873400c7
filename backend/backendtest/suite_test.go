package backendtest

import (
	"flag"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
)

func TestMain(m *testing.M) {
	// The random case fails on purpose here, over and over.
	for name, value := range map[string]string{"rapid.nofailfile": "true", "rapid.shrinktime": "100ms"} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

// smallLimits are enough for every limit to be met.
var smallLimits = backend.Limits{MaxKeySize: 256, MaxValueSize: 128 << 10}

// A bench is what a case runs on: memory backends in a time of their own.
type bench struct{ clock memory.ManualClock }

func (b *bench) open() *memory.Store { return memory.NewWithClock(smallLimits, &b.clock) }

func (b *bench) options() Options {
	return Options{Must: backend.AllCapabilities, Advance: b.clock.Advance}
}

func TestMemoryPasses(t *testing.T) {
	var b bench
	RunWith(t, func(*testing.T) backend.Backend { return b.open() }, b.options())
}

// In the machine's time, which synctest makes pass at once.
func TestMemoryPassesInRealTime(t *testing.T) {
	opts := Options{Must: backend.AllCapabilities, Patience: time.Second}
	for _, g := range groups() {
		for _, cs := range g.cases {
			if !g.timed {
				continue
			}
			t.Run(cs.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := memory.New(smallLimits)
					cs.start(t, b, nil, opts)
					require.NoError(t, b.Close())
				})
			})
		}
	}
}

// cases are those of all groups.
func cases() []testCase {
	var all []testCase
	for _, g := range groups() {
		all = append(all, g.cases...)
	}
	return all
}

// Each case on a fresh backend, through the recorder: so the failures below are
// the fault of what is broken, and not of the recorder.
func TestMemoryPassesRecorded(t *testing.T) {
	for _, cs := range cases() {
		var b bench
		r := record(t, cs, func() backend.Backend { return b.open() }, b.options())
		require.False(t, r.Failed(), "%s: %s", cs.name, r.log.String())
	}
}

// A fault is a way to break the contract.
type fault struct {
	name string
	// caught are the cases that have to notice it.
	caught []string
	// waits tells that a case waits in vain for the fault to go away, which
	// it does in synctest's time.
	waits bool
	// breaks makes h, whose calls go to a memory backend, break the contract.
	breaks func(h *hooks)
}

func faults() []fault {
	return slices.Concat(keyFaults, conditionFaults, popFaults, listFaults, endFaults, txnFaults, txFaults, watchFaults, sessionFaults, lockFaults, fenceFaults, expireFaults)
}

func TestFaultsAreCaught(t *testing.T) {
	byName := map[string]testCase{}
	for _, cs := range cases() {
		byName[cs.name] = cs
	}
	for _, f := range faults() {
		test := func(t *testing.T) {
			for _, name := range f.caught {
				cs, ok := byName[name]
				require.True(t, ok, "there is no case %q", name)
				var b bench
				r := record(t, cs, func() backend.Backend {
					h := &hooks{Backend: b.open()}
					f.breaks(h)
					return h
				}, b.options())
				require.True(t, r.Failed(), "case %q does not notice", name)
				t.Logf("case %q notices:\n%s", name, r.log.String())
			}
		}
		t.Run(f.name, func(t *testing.T) {
			require.NotEmpty(t, f.caught)
			if f.waits {
				synctest.Test(t, test)
				return
			}
			test(t)
		})
	}
}

// A case that no fault makes fail might be a case that can not fail.
func TestEveryCaseCatchesSomething(t *testing.T) {
	idle := map[string]bool{}
	for _, cs := range cases() {
		require.False(t, idle[cs.name], "two cases are called %q", cs.name)
		idle[cs.name] = true
	}
	for _, f := range faults() {
		for _, name := range f.caught {
			delete(idle, name)
		}
	}
	require.Empty(t, slices.Sorted(maps.Keys(idle)))
}

// record runs a case on a fresh backend and notes whether it fails.
func record(t testing.TB, cs testCase, open func() backend.Backend, opts Options) *recorder {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() { // for FailNow to end
		defer close(done)
		cs.start(r, open(), open, opts)
	}()
	<-done
	return r
}

// A recorder is a testing.TB that keeps failures to itself.
type recorder struct {
	testing.TB
	mu     sync.Mutex
	failed bool
	log    strings.Builder
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *recorder) Fail() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = true
}

func (r *recorder) FailNow() { r.Fail(); runtime.Goexit() }

func (r *recorder) Log(args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintln(&r.log, args...)
}

func (r *recorder) Logf(format string, args ...any)   { r.Log(fmt.Sprintf(format, args...)) }
func (r *recorder) Error(args ...any)                 { r.Log(args...); r.Fail() }
func (r *recorder) Errorf(format string, args ...any) { r.Logf(format, args...); r.Fail() }
func (r *recorder) Fatal(args ...any)                 { r.Log(args...); r.FailNow() }
func (r *recorder) Fatalf(format string, args ...any) { r.Logf(format, args...); r.FailNow() }

// A weak backend says that it can do less than its methods promise.
type weak struct {
	Backend
	can backend.Capability
}

func (w weak) Capabilities() backend.Capability { return w.can }

func TestOptionsRequire(t *testing.T) {
	var b bench
	const most = backend.AllCapabilities &^ backend.CanFence
	passes := func(can backend.Capability, opts Options) bool {
		r := &recorder{TB: t}
		done := make(chan struct{})
		go func() { // for FailNow to end
			defer close(done)
			opts.require(r, weak{b.open(), can})
		}()
		<-done
		return !r.Failed()
	}
	require.True(t, passes(0, Options{}))
	require.True(t, passes(most, Options{Must: most, Patience: 1}))
	require.True(t, passes(most, Options{Must: backend.CanTransact | backend.CanWatch}))
	require.False(t, passes(most, Options{Must: backend.CanFence}), "a missing capability")
	require.False(t, passes(most, Options{Must: backend.CanLock}), "no time for locks")
	require.False(t, passes(most, Options{Must: backend.CanExpire}), "no time for expiry")
}

// What a backend can not do is left out, and what it can do is not, except for want
// of time.
func TestOptionsAllow(t *testing.T) {
	var b bench
	count := func(can backend.Capability, opts Options) (n int) {
		for _, g := range groups() {
			if opts.allow(weak{b.open(), can}, g) {
				n += len(g.cases)
			}
		}
		return n
	}
	require.Equal(t, len(groups()[0].cases), count(0, Options{Patience: 1}))
	require.Equal(t, len(cases()), count(backend.AllCapabilities, Options{Patience: 1}))
	require.Equal(t, len(cases()), count(backend.AllCapabilities, b.options()))
	timed := len(sessionTimeCases) + len(holdTimeCases) + len(lockTimeCases) + len(expireTimeCases)
	require.Equal(t, len(cases())-timed, count(backend.AllCapabilities, Options{}))
	require.Equal(t, len(groups()[0].cases)+len(watchCases), count(backend.CanWatch, Options{}))
}
