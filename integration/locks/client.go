package locks

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/integration/crew"
	"github.com/chord-plugin/chord-plugin/integration/judge"
)

// client takes one lock after the other.
type client struct {
	*Locks
	id  int
	rng *rand.Rand
}

// steps is how much a holder does at most.
const steps = 8

// fates are how a hold ends, as often as they stand here.
var fates = []func(*client, *hold, *session){
	(*client).unlock, (*client).unlock, (*client).unlock, (*client).unlock, (*client).unlock,
	(*client).destroy, (*client).vanish, (*client).freeze, (*client).freeze,
}

func (c *client) run() {
	for c.pause() {
		if at, ok := c.Any(c.rng); ok {
			c.turn(at)
		} else if !c.Pause(retryPause) {
			return
		}
	}
}

// pause thinks; false: the client is to end.
func (c *client) pause() bool { return c.Pause(time.Duration(c.rng.Int64N(int64(c.cfg.Think)))) }

// delay draws a lock delay, often none.
func (c *client) delay() time.Duration {
	if c.rng.IntN(2) == 0 {
		return backend.NoLockDelay
	}
	return time.Duration(1 + c.rng.Int64N(int64(c.cfg.Delay)))
}

// turn takes a lock, works, and ends that in one way or another.
func (c *client) turn(at crew.Target) {
	lock, fate := c.rng.IntN(c.cfg.Locks), fates[c.rng.IntN(len(fates))]
	opts := backend.LockOptions{Key: lockKey(lock), Value: fmt.Appendf(nil, "client %d at %v", c.id, c.Now())}
	var s *session
	// Lock's own session is renewed for ever, so only Unlock ends that.
	if own := c.rng.IntN(3) == 0; own {
		opts.Own = backend.SessionOptions{TTL: c.cfg.TTL, LockDelay: c.delay()}
		fate = (*client).unlock
	} else {
		var err error
		if s, err = c.begin(at, c.delay()); err != nil {
			if code := backend.CodeOf(err); code != backend.UnknownOutcome && !crew.Nothing(code) {
				c.WentWrong("a new session at %s: %v", at.Name, err)
			}
			c.Pause(retryPause)
			return
		}
		opts.Session = s.id
		defer s.rest()
	}
	h, err := c.take(at, lock, opts)
	if err != nil {
		if s != nil && backend.CodeOf(err) == backend.SessionInvalid {
			s.ends()
		}
		if s != nil {
			s.destroy()
		}
		return
	}
	if s != nil {
		c.Go(func() { s.held(h) })
	}
	c.mine(at, h, opts)
	if c.fence(at, h) {
		c.readAll(lock)
		for range c.rng.IntN(steps) {
			if !c.pause() || !h.open() {
				break
			}
			c.step(h)
		}
	}
	fate(c, h, s)
}

// take waits for a lock.
func (c *client) take(at crew.Target, lock int, opts backend.LockOptions) (*hold, error) {
	ctx, cancel := c.Wait(c.cfg.Patience)
	defer cancel()
	begun := c.Now()
	held, err := at.Backend.(backend.Locker).Lock(ctx, opts)
	if err == nil {
		h := &hold{Lock: held, lock: lock, client: c.id, member: at.Name, at: c.Now()}
		c.took(h, h.at-begun)
		return h, nil
	}
	switch code := backend.CodeOf(err); {
	case code == backend.SessionInvalid, code == backend.UnknownOutcome, crew.Nothing(code):
	default:
		c.WentWrong("lock %d at %s: %v", lock, at.Name, err)
	}
	return nil, err
}

// mine looks whether the key says who holds it.
func (c *client) mine(at crew.Target, h *hold, opts backend.LockOptions) {
	ctx, cancel := crew.Call(c.cfg.Timeout)
	defer cancel()
	e, err := at.Backend.Get(ctx, h.Key(), backend.GetOptions{})
	switch {
	case err != nil:
		if !crew.Nothing(backend.CodeOf(err)) {
			c.WentWrong("a get of lock %d at %s: %v", h.lock, at.Name, err)
		}
	case !h.open():
	case e == nil || e.Session != h.Session() || e.LockToken != h.Token() || string(e.Value) != string(opts.Value):
		c.WentWrong("NOT MINE: lock %d: %v holds it as session %s with the value %q, and the key is %+v", h.lock, h, h.Session(), opts.Value, e)
	}
}

// fence lets no older holder write any more; false: the lock is lost.
func (c *client) fence(at crew.Target, h *hold) bool {
	if !c.can.Has(backend.CanFence) {
		return h.open()
	}
	for h.open() {
		call := c.Now()
		ctx, cancel := crew.Call(c.cfg.Timeout)
		err := at.Backend.(backend.Fencer).Fence(ctx, backend.FenceOf(h))
		cancel()
		o := judge.Operation{Client: c.id, Member: at.Name, Kind: judge.Fence, Token: h.Token(), Call: call, Return: c.Now(), Outcome: judge.Done}
		code := backend.CodeOf(err)
		if err != nil {
			o.Outcome, o.Err = judge.Unknown, err.Error()
		}
		for n := range c.cfg.Ledger {
			o.Key = ledgerKey(h.lock, n)
			c.history.Add(o)
		}
		switch {
		case err == nil:
			c.tally(func(n *counts) { n.fences++ })
			return true
		case code == backend.UnknownOutcome, crew.Nothing(code):
		case code == backend.LockLost, code == backend.Fenced:
			if h.open() {
				c.WentWrong("the fence of lock %d: %v still holds it: %v", h.lock, h, err)
			}
			return false
		default:
			c.WentWrong("the fence of lock %d at %s: %v", h.lock, at.Name, err)
			return false
		}
		if !c.Pause(retryPause) {
			return false
		}
	}
	return false
}

// step writes an entry of the ledger, or deletes or reads one.
func (c *client) step(h *hold) {
	at, ok := c.Any(c.rng)
	if !ok {
		return
	}
	if c.rng.IntN(4) == 0 {
		c.read(at, ledgerKey(h.lock, c.rng.IntN(c.cfg.Ledger)))
		return
	}
	c.write(at, h, c.entry(h))
}

// entry is the next entry of the ledger: "I hold it with that token, step n".
func (c *client) entry(h *hold) judge.Operation {
	o := judge.Operation{
		Client: c.id, Kind: judge.Put, Key: ledgerKey(h.lock, c.rng.IntN(c.cfg.Ledger)),
		Value: fmt.Sprintf("%d.%d", h.Token(), c.entries.Add(1)),
	}
	if c.rng.IntN(6) == 0 {
		o.Kind, o.Value = judge.Delete, ""
	}
	return o
}

// write makes an entry under a lock, with its fence if there is such a thing.
func (c *client) write(at crew.Target, h *hold, o judge.Operation) {
	o.Member = at.Name
	var fence backend.Fence
	if c.can.Has(backend.CanFence) {
		fence = backend.FenceOf(h)
		o.Token = fence.Token
	}
	stale := !h.open()
	ctx, cancel := crew.Call(c.cfg.Timeout)
	defer cancel()
	var err error
	o.Call = c.Now()
	switch tx, ok := at.Backend.(backend.Transactional); {
	case o.Kind == judge.Delete:
		err = at.Backend.Delete(ctx, o.Key, backend.DeleteOptions{Fence: fence})
	case ok && c.can.Has(backend.CanTransact) && len(o.Value)%2 == 0:
		_, err = tx.Txn(ctx, []backend.TxnOp{{Verb: backend.VerbSet, Key: o.Key, Value: []byte(o.Value), Fence: fence}})
	default:
		o.Index, err = at.Backend.Put(ctx, o.Key, []byte(o.Value), backend.PutOptions{Fence: fence})
	}
	o.Return, o.Outcome = c.Now(), judge.Done
	if err != nil {
		o.Err = err.Error()
	}
	switch code := backend.CodeOf(err); {
	case err == nil:
	case code == backend.Fenced:
		o.Outcome = judge.Refused
	case code == backend.TxnConflict, crew.Nothing(code):
		o.Outcome = judge.Nothing
	case code == backend.UnknownOutcome:
		o.Outcome = judge.Unknown
	default:
		c.WentWrong("a write of %q at %s: %v", o.Key, at.Name, err)
		o.Outcome = judge.Unknown
	}
	c.history.Add(o)
	if stale {
		c.tally(func(n *counts) {
			n.stale++
			if o.Outcome == judge.Refused {
				n.refused++
			}
		})
	}
}

// read reads a key of the ledger.
func (l *Locks) read(at crew.Target, key string) error {
	ctx, cancel := crew.Call(l.cfg.Timeout)
	defer cancel()
	o := judge.Operation{Client: l.cfg.Clients, Member: at.Name, Kind: judge.Get, Key: key, Call: l.Now()}
	e, err := at.Backend.Get(ctx, key, backend.GetOptions{})
	o.Return = l.Now()
	if err != nil {
		if !crew.Nothing(backend.CodeOf(err)) {
			l.WentWrong("a get of %q at %s: %v", key, at.Name, err)
		}
		return err
	}
	o.Outcome = judge.Done
	if e != nil {
		o.Value, o.Index = string(e.Value), e.ModifyIndex
	}
	l.history.Add(o)
	return nil
}

// readAll reads the whole ledger of a lock.
func (c *client) readAll(lock int) {
	for n := range c.cfg.Ledger {
		if at, ok := c.Any(c.rng); ok {
			_ = c.read(at, ledgerKey(lock, n)) // it was noted if it is wrong
		}
	}
}

// unlock gives the lock back, or waits until it is lost if nobody answers.
func (c *client) unlock(h *hold, s *session) {
	c.gives(h)
	ctx, cancel := crew.Call(c.cfg.Timeout)
	defer cancel()
	err := h.Unlock(ctx)
	switch code := backend.CodeOf(err); {
	case err == nil:
		c.tally(func(n *counts) { n.unlocked++ })
	case code == backend.LockLost, code == backend.UnknownOutcome, crew.Nothing(code):
	default:
		c.WentWrong("unlock %d: %v: %v", h.lock, h, err)
	}
	if (err == nil || backend.CodeOf(err) == backend.LockLost) && h.open() {
		c.WentWrong("NOT TOLD: lock %d: %v has no lock any more (%v), and it is not lost", h.lock, h, err)
	}
	if s != nil {
		s.destroy()
	} else if err != nil {
		c.await(h)
	}
}

// await waits until a lock of its own session is lost. Until then that session is
// renewed, unless its member is gone.
func (c *client) await(h *hold) {
	for h.open() && c.Pause(retryPause) {
		ctx, cancel := crew.Call(c.cfg.Timeout)
		err := h.Unlock(ctx)
		cancel()
		if err == nil || backend.CodeOf(err) == backend.LockLost {
			return
		}
	}
}

// destroy destroys the session.
func (c *client) destroy(h *hold, s *session) {
	c.gives(h)
	s.destroy()
	c.tally(func(n *counts) { n.destroyed++ })
}

// vanish does nothing any more.
func (c *client) vanish(_ *hold, s *session) {
	s.rest()
	c.tally(func(n *counts) { n.vanished++ })
}

// freeze does nothing for longer than the TTL, with writes under way that arrive at
// any time, and goes on where it was: it has not looked whether it lost the lock.
func (c *client) freeze(h *hold, s *session) {
	s.rest()
	c.tally(func(n *counts) { n.frozen++ })
	var delays []time.Duration
	for range 1 + c.rng.IntN(3) {
		delays = append(delays, time.Duration(c.rng.Int64N(int64(2*c.cfg.TTL))))
	}
	delays = append(delays, 0) // one is at the member when the holder stops
	slices.Sort(delays)
	var wg sync.WaitGroup
	for _, d := range delays {
		o := c.entry(h)
		at, ok := c.Any(c.rng)
		wg.Go(func() {
			if ok && c.Pause(d) {
				c.write(at, h, o)
			}
		})
	}
	c.Pause(c.cfg.TTL + c.cfg.TTL/4 + time.Duration(c.rng.Int64N(int64(c.cfg.TTL))))
	for range 3 {
		if at, ok := c.Any(c.rng); ok {
			c.write(at, h, c.entry(h))
		}
	}
	wg.Wait()
}
