package mesh

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

const (
	// writeChunk bounds the bytes of one write.
	writeChunk = 256 << 10
	// smallBatch: with less than this to write, the writer lets others run once
	// before it writes, so that frames that are about to come share the write.
	smallBatch = 4 << 10
)

// errGoodbye: the peer closed the connection on purpose.
var errGoodbye = errors.New("the peer closed the connection")

// Conn is the direct connection to one peer (js2p's chord_connection).
type Conn struct {
	m        *Mesh
	nc       net.Conn
	raw      net.Conn // nc, or what is below its TLS
	in       *frameReader
	id       ring.ID
	node     ring.Node
	outgoing bool
	boot     uint64 // of the peer's process
	seq      uint64 // of the peer's hello
	since    time.Duration
	peer     atomic.Pointer[Peer]

	rtt      atomic.Int64 // nanoseconds, smoothed; 0: not measured
	lastRead atomic.Int64 // when bytes last arrived, on Mesh.now's clock
	writing  atomic.Int64 // when the write that is under way began; 0: none

	mu       sync.Mutex
	cond     sync.Cond // there is work for the writer
	queue    []byte    // frames to be written
	frames   int       // in queue
	inFlight int       // bytes being written
	closed   bool      // nothing is accepted any more
	finish   bool      // closed, but what is queued is still written
	err      error     // why it was closed
}

func (m *Mesh) newConn(nc net.Conn, in *frameReader, theirs *hello, outgoing bool) *Conn {
	raw := nc
	if tc, ok := nc.(*tls.Conn); ok {
		// TLS's own Close may wait for a peer that takes nothing; the goodbye
		// frame says all that its alert would.
		raw = tc.NetConn()
	}
	c := &Conn{m: m, nc: nc, raw: raw, in: in, id: theirs.Peer.ID, node: theirs.Peer.ID.Node(), outgoing: outgoing,
		boot: theirs.Boot, seq: theirs.Seq, since: m.now()}
	c.cond.L = &c.mu
	c.peer.Store(&theirs.Peer)
	c.lastRead.Store(int64(c.since))
	in.max = m.cfg.MaxFrame
	in.onRead = func() { c.lastRead.Store(int64(m.now())) }
	return c
}

// Peer returns who is at the other end.
func (c *Conn) Peer() Peer { return *c.peer.Load() }

// Outgoing reports whether this node dialled.
func (c *Conn) Outgoing() bool { return c.outgoing }

// RTT returns the smoothed round trip time of pings, or 0 before the first.
func (c *Conn) RTT() time.Duration { return time.Duration(c.rtt.Load()) }

// Queued returns the number of bytes that wait to be written or are being written.
func (c *Conn) Queued() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue) + c.inFlight
}

// errConnClosed: the connection takes no more frames. Callers turn it into the
// error that fits them.
var errConnClosed = errors.New("the connection is closed")

// enqueue hands a frame to the writer. It never blocks.
func (c *Conn) enqueue(o *outgoing) error {
	n := o.size()
	if n-lengthBytes > c.m.cfg.MaxFrame {
		return fmt.Errorf("%w: a frame of %d bytes, the limit is %d", ErrTooLarge, n-lengthBytes, c.m.cfg.MaxFrame)
	}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return errConnClosed
	}
	if len(c.queue)+c.inFlight+n > c.m.cfg.MaxQueueBytes {
		c.mu.Unlock()
		c.m.stats.queueFull.Add(1)
		return ErrQueueFull
	}
	first := len(c.queue) == 0
	c.queue = o.append(c.queue)
	c.frames++
	c.mu.Unlock()
	if first {
		c.cond.Signal()
	}
	return nil
}

// write is the connection's writer: it empties the queue into one write, until
// the connection is closed.
func (c *Conn) write() {
	defer c.m.wg.Done()
	var batch []byte
	c.mu.Lock()
	for {
		for len(c.queue) == 0 && !c.closed {
			if cap(batch) > keepBuffer {
				batch = nil
			}
			if cap(c.queue) > keepBuffer {
				c.queue = nil
			}
			c.cond.Wait()
		}
		if n := len(c.queue); n > 0 && n < smallBatch && !c.closed {
			c.mu.Unlock()
			runtime.Gosched()
			c.mu.Lock()
		}
		if c.closed && (!c.finish || len(c.queue) == 0) {
			break
		}
		batch, c.queue = c.queue, batch[:0]
		frames := c.frames
		c.frames, c.inFlight = 0, len(batch)
		c.mu.Unlock()
		err := c.flush(batch, frames)
		c.mu.Lock()
		c.inFlight = 0
		if err != nil {
			c.mu.Unlock()
			c.close(fmt.Errorf("write: %w", err))
			c.mu.Lock()
			break
		}
	}
	c.queue, c.frames = nil, 0
	c.mu.Unlock()
	c.raw.Close()
}

// flush writes a batch, some bytes at a time, so that keepalive can tell a slow
// peer from one that reads nothing.
func (c *Conn) flush(batch []byte, frames int) error {
	total := len(batch)
	for len(batch) > 0 {
		n := min(len(batch), writeChunk)
		c.writing.Store(int64(c.m.now()))
		_, err := c.nc.Write(batch[:n])
		c.writing.Store(0)
		c.m.stats.writes.Add(1)
		if err != nil {
			return err
		}
		batch = batch[n:]
	}
	c.m.stats.framesSent.Add(uint64(frames))
	c.m.stats.bytesSent.Add(uint64(total))
	return nil
}

// close drops the connection and what is queued. The first reason stays.
func (c *Conn) close(why error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = why
	}
	c.closed, c.finish = true, false
	c.cond.Signal()
	c.mu.Unlock()
	c.raw.Close()
}

// part says a last frame, which tells the peer why, lets the writer write what
// is queued, and closes.
func (c *Conn) part(last *outgoing, why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.err, c.closed, c.finish = why, true, true
	c.queue = last.append(c.queue)
	c.frames++
	// The writer ends with this; a deadline in the past is not possible here, so
	// an error means that the connection is gone, which the writer finds too.
	_ = c.nc.SetWriteDeadline(time.Now().Add(closeFlush))
	c.cond.Signal()
}

// goodbye parts from the peer on purpose.
func (c *Conn) goodbye(why error) { c.part(&outgoing{kind: kindGoodbye}, why) }

// read is the connection's reader. It ends with the connection.
func (c *Conn) read() {
	defer c.m.wg.Done()
	err := c.readFrames()
	c.mu.Lock()
	finishing := c.finish
	c.mu.Unlock()
	if finishing {
		// What is left to read is of no use, but must be read: to close a TCP
		// connection with unread data would destroy our last frame on its way.
		_, _ = io.Copy(io.Discard, c.nc)
	}
	c.close(err)
	c.m.connDown(c)
}

func (c *Conn) readFrames() error {
	frames, bytes := uint64(0), uint64(0)
	defer func() {
		c.m.stats.framesReceived.Add(frames)
		c.m.stats.bytesReceived.Add(bytes)
	}()
	for {
		if !c.in.buffered() {
			c.m.stats.framesReceived.Add(frames)
			c.m.stats.bytesReceived.Add(bytes)
			frames, bytes = 0, 0
		}
		b, err := c.in.next()
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		frames++
		bytes += uint64(lengthBytes + len(b))
		f, err := parseFrame(b)
		if err != nil {
			return err
		}
		if err := c.m.receive(c, f); err != nil {
			return err
		}
	}
}
