package gossip

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	metrics "github.com/hashicorp/go-metrics/compat"
	"github.com/hashicorp/memberlist"
)

const (
	// maxSevered bounds the nodes to which packets are dropped.
	maxSevered = 1024
	// portTries is how often a free port is looked for that UDP and TCP share.
	portTries = 10
)

// wire is memberlist's transport on UDP and TCP, and two things that it lacks:
// it knows the open connections, so that Close can end and wait for them, and
// it can be told to send nothing to a node that has gone to another ring.
type wire struct {
	*memberlist.NetTransport
	ctx     context.Context // ends dials
	cancel  context.CancelFunc
	streams chan net.Conn
	pump    sync.WaitGroup
	conns   sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	open    map[*conn]struct{}
	severed map[string]severed // by memberlist's name of the node
}

type severed struct {
	addr  string
	until time.Time
}

// listen opens both sockets on addr.
func listen(addr hostPort, l *log.Logger, labels []metrics.Label) (*wire, error) {
	c := &memberlist.NetTransportConfig{
		BindAddrs:    []string{addr.ip.String()},
		BindPort:     addr.port,
		Logger:       l,
		MetricLabels: labels,
	}
	tries := 1
	if addr.port == 0 {
		tries = portTries // the TCP port found may be taken on UDP
	}
	var t *memberlist.NetTransport
	var err error
	for range tries {
		if t, err = memberlist.NewNetTransport(c); err == nil {
			break
		}
	}
	if err != nil {
		// memberlist formats its cause away, so the text is all there is.
		if strings.Contains(err.Error(), syscall.EADDRINUSE.Error()) {
			return nil, fmt.Errorf("gossip address %s is in use by another process; stop it or choose another address: %w", addr, err)
		}
		return nil, fmt.Errorf("gossip cannot listen on %s: %w", addr, err)
	}
	w := &wire{
		NetTransport: t,
		streams:      make(chan net.Conn),
		open:         map[*conn]struct{}{},
		severed:      map[string]severed{},
	}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.pump.Go(w.accept)
	return w, nil
}

// accept hands each incoming connection on to memberlist.
func (w *wire) accept() {
	for {
		select {
		case c := <-w.NetTransport.StreamCh():
			t, err := w.track(c)
			if err != nil {
				continue // closed meanwhile, and so is the connection
			}
			select {
			case w.streams <- t:
			case <-w.ctx.Done():
				_ = t.Close() // nobody will read from it
			}
		case <-w.ctx.Done():
			return
		}
	}
}

// drain takes packets that nobody else will, so that Shutdown can end. It is for
// a wire whose memberlist did not come to be.
func (w *wire) drain() {
	w.pump.Go(func() {
		for {
			select {
			case <-w.PacketCh():
			case <-w.ctx.Done():
				return
			}
		}
	})
}

// StreamCh implements memberlist.Transport.
func (w *wire) StreamCh() <-chan net.Conn { return w.streams }

// DialTimeout implements memberlist.Transport.
func (w *wire) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return w.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (w *wire) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: timeout}
	c, err := d.DialContext(w.ctx, "tcp", a.Addr)
	if err != nil {
		return nil, err
	}
	return w.track(c)
}

// WriteTo implements memberlist.Transport.
func (w *wire) WriteTo(b []byte, addr string) (time.Time, error) {
	return w.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (w *wire) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	now := time.Now()
	if w.drops(a.Addr, now) {
		return now, nil
	}
	return w.NetTransport.WriteToAddress(b, a)
}

// sever drops all packets to a node until the given time, so that each side sees
// the other as dead and forgets it. memberlist has no other way to do that.
func (w *wire) sever(list, addr string, until time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.prune(time.Now())
	if _, ok := w.severed[list]; ok || len(w.severed) < maxSevered {
		w.severed[list] = severed{addr, until}
	}
}

// restore lets packets through to an address that a node of our ring now has.
func (w *wire) restore(addr string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for list, s := range w.severed {
		if s.addr == addr {
			delete(w.severed, list)
		}
	}
}

func (w *wire) prune(now time.Time) {
	for list, s := range w.severed {
		if now.After(s.until) {
			delete(w.severed, list)
		}
	}
}

func (w *wire) drops(addr string, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.severed {
		if s.addr == addr && now.Before(s.until) {
			return true
		}
	}
	return false
}

// isSevered reports whether nothing is sent to a node; it keeps memberlist from
// asking it over TCP, too.
func (w *wire) isSevered(list string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, ok := w.severed[list]
	return ok && time.Now().Before(s.until)
}

var errWireClosed = errors.New("gossip is closed")

func (w *wire) track(c net.Conn) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		_ = c.Close() // the caller gets the reason
		return nil, errWireClosed
	}
	t := &conn{Conn: c, wire: w}
	w.open[t] = struct{}{}
	w.conns.Add(1)
	return t, nil
}

// Shutdown implements memberlist.Transport: it closes the sockets and all
// connections.
func (w *wire) Shutdown() error {
	err := w.NetTransport.Shutdown()
	w.cancel()
	w.pump.Wait()
	w.mu.Lock()
	w.closed = true
	for c := range w.open {
		_ = c.Conn.Close() // whoever uses it gets the error, and then calls Close
	}
	w.mu.Unlock()
	return err
}

// wait returns when memberlist has given all connections back.
func (w *wire) wait() { w.conns.Wait() }

// conn is a connection that tells its wire when it is closed.
type conn struct {
	net.Conn
	wire *wire
	once sync.Once
}

// Close implements net.Conn.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.wire.mu.Lock()
		delete(c.wire.open, c)
		c.wire.mu.Unlock()
		c.wire.conns.Done()
	})
	return err
}
