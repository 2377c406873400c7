// Package load lets clients write, read, condition and delete keys of a ring,
// all at once, and notes what each of them did and saw.
package load

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/integration/crew"
	"github.com/chord-plugin/chord-plugin/integration/judge"
)

// Config says what the clients do.
type Config struct {
	// Seed makes the choices of the clients the same again; not the order in
	// which they come to their turn.
	Seed uint64
	// Clients is how many there are a target. Default: 2.
	Clients int
	// Keys is how many keys all clients share. Default: 24.
	Keys int
	// Think is the longest pause of a client between two operations; on average
	// it is half of that. Default: 10 ms.
	Think time.Duration
	// Timeout is the deadline of an operation. Default: 5 s.
	Timeout time.Duration
	// ListEvery is the pause between two listings. Default: 200 ms.
	ListEvery time.Duration
	// Generation is how long the clients share the same keys; then they turn to new
	// ones, and only read the old ones now and then, so that the history of a key
	// stays short. Default: for ever.
	Generation time.Duration
	// Ledger is how many keys a client keeps for itself; when it has them it
	// deletes its oldest before it writes another. Default: 20,000.
	Ledger int
}

// failurePause is how long a client waits after an operation that failed, so
// that it does not spin against a member that is down.
const failurePause = 20 * time.Millisecond

// Load is clients at work.
type Load struct {
	*crew.Crew
	cfg     Config
	history *judge.History
	ledger  *ledger

	mu    sync.Mutex
	lists []List // that were answered
}

// Start lets clients work with the targets until Stop. Nobody else may use the
// keys that begin with "shared/" and "ledger/".
func Start(cfg Config, targets ...crew.Target) *Load {
	setDefault(&cfg.Clients, 2)
	setDefault(&cfg.Keys, 24)
	setDefault(&cfg.Think, 10*time.Millisecond)
	setDefault(&cfg.Timeout, 5*time.Second)
	setDefault(&cfg.ListEvery, 200*time.Millisecond)
	setDefault(&cfg.Ledger, 20_000)
	l := &Load{Crew: crew.New(targets...), cfg: cfg, history: judge.NewHistory(), ledger: newLedger()}
	for i := range len(targets) * cfg.Clients {
		c := &client{
			load: l, id: i, target: targets[i%len(targets)],
			rng: rand.New(rand.NewPCG(cfg.Seed, uint64(i))), seen: map[string]seen{},
		}
		l.Go(c.run)
	}
	l.Go(l.list)
	return l
}

func setDefault[T int | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

// Now is the time since the clients began, as in the history.
func (l *Load) Now() time.Duration { return l.history.Now() }

// Run lets the clients work for a while.
func (l *Load) Run(d time.Duration) { time.Sleep(d) }

// Stop ends the clients, lets operations that are under way come to their end,
// and returns what happened.
func (l *Load) Stop() *Report {
	ended := l.Now()
	l.Crew.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &Report{Operations: l.history.Operations(), Ended: ended, Lists: l.lists, Wrong: l.Wrong(), load: l}
	for _, t := range l.Targets() {
		r.Members = append(r.Members, t.Name)
	}
	return r
}

// generation is the number of the keys that the clients share now, from 0.
func (l *Load) generation() int {
	if l.cfg.Generation == 0 {
		return 0
	}
	return int(l.Now() / l.cfg.Generation)
}

// generationsUntil is how many generations of keys there were until then.
func (l *Load) generationsUntil(end time.Duration) int {
	if l.cfg.Generation == 0 {
		return 1
	}
	return int((end+l.cfg.Timeout)/l.cfg.Generation) + 1
}

// sharedKey is one of the keys that all clients share.
func (l *Load) sharedKey(generation, n int) string {
	if l.cfg.Generation == 0 {
		return fmt.Sprint(sharedPrefix, n)
	}
	return fmt.Sprintf("%s%04d/%d", sharedPrefix, generation, n)
}

// list lists the ledger, at one target after the other: whatever was
// acknowledged before a listing began must be in it, and nothing that was
// deleted before.
func (l *Load) list() {
	for i := 0; l.Pause(l.cfg.ListEvery); i++ {
		t := l.Targets()[i%len(l.Targets())]
		if l.Resting(t.Name) {
			continue
		}
		before, call := l.ledger.look(), l.Now()
		ctx, cancel := crew.Call(l.cfg.Timeout)
		page, err := t.Backend.List(ctx, backend.ListQuery{Prefix: ledgerPrefix})
		cancel()
		took := l.Now() - call
		if err != nil {
			if code := backend.CodeOf(err); code != backend.Conflict && !crew.Nothing(code) {
				l.WentWrong("list at %s: %v", t.Name, err)
			}
			continue
		}
		for _, wrong := range l.ledger.compare(before, page.Names()) {
			l.WentWrong("the list at %s that began at %v %s", t.Name, call, wrong)
		}
		l.mu.Lock()
		l.lists = append(l.lists, List{t.Name, took})
		l.mu.Unlock()
	}
}
