package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "chord-demo-bin-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "chord-plugin")
	out, err := exec.Command("go", "build", "-o", path, "../../cmd/chord-plugin").CombinedOutput()
	if err != nil {
		return "", errors.Join(err, errors.New(string(out)))
	}
	return path, nil
})

func newDemo(t *testing.T, out *bytes.Buffer) *demo {
	binary, err := build()
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(filepath.Dir(binary)) })
	return &demo{binary: binary, dir: t.TempDir(), keys: 300, workers: 8, out: out}
}

func TestDemo(t *testing.T) {
	var out bytes.Buffer
	d := newDemo(t, &out)
	err := d.play(t.Context())
	require.NoError(t, errors.Join(err, d.close()), "%s", &out)
	t.Log("\n" + out.String())
	for _, want := range []string{
		"300 of 300 keys, with two of five members down", "read at b: 300 of 300 keys are right",
		"read at d: 300 of 300 keys are right", "all keys; 0 are left", "keys lost: 0",
	} {
		require.Contains(t, out.String(), want)
	}

	// Stopped before it begins: it fails, and leaves nothing behind.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d = newDemo(t, &bytes.Buffer{})
	require.Error(t, d.play(ctx))
	require.NoError(t, d.close())
}

// forgetful says of one key that it was written.
type forgetful struct{ backend.Backend }

func (f forgetful) Put(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
	if key == keyOf(7) {
		return 1, nil
	}
	return f.Backend.Put(ctx, key, value, opts)
}

func TestLostKeysAreFound(t *testing.T) {
	s := &store{backend: forgetful{memory.New(backend.DefaultLimits())}, measure: &measure{}}
	require.NoError(t, each(t.Context(), 20, 4, s.put))
	d := &demo{host: s, keys: 20, workers: 4, out: &bytes.Buffer{}}
	require.EqualError(t, d.readBack(t.Context()), "keys lost: 1")
}

// doubtful leaves the first attempts at everything in doubt.
type doubtful struct {
	backend.Backend
	mu    sync.Mutex
	times map[string]int
	most  int
}

func (d *doubtful) Put(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
	d.mu.Lock()
	d.times[key]++
	n := d.times[key]
	d.mu.Unlock()
	if n <= d.most {
		return 0, backend.Errorf(backend.UnknownOutcome, key, "who knows")
	}
	return d.Backend.Put(ctx, key, value, opts)
}

func TestTriesAgain(t *testing.T) {
	s := &store{backend: &doubtful{Backend: memory.New(backend.DefaultLimits()), times: map[string]int{}, most: 2}, measure: &measure{}}
	require.NoError(t, s.put(t.Context(), 1))
	require.EqualValues(t, 2, s.retried.Load())
	s.backend = &doubtful{Backend: memory.New(backend.DefaultLimits()), times: map[string]int{}, most: maxAttempts}
	require.ErrorContains(t, s.put(t.Context(), 1), "after 5 attempts: unknown outcome")
}

func TestFigures(t *testing.T) {
	t0 := time.Now()
	at := func(ms int) time.Time { return t0.Add(time.Duration(ms) * time.Millisecond) }
	var samples []sample
	for i := range 100 {
		samples = append(samples, sample{"put", at(i * 10), at(i*10 + i)}) // i takes i ms
	}
	f := figuresOf(samples, span{at(200), at(210)})
	require.Equal(t, 100, f.count)
	require.Equal(t, 49*time.Millisecond, f.p50)
	require.Equal(t, 98*time.Millisecond, f.p99)
	require.Equal(t, 21*time.Millisecond, f.slowest)
	require.InDelta(t, 100/1.089, f.rate, 0.1)
	require.Zero(t, figuresOf(nil, span{}))

	ends := []sample{{end: at(10)}, {end: at(40)}, {end: at(50)}}
	require.Equal(t, 30*time.Millisecond, pause(ends, span{at(0), at(60)}))
	require.Equal(t, 50*time.Millisecond, pause(ends, span{at(0), at(100)}), "the end counts")
	require.Equal(t, 60*time.Millisecond, pause(nil, span{at(0), at(60)}))

	var out strings.Builder
	m := &measure{samples: samples}
	require.NoError(t, m.table(&out, span{at(5000), at(6000)}, "put", "get"))
	require.Regexp(t, `put +100 +91 +49\.0 +98\.0 +-`, out.String())
	require.Regexp(t, `get +0 +0 +0\.0 +0\.0 +-`, out.String())
	require.Equal(t, "1,234,567", thousands(1234567))
	require.Equal(t, "12", thousands(12))
}
