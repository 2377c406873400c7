package chord

import (
	"context"
	"iter"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/register"
)

var (
	_ backend.Backend   = (*Node)(nil)
	_ backend.Describer = (*Node)(nil)
)

// Limits implements backend.Backend.
func (n *Node) Limits() backend.Limits { return n.limits }

// Capabilities implements backend.Describer.
func (n *Node) Capabilities() backend.Capability {
	return backend.AllCapabilities
}

// Get implements backend.Backend.
func (n *Node) Get(ctx context.Context, key string, opts backend.GetOptions) (*backend.Entry, error) {
	if err := n.limits.CheckKey(key); err != nil {
		return nil, err
	}
	v, err := n.seen(ctx, key, opts.Stale)
	if err != nil {
		return nil, err
	}
	return ownEntry(key, &v), nil
}

// seen returns what hosts see of a key, deletions included.
func (n *Node) seen(ctx context.Context, key string, stale bool) (register.Value, error) {
	v, err := n.value(ctx, key, stale)
	if err == nil && (v.Intent != nil || v.Holder() != "") && !stale { // the old copy is good enough for who asks for one
		v, err = n.txns.Shown(registers{n, ctx}, key, v)
		err = failure(err, backend.Conflict)
	}
	return v, err
}

// value returns what the register of a key holds, with its intent if there is one.
func (n *Node) value(ctx context.Context, key string, stale bool) (register.Value, error) {
	st, err := n.serving(ctx, key)
	if err != nil {
		return register.Value{}, err
	}
	res, err := n.read(ctx, st, key, stale)
	return res.Value, err
}

// read reads a key's register.
func (n *Node) read(ctx context.Context, st *ringState, key string, stale bool) (register.Result, error) {
	return n.run(ctx, n.driver(st, key), key, func(d *driver, now register.Now, token uint64) {
		d.shard.Read(now, token, key, stale, timeout(ctx))
	})
}

// Put implements backend.Backend.
func (n *Node) Put(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
	if err := n.limits.CheckPut(key, value, opts); err != nil {
		return 0, err
	}
	c := register.Change{Kind: register.Put, Data: append([]byte(nil), value...), Flags: opts.Flags, Expires: opts.ExpiresAfter, Fences: fencesOf(opts.Fence)}
	c.Index, c.If = opts.If.Index()
	res, err := n.change(ctx, key, c)
	return res.Index, err
}

// Delete implements backend.Backend.
func (n *Node) Delete(ctx context.Context, key string, opts backend.DeleteOptions) error {
	if err := n.limits.CheckDelete(key, opts); err != nil {
		return err
	}
	c := register.Change{Kind: register.Delete, Fences: fencesOf(opts.Fence)}
	c.Index, c.If = opts.If.Index()
	_, err := n.change(ctx, key, c)
	return err
}

// Pop implements backend.Backend.
func (n *Node) Pop(ctx context.Context, key string) (*backend.Entry, error) {
	if err := n.limits.CheckKey(key); err != nil {
		return nil, err
	}
	res, err := n.change(ctx, key, register.Change{Kind: register.Pop})
	if err != nil {
		return nil, err
	}
	return ownEntry(key, &res.Value), nil
}

// popItemKeys is how many keys PopItem looks at a time; callers that race for
// the first one find another.
const popItemKeys = 16

// PopItem implements backend.Backend.
func (n *Node) PopItem(ctx context.Context) (*backend.Entry, error) {
	for {
		page, err := n.list(ctx, backend.ListQuery{Limit: popItemKeys}, false, nil)
		if err != nil {
			return nil, err
		}
		for i := range page.Items {
			e, err := n.Pop(ctx, page.Items[i].Name)
			if err != nil || e != nil {
				return e, err
			}
		}
		if len(page.Items) == 0 {
			return nil, nil
		}
	}
}

// change changes a key. It waits for a transaction that is in the way, or ends it.
func (n *Node) change(ctx context.Context, key string, c register.Change) (register.Result, error) {
	res, err := n.txns.Change(registers{n, ctx}, key, c)
	if err != nil {
		return res, failure(err, backend.Conflict)
	}
	return res, n.outcome(key, &res, nil)
}

// submit has a register changed.
func (n *Node) submit(ctx context.Context, key string, c register.Change) (register.Result, error) {
	n.quiet.wait(ctx, n.done, key, &c)
	st, err := n.serving(ctx, key)
	if err != nil {
		return register.Result{}, err
	}
	res, err := n.run(ctx, n.driver(st, key), key, func(d *driver, now register.Now, token uint64) {
		d.shard.Submit(now, token, key, c, timeout(ctx))
	})
	if backend.CodeOf(err) == backend.Closed {
		err = backend.Errorf(backend.UnknownOutcome, key, "this node stopped while the change was under way; it may have happened")
	}
	return res, err
}

// Keys yields every key under prefix; see backend.Keys.
func (n *Node) Keys(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return backend.Keys(ctx, n, prefix)
}

// Values yields every value under prefix; see backend.Values.
func (n *Node) Values(ctx context.Context, prefix string) iter.Seq2[[]byte, error] {
	return backend.Values(ctx, n, prefix)
}

// Items yields every entry under prefix; see backend.Items.
func (n *Node) Items(ctx context.Context, prefix string) iter.Seq2[*backend.Entry, error] {
	return backend.Items(ctx, n, prefix)
}

// serving waits until the node serves and returns the ring.
func (n *Node) serving(ctx context.Context, key string) (*ringState, error) {
	if err := n.usable(ctx, key); err != nil {
		return nil, err
	}
	if st := n.ring.Load(); st != nil {
		if n.store != nil && n.store.Overloaded() {
			return nil, backend.Errorf(backend.NotReady, key, "the disk is behind; try again")
		}
		return st, nil
	}
	select {
	case <-n.ready:
		return n.ring.Load(), nil
	case <-n.done:
		return nil, n.usable(ctx, key)
	case <-ctx.Done():
		n.mu.Lock()
		reason := n.reason
		n.mu.Unlock()
		return nil, &backend.Error{Code: backend.NotReady, Key: key, Message: "this node does not serve yet: " + reason, Cause: ctx.Err()}
	}
}

// usable returns an error if the node was closed or has failed, or ctx is over.
func (n *Node) usable(ctx context.Context, key string) error {
	if n.closed.Load() {
		return backend.Errorf(backend.Closed, key, "this node was closed")
	}
	if err := n.Err(); err != nil {
		return backend.Errorf(backend.NotReady, key, "this node has stopped serving: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return &backend.Error{Code: backend.NoQuorum, Key: key, Message: "the caller's time was over before anything was sent", Cause: err}
	}
	return nil
}

// run drives one operation of a shard to its result, or ends it with ctx.
func (n *Node) run(ctx context.Context, d *driver, key string, start func(d *driver, now register.Now, token uint64)) (register.Result, error) {
	token, result := d.begin(func(now register.Now, token uint64) { start(d, now, token) })
	select {
	case res := <-result:
		return res, n.outcome(key, &res, nil)
	case <-ctx.Done():
		d.input(func(now register.Now) { d.shard.Cancel(now, token) })
		select {
		case res := <-result:
			return res, n.outcome(key, &res, ctx.Err())
		case <-n.done:
		}
	case <-n.done:
	}
	select { // it may have ended just before the node did
	case res := <-result:
		return res, n.outcome(key, &res, nil)
	default:
	}
	return register.Result{}, backend.Errorf(backend.Closed, key, "this node stopped while the operation was under way")
}

// outcome turns a result into the contract's error.
func (n *Node) outcome(key string, res *register.Result, cause error) error {
	e := &backend.Error{Key: key, Answered: res.Answered, Owners: res.Owners, Cause: cause}
	switch res.Outcome {
	case register.Done:
		return nil
	case register.Refused:
		e.Code, e.Answered, e.Owners = backend.Conflict, 0, 0
		e.Message = "the key has another modify index than the condition asks for; read it and decide anew"
		if res.Index == 0 {
			e.Message = "the key does not exist, and the condition asks for an index"
		}
	case register.NoQuorum:
		e.Code, e.Message = backend.NoQuorum, "too few owners of the key answered in time, nothing was changed; see which members are down"
	case register.Unknown:
		e.Code, e.Message = backend.UnknownOutcome, "the change may have happened or may still happen; read the key before you decide"
	case register.Held:
		e.Code, e.Answered, e.Owners = backend.NotReady, 0, 0
		e.Message = "a transaction or a session holds the key; try again"
	case register.Oversized:
		e.Code, e.Answered, e.Owners = backend.TooLarge, 0, 0
		e.Message = "the new value of a transaction does not fit beside the old one; write it outside of a transaction, or delete the old one first"
	case register.Fenced:
		e.Code, e.Answered, e.Owners = backend.Fenced, 0, 0
		e.Message = "a newer fence is in force than the change carries: the lock was lost; stop writing"
	case register.Overloaded:
		e.Code, e.Message = backend.NotReady, "too many operations are under way; try again"
	case register.Drifted:
		e.Code, e.Message = backend.NotReady, "the owners refuse this node's clock, or it theirs: they differ by more than max_clock_drift ("+n.cfg.MaxClockDrift.String()+"); set the clocks right"
	default:
		e.Code, e.Message = backend.Internal, "the shard answered "+res.Outcome.String()
	}
	return e
}

// entry is a value as hosts see it; nil for a key that does not exist.
func entry(key string, v *register.Value) *backend.Entry {
	if !v.Live {
		return nil
	}
	e := &backend.Entry{
		Key: key, Value: v.Data, Flags: v.Flags, Session: v.Holder(),
		CreateIndex: v.Create, ModifyIndex: v.Index(), LockIndex: v.Holders, LockToken: v.Token, ExpiresAfter: v.Expires,
	}
	if e.Value == nil {
		e.Value = []byte{}
	}
	return e
}

// ownEntry is entry with data of its own: that of a value that came out of a shard
// may be on its way to the disk, to other owners or to other callers.
func ownEntry(key string, v *register.Value) *backend.Entry {
	e := entry(key, v)
	if e != nil {
		e.Value = append([]byte{}, e.Value...)
	}
	return e
}

// timeout is the time that ctx leaves; 0 is no end.
func timeout(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return max(time.Until(deadline), time.Millisecond)
}
