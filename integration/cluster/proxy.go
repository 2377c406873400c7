package cluster

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// maxPacket is the largest UDP packet.
	maxPacket = 65536
	// dialPatience is how long a proxy tries to reach its member.
	dialPatience = time.Second
)

// proxy stands before one member.
type proxy struct {
	network *Network
	member  *Member
	gossip  net.Listener
	packets net.PacketConn // at the same address
	mesh    net.Listener
	target  net.Addr // the member's, for packets

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
}

func newProxy(n *Network, m *Member) (_ *proxy, err error) {
	p := &proxy{network: n, member: m, conns: map[net.Conn]struct{}{}}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	gossip, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	mesh, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	if p.target, err = net.ResolveUDPAddr("udp", m.GossipAddr); err != nil {
		return nil, err
	}
	if p.gossip, err = net.Listen("tcp", gossip); err != nil {
		return nil, err
	}
	if p.packets, err = net.ListenPacket("udp", gossip); err != nil {
		return nil, err
	}
	p.mesh, err = net.Listen("tcp", mesh)
	return p, err
}

func (p *proxy) gossipAddr() string { return p.gossip.Addr().String() }
func (p *proxy) meshAddr() string   { return p.mesh.Addr().String() }

// serve works until close.
func (p *proxy) serve() {
	p.network.wg.Go(p.forward)
	p.network.wg.Go(func() { p.accept(p.gossip, p.member.GossipAddr) })
	p.network.wg.Go(func() { p.accept(p.mesh, p.member.MeshAddr) })
}

// forward hands packets on to the member. They come from the address at which
// the sender is known to the others.
func (p *proxy) forward() {
	b := make([]byte, maxPacket)
	for {
		n, from, err := p.packets.ReadFrom(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // such as the refusal of a packet to a member that is down
		}
		sender := p.network.byGossipAddr(from.String())
		if apart, _ := p.network.apart(sender, p.member); apart {
			continue
		}
		out := p.packets
		if sender != nil {
			out = sender.proxy.packets
		}
		_, _ = out.WriteTo(b[:n], p.target) // a packet may be lost
	}
}

func (p *proxy) accept(l net.Listener, target string) {
	for {
		from, err := l.Accept()
		if err != nil {
			return
		}
		if p.keep(from) {
			p.network.wg.Go(func() { p.connect(from, target) })
		}
	}
}

// connect joins a connection with a new one to the member, until both have ended.
func (p *proxy) connect(from net.Conn, target string) {
	defer p.drop(from)
	sender := p.network.dialler(from)
	if !p.network.pass(sender, p.member) {
		return
	}
	to, err := net.DialTimeout("tcp", target, dialPatience)
	if err != nil || !p.keep(to) {
		return // which is how the dialler learns that nobody is there
	}
	defer p.drop(to)
	var both sync.WaitGroup
	both.Go(func() { p.copy(to, from, sender) })
	both.Go(func() { p.copy(from, to, sender) })
	both.Wait()
}

// copy copies one direction, as long as the members are together.
func (p *proxy) copy(to, from net.Conn, sender *Member) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if !p.network.pass(sender, p.member) {
			return
		}
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				_ = from.Close() // its other end must see that, too
				return
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			_ = to.(*net.TCPConn).CloseWrite() // it may be gone
			return
		case err != nil:
			_ = to.Close() // nothing more will come
			return
		}
	}
}

// keep notes a connection for close; false: the proxy is closed, and so is the
// connection.
func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = c.Close() // nothing was sent
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *proxy) drop(c net.Conn) {
	_ = c.Close() // both directions have ended
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *proxy) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.gossip != nil {
		_ = p.gossip.Close()
	}
	if p.packets != nil {
		_ = p.packets.Close()
	}
	if p.mesh != nil {
		_ = p.mesh.Close()
	}
	for c := range p.conns {
		_ = c.Close()
	}
}
