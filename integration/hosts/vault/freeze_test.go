package vault

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/integration/hosts/vault/fleet"
	"github.com/chord-plugin/chord-plugin/integration/process"
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
	// begunIn is how long Vault has to begin with reads before it is frozen as well. It
	// is far less than the TTL of its session.
	begunIn = 2 * time.Second
	// witness is a secret that the frozen server knows, and the next one changes.
	witness = fleet.KV + "/data/witness"
	// fencedText is in the error of a write that carries a lock which somebody else has
	// taken since.
	fencedText = "lock has changed ownership before attempting write"
)

func freezeBoth(s *stage) { freeze(s, "frozen", true, frozenFor, false) }

func freezeAlone(s *stage) { freeze(s, "alone", false, aloneFor, false) }

// TestFreezeWithoutCache: reads that waited at a frozen server are not stale either if
// Vault has no cache of its own. Vault answers what it had begun with before it steps
// down, so that some are answered in each run.
func TestFreezeWithoutCache(t *testing.T) {
	play(t, newFleet(t, fleet.Config{Servers: 3, Settings: "disable_cache = true"}), func(s *stage) {
		begin(s)
		answered, stale := freeze(s, "uncached", true, aloneFor, true)
		require.NotZero(s, answered, "no read was answered, so that none could be stale")
		require.Zero(s, stale, "stale reads")
	})
}

// freeze: while a server is frozen another takes over, and what waited at the frozen one
// is done by nobody when it wakes. If reading, Vault has begun with some reads before.
// freeze returns how many reads that waited there were answered, and how many of them,
// from Vault's cache, with what is not true any more.
func freeze(s *stage, name string, withPlugin bool, length time.Duration, reading bool) (answered, stale int) {
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
		defer func() { s.must(old.Thaw()) }()
		var begunWith func() *answers
		if reading {
			begunWith = s.read(old)
		}
		s.must(old.Freeze(withPlugin))
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
		late := waiting()
		require.NotEmpty(s, late.writes, "nothing waited")
		answered, stale = s.judge(late, name+", what waited")
		if reading {
			more, wrong := s.judge(begunWith(), name+", what Vault had begun with")
			answered, stale = answered+more, stale+wrong
		}

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
	return answered, stale
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
// witness, and reads of the witness. The function that it returns waits for the answers.
func (s *stage) queue(frozen *fleet.Server, name string) func() *answers {
	var all []request
	for i := range queued {
		body := map[string]any{"data": map[string]any{"n": 1000 + i}}
		all = append(all, request{http.MethodPost, secretOf(name, i), body}, request{http.MethodPost, witness, body}, request{http.MethodGet, witness, nil})
	}
	return s.send(frozen, all)
}

// read freezes the plugin of a server and has Vault read the witness, in the midst of
// which it waits for the plugin.
func (s *stage) read(server *fleet.Server) func() *answers {
	plugin, err := server.PluginPID()
	s.must(err)
	s.must(process.Freeze(plugin))
	reads := s.send(server, slices.Repeat([]request{{http.MethodGet, witness, nil}}, queued))
	<-time.After(begunIn)
	return reads
}

// A request is one that is not to be forwarded.
type request struct {
	method, path string
	body         any
}

// send sends requests at once. The function that it returns waits for the answers.
func (s *stage) send(server *fleet.Server, requests []request) func() *answers {
	var mu sync.Mutex
	var asking sync.WaitGroup
	var all answers
	ctx, cancel := context.WithCancel(s.ctx)
	for _, r := range requests {
		asking.Go(func() {
			a, err := server.AskAlone(ctx, s.Root, r.method, r.path, r.body)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				all.errs = append(all.errs, err)
			case r.method == http.MethodGet:
				all.reads = append(all.reads, a)
			default:
				all.writes = append(all.writes, a)
			}
		})
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

// judge requires that no write was acknowledged. It counts the reads that were answered
// with what the witness was, and those of them that are stale.
func (s *stage) judge(a *answers, what string) (answered, stale int) {
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
		if !r.OK() {
			continue
		}
		answered++
		if r.Number("data", "data", "n") != 2 {
			stale++
		}
	}
	s.Logf("%s: %v, of which fenced %d; no answer %d, reads that were stale %d of %d", what, statuses, fenced, len(a.errs), stale, answered)
	return answered, stale
}
