package memory

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/chord-plugin/chord-plugin/backend"
)

// Txn carries out ops in one step, all or none.
func (s *Store) Txn(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error) {
	if err := s.limits.CheckTxn(ops); err != nil {
		return nil, err
	}
	if err := checkContext(ctx, ""); err != nil {
		return nil, err
	}
	ops = slices.Clone(ops)
	for i := range ops {
		ops[i].Value = bytes.Clone(ops[i].Value)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkOpen(""); err != nil {
		return nil, err
	}
	return s.run(ops)
}

// run carries out ops. The caller holds mu for writing.
func (s *Store) run(ops []backend.TxnOp) (*backend.TxnResult, error) {
	t := &txn{s: s, pending: map[string]*backend.Entry{}}
	var failed []backend.OpError
	for i, op := range ops {
		err := s.checkFence(op.Key, op.Fence)
		if err == nil {
			err = t.do(i, op)
		}
		if err != nil {
			e := err.(*backend.Error)
			failed = append(failed, backend.OpError{Op: i, Code: e.Code, Key: e.Key, Message: e.Message})
		}
	}
	if len(failed) > 0 {
		return nil, backend.OpsError(failed)
	}
	if err := s.room("", len(t.pending)); err != nil {
		return nil, err
	}
	indexes := make(map[string]*backend.Entry, len(t.pending))
	for _, key := range slices.Sorted(maps.Keys(t.pending)) {
		e := t.pending[key]
		if e == nil && s.entries[key] == nil {
			continue // made and deleted in this transaction, or never there
		}
		indexes[key] = &backend.Entry{ModifyIndex: s.install(key, e)}
		if e != nil {
			indexes[key] = e
		}
	}
	return t.result(indexes), nil
}

// A txn is a one-shot transaction under way. The store's mu is held.
type txn struct {
	s *Store
	// pending is what it has written, where nil is a deleted key. Entries have no
	// modify index yet, and those it created no create index.
	pending map[string]*backend.Entry
	results []backend.TxnOpResult
	// unfinished are the entries among results that this transaction wrote.
	unfinished []*backend.Entry
	// trees counts the keys that delete-tree removed.
	trees int
}

// get returns what is at key, or nil.
func (t *txn) get(key string) *backend.Entry {
	if e, ok := t.pending[key]; ok {
		return e
	}
	return t.s.entries[key]
}

// put makes e what is at key.
func (t *txn) put(i int, e *backend.Entry) error {
	t.pending[e.Key] = e
	t.add(i, e, false)
	return nil
}

// add adds a result.
func (t *txn) add(i int, e *backend.Entry, value bool) {
	c := *e
	if value {
		c.Value = bytes.Clone(c.Value)
	} else {
		c.Value = nil
	}
	t.results = append(t.results, backend.TxnOpResult{Op: i, Entry: &c})
	if t.pending[e.Key] == e {
		t.unfinished = append(t.unfinished, &c)
	}
}

// result fills in the indexes that changed keys got.
func (t *txn) result(changed map[string]*backend.Entry) *backend.TxnResult {
	for _, e := range t.unfinished {
		now := changed[e.Key]
		if now == nil {
			continue // made and deleted
		}
		e.ModifyIndex = now.ModifyIndex
		if e.CreateIndex == 0 {
			e.CreateIndex = now.ModifyIndex
		}
		if e.Session != "" && e.LockToken == 0 {
			e.LockToken = now.ModifyIndex
		}
	}
	return &backend.TxnResult{Results: t.results}
}

// do carries out one operation.
func (t *txn) do(i int, op backend.TxnOp) error {
	old := t.get(op.Key)
	fail := func(format string, args ...any) error {
		return backend.Errorf(backend.Conflict, op.Key, format, args...)
	}
	switch op.Verb {
	case backend.VerbCAS, backend.VerbDeleteCAS:
		if at := indexOf(old); at != op.Index || (old == nil) != (op.Index == 0) {
			return fail("the modify index is %d and should be %d; read the key and try again", at, op.Index)
		}
	case backend.VerbGet, backend.VerbCheckIndex, backend.VerbCheckSession, backend.VerbUnlock:
		if old == nil {
			return fail("%s needs the key, which does not exist", op.Verb)
		}
	}
	switch op.Verb {
	case backend.VerbSet, backend.VerbCAS:
		return t.put(i, written(old, op.Key, op.Value, op.Flags, op.ExpiresAfter))
	case backend.VerbDelete, backend.VerbDeleteCAS:
		t.pending[op.Key] = nil
	case backend.VerbDeleteTree:
		return t.deleteTree(op.Key)
	case backend.VerbGet:
		t.add(i, old, true)
	case backend.VerbGetOrEmpty:
		if old == nil {
			old = &backend.Entry{Key: op.Key}
		}
		t.add(i, old, true)
	case backend.VerbGetTree:
		for _, e := range t.tree(op.Key) {
			t.add(i, e, true)
		}
	case backend.VerbCheckIndex:
		if old.ModifyIndex != op.Index || op.Index == 0 {
			return fail("the modify index is %d and should be %d; read the key and try again", old.ModifyIndex, op.Index)
		}
		t.add(i, old, false)
	case backend.VerbCheckNotExists:
		if old != nil {
			return fail("the key exists and should not")
		}
	case backend.VerbCheckSession:
		if old.Session != op.Session {
			return fail("the session %q holds the key and %q should", old.Session, op.Session)
		}
		t.add(i, old, false)
	case backend.VerbLock:
		e, err := t.s.locked(old, op)
		if err != nil {
			return err
		}
		return t.put(i, e)
	case backend.VerbUnlock:
		if old.Session != op.Session {
			return fail("the session %q holds the key and not %q, which is to release it", old.Session, op.Session)
		}
		e := written(old, op.Key, op.Value, op.Flags, 0)
		e.Session, e.LockToken = "", 0
		return t.put(i, e)
	}
	return nil
}

// tree returns what is under prefix, in byte order.
func (t *txn) tree(prefix string) []*backend.Entry {
	var all []*backend.Entry
	for key, e := range t.s.walk(prefix, t.pending) {
		if !strings.HasPrefix(key, prefix) {
			break
		}
		all = append(all, e)
	}
	return all
}

func (t *txn) deleteTree(prefix string) error {
	all := t.tree(prefix)
	if t.trees += len(all); t.trees > backend.MaxTxnTree {
		return backend.Errorf(backend.TooLarge, prefix, "delete-tree would remove %d keys and may remove %d; remove the tree in parts", t.trees, backend.MaxTxnTree)
	}
	for _, e := range all {
		t.pending[e.Key] = nil
	}
	return nil
}
