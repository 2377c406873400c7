package moving

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
)

// bent is a backend that misbehaves.
type bent struct {
	*memory.Store
	mu   sync.Mutex
	puts int
	// beforePut and beforeList may fail a call; n is how many there were before.
	beforePut  func(n int, key string) error
	beforeList func(q backend.ListQuery) error
	// beforeDelete may fail a call.
	beforeDelete func(key string) error
	// afterPut may turn a success into an error.
	afterPut func(n int, key string) error
	// drops is a key whose writes are acknowledged and lost.
	drops string
}

func (b *bent) Put(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
	b.mu.Lock()
	n := b.puts
	b.puts++
	b.mu.Unlock()
	if b.beforePut != nil {
		if err := b.beforePut(n, key); err != nil {
			return 0, err
		}
	}
	if key == b.drops {
		return 2, nil
	}
	index, err := b.Store.Put(ctx, key, value, opts)
	if err == nil && b.afterPut != nil {
		err = b.afterPut(n, key)
	}
	return index, err
}

func (b *bent) Delete(ctx context.Context, key string, opts backend.DeleteOptions) error {
	if b.beforeDelete != nil {
		if err := b.beforeDelete(key); err != nil {
			return err
		}
	}
	return b.Store.Delete(ctx, key, opts)
}

func (b *bent) List(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
	if b.beforeList != nil {
		if err := b.beforeList(q); err != nil {
			return nil, err
		}
	}
	return b.Store.List(ctx, q)
}

func newBent(t *testing.T, limits backend.Limits) *bent {
	b := &bent{Store: memory.New(limits)}
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// lines makes a file of our own format.
func lines(t *testing.T, entries ...Entry) string {
	t.Helper()
	var b bytes.Buffer
	w := newLineWriter(&b)
	for _, e := range entries {
		require.NoError(t, w.put(&e))
	}
	require.NoError(t, w.end())
	return written(t, "keys.json", b.Bytes())
}

func many(n int) []Entry {
	entries := make([]Entry, n)
	for i := range entries {
		entries[i] = Entry{Key: fmt.Sprintf("k%05d", i*7919%n), Value: fmt.Appendf(nil, "value %d", i), Flags: uint64(i)}
	}
	return entries
}

func importing(b backend.Backend, path string) *Import {
	return &Import{Backend: b, Format: JSON, Path: path, Timeout: time.Minute}
}

func run(t *testing.T, m *Import) (*Moved, error) {
	t.Helper()
	return m.Run(t.Context())
}

func TestImport(t *testing.T) {
	b := newBent(t, backend.DefaultLimits())
	_, err := b.Store.Put(t.Context(), "other", []byte("x"), backend.PutOptions{})
	require.NoError(t, err)
	entries := many(2500)
	path := lines(t, entries...)

	dry := importing(b, path)
	dry.DryRun = true
	moved, err := run(t, dry)
	require.NoError(t, err)
	require.Equal(t, 2500, moved.Written)
	require.False(t, moved.Verified)
	require.Zero(t, b.puts)

	seen := map[string]bool{}
	m := importing(b, path)
	m.Show = func(p Progress) { seen[p.Doing] = true }
	moved, err = run(t, m)
	require.NoError(t, err)
	require.True(t, moved.Verified)
	require.Equal(t, 2500, moved.Written)
	require.Equal(t, 2500, b.puts)
	require.Equal(t, map[string]bool{"read": true, "compared": true, "written": true, "verified": true}, withCompared(seen))
	for _, e := range entries {
		got, err := b.Get(t.Context(), e.Key, backend.GetOptions{})
		require.NoError(t, err)
		require.Equal(t, e.Value, got.Value)
		require.Equal(t, e.Flags, got.Flags)
	}

	none, err := run(t, importing(b, lines(t)))
	require.NoError(t, err)
	require.True(t, none.Verified)

	// Again: nothing is left to do, and the hash is the same.
	again, err := run(t, importing(b, path))
	require.NoError(t, err)
	require.Equal(t, &Moved{Format: JSON, Path: path, Keys: 2500, Bytes: moved.Bytes, Present: 2500, Others: Problems{1, []Problem{{"other", "the source does not have it"}}}, Verified: true, SHA256: moved.SHA256}, again)
	require.Equal(t, 2500, b.puts)
}

// withCompared adds what is not shown where there was nothing to compare with.
func withCompared(seen map[string]bool) map[string]bool {
	seen["compared"] = true
	return seen
}

// TestResume: an import that was interrupted goes on where it stopped.
func TestResume(t *testing.T) {
	b := newBent(t, backend.DefaultLimits())
	path := lines(t, many(500)...)
	ctx, interrupt := context.WithCancel(t.Context())
	b.beforePut = func(n int, _ string) error {
		if n == 200 {
			interrupt()
		}
		return ctx.Err()
	}
	moved, err := importing(b, path).Run(ctx)
	require.ErrorContains(t, err, "interrupted: after ")
	require.ErrorContains(t, err, "run it again to go on")
	require.ErrorIs(t, err, context.Canceled)
	require.Positive(t, moved.Written)
	require.Less(t, moved.Written, 500)

	b.beforePut, b.puts = nil, 0
	rest, err := run(t, importing(b, path))
	require.NoError(t, err)
	require.True(t, rest.Verified)
	require.Equal(t, 500, rest.Written+rest.Present)
	require.Equal(t, moved.Written, rest.Present)
	require.Equal(t, rest.Written, b.puts)
}

// TestConflicts: keys that differ are all named before anything is written.
func TestConflicts(t *testing.T) {
	b := newBent(t, backend.DefaultLimits())
	for key, flags := range map[string]uint64{"a": 0, "b": 1, "d": 0} {
		_, err := b.Store.Put(t.Context(), key, []byte(key), backend.PutOptions{Flags: flags})
		require.NoError(t, err)
	}
	path := lines(t, Entry{Key: "a", Value: []byte("a")}, Entry{Key: "b", Value: []byte("b")}, Entry{Key: "c"}, Entry{Key: "d", Value: []byte("other")})
	moved, err := run(t, importing(b, path))
	require.EqualError(t, err, "of 4 keys 2 exist and differ; nothing was written")
	require.Equal(t, Problems{Count: 2, First: []Problem{{"b", "it exists and differs"}, {"d", "it exists and differs"}}}, moved.Refused)
	require.Zero(t, b.puts)
	require.Zero(t, moved.Written)

	over := importing(b, path)
	over.Overwrite = true
	moved, err = run(t, over)
	require.NoError(t, err)
	require.True(t, moved.Verified)
	require.Equal(t, []int{1, 3, 2}, []int{moved.Present, moved.Written, moved.Overwritten})
	got, err := b.Get(t.Context(), "d", backend.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "other", string(got.Value))
}

// TestCannotBeStored: what a backend would refuse is known before anything is
// written.
func TestCannotBeStored(t *testing.T) {
	b := newBent(t, backend.Limits{MaxKeySize: 8, MaxValueSize: 4})
	path := lines(t,
		Entry{Key: "good"}, Entry{Key: "/a"}, Entry{Key: "b\x01"}, Entry{Key: "long key!"}, Entry{Key: "large", Value: []byte("12345")},
		Entry{Key: "twice"}, Entry{Key: "twice", Value: []byte("x")}, Entry{Key: "short", Expires: time.Millisecond})
	moved, err := run(t, importing(b, path))
	require.EqualError(t, err, "of 8 keys 6 cannot be stored; nothing was written")
	require.Zero(t, b.puts)
	said := map[string]string{}
	for _, p := range moved.Refused.First {
		said[p.Key] = p.What
	}
	require.Len(t, said, 6)
	require.Contains(t, said["/a"], "must not begin with '/'")
	require.Contains(t, said["b\x01"], "control characters")
	require.Contains(t, said["long key!"], "9 bytes and may have 8")
	require.Contains(t, said["large"], "max_value_size is 4")
	require.Contains(t, said["short"], "which must be 10s to 24h0m0s")
	require.Equal(t, "it is in the source more than once", said["twice"])

	// More than are named are counted.
	var bad []Entry
	for i := range maxNamed + 5 {
		bad = append(bad, Entry{Key: fmt.Sprintf("/%d", i)})
	}
	moved, err = run(t, importing(b, lines(t, bad...)))
	require.Error(t, err)
	require.Equal(t, maxNamed+5, moved.Refused.Count)
	require.Len(t, moved.Refused.First, maxNamed)

	few := importing(b, lines(t, Entry{Key: "a"}, Entry{Key: "b"}, Entry{Key: "c"}))
	few.limit = 2
	_, err = run(t, few)
	require.ErrorContains(t, err, "has more than 2 keys; import it in parts")
}

// immortal is a backend whose keys cannot expire.
type immortal struct{ backend.Backend }

func TestLifetimes(t *testing.T) {
	b := newBent(t, backend.DefaultLimits())
	path := lines(t, Entry{Key: "a", Expires: time.Hour})
	moved, err := run(t, importing(immortal{b}, path))
	require.EqualError(t, err, "of 1 key 1 cannot be stored; nothing was written")
	require.Equal(t, "it expires after 1h0m0s, and here keys cannot expire", moved.Refused.First[0].What)

	moved, err = run(t, importing(b, path))
	require.NoError(t, err)
	require.True(t, moved.Verified)
	got, err := b.Get(t.Context(), "a", backend.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, time.Hour, got.ExpiresAfter)
}

func TestPrefixes(t *testing.T) {
	b := newBent(t, backend.DefaultLimits())
	path := lines(t, Entry{Key: "vault/core/\u00e9"}, Entry{Key: "vault/core/\u00e8"}, Entry{Key: "vault/z"})
	m := importing(b, path)
	m.Strip, m.Prefix = "vault/", "here/"
	moved, err := run(t, m)
	require.NoError(t, err)
	require.True(t, moved.Verified)
	r, err := b.List(t.Context(), backend.ListQuery{})
	require.NoError(t, err)
	require.Equal(t, []string{"here/core/\u00e8", "here/core/\u00e9", "here/z"}, r.Names())

	m = importing(b, path)
	m.Strip = "vault/core/"
	_, err = run(t, m)
	require.ErrorContains(t, err, `key "vault/z" does not begin with "vault/core/", which is to be taken off`)
	for _, tc := range [][3]string{{"a", "b", ""}, {"ab", "ac", "a"}, {"a", "ab", "a"}, {"x\u00e8", "x\u00e9", "x"}, {"x\u00e8", "x\u00e8y", "x\u00e8"}, {"a", "a", "a"}} {
		require.Equal(t, tc[2], common(tc[0], tc[1]))
	}
}

// TestPassingFaults: what is in doubt or refused for the moment is asked again, and
// nothing is written over what somebody else wrote.
func TestPassingFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := lines(t, many(40)...)
		b := newBent(t, backend.DefaultLimits())
		var mu sync.Mutex
		tried := map[string]int{} // how often each key was put
		b.beforePut = func(_ int, key string) error {
			mu.Lock()
			defer mu.Unlock()
			if tried[key]++; tried[key] < 3 {
				return backend.Errorf(backend.NotReady, key, "a member restarts")
			}
			return nil
		}
		b.afterPut = func(_ int, key string) error {
			mu.Lock()
			defer mu.Unlock()
			if tried[key] < 5 {
				return backend.Errorf(backend.UnknownOutcome, key, "it broke")
			}
			return nil
		}
		lists := 0
		b.beforeList = func(q backend.ListQuery) error {
			if lists++; q.Values && lists%2 == 0 {
				return backend.Errorf(backend.Conflict, "", "it changes too fast")
			}
			return nil
		}
		moved, err := run(t, importing(b, path))
		require.NoError(t, err)
		require.True(t, moved.Verified)
		require.Equal(t, 40, moved.Written)

		// One that does not pass ends it, after all that was begun.
		b = newBent(t, backend.DefaultLimits())
		b.beforePut = func(n int, key string) error {
			if key == "k00007" {
				return backend.Errorf(backend.NotReady, key, "a member is gone")
			}
			return nil
		}
		begin := time.Now()
		moved, err = run(t, importing(b, path))
		require.ErrorIs(t, err, backend.ErrNotReady)
		require.ErrorContains(t, err, "of 40: not ready: key \"k00007\": a member is gone; run it again to go on")
		require.Equal(t, firstPause*(1<<retries-1), time.Since(begin))
		require.Less(t, moved.Written, 40)
		require.False(t, moved.Verified)
	})
}

// TestOthersWrite: what others write between comparing and writing stays.
func TestOthersWrite(t *testing.T) {
	b := newBent(t, backend.DefaultLimits())
	var once sync.Once
	b.beforePut = func(int, string) (err error) {
		once.Do(func() { _, err = b.Store.Put(t.Context(), "b", []byte("theirs"), backend.PutOptions{}) })
		return err
	}
	_, err := run(t, importing(b, lines(t, Entry{Key: "b", Value: []byte("ours")})))
	require.ErrorIs(t, err, backend.ErrConflict)
	require.ErrorContains(t, err, "somebody else wrote it meanwhile")
	got, err := b.Get(t.Context(), "b", backend.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "theirs", string(got.Value))
}

// TestVerification fails when what was acknowledged is not there.
func TestVerification(t *testing.T) {
	b := newBent(t, backend.DefaultLimits())
	b.drops = "k00002"
	moved, err := run(t, importing(b, lines(t, many(5)...)))
	require.ErrorContains(t, err, "read back, 4 keys of 5 with SHA-256 ")
	require.False(t, moved.Verified)
	require.Equal(t, []Problem{{"k00002", "it was written and is not there"}}, moved.Refused.First)

	b = newBent(t, backend.DefaultLimits())
	b.afterPut = func(int, string) error {
		_, err := b.Store.Put(t.Context(), "k00002", []byte("theirs"), backend.PutOptions{})
		return err
	}
	moved, err = run(t, importing(b, lines(t, Entry{Key: "k00002", Value: []byte("ours")})))
	require.ErrorContains(t, err, "read back, 1 key of 1 with SHA-256 ")
	require.Equal(t, []Problem{{"k00002", "it was written and differs now"}}, moved.Refused.First)
}

// TestSourceChanges: the second reading must be like the first.
func TestSourceChanges(t *testing.T) {
	for _, second := range [][]Entry{{{Key: "a", Value: []byte("2")}, {Key: "b"}}, {{Key: "a"}}, {{Key: "a"}, {Key: "b"}, {Key: "c"}}} {
		b := newBent(t, backend.DefaultLimits())
		path := lines(t, Entry{Key: "a"}, Entry{Key: "b"})
		other, err := os.ReadFile(lines(t, second...))
		require.NoError(t, err)
		b.beforeList = func(q backend.ListQuery) error {
			if q.Values {
				return os.WriteFile(path, other, 0o600)
			}
			return nil
		}
		_, err = run(t, importing(b, path))
		require.ErrorContains(t, err, path+" changed while it was imported")
	}
}

// TestNobodyThere: an agent that cannot be asked ends it at once.
func TestNobodyThere(t *testing.T) {
	b := newBent(t, backend.DefaultLimits())
	b.beforeList = func(backend.ListQuery) error { return backend.Errorf(backend.NotReady, "", "nobody answers") }
	_, err := run(t, importing(b, "none"))
	require.ErrorIs(t, err, backend.ErrNotReady)
	m := importing(b, "none")
	m.Format = "etcd"
	_, err = run(t, m)
	require.EqualError(t, err, `there is no format "etcd"`)
}
