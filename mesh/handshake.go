package mesh

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// nextHello returns our hello. Called with m.mu held: the order of the numbers
// is the order in which connections were decided on.
func (m *Mesh) nextHello() *hello {
	m.seq++
	return &hello{Min: m.protocol[0], Max: m.protocol[1], Peer: m.peer, Boot: m.boot, Seq: m.seq}
}

// connect dials p and makes the connection part of the table.
func (m *Mesh) connect(ctx context.Context, a *attempt, p Peer) error {
	dialCtx, stop := context.WithTimeout(ctx, m.cfg.DialTimeout)
	nc, err := m.cfg.Dialer(dialCtx, p.Addr)
	stop()
	if err != nil {
		return fmt.Errorf("dial %s: %w", p, err)
	}
	raw := nc
	up := false
	defer func() {
		if !up {
			raw.Close()
		}
	}()
	defer context.AfterFunc(ctx, func() { raw.Close() })()
	if err := nc.SetDeadline(time.Now().Add(m.cfg.HandshakeTimeout)); err != nil {
		return fmt.Errorf("dial %s: %w", p, err)
	}
	if m.cfg.TLS != nil {
		cfg := m.cfg.TLS
		if cfg.ServerName == "" {
			host, _, err := net.SplitHostPort(p.Addr)
			if err != nil {
				return fmt.Errorf("dial %s: %w", p, err)
			}
			cfg = cfg.Clone()
			cfg.ServerName = host
		}
		tc := tls.Client(nc, cfg)
		if err := tc.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("dial %s: TLS: %w", p, err)
		}
		nc = tc
	}

	m.mu.Lock()
	if m.conns[p.ID.Node()] != nil {
		m.mu.Unlock()
		return nil // the peer was faster
	}
	own := m.nextHello()
	own.Want = p.ID
	a.helloSent = true
	m.mu.Unlock()
	b, err := appendHello(nil, own)
	if err != nil {
		return fmt.Errorf("dial %s: %w", p, err)
	}
	if _, err := nc.Write(b); err != nil {
		return fmt.Errorf("dial %s: hello: %w", p, err)
	}
	in := newFrameReader(nc, maxHello)
	theirs, refused, err := readHello(in)
	switch {
	case err != nil:
		return fmt.Errorf("dial %s: %w", p, err)
	case refused != nil:
		m.elsewhere(p, refused)
		return fmt.Errorf("dial %s: %w", p, refused.error())
	}
	if r := own.check(theirs, p.ID); r != nil {
		m.sendRefusal(nc, r, false)
		return fmt.Errorf("dial %s: %w", p, r)
	}
	if err := nc.SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("dial %s: %w", p, err)
	}
	c := m.newConn(nc, in, theirs, true)
	c.queue, c.frames = m.appendPeers(nil), 1
	m.mu.Lock()
	r := sameRing(m.peer, theirs.Peer) // SetRing may have come in between
	if r == nil && ctx.Err() != nil {
		r = refuse(RefusedForgotten, "%s no longer wants %s", m.peer, p)
	}
	if r == nil {
		r = m.connUp(c)
	}
	m.mu.Unlock()
	if r != nil {
		m.sendRefusal(nc, r, false)
		return fmt.Errorf("dial %s: %w", p, r)
	}
	up = true
	m.log.Info("connected", "peer", theirs.Peer, "dialled", true)
	return nil
}

// elsewhere: another node than p lives at p's address, and says who it is. What
// gossip told of p stays, to be tried again; hearsay goes.
func (m *Mesh) elsewhere(p Peer, r *refusal) {
	if r.Reason != RefusedWrongNode || r.Peer.ID == p.ID || r.Peer.ID == m.cfg.ID || r.Peer.validate() != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if cand := m.candidates[p.ID]; cand != nil && cand.hearsay {
		delete(m.candidates, p.ID)
	}
	m.addCandidate(r.Peer, true)
	m.publish()
}

// accept shakes hands with an incoming connection.
func (m *Mesh) accept(nc net.Conn) error {
	raw := nc
	up := false
	defer func() {
		if !up {
			raw.Close()
		}
	}()
	defer context.AfterFunc(m.ctx, func() { raw.Close() })()
	if err := nc.SetDeadline(time.Now().Add(m.cfg.HandshakeTimeout)); err != nil {
		return err
	}
	if m.cfg.TLS != nil {
		tc := tls.Server(nc, m.cfg.TLS)
		if err := tc.HandshakeContext(m.ctx); err != nil {
			return fmt.Errorf("TLS: %w", err)
		}
		nc = tc
	}
	in := newFrameReader(nc, maxHello)
	theirs, refused, err := readHello(in)
	switch {
	case err != nil:
		return err
	case refused != nil:
		return refused.error()
	}
	c := m.newConn(nc, in, theirs, false)
	own, r := m.admit(c, theirs)
	if r == nil {
		up = true
		m.log.Info("connected", "peer", theirs.Peer, "dialled", false)
		return nil
	}
	first := own == nil
	m.sendRefusal(nc, r, first)
	return fmt.Errorf("from %s: %w", theirs.Peer, r)
}

// admit decides on an incoming connection and, if it may be, puts it into the
// table with our hello as the first thing to be written. The decision and the
// number of our hello are one step: see connUp.
func (m *Mesh) admit(c *Conn, theirs *hello) (*hello, *RefusedError) {
	peers := m.appendPeers(nil)
	m.mu.Lock()
	defer m.mu.Unlock()
	own := m.nextHello()
	if r := own.check(theirs, ring.ID{}); r != nil {
		return nil, r
	}
	// Both dialled at once: the dial of the smaller ID is kept. If we are the
	// smaller one and have said hello, the other connection is about to stand.
	if cand := m.candidates[c.id]; cand != nil && cand.attempt != nil {
		if cand.attempt.helloSent && m.cfg.ID.Compare(c.id) < 0 {
			return nil, refuse(RefusedDuplicate, "%s is dialling %s itself", m.peer, theirs.Peer)
		}
	}
	incoming := 0
	for _, other := range m.conns {
		if !other.outgoing && other.id != c.id {
			incoming++
		}
	}
	if incoming >= m.cfg.MaxIncoming {
		return nil, refuse(RefusedFull, "%s has its %d incoming connections", m.peer, m.cfg.MaxIncoming)
	}
	b, err := appendHello(nil, own)
	if err != nil {
		return nil, refuse(RefusedMalformed, "%v", err)
	}
	c.queue, c.frames = append(b, peers...), 2
	if err := c.nc.SetDeadline(time.Time{}); err != nil {
		return nil, refuse(RefusedMalformed, "%v", err)
	}
	if r := m.connUp(c); r != nil {
		return nil, r
	}
	return own, nil
}

// sendRefusal tells the other side why. Best effort: it may be gone.
func (m *Mesh) sendRefusal(nc net.Conn, r *RefusedError, first bool) {
	b, err := appendRefusal(nil, m.self(), r, first)
	if err == nil && nc.SetDeadline(time.Now().Add(m.cfg.HandshakeTimeout)) == nil {
		_, err = nc.Write(b)
	}
	if err != nil {
		m.log.Debug("refusal not delivered", "remote", nc.RemoteAddr(), "error", err)
	}
}

// listen accepts connections until the listener is closed.
func (m *Mesh) listen() {
	defer m.wg.Done()
	pause := time.Duration(0)
	for {
		nc, err := m.listener.Accept()
		if m.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			if err == nil {
				nc.Close()
			}
			return
		}
		if err != nil { // such as too many open files: it may pass
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			m.warn("", "accept failed", "address", m.Addr(), "error", err)
			timer := time.NewTimer(pause)
			select {
			case <-m.ctx.Done():
			case <-timer.C:
			}
			timer.Stop()
			continue
		}
		pause = 0
		m.mu.Lock()
		full := len(m.awaiting) >= m.cfg.MaxAwaiting
		if !full {
			m.awaiting[nc] = struct{}{}
		}
		m.mu.Unlock()
		if full {
			nc.Close()
			m.stats.awaitingFull.Add(1)
			m.warn("", "incoming connection dropped: too many handshakes under way", "limit", m.cfg.MaxAwaiting)
			continue
		}
		m.wg.Add(1)
		go func() {
			defer m.wg.Done()
			err := m.accept(nc)
			m.mu.Lock()
			delete(m.awaiting, nc)
			m.mu.Unlock()
			if err == nil {
				return
			}
			m.stats.refused.Add(1)
			r := new(RefusedError)
			if errors.As(err, &r) && r.Reason == RefusedDuplicate || m.ctx.Err() != nil {
				m.log.Debug("incoming connection not kept", "remote", nc.RemoteAddr(), "reason", err)
				return
			}
			host, _, splitErr := net.SplitHostPort(nc.RemoteAddr().String())
			if splitErr != nil {
				host = nc.RemoteAddr().String()
			}
			m.warn(warnKey(host, err), "incoming connection refused", "remote", nc.RemoteAddr(), "error", err)
		}()
	}
}

// appendPeers writes the 'peers' message: some of the members we know, the
// connected ones first.
func (m *Mesh) appendPeers(dst []byte) []byte {
	t := m.table.Load()
	peers := make([]Peer, 0, min(len(t.known), maxPeersSent))
	for _, c := range t.direct {
		if p := c.Peer(); p.Role == RoleMember && len(peers) < maxPeersSent {
			peers = append(peers, p)
		}
	}
	for node, p := range t.known {
		if t.direct[node] == nil && p.Role == RoleMember && len(peers) < maxPeersSent {
			peers = append(peers, p)
		}
	}
	b, err := Marshal(peers)
	if err != nil {
		m.log.Error("peers message", "error", err)
		b, peers = []byte{0x90}, nil // an empty array
	}
	o := outgoing{kind: kindPeers, body: b}
	return o.append(dst)
}

// takePeers reads a 'peers' message.
func (m *Mesh) takePeers(body []byte) error {
	var peers []Peer
	if err := Unmarshal(body, &peers); err != nil {
		return fmt.Errorf("peers: %w", err)
	}
	if len(peers) > maxPeersSent {
		return fmt.Errorf("%w peers: %d, the limit is %d", ErrMalformed, len(peers), maxPeersSent)
	}
	m.handlePeers(peers, true)
	return nil
}
