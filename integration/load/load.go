// Package load lets clients write, read, condition and delete keys of a ring,
// all at once, and notes what each of them did and saw.
package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/integration/judge"
)

// Target is something that clients work with.
type Target struct {
	// Name stands for it in the history: the member's name.
	Name    string
	Backend backend.Backend
}

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
}

// maxLedger bounds the keys that one client writes for itself.
const maxLedger = 20_000

// failurePause is how long a client waits after an operation that failed, so
// that it does not spin against a member that is down.
const failurePause = 20 * time.Millisecond

// Load is clients at work.
type Load struct {
	cfg     Config
	targets []Target
	history *judge.History
	ctx     context.Context
	stop    context.CancelFunc
	wg      sync.WaitGroup

	mu     sync.Mutex
	ledger map[string]entry // by key: what was acknowledged
	lists  []List           // that were answered
	wrong  []string         // what must not happen
}

// entry is a key that one client wrote once.
type entry struct {
	value string
	at    time.Duration // when it was acknowledged
}

// Start lets clients work with the targets until Stop. Nobody else may use the
// keys that begin with "shared/" and "ledger/".
func Start(cfg Config, targets ...Target) *Load {
	setDefault(&cfg.Clients, 2)
	setDefault(&cfg.Keys, 24)
	setDefault(&cfg.Think, 10*time.Millisecond)
	setDefault(&cfg.Timeout, 5*time.Second)
	setDefault(&cfg.ListEvery, 200*time.Millisecond)
	l := &Load{cfg: cfg, targets: targets, history: judge.NewHistory(), ledger: map[string]entry{}}
	l.ctx, l.stop = context.WithCancel(context.Background())
	for i := range len(targets) * cfg.Clients {
		c := &client{
			load: l, id: i, target: targets[i%len(targets)],
			rng: rand.New(rand.NewPCG(cfg.Seed, uint64(i))), seen: map[string]seen{},
		}
		l.wg.Go(c.run)
	}
	l.wg.Go(l.list)
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
	l.stop()
	l.wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &Report{Operations: l.history.Operations(), Ended: ended, Lists: l.lists, Wrong: l.wrong, load: l}
	for _, t := range l.targets {
		r.Members = append(r.Members, t.Name)
	}
	return r
}

func (l *Load) wentWrong(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
}

// pause waits; false: the load was stopped.
func (l *Load) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.ctx.Done():
		return false
	}
}

// acknowledged returns the ledger's keys that were acknowledged before now.
func (l *Load) acknowledged() map[string]entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := make(map[string]entry, len(l.ledger))
	for key, e := range l.ledger {
		known[key] = e
	}
	return known
}

// list lists the ledger, at one target after the other: whatever was
// acknowledged before a listing began must be in it.
func (l *Load) list() {
	for i := 0; l.pause(l.cfg.ListEvery); i++ {
		t := l.targets[i%len(l.targets)]
		want, call := l.acknowledged(), l.Now()
		ctx, cancel := context.WithTimeout(l.ctx, l.cfg.Timeout)
		page, err := t.Backend.List(ctx, backend.ListQuery{Prefix: ledgerPrefix})
		cancel()
		took := l.Now() - call
		if err != nil {
			switch backend.CodeOf(err) {
			case backend.NoQuorum, backend.NotReady, backend.Conflict, backend.Closed:
			default:
				l.wentWrong("list at %s: %v", t.Name, err)
			}
			continue
		}
		for _, name := range page.Names() {
			delete(want, name)
		}
		for key, e := range want {
			l.wentWrong("the list at %s that began at %v lacks %q, acknowledged at %v", t.Name, call, key, e.at)
		}
		l.mu.Lock()
		l.lists = append(l.lists, List{t.Name, took})
		l.mu.Unlock()
	}
}
