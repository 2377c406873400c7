package load

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
	"github.com/chord-plugin/chord-plugin/integration/crew"
	"github.com/chord-plugin/chord-plugin/integration/judge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// forgetful is a store that says of some writes that they were done.
type forgetful struct {
	backend.Backend
	forgets func(key string) bool
}

func (f forgetful) Put(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
	if f.forgets(key) {
		return 1 << 40, nil
	}
	return f.Backend.Put(ctx, key, value, opts)
}

// run lets clients work until each target has had some writes.
func run(targets ...crew.Target) *Report {
	l := Start(Config{Seed: 1, Think: time.Millisecond, ListEvery: 5 * time.Millisecond}, targets...)
	for {
		l.Run(10 * time.Millisecond)
		l.mu.Lock()
		enough := len(l.ledger.look()) > 100 && (len(l.lists) > 0 || len(l.Wrong()) > 0) || l.Now() > 10*time.Second
		l.mu.Unlock()
		if enough {
			return l.Stop()
		}
	}
}

func TestLoadOnARightStore(t *testing.T) {
	store := memory.New(backend.DefaultLimits())
	targets := []crew.Target{{Name: "a", Backend: store}, {Name: "b", Backend: store}}
	r := run(targets...)
	require.NoError(t, r.Judge(t.Context(), targets...))
	require.Greater(t, r.Acknowledged(), 100)
	require.NotEmpty(t, r.Lists)
	require.Positive(t, r.SlowestList("a", "b"))
	require.Positive(t, r.Writes("b", 0, r.Ended))
}

func TestLoadFindsLostWrites(t *testing.T) {
	store := forgetful{memory.New(backend.DefaultLimits()), func(key string) bool { return key == "ledger/000/000005" }}
	r := run(crew.Target{Name: "a", Backend: store})
	require.ErrorContains(t, r.Judge(t.Context(), crew.Target{Name: "a", Backend: store}), `LOST: "ledger/000/000005" was acknowledged`)
	require.NotEmpty(t, r.Wrong, "no list missed the key")
}

func TestLoadFindsWrongHistories(t *testing.T) {
	store := forgetful{memory.New(backend.DefaultLimits()), func(key string) bool { return key == "shared/3" }}
	r := run(crew.Target{Name: "a", Backend: store})
	require.ErrorContains(t, r.Judge(t.Context(), crew.Target{Name: "a", Backend: store}), `key "shared/3": no order`)
}

// undying is a store that says of some deletions that they were done.
type undying struct {
	backend.Backend
	keeps func(key string) bool
}

func (u undying) Delete(ctx context.Context, key string, opts backend.DeleteOptions) error {
	if u.keeps(key) {
		return nil
	}
	return u.Backend.Delete(ctx, key, opts)
}

// TestLoadWithGenerations: clients that delete their oldest keys and turn to new
// shared ones find nothing wrong with a right store.
func TestLoadWithGenerations(t *testing.T) {
	store := memory.New(backend.DefaultLimits())
	targets := []crew.Target{{Name: "a", Backend: store}, {Name: "b", Backend: store}}
	l := Start(Config{Seed: 1, Think: time.Millisecond, ListEvery: 5 * time.Millisecond, Generation: 50 * time.Millisecond, Ledger: 5}, targets...)
	for l.Now() < 5*time.Second && len(l.ledger.look()) < 200 {
		l.Run(10 * time.Millisecond)
	}
	r := l.Stop()
	require.NoError(t, r.Judge(t.Context(), targets...))
	require.Greater(t, r.Deleted(), 100)
	require.LessOrEqual(t, r.Acknowledged(), 4*5)
	require.Greater(t, l.generation(), 1)
}

func TestLoadFindsWhatComesBack(t *testing.T) {
	store := undying{memory.New(backend.DefaultLimits()), func(key string) bool { return key == "ledger/000/000003" }}
	l := Start(Config{Seed: 1, Think: time.Millisecond, ListEvery: 5 * time.Millisecond, Ledger: 3}, crew.Target{Name: "a", Backend: store})
	for l.Now() < 5*time.Second && len(l.ledger.look()) < 50 {
		l.Run(10 * time.Millisecond)
	}
	r := l.Stop()
	require.ErrorContains(t, r.Judge(t.Context(), crew.Target{Name: "a", Backend: store}), `CAME BACK: the deletion of "ledger/000/000003" was acknowledged`)
	require.NotEmpty(t, r.Wrong, "no list had the key")
}

func TestRest(t *testing.T) {
	store := memory.New(backend.DefaultLimits())
	l := Start(Config{Seed: 1, Think: time.Millisecond}, crew.Target{Name: "a", Backend: store}, crew.Target{Name: "b", Backend: store})
	l.Rest("a")
	l.Run(100 * time.Millisecond) // for what is under way
	from := l.Now()
	l.Run(200 * time.Millisecond)
	l.Wake("a")
	to := l.Now()
	l.Run(300 * time.Millisecond)
	r := l.Stop()
	require.Zero(t, r.Writes("a", from, to))
	require.Positive(t, r.Writes("b", from, to))
	require.Positive(t, r.Writes("a", to, r.Ended))
}

func TestGap(t *testing.T) {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	write := func(member string, at int, outcome judge.Outcome) judge.Operation {
		return judge.Operation{Member: member, Kind: judge.Put, Call: ms(at - 1), Return: ms(at), Outcome: outcome}
	}
	r := &Report{Operations: []judge.Operation{
		write("a", 100, judge.Done), write("b", 200, judge.Done), write("a", 300, judge.Unknown), write("a", 400, judge.Done), write("a", 500, judge.Done),
	}}
	require.Equal(t, Gap{"a", ms(100), ms(400)}, r.Gap("a", 0, ms(600)))
	require.Equal(t, Gap{"a", ms(500), ms(900)}, r.Gap("a", 0, ms(900)), "the end counts")
	require.Equal(t, Gap{"b", ms(200), ms(600)}, r.Gap("b", 0, ms(600)))
	require.Equal(t, Gap{"c", 0, ms(600)}, r.Gap("c", 0, ms(600)), "nothing ever succeeded")
	require.Equal(t, 3, r.Writes("a", 0, ms(500)))
}
