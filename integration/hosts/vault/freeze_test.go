package vault

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/integration/hosts/vault/fleet"
)

const (
	// frozenFor is how long the server is frozen with its plugin, and aloneFor without.
	frozenFor = time.Minute
	aloneFor  = 25 * time.Second
	// few is how many writes must be acknowledged while it is: every third request of
	// the load waits at the frozen server.
	few = 20
	// queued is how many requests of each kind wait at the frozen server.
	queued = 20
	// witness is a secret that the frozen server knows, and the next one changes.
	witness = fleet.KV + "/data/witness"
	// fencedText is in the error of a write that carries a lock which somebody else has
	// taken since.
	fencedText = "lock has changed ownership before attempting write"
)

func freezeBoth(s *stage) { freeze(s, "frozen", true, frozenFor) }

func freezeAlone(s *stage) { freeze(s, "alone", false, aloneFor) }

// TestFreezeWithoutCache: reads that waited at a frozen server are not stale either if
// Vault has no cache of its own.
func TestFreezeWithoutCache(t *testing.T) {
	play(t, newFleet(t, fleet.Config{Servers: 3, Settings: "disable_cache = true"}), func(s *stage) {
		begin(s)
		require.Zero(s, freeze(s, "uncached", true, aloneFor), "stale reads")
	})
}

// freeze: while a server is frozen another takes over, and what waited at the frozen one
// is done by nobody when it wakes. It returns how many reads that waited there were
// answered from Vault's cache with what is not true any more.
func freeze(s *stage, name string, withPlugin bool, length time.Duration) (stale int) {
	s.under(name, func(l *fleet.Load) {
		old := s.active()
		s.ok(old, http.MethodPost, witness, map[string]any{"data": map[string]any{"n": 1}})
		s.ok(old, http.MethodGet, witness, nil)
		said := old.LogSize()
		saidBy := map[*fleet.Server]int64{}
		for _, server := range s.Servers {
			saidBy[server] = server.LogSize()
		}

		begun := time.Now()
		s.must(old.Freeze(withPlugin))
		defer func() { s.must(old.Thaw()) }()
		next := s.active(old)
		after := time.Since(begun)
		s.Logf("%s is active %.1f s after SIGSTOP of %s", next.Name, after.Seconds(), old.Name)
		require.Less(s, after, takeover)
		s.ok(next, http.MethodPost, witness, map[string]any{"data": map[string]any{"n": 2}})
		s.must(l.WaitAcknowledged(s.ctx, few))

		waiting := s.queue(old, name)
		rest := time.NewTimer(time.Until(begun.Add(length)))
		defer rest.Stop()
		<-rest.C
		s.must(old.Thaw())
		stale = s.judge(waiting(), name)

		line, err := old.WaitSaid(s.ctx, said, "leadership lost, stopping active operation")
		s.must(err)
		s.Log(line)
		s.must(old.WaitHealth(s.ctx, http.StatusTooManyRequests))
		require.Equal(s, next, s.active(), "the one that woke stands by")
		require.Equal(s, 2.0, s.ok(next, http.MethodGet, witness, nil).Get("data", "data", "n"))
		for i := range queued {
			require.Equal(s, http.StatusNotFound, s.status(next, s.Root, http.MethodGet, secretOf(name, i), nil), "what waited has come true")
		}

		// The server that woke was refused, and the members that refused it say so.
		fenced := old.Said(said, fencedText)
		require.NotEmpty(s, fenced)
		s.Logf("%s was refused %d times, such as: %s", old.Name, len(fenced), fenced[0])
		var refused []string
		for server, before := range saidBy {
			refused = append(refused, server.Said(before, "refused the write of a former holder of a lock")...)
		}
		require.NotEmpty(s, refused)
		s.Log(refused[0])
	})
	return stale
}

func secretOf(name string, i int) string {
	return fmt.Sprintf("%s/data/queued-%s-%d", fleet.KV, name, i)
}

// answers are those to what waited at the frozen server.
type answers struct {
	writes, reads []*fleet.Answer
	errs          []error
}

// queue sends requests to a server that is frozen: writes of new secrets and of the
// witness, and reads of the witness, none of them to be forwarded. The function that
// it returns waits for the answers.
func (s *stage) queue(frozen *fleet.Server, name string) func() *answers {
	var mu sync.Mutex
	var asking sync.WaitGroup
	var all answers
	ctx, cancel := context.WithCancel(s.ctx)
	send := func(to *[]*fleet.Answer, method, path string, body any) {
		asking.Go(func() {
			a, err := frozen.AskAlone(ctx, s.Root, method, path, body)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				all.errs = append(all.errs, err)
				return
			}
			*to = append(*to, a)
		})
	}
	for i := range queued {
		body := map[string]any{"data": map[string]any{"n": 1000 + i}}
		send(&all.writes, http.MethodPost, secretOf(name, i), body)
		send(&all.writes, http.MethodPost, witness, body)
		send(&all.reads, http.MethodGet, witness, nil)
	}
	s.Cleanup(func() {
		cancel()
		asking.Wait()
	})
	return func() *answers {
		asking.Wait()
		return &all
	}
}

// judge requires that no write was acknowledged, and counts the stale reads.
func (s *stage) judge(a *answers, name string) (stale int) {
	statuses, fenced := map[string]int{}, 0
	for _, w := range a.writes {
		statuses[fmt.Sprint("write ", w.Status)]++
		require.False(s, w.OK(), "a write that waited at the frozen server is acknowledged: %s", w.Text)
		if strings.Contains(w.Text, fencedText) {
			fenced++
		}
	}
	for _, r := range a.reads {
		statuses[fmt.Sprint("read ", r.Status)]++
		if r.OK() && r.Number("data", "data", "n") != 2 {
			stale++
		}
	}
	s.Logf("%s: of what waited: %v, of which fenced %d; no answer %d, reads that were stale %d", name, statuses, fenced, len(a.errs), stale)
	require.NotEmpty(s, a.writes, "nothing waited")
	return stale
}
