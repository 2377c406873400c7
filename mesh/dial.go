package mesh

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// candidate is a peer that might be dialled.
type candidate struct {
	peer Peer
	// hearsay: only other peers told of it; gossip did not.
	hearsay  bool
	failures int           // in a row
	next     time.Duration // not to be dialled before
	lastErr  error
	attempt  *attempt // the dial that is under way, or nil
}

// attempt is a dial under way.
type attempt struct {
	stop      context.CancelFunc
	helloSent bool
	// extra: the peer is a better neighbour than one that is connected, so the
	// attempt does not count against MaxOutgoing.
	extra bool
}

func (a *attempt) cancel() {
	if a != nil {
		a.stop()
	}
}

// backoff returns the pause after so many failures in a row, given a random
// number in [0, 1).
func backoff(failures int, random float64) time.Duration {
	d := maxBackoff
	if failures < 10 {
		d = min(minBackoff<<max(failures-1, 0), maxBackoff)
	}
	return d/2 + time.Duration(random*float64(d/2))
}

// failed notes a failed dial.
func (cand *candidate) failed(now time.Duration, err error) {
	cand.failures++
	cand.lastErr = err
	cand.next = now + backoff(cand.failures, rand.Float64())
}

// lost notes the end of a connection that lasted so long. One that does not last
// counts as a failure, so that a peer that accepts and drops us costs no more
// than one that is down.
func (cand *candidate) lost(now, lasted time.Duration) {
	if lasted >= maxBackoff {
		cand.failures = 0
	}
	cand.failures++
	cand.next = now + backoff(cand.failures, rand.Float64())
}

// HandlePeers takes peers that gossip believes alive (js2p's __handle_peers). The
// mesh dials successors and fingers first and others while MaxOutgoing allows,
// and keeps trying; a peer whose dial failed before is tried again at once. A
// peer that cannot be (no ID, no address, ourselves) is left out and logged.
func (m *Mesh) HandlePeers(peers []Peer) { m.handlePeers(peers, false) }

func (m *Mesh) handlePeers(peers []Peer, hearsay bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range peers {
		if p.ID == m.cfg.ID {
			continue
		}
		if err := p.validate(); err != nil {
			m.warn(p.ID.Short(), "peer left out", "error", err)
			continue
		}
		m.addCandidate(p, hearsay)
	}
	m.publish()
	m.wakeDialler()
}

// addCandidate is called with m.mu held, and publish after it.
func (m *Mesh) addCandidate(p Peer, hearsay bool) {
	if !hearsay {
		delete(m.forgotten, p.ID)
	} else if at, ok := m.forgotten[p.ID]; ok && m.now()-at < forgetFor {
		return
	}
	cand := m.candidates[p.ID]
	switch {
	case cand == nil && len(m.candidates) >= maxCandidates:
		m.stats.peersDropped.Add(1)
		m.warn("", "peer left out: too many", "peer", p, "limit", maxCandidates)
		return
	case cand == nil:
		m.candidates[p.ID] = &candidate{peer: p, hearsay: hearsay}
		return
	case hearsay:
		return // gossip, and what we have, know better
	}
	cand.peer, cand.hearsay = p, false
	cand.failures, cand.next = 0, 0
}

// wakeDialler makes the dialler look again. Never blocks.
func (m *Mesh) wakeDialler() {
	select {
	case m.dialWake <- struct{}{}:
	default:
	}
}

// dialler starts dials when something changed or a pause is over. It sleeps
// in between, however many peers are down.
func (m *Mesh) dialler() {
	defer m.wg.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-m.dialWake:
		case <-timer.C:
		}
		if wait := m.plan(); wait > 0 {
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
	}
}

// plan starts the dials that are due and returns how long it is to the next one,
// or 0 for never.
func (m *Mesh) plan() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.outdated {
		m.ranking, m.neighbours = m.rank()
		m.outdated = false
	}
	now, dialling, used, extras := m.now(), 0, 0, 0
	for id, cand := range m.candidates {
		if cand.attempt == nil {
			continue
		}
		dialling++
		switch {
		case m.conns[id.Node()] != nil: // is counted as a connection
		case cand.attempt.extra:
			extras++
		default:
			used++
		}
	}
	var spare []*Conn // outgoing connections to no neighbour, farthest first
	for _, c := range m.conns {
		if c.outgoing {
			used++
			if !m.neighbours[c.id] {
				spare = append(spare, c)
			}
		}
	}
	slices.SortFunc(spare, func(a, b *Conn) int {
		return m.cfg.ID.Distance(b.id).Compare(m.cfg.ID.Distance(a.id))
	})
	for ; used > m.cfg.MaxOutgoing && len(spare) > 0; used-- {
		m.exchange(spare[0])
		spare = spare[1:]
	}
	spare = spare[min(extras, len(spare)):]
	var next time.Duration
	for _, id := range m.ranking {
		cand := m.candidates[id]
		if cand == nil || cand.attempt != nil || m.conns[id.Node()] != nil {
			continue
		}
		extra := used >= m.cfg.MaxOutgoing && m.neighbours[id] && len(spare) > 0
		if used >= m.cfg.MaxOutgoing && !extra {
			continue
		}
		if cand.next > now {
			if next == 0 || cand.next < next {
				next = cand.next
			}
			continue
		}
		if dialling >= maxDialing {
			break // the end of a dial wakes us
		}
		dialling++
		if extra {
			spare = spare[1:]
		} else {
			used++
		}
		m.dial(cand, extra)
	}
	if next == 0 {
		return 0
	}
	return next - now
}

// exchange closes an outgoing connection in favour of a better neighbour. If
// the peer needs it, it dials in its turn. Called with m.mu held.
func (m *Mesh) exchange(c *Conn) {
	delete(m.conns, c.node)
	m.publish()
	m.notice(c.node)
	c.goodbye(errExchanged)
}

// rank returns the candidates in the order in which to dial them, and which of
// them are neighbours, so many as may be dialled. Called with m.mu held.
func (m *Mesh) rank() ([]ring.ID, map[ring.ID]bool) {
	var ids []ring.ID
	for id, cand := range m.candidates {
		if cand.peer.Role == RoleMember && (m.peer.RingID == "" || cand.peer.RingID == "" || m.peer.RingID == cand.peer.RingID) {
			ids = append(ids, id)
		}
	}
	first := ring.Neighbours(m.cfg.ID, ids, min(successors, m.cfg.MaxOutgoing))
	first = first[:min(len(first), m.cfg.MaxOutgoing)]
	neighbours := make(map[ring.ID]bool, len(first))
	for _, id := range first {
		neighbours[id] = true
	}
	slices.SortFunc(ids, func(a, b ring.ID) int { return m.cfg.ID.Distance(a).Compare(m.cfg.ID.Distance(b)) })
	for _, id := range ids {
		if !neighbours[id] {
			first = append(first, id)
		}
	}
	return first, neighbours
}

// dial starts an attempt. Called with m.mu held.
func (m *Mesh) dial(cand *candidate, extra bool) {
	ctx, stop := context.WithCancel(m.ctx)
	a := &attempt{stop: stop, extra: extra}
	cand.attempt = a
	p := cand.peer
	m.wg.Add(1)
	go func() {
		defer m.wg.Done()
		defer stop()
		err := m.connect(ctx, a, p)
		if err != nil && ctx.Err() != nil {
			err = ctx.Err()
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.dialled(p, a, err)
		m.wakeDialler()
	}()
}

// dialled notes the outcome of an attempt. Called with m.mu held.
func (m *Mesh) dialled(p Peer, a *attempt, err error) {
	cand := m.candidates[p.ID]
	if cand == nil || cand.attempt != a {
		return // forgotten meanwhile
	}
	cand.attempt = nil
	if err == nil {
		return
	}
	cand.failed(m.now(), err)
	m.stats.dialsFailed.Add(1)
	r := new(RefusedError)
	switch {
	case errors.Is(err, context.Canceled), errors.As(err, &r) && r.Reason == RefusedDuplicate:
		m.log.Debug("dial given up", "peer", p, "reason", err)
	default:
		m.warn(warnKey(p.ID.Short(), err), "dial failed", "peer", p, "error", err)
	}
	if cand.hearsay && cand.failures >= hearsayTries && m.conns[p.ID.Node()] == nil {
		delete(m.candidates, p.ID)
		m.publish()
	}
}

// Awaiting describes the connections that are not there yet: dials under way,
// peers whose dial failed and why, and incoming connections in their handshake
// (js2p's awaiting_ids). Sorted.
func (m *Mesh) Awaiting() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []string
	for addr := range m.awaiting {
		list = append(list, fmt.Sprintf("incoming from %s: handshake", addr.RemoteAddr()))
	}
	for _, cand := range m.candidates {
		switch {
		case cand.attempt != nil && cand.attempt.helloSent:
			list = append(list, fmt.Sprintf("%s: handshake", cand.peer))
		case cand.attempt != nil:
			list = append(list, fmt.Sprintf("%s: dialling", cand.peer))
		case cand.lastErr != nil && m.conns[cand.peer.ID.Node()] == nil:
			list = append(list, fmt.Sprintf("%s: %v", cand.peer, cand.lastErr))
		}
	}
	slices.SortFunc(list, cmp.Compare[string])
	return list
}
