package chord

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/session"
	"github.com/chord-plugin/chord-plugin/chord/store"
)

const (
	// expirePause is the time between two looks at what became durable here, and at
	// what is due.
	expirePause = 200 * time.Millisecond
	// expireStep is how much longer each further owner of a key waits.
	expireStep = 3 * time.Second
	// expireTime bounds one attempt to end something that is due.
	expireTime = sweepingTime + 5*time.Second
	// maxExpiring is how many such attempts there are at a time, and maxAgain how many
	// of those may be at what failed before.
	maxExpiring = 64
	maxAgain    = maxExpiring / 2
	// maxLifetimes is how many registers with a lifetime are known; others end later
	// than they would.
	maxLifetimes = 500_000
	// patrolPause is the time between two looks at the indexes of the store, for what
	// was left undone, and patrolPage how many rows one takes in.
	patrolPause = 5 * time.Second
	patrolPage  = 512
)

// expirer ends what has a lifetime: sessions and keys. It learns of them by what
// becomes durable here. It also sees to what others left undone, as when who ended
// a session died before it released its keys.
type expirer struct {
	node  *Node
	lives *session.Lifetimes
	// since is where ExpiringChanges goes on.
	since uint64
	// held and expiring are where the patrol goes on.
	held     store.Held
	expiring string
	patrols  time.Duration // when it does

	mu     sync.Mutex
	here   map[string]struct{} // the registers of sessions here that are no tombstones
	busy   map[string]bool     // the keys that are being ended; whether that failed before
	failed []string            // the keys of attempts that failed since the last look
}

func newExpirer(n *Node) *expirer {
	return &expirer{node: n, lives: session.NewLifetimes(expireStep, maxLifetimes), here: map[string]struct{}{}, busy: map[string]bool{}}
}

// now is the clock by which lifetimes end.
func (e *expirer) now() time.Duration {
	if f := e.node.cfg.lifetimes; f != nil {
		return f()
	}
	return e.node.mono()
}

// sessions returns how many sessions this member has a copy of.
func (e *expirer) sessions() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.here)
}

// run ends what is due until the node stops.
func (e *expirer) run() {
	ctx := e.node.ctx
	tick := time.NewTicker(expirePause)
	defer tick.Stop()
	for begun := false; ; {
		var err error
		if !begun {
			err = e.begin(ctx)
			begun = err == nil
		} else if begun = e.follow(); begun {
			err = e.patrol(ctx)
			e.expire(ctx)
		}
		if err != nil && ctx.Err() == nil {
			e.node.log.Debug("lifetimes are not looked after", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// begin takes in all that has a lifetime, and all sessions.
func (e *expirer) begin(ctx context.Context) error {
	e.since = e.node.store.ExpiringCounter() // what comes after this is told
	e.mu.Lock()
	clear(e.here)
	e.mu.Unlock()
	for after, more := "", true; more; {
		page, err := e.node.store.Expiring(ctx, after, 0)
		if err != nil {
			return err
		}
		e.see(page.Keys)
		after, more = page.Next, page.More
	}
	for after, more := "", true; more; { // also those that live for ever
		page, err := e.node.store.Scan(ctx, store.ScanOptions{Prefix: register.SessionPrefix, After: after})
		if err != nil {
			return err
		}
		for i := range page.Cells {
			after = page.Cells[i].Key
			e.note(after, page.Cells[i].Cell.Value.Live)
		}
		more = page.More
	}
	return nil
}

// follow takes in what became durable since; false when that can not be told.
func (e *expirer) follow() bool {
	keys, counter, ok := e.node.store.ExpiringChanges(e.since)
	if e.since = counter; ok {
		e.see(keys)
	}
	return ok
}

// see takes in the cells of keys as they are here.
func (e *expirer) see(keys []string) {
	for _, key := range keys {
		cell, _, err := e.node.store.Load(key)
		if err != nil {
			return // the node has failed
		}
		e.lives.Saw(e.now(), key, &cell.Value)
		if _, ok := register.ParseSessionKey(key); ok {
			e.note(key, cell.Value.Live)
		}
	}
}

// note notes whether the register of a session is here.
func (e *expirer) note(key string, here bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if here {
		e.here[key] = struct{}{}
	} else {
		delete(e.here, key)
	}
	if m := e.node.cfg.Metrics; m != nil {
		m.SetGauge([]string{"sessions", "here"}, float32(len(e.here)))
	}
}

// rank is this node's place among those owners of a key that seem to be up; -1 if
// it is none.
func (n *Node) rank(st *ringState, key string) int {
	g := st.placement.Group(key)
	before := 0
	for _, o := range g.Owners() {
		if o == n.id.Node() {
			return before
		}
		if n.peers.usable(o) {
			before++
		}
	}
	return -1
}

// expire begins to end what is due, as far as it may. What failed before is apart, so
// that it does not hold up the rest.
func (e *expirer) expire(ctx context.Context) {
	st := e.node.ring.Load()
	if st == nil || !st.member {
		return
	}
	now := e.now()
	e.mu.Lock()
	again := 0
	for _, before := range e.busy {
		if before {
			again++
		}
	}
	room := maxExpiring - len(e.busy)
	again = min(room, maxAgain-again)
	failed := e.failed
	e.failed = nil
	e.mu.Unlock()
	for _, key := range failed {
		e.lives.Failed(now, key)
	}
	rank := func(key string) int { return e.node.rank(st, key) }
	for _, d := range e.lives.Again(now, again, rank) {
		e.end(ctx, st, d, true)
		room--
	}
	for _, d := range e.lives.Due(now, room, rank) {
		e.end(ctx, st, d, false)
	}
}

// end begins to end a register that is due, unless it has changed.
func (e *expirer) end(ctx context.Context, st *ringState, d session.Due, before bool) {
	cell, _, err := e.node.store.Load(d.Key)
	if err != nil {
		return // the node has failed
	}
	if v := &cell.Value; v.Index() != d.Index || v.Expires == 0 {
		e.lives.Saw(e.now(), d.Key, v) // it lasts for ever now, or is gone
		return
	}
	if !before && !e.node.reachable(st, d.Key) {
		e.lives.Failed(e.now(), d.Key) // most likely; but what seems to be down may answer
		return
	}
	e.begins(ctx, d.Key, before, func(ctx context.Context) error {
		err := session.Expire(e.node.txns, registers{e.node, ctx}, d, e.node.heldBy(ctx))
		if m := e.node.cfg.Metrics; m != nil && err == nil {
			m.IncrCounter([]string{"lifetimes", "ended"}, 1)
		}
		return err
	})
}

// reachable reports whether a quorum of the owners of a key seem to be up.
func (n *Node) reachable(st *ringState, key string) bool {
	g := st.placement.Group(key)
	var up uint16
	for i, o := range g.Owners() {
		if o == n.id.Node() || n.peers.usable(o) {
			up |= 1 << i
		}
	}
	return g.Quorum(up)
}

// begins does something about a key in the background, unless that goes on already.
func (e *expirer) begins(ctx context.Context, key string, before bool, do func(ctx context.Context) error) {
	e.mu.Lock()
	_, busy := e.busy[key]
	if !busy {
		e.busy[key] = before
	}
	e.mu.Unlock()
	if busy {
		return
	}
	e.node.wg.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, expireTime)
		defer cancel()
		err := do(ctx)
		if err != nil && ctx.Err() == nil {
			e.node.log.Debug("what has a lifetime is ended later", "key", key, "error", err)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.busy, key)
		if err != nil {
			e.failed = append(e.failed, key)
		}
	})
}

// patrol takes in a page of each index of the store, which removes what is stale
// there.
func (e *expirer) patrol(ctx context.Context) error {
	now := e.node.mono()
	st := e.node.ring.Load()
	if now < e.patrols || st == nil || !st.member {
		return nil
	}
	e.patrols = now + patrolPause
	expiring, err := e.node.store.Expiring(ctx, e.expiring, patrolPage)
	if err != nil {
		return err
	}
	e.see(expiring.Keys) // there may be room now for what was not known
	e.expiring = expiring.Next
	held, err := e.node.store.Held(ctx, store.HeldOptions{After: e.held, Limit: patrolPage})
	if err != nil {
		return err
	}
	e.held = held.Next
	left := slices.DeleteFunc(held.Held, func(h store.Held) bool { return e.livesHere(h.Session) || e.node.rank(st, h.Key) != 0 })
	if len(left) > 0 {
		e.begins(ctx, "", false, func(ctx context.Context) error { return e.release(ctx, left) })
	}
	return nil
}

// livesHere reports whether a session lives by the copy of it here.
func (e *expirer) livesHere(id string) bool {
	cell, _, err := e.node.store.Load(register.SessionKey(id))
	s, bad := register.SessionOf(&cell.Value)
	return err == nil && bad == nil && s.State == register.SessionLive
}

// release takes keys from sessions that have ended.
func (e *expirer) release(ctx context.Context, left []store.Held) error {
	r := registers{e.node, ctx}
	of := make([]string, len(left))
	for i, h := range left {
		of[i] = h.Session
	}
	ended, err := e.node.txns.Ended(r, of)
	if err != nil {
		return err
	}
	return r.Each(len(left), func(i int) error {
		if !ended[left[i].Session] {
			return nil
		}
		return e.node.txns.Release(r, left[i].Key, left[i].Session)
	})
}
