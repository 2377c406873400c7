package mesh

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// workerIdle is how long a goroutine that ran a call waits for another.
const workerIdle = 5 * time.Second

type (
	sendHandler func(from ring.Node, body []byte)
	callHandler func(ctx context.Context, from ring.Node, body Decoder) (any, error)
)

// HandleSend registers the handler of sends of type t, before Start. It is called
// on the goroutine that reads the sender's connection: it must not block, and the
// body is valid only during the call. Sends of one node come in order as long as
// its connection stands. A second handler for a type is a mistake and panics.
func (m *Mesh) HandleSend(t Type, h func(from ring.Node, body []byte)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.started || m.sends[t] != nil {
		panic(fmt.Sprintf("mesh: HandleSend(%d) after Start, or twice", t))
	}
	m.sends[t] = h
}

// HandleCall registers the handler of calls of type t, before Start. Each call
// has a goroutine of its own; at most MaxHandlers run at a time. ctx ends with
// the caller's deadline, when it gives up, when its direct connection is lost,
// and with the mesh. body is valid until the handler returns. The result is
// encoded as Call's request is; an error that is or wraps a *RemoteError arrives
// with its code, context.DeadlineExceeded with CodeDeadline, any other with CodeFailed. A second handler for a type is a
// mistake and panics.
func (m *Mesh) HandleCall(t Type, h func(ctx context.Context, from ring.Node, body Decoder) (any, error)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.started || m.calls[t] != nil {
		panic(fmt.Sprintf("mesh: HandleCall(%d) after Start, or twice", t))
	}
	m.calls[t] = h
}

// servedKey names a call that runs here.
type servedKey struct {
	from    ring.Node
	request uint64
}

// served is a call that runs here.
type served struct {
	via    *Conn // nil: it was relayed
	cancel context.CancelFunc
}

// serving are the calls that run here.
type serving struct {
	mu      sync.Mutex
	running map[servedKey]served
	workers int
	work    chan job // unbuffered: to a worker that is idle
}

// job is a request for a worker.
type job struct {
	via     *Conn // nil: it was relayed
	from    ring.ID
	typ     Type
	request uint64
	timeout time.Duration
	body    *[]byte
}

// serve hands a request to a worker, or refuses it.
func (m *Mesh) serve(via *Conn, from ring.ID, f frame) {
	if m.calls[f.typ] == nil {
		m.fail(via, from, f.request, &RemoteError{Code: CodeNoHandler, Message: fmt.Sprintf("%s knows no call %d", m.self(), f.typ)})
		return
	}
	j := job{via, from, f.typ, f.request, f.timeout, takeBody(f.body)}
	select {
	case m.serving.work <- j:
		return
	default:
	}
	m.serving.mu.Lock()
	busy := m.serving.workers >= m.cfg.MaxHandlers
	if !busy {
		m.serving.workers++
	}
	m.serving.mu.Unlock()
	if busy {
		giveBody(j.body)
		m.stats.busy.Add(1)
		m.fail(via, from, f.request, &RemoteError{Code: CodeBusy, Message: fmt.Sprintf("%s is busy with %d calls", m.self(), m.cfg.MaxHandlers)})
		return
	}
	m.wg.Add(1) // by a reader, which wg counts too
	go m.worker(j)
}

// worker runs calls, one after the other, until there are none for a while. It
// is kept because its stack has grown to what handlers need.
func (m *Mesh) worker(j job) {
	defer m.wg.Done()
	defer func() {
		m.serving.mu.Lock()
		m.serving.workers--
		m.serving.mu.Unlock()
	}()
	idle := time.NewTimer(workerIdle)
	defer idle.Stop()
	for {
		m.run(j)
		idle.Reset(workerIdle)
		select {
		case j = <-m.serving.work:
		case <-idle.C:
			return
		case <-m.ctx.Done():
			return
		}
	}
}

// run runs one call and sends its response.
func (m *Mesh) run(j job) {
	defer giveBody(j.body)
	ctx, cancel := context.WithTimeout(m.ctx, j.timeout)
	defer cancel()
	key := servedKey{j.from.Node(), j.request}
	m.serving.mu.Lock()
	m.serving.running[key] = served{j.via, cancel}
	m.serving.mu.Unlock()
	if j.via != nil && j.via.isClosed() { // after cancelServed has looked
		cancel()
	}
	result, err := m.calls[j.typ](ctx, key.from, Decoder{*j.body})
	m.serving.mu.Lock()
	delete(m.serving.running, key)
	m.serving.mu.Unlock()
	if err != nil {
		m.fail(j.via, j.from, j.request, err)
		return
	}
	o := outgoing{kind: kindResponse, request: j.request}
	if b, ok := result.([]byte); ok {
		o.body, o.bin = b, true
	} else {
		p := packers.Get().(*packer)
		defer p.release()
		if o.body, err = p.pack(result); err != nil {
			m.fail(j.via, j.from, j.request, err)
			return
		}
	}
	if err := m.reply(j.via, j.from, &o); errors.Is(err, ErrTooLarge) {
		m.fail(j.via, j.from, j.request, &RemoteError{Code: CodeTooLarge, Message: err.Error()})
	}
}

func (c *Conn) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// fail answers a request with an error.
func (m *Mesh) fail(via *Conn, to ring.ID, request uint64, err error) {
	var e *RemoteError
	if !errors.As(err, &e) {
		e = &RemoteError{Code: CodeFailed, Message: err.Error()}
		if errors.Is(err, context.DeadlineExceeded) {
			e.Code = CodeDeadline
		}
	}
	b, err := Marshal(e)
	if err != nil {
		m.log.Error("error response", "error", err)
		return
	}
	if err := m.reply(via, to, &outgoing{kind: kindFailure, request: request, body: b}); errors.Is(err, ErrTooLarge) {
		m.fail(via, to, request, &RemoteError{Code: e.Code, Message: "(the message is too large)"})
	}
}

// reply sends a response on the connection of the request, or relays it. A
// response that cannot be sent is dropped and counted: the caller has a
// deadline.
func (m *Mesh) reply(via *Conn, to ring.ID, o *outgoing) error {
	if via == nil {
		if via = m.hop(m.table.Load(), to); via != nil && via.id != to {
			o.relay = &envelope{to: to, from: m.cfg.ID, hops: uint8(m.cfg.MaxHops - 1)}
		}
	}
	err := ErrNoRoute
	if via != nil {
		err = via.enqueue(o)
	}
	if err != nil {
		m.stats.repliesDropped.Add(1)
	}
	return err
}

// cancelCall ends the context of a call whose caller gave up.
func (m *Mesh) cancelCall(from ring.Node, request uint64) {
	m.serving.mu.Lock()
	defer m.serving.mu.Unlock()
	if s, ok := m.serving.running[servedKey{from, request}]; ok {
		s.cancel()
	}
}

// cancelServed ends the calls that came over a connection that is gone.
func (m *Mesh) cancelServed(c *Conn) {
	m.serving.mu.Lock()
	defer m.serving.mu.Unlock()
	for _, s := range m.serving.running {
		if s.via == c {
			s.cancel()
		}
	}
}

// callSelf runs a call of this node to itself on the caller's goroutine.
func (m *Mesh) callSelf(ctx context.Context, o *outgoing, resp any) error {
	h := m.calls[o.typ]
	if h == nil {
		return fmt.Errorf("call %d to itself: %w", o.typ, &RemoteError{Code: CodeNoHandler, Message: "no such call"})
	}
	body := o.body
	if o.bin {
		body = append(appendBinHeader(nil, len(o.body)), o.body...)
	}
	result, err := h(ctx, m.node, Decoder{body})
	if err == nil {
		if b, ok := result.([]byte); ok {
			body = append(appendBinHeader(nil, len(b)), b...)
		} else {
			body, err = Marshal(result)
		}
	}
	if err == nil {
		err = decodeResponse(body, resp)
	}
	if err != nil {
		return fmt.Errorf("call %d to itself: %w", o.typ, err)
	}
	return nil
}
