package backendtest

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

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

func openMemory() *memory.Store {
	return memory.New(backend.Limits{MaxKeySize: 256, MaxValueSize: 4096})
}

func TestMemoryPasses(t *testing.T) {
	Run(t, func(*testing.T) backend.Backend { return openMemory() })
}

// Each case on a fresh backend, through the recorder: so the failures below are
// the fault of what is broken, and not of the recorder.
func TestMemoryPassesRecorded(t *testing.T) {
	for _, cs := range cases() {
		r := record(t, cs, func() backend.Backend { return openMemory() })
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
	return slices.Concat(keyFaults, conditionFaults, popFaults, listFaults, endFaults)
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
				r := record(t, cs, func() backend.Backend {
					h := &hooks{Backend: openMemory()}
					f.breaks(h)
					return h
				})
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
func record(t testing.TB, cs testCase, open func() backend.Backend) *recorder {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() { // for FailNow to end
		defer close(done)
		cs.start(r, open(), open)
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

// hooks is a backend some of whose operations are replaced.
type hooks struct {
	backend.Backend
	get     func(ctx context.Context, key string, opts backend.GetOptions) (*backend.Entry, error)
	put     func(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error)
	delete  func(ctx context.Context, key string, opts backend.DeleteOptions) error
	pop     func(ctx context.Context, key string) (*backend.Entry, error)
	popItem func(ctx context.Context) (*backend.Entry, error)
	list    func(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error)
	close   func() error
}

func (h *hooks) Get(ctx context.Context, key string, opts backend.GetOptions) (*backend.Entry, error) {
	if h.get != nil {
		return h.get(ctx, key, opts)
	}
	return h.Backend.Get(ctx, key, opts)
}

func (h *hooks) Put(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
	if h.put != nil {
		return h.put(ctx, key, value, opts)
	}
	return h.Backend.Put(ctx, key, value, opts)
}

func (h *hooks) Delete(ctx context.Context, key string, opts backend.DeleteOptions) error {
	if h.delete != nil {
		return h.delete(ctx, key, opts)
	}
	return h.Backend.Delete(ctx, key, opts)
}

func (h *hooks) Pop(ctx context.Context, key string) (*backend.Entry, error) {
	if h.pop != nil {
		return h.pop(ctx, key)
	}
	return h.Backend.Pop(ctx, key)
}

func (h *hooks) PopItem(ctx context.Context) (*backend.Entry, error) {
	if h.popItem != nil {
		return h.popItem(ctx)
	}
	return h.Backend.PopItem(ctx)
}

func (h *hooks) List(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
	if h.list != nil {
		return h.list(ctx, q)
	}
	return h.Backend.List(ctx, q)
}

func (h *hooks) Close() error {
	if h.close != nil {
		return h.close()
	}
	return h.Backend.Close()
}

// entry changes what Get returns.
func (h *hooks) entry(change func(key string, e *backend.Entry) *backend.Entry) {
	h.get = func(ctx context.Context, key string, opts backend.GetOptions) (*backend.Entry, error) {
		e, err := h.Backend.Get(ctx, key, opts)
		if err != nil {
			return nil, err
		}
		return change(key, e), nil
	}
}

// query changes what List is asked.
func (h *hooks) query(change func(q *backend.ListQuery)) {
	h.list = func(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
		change(&q)
		return h.Backend.List(ctx, q)
	}
}

// result changes what List returns.
func (h *hooks) result(change func(q backend.ListQuery, res *backend.ListResult)) {
	h.list = func(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
		res, err := h.Backend.List(ctx, q)
		if err == nil {
			change(q, res)
		}
		return res, err
	}
}

// A window is the time between the two halves of what should be one change.
type window struct{ events atomic.Uint64 }

// linger keeps the window open until so many more events have happened in the
// backend, or none seem to be coming.
func (w *window) linger(events uint64) {
	target := w.events.Load() + events
	for range 1000 {
		if w.events.Load() >= target {
			return
		}
		runtime.Gosched()
	}
}

// enter is an event, and lingers until there is another.
func (w *window) enter() {
	w.events.Add(1)
	w.linger(1)
}
