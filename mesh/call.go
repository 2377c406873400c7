package mesh

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// call is a call whose response is awaited.
type call struct {
	to     ring.Node
	via    *Conn
	done   chan struct{} // one token when the fields below are set
	kind   kind          // of the answer; 0: the connection was lost
	body   []byte
	pooled *[]byte // owns body, unless the caller gets it
	keep   bool    // the caller gets the body: do not use the pool
}

var (
	calls  = sync.Pool{New: func() any { return &call{done: make(chan struct{}, 1)} }}
	bodies = sync.Pool{New: func() any { return new([]byte) }}
)

// takeBody copies b into a buffer of the pool.
func takeBody(b []byte) *[]byte {
	p := bodies.Get().(*[]byte)
	*p = append((*p)[:0], b...)
	return p
}

func giveBody(p *[]byte) {
	if cap(*p) <= keepBuffer {
		bodies.Put(p)
	}
}

// pendingCalls are the calls whose response is awaited, by request ID. Request
// IDs begin at random, so that a response to an earlier process fits none.
type pendingCalls struct {
	mu   sync.Mutex
	next uint64
	m    map[uint64]*call
}

func (p *pendingCalls) add(c *call) (uint64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.m) >= maxPendingCalls {
		return 0, fmt.Errorf("%w: %d calls await their response", ErrQueueFull, maxPendingCalls)
	}
	p.next++
	p.m[p.next] = c
	return p.next, nil
}

// remove reports whether the call was still pending.
func (p *pendingCalls) remove(id uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.m[id]
	delete(p.m, id)
	return ok
}

// Call sends a request of type t and waits for the response, which it decodes
// into *resp (nil: not wanted). A request or response that is []byte or *[]byte
// travels as it is; others are encoded as msgpack. The remaining time of ctx,
// which needs a deadline (at most an hour counts), travels along; when ctx ends
// the handler's context does too.
//
// Errors: what the handler returned, as *RemoteError, or ErrBusy, a
// *RemoteError too; ErrNoRoute, ErrQueueFull, ErrTooLarge and ErrNoDeadline:
// the request was not delivered; ErrConnLost and the error of ctx: it may or may
// not have been carried out; ErrMalformed: the response is not a resp.
func (m *Mesh) Call(ctx context.Context, to ring.Node, t Type, req, resp any) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		return fmt.Errorf("call %d to %s: %w", t, to, ErrNoDeadline)
	}
	timeout := min(time.Until(deadline), maxCallTime)
	err := ctx.Err()
	if err == nil && timeout <= 0 {
		err = context.DeadlineExceeded
	}
	if err != nil {
		return fmt.Errorf("call %d to %s: not sent: %w", t, to, err)
	}
	o := outgoing{kind: kindRequest, typ: t, timeout: timeout}
	if b, ok := req.([]byte); ok {
		o.body, o.bin = b, true
	} else {
		p := packers.Get().(*packer)
		defer p.release()
		if o.body, err = p.pack(req); err != nil {
			return fmt.Errorf("call %d to %s: %w", t, to, err)
		}
	}
	if to == m.node {
		return m.callSelf(ctx, &o, resp)
	}
	c := calls.Get().(*call)
	_, c.keep = resp.(*[]byte)
	err = m.exchangeCall(ctx, c, to, &o)
	if err == nil {
		err = c.result(resp)
	}
	if c.pooled != nil {
		giveBody(c.pooled)
	}
	*c = call{done: c.done}
	calls.Put(c)
	if err != nil {
		return fmt.Errorf("call %d to %s: %w", t, to, err)
	}
	return nil
}

// exchangeCall sends the request and waits. On return nobody else has c.
func (m *Mesh) exchangeCall(ctx context.Context, c *call, to ring.Node, o *outgoing) error {
	c.to = to
	c.via, o.relay = m.route(to)
	if c.via == nil {
		return m.noRoute()
	}
	var err error
	if o.request, err = m.pending.add(c); err != nil {
		return err
	}
	if err := c.via.enqueue(o); err != nil {
		if !m.pending.remove(o.request) {
			<-c.done
		}
		if errors.Is(err, errConnClosed) {
			err = m.noRoute() // not sent: the connection went away just now
		}
		return err
	}
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
	}
	if !m.pending.remove(o.request) {
		<-c.done // the response is here after all
		return nil
	}
	// Best effort: the handler's context has the deadline anyway.
	_ = c.via.enqueue(&outgoing{kind: kindCancel, request: o.request, relay: o.relay})
	return ctx.Err()
}

// result decodes the answer into resp.
func (c *call) result(resp any) error {
	switch c.kind {
	case kindResponse:
		return decodeResponse(c.body, resp)
	case kindUndeliverable:
		return fmt.Errorf("%w: a node on the way has none", ErrNoRoute)
	case kindFailure:
		e := new(RemoteError)
		if err := Unmarshal(c.body, e); err != nil {
			return err
		}
		return e
	}
	return ErrConnLost
}

// decodeResponse decodes a body that the caller owns.
func decodeResponse(body []byte, resp any) error {
	switch p := resp.(type) {
	case nil:
		return nil
	case *[]byte:
		b, err := unwrapBin(body)
		if err == nil {
			*p = b
		}
		return err
	}
	return Unmarshal(body, resp)
}

// answer hands a response to the call that waits for it, if one does.
func (m *Mesh) answer(from ring.Node, f frame) {
	m.pending.mu.Lock()
	c := m.pending.m[f.request]
	// A relay on the way, not the node itself, says that there is no route.
	if c == nil || c.to != from && f.kind != kindUndeliverable {
		m.pending.mu.Unlock()
		m.stats.lateResponses.Add(1)
		return
	}
	delete(m.pending.m, f.request)
	m.pending.mu.Unlock()
	c.kind = f.kind
	if c.keep {
		c.body = append([]byte(nil), f.body...)
	} else {
		c.pooled = takeBody(f.body)
		c.body = *c.pooled
	}
	c.done <- struct{}{}
}

// loseCalls ends the calls whose request went over a connection that is gone.
func (m *Mesh) loseCalls(via *Conn) {
	m.pending.mu.Lock()
	defer m.pending.mu.Unlock()
	for id, c := range m.pending.m {
		if c.via == via {
			delete(m.pending.m, id)
			c.kind = 0
			c.done <- struct{}{}
		}
	}
}
