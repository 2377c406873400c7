package bank

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/httpapi"
	"github.com/chord-plugin/chord-plugin/integration/crew"
)

type noAdmin struct{ backend.Admin }

// TestLostAnswers: agents that lose requests, and answers to what they have done,
// leave the bank in no doubt.
func TestLostAnswers(t *testing.T) {
	store := fresh()
	var loses atomic.Bool
	var targets []crew.Target
	for _, name := range []string{"a", "b"} {
		h := httpapi.New(httpapi.Config{Backend: store, Admin: noAdmin{}, NodeName: name})
		t.Cleanup(func() { require.NoError(t, h.Close()) })
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			lose := rand.IntN(100)
			switch {
			case !loses.Load():
			case lose == 0:
				panic(http.ErrAbortHandler)
			case lose < 3:
				h.ServeHTTP(httptest.NewRecorder(), r)
				panic(http.ErrAbortHandler)
			}
			h.ServeHTTP(w, r)
		}))
		t.Cleanup(s.Close)
		c, err := httpapi.NewClient(httpapi.ClientConfig{Addr: s.URL})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		targets = append(targets, crew.Target{Name: name, Backend: c})
	}
	b, err := Open(t.Context(), Config{Seed: 1, Think: 10 * time.Millisecond}, targets...)
	require.NoError(t, err)
	loses.Store(true)
	b.Pause(3 * time.Second)
	r := b.Stop()
	loses.Store(false)
	t.Log(r)
	lost := 0
	for _, teller := range b.tellers {
		for _, x := range teller.book {
			if backend.CodeOf(x.err) == backend.UnknownOutcome {
				lost++
			}
		}
	}
	require.Positive(t, lost)
	require.NoError(t, r.Judge(t.Context(), targets...))
}
