// Package locks lets clients fight over locks at all members of a ring, and write
// a ledger that belongs to each lock while they hold it. Some do not give their lock
// back, and some go on as if they held it when that is long over. It judges whether
// two ever held a lock at a time, and whether anybody wrote after the next holder
// had fenced it off.
package locks

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/integration/crew"
	"github.com/chord-plugin/chord-plugin/integration/judge"
)

const (
	lockPrefix   = "locks/"
	ledgerPrefix = "entries/"
	// retryPause is how long who failed waits before it tries again.
	retryPause = 100 * time.Millisecond
	// lateness is how much later than the TTL the holder may be told that its lock is
	// lost, for a machine that is busy.
	lateness = time.Second
	// earliness is the part of its TTL by which a lock is not lost too early, one in
	// so many.
	earliness = 10
)

// Config says what the clients do.
type Config struct {
	// Seed makes the choices of the clients the same again; not the order in which
	// they come to their turn.
	Seed uint64
	// Locks is how many locks there are. Default: 2.
	Locks int
	// Clients is how many fight over them. Default: 5.
	Clients int
	// Ledger is how many keys the ledger of a lock has. Default: 3.
	Ledger int
	// TTL is that of the sessions. Default: backend.MinTTL.
	TTL time.Duration
	// Delay is the longest lock delay of the sessions. Default: 2 s.
	Delay time.Duration
	// Think is the longest pause of a holder between two steps; on average it is
	// half of that. Default: 500 ms.
	Think time.Duration
	// Patience is how long a client waits for a lock. Default: 30 s.
	Patience time.Duration
	// Timeout is the deadline of any other operation. Default: 5 s.
	Timeout time.Duration
}

// Locks is clients at work.
type Locks struct {
	*crew.Crew
	cfg     Config
	can     backend.Capability
	history *judge.History
	entries atomic.Int64 // in all ledgers, so that each is another

	mu sync.Mutex
	// holds are the locks that were taken, by lock, newest last.
	holds [][]*hold
	count counts
}

// counts is how often things happened.
type counts struct {
	taken, unlocked, destroyed, vanished, frozen int
	// stale counts writes that were made under a lock that was lost, refused those
	// of them that were told so.
	stale, refused int
	// fences counts those that came into force.
	fences int
	wait   time.Duration // the longest until a lock was taken
}

// hold is a lock that was taken.
type hold struct {
	backend.Lock
	lock   int
	client int
	member string
	at     time.Duration
	// over: the client has given it up, or is about to.
	over bool
}

// String returns the hold in words.
func (h *hold) String() string {
	return fmt.Sprintf("client %d at %s with token %d since %.3f s", h.client, h.member, h.Token(), h.at.Seconds())
}

// open reports whether the holder was not told that the lock is lost.
func (h *hold) open() bool {
	select {
	case <-h.Lost():
		return false
	default:
		return true
	}
}

// Start lets clients work with the targets until Stop. All must be backend.Locker
// and backend.Sessions; those that can fence are asked to. Nobody else may use the
// keys that begin with "locks/" and "entries/".
func Start(cfg Config, targets ...crew.Target) *Locks {
	setDefault(&cfg.Locks, 2)
	setDefault(&cfg.Clients, 5)
	setDefault(&cfg.Ledger, 3)
	setDefault(&cfg.TTL, backend.MinTTL)
	setDefault(&cfg.Delay, 2*time.Second)
	setDefault(&cfg.Think, 500*time.Millisecond)
	setDefault(&cfg.Patience, 30*time.Second)
	setDefault(&cfg.Timeout, 5*time.Second)
	l := &Locks{
		Crew: crew.New(targets...), cfg: cfg, history: judge.NewHistory(), holds: make([][]*hold, cfg.Locks),
		can: backend.CapabilitiesOf(targets[0].Backend),
	}
	for id := range cfg.Clients {
		c := &client{Locks: l, id: id, rng: rand.New(rand.NewPCG(cfg.Seed, uint64(id)))}
		l.Go(c.run)
	}
	return l
}

func setDefault[T int | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

// Now is the time since the clients began, as in the history.
func (l *Locks) Now() time.Duration { return l.history.Now() }

func lockKey(lock int) string { return fmt.Sprint(lockPrefix, lock) }

func ledgerKey(lock, n int) string { return fmt.Sprintf("%s%d/%d", ledgerPrefix, lock, n) }

// tally counts.
func (l *Locks) tally(f func(*counts)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.count)
}

// took notes that a lock was taken, after a wait. Nobody else may hold it, and its
// token is higher than those of all who held it before.
func (l *Locks) took(h *hold, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	open := h.open()
	for _, other := range l.holds[h.lock] {
		switch {
		case other.Token() == h.Token():
			l.WentWrong("TOKEN: lock %d was taken with one token by %v and by %v", h.lock, other, h)
		case open && other.Token() > h.Token():
			l.WentWrong("TOKEN: lock %d was taken by %v and then by %v", h.lock, other, h)
		}
		if open && !other.over && other.open() {
			l.WentWrong("TWO HOLDERS: lock %d is held by %v and by %v", h.lock, other, h)
		}
	}
	l.holds[h.lock] = append(l.holds[h.lock], h)
	l.count.taken++
	l.count.wait = max(l.count.wait, wait)
}

// gives notes that the holder gives a lock up.
func (l *Locks) gives(h *hold) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h.over = true
}

// given reports whether it did.
func (l *Locks) given(h *hold) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return h.over
}
