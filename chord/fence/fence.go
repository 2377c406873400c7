package fence

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

var (
	// ErrNewer says that a newer fence of the lock is in force, or about to be.
	ErrNewer = errors.New("a newer fence of the lock is in force")
	// errAgain: somebody else made an attempt, or the ring changed.
	errAgain = errors.New("another attempt was made")
)

// Ring is what the procedure runs on. Calls block and end with an error when the
// caller's time is over.
type Ring interface {
	// Read returns the value of a key, linearizably.
	Read(key string) (register.Value, error)
	// Change changes a key. After an error it may have happened.
	Change(key string, c register.Change) (register.Result, error)
	// Placement is of the newest configuration that this node works by.
	Placement() *ring.Placement
	// Install has a member take an entry into its table of fences. It returns once
	// every shard of the member has the entry, all that they accepted before is
	// durable, and the entry is; with the epoch that the member worked by all that
	// while, and what it knows of the fence then.
	Install(member ring.Node, e register.FenceEntry) (epoch uint64, known register.FenceEntry, err error)
	// List returns, in key order, some of the durable cells of a member that Concern
	// the lock, with keys after a key.
	List(member ring.Node, lock, after string) (Page, error)
	// Settle is register.Shard.Settle at this node; nil means Done.
	Settle(key string, e register.FenceEntry) error
	// Each calls do with 0 to n-1, as many at a time as is good, waits for all and
	// returns the first error.
	Each(n int, do func(i int) error) error
	// Sleep waits for about that long, with jitter.
	Sleep(d time.Duration) error
}

// Page is a part of what a member lists.
type Page struct {
	// Epoch is the member's.
	Epoch uint64
	Cells []Held
	// More says that there is more after Next.
	More bool
	Next string
}

// Held names the cell of a key that a member has accepted.
type Held struct {
	Key      string
	Accepted register.Ballot
}

const (
	// pause is how long to wait before another try, and patience for how long an
	// attempt of somebody else must have stood still before it is taken over.
	pause    = 20 * time.Millisecond
	patience = 500 * time.Millisecond
	// maxSettle bounds the keys that are settled at a time.
	maxSettle = 256
)

// Raise brings the fence of a lock with a token into force. When it returns nil, no
// write with an older token that had not been seen by then will be. It is tried
// until the caller's time is over. The caller has seen to it that the token is of
// the present holder.
func Raise(r Ring, lock string, token uint64) error {
	for {
		err := raise(r, lock, token)
		if err == nil || errors.Is(err, ErrNewer) {
			return err
		}
		if over := r.Sleep(pause); over != nil {
			return fmt.Errorf("fence of lock %q: %w", lock, errors.Join(err, over))
		}
	}
}

// Complete waits until an attempt that somebody began is sealed, and brings it to
// its end itself once that one does not get on. It tells all members that can be
// reached.
func Complete(r Ring, lock string) error {
	var seen register.Attempt
	for still := time.Duration(0); ; still += pause {
		e, _, err := load(r, lock)
		switch {
		case err != nil:
		case e.Try.Compare(e.Sealed) <= 0:
			spread(r, e)
			return nil
		case e.Try != seen:
			seen, still = e.Try, 0
		case still >= patience:
			if err := raise(r, lock, e.Try.Token); err == nil || errors.Is(err, ErrNewer) {
				return nil
			}
			still = 0
		}
		if over := r.Sleep(pause); over != nil {
			return fmt.Errorf("fence of lock %q: %w", lock, errors.Join(err, over))
		}
	}
}

// load reads the fence register of a lock.
func load(r Ring, lock string) (e register.FenceEntry, index uint64, err error) {
	v, err := r.Read(register.FenceKey(lock))
	if err != nil || !v.Live {
		return register.FenceEntry{Key: lock}, 0, err
	}
	e, err = register.DecodeFenceEntry(v.Data)
	return e, v.Index(), err
}

// store replaces what load found.
func store(r Ring, e register.FenceEntry, index uint64) (uint64, error) {
	res, err := r.Change(register.FenceKey(e.Key), register.Change{Kind: register.Put, Data: register.AppendFenceEntry(nil, &e), If: true, Index: index})
	if err == nil && res.Outcome != register.Done {
		err = errAgain
	}
	return res.Index, err
}

// raise makes one attempt.
func raise(r Ring, lock string, token uint64) error {
	e, index, err := load(r, lock)
	switch {
	case err != nil:
		return err
	case e.InForce() > token:
		return ErrNewer
	case e.Sealed.Token == token:
		spread(r, e)
		return nil
	case e.Try.Token != token:
		e.Try = register.Attempt{Token: token}
	}
	e.Try.Number++
	if index, err = store(r, e, index); err != nil {
		return err
	}
	p := r.Placement()
	by, err := install(r, p.Configuration(), e)
	if err != nil {
		return err
	}
	if holds(ruleSettle) {
		s := settling{r: r, p: p, e: e, by: by}
		if err := s.run(); err != nil {
			return err
		}
	}
	if e.Sealed, e.By = e.Try, by; !holds(ruleInstalledFirst) {
		e.By = nil
		for _, m := range p.Configuration().All() {
			e.By = append(e.By, m.ID.Node())
		}
	}
	if _, err = store(r, e, index); err != nil {
		return err
	}
	spread(r, e)
	return nil
}

// install has all but at most f members of each side install an attempt, in one
// epoch, and returns who did.
func install(r Ring, conf *ring.Configuration, e register.FenceEntry) ([]ring.Node, error) {
	members := conf.All()
	ok := make([]bool, len(members))
	newer := make([]bool, len(members))
	_ = r.Each(len(members), func(i int) error { // who can not be reached is one of the f
		epoch, known, err := r.Install(members[i].ID.Node(), e)
		ok[i] = err == nil && epoch == conf.Epoch && known.Try == e.Try && known.Sealed.Compare(e.Try) < 0
		newer[i] = err == nil && known.InForce() > e.Try.Token
		return nil
	})
	var by []ring.Node
	for i, m := range members {
		if newer[i] {
			return nil, ErrNewer
		}
		if ok[i] {
			by = append(by, m.ID.Node())
		}
	}
	for _, side := range conf.Sides() {
		missing := 0
		for _, m := range side.Members {
			if !slices.Contains(by, m.ID.Node()) {
				missing++
			}
		}
		enough := missing <= side.Faults()
		if !holds(ruleAllButF) {
			enough = 2*missing < len(side.Members)
		}
		if !enough {
			return nil, fmt.Errorf("only %d of %d members installed the fence", len(side.Members)-missing, len(side.Members))
		}
	}
	return by, nil
}

// spread tells all members that a fence is sealed. It is of no concern for safety:
// who was not told asks when it needs to know.
func spread(r Ring, e register.FenceEntry) {
	members := r.Placement().Configuration().All()
	_ = r.Each(len(members), func(i int) error {
		_, _, _ = r.Install(members[i].ID.Node(), e)
		return nil
	})
}
