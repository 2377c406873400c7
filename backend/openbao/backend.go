// Package openbao is chord-plugin's storage for OpenBao: a physical.Factory that opens
// the plugin, or runs the node in OpenBao's own process, as the storage stanza says.
// See docs/hosts/openbao.md for the stanza.
package openbao

import (
	"context"

	"github.com/hashicorp/go-hclog"
	"github.com/openbao/openbao/sdk/v2/physical"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/hosting"
)

var _ physical.Factory = Factory

// Factory is a physical.Factory. The map is the storage stanza; see hosting.Open for
// its keys and errors. OpenBao has no way to close a storage: the plugin ends with the
// process. Others may call Close of what it returns.
func Factory(config map[string]string, logger hclog.Logger) (physical.Backend, error) {
	s, err := hosting.Open(config, logger)
	if err != nil {
		return nil, err
	}
	return New(s), nil
}

// New returns the storage over a store that is open. Its type has the methods of what
// the backend can do and no others, since that is how OpenBao finds out:
// physical.HABackend and physical.RedirectDetect for locks, physical.FencingHABackend
// for fences as well, physical.TransactionalBackend for transactions, and
// physical.CacheInvalidationBackend for watches where the stanza has standby_reads. It
// also is an io.Closer.
func New(s *hosting.Store) physical.Backend {
	can := s.Capabilities()
	locks, transacts := can.Has(backend.CanLock), can.Has(backend.CanTransact)
	fences, follows := can.Has(backend.CanLock|backend.CanFence), can.Has(backend.CanWatch) && s.StandbyReads()
	switch b, h, f, t, i := (storage{s}), (ha{s}), (fencing{s}), (transactions{s}), (invalidation{s}); {
	case fences && transacts && follows:
		return struct {
			storage
			ha
			fencing
			transactions
			invalidation
		}{b, h, f, t, i}
	case fences && transacts:
		return struct {
			storage
			ha
			fencing
			transactions
		}{b, h, f, t}
	case fences && follows:
		return struct {
			storage
			ha
			fencing
			invalidation
		}{b, h, f, i}
	case fences:
		return struct {
			storage
			ha
			fencing
		}{b, h, f}
	case locks && transacts && follows:
		return struct {
			storage
			ha
			transactions
			invalidation
		}{b, h, t, i}
	case locks && transacts:
		return struct {
			storage
			ha
			transactions
		}{b, h, t}
	case locks && follows:
		return struct {
			storage
			ha
			invalidation
		}{b, h, i}
	case locks:
		return struct {
			storage
			ha
		}{b, h}
	case transacts: // without locks there are no standbys
		return struct {
			storage
			transactions
		}{b, t}
	default:
		return b
	}
}

// storage is what every backend can do.
type storage struct{ s *hosting.Store }

func (b storage) Put(ctx context.Context, e *physical.Entry) error {
	return b.s.Put(ctx, e.Key, e.Value, physical.IsUnfencedWrite(ctx))
}

func (b storage) Get(ctx context.Context, key string) (*physical.Entry, error) {
	e, err := b.s.Get(ctx, key)
	return entry(e), err
}

// entry is an entry as OpenBao has it; nil stays nil.
func entry(e *backend.Entry) *physical.Entry {
	if e == nil {
		return nil
	}
	return &physical.Entry{Key: e.Key, Value: e.Value}
}

func (b storage) Delete(ctx context.Context, key string) error {
	return b.s.Delete(ctx, key, physical.IsUnfencedWrite(ctx))
}

func (b storage) List(ctx context.Context, prefix string) ([]string, error) {
	return b.s.List(ctx, prefix, "", 0)
}

func (b storage) ListPage(ctx context.Context, prefix, after string, limit int) ([]string, error) {
	return b.s.List(ctx, prefix, after, limit)
}

func (b storage) Close() error { return b.s.Close() }

// invalidation is what a backend with watches can do.
type invalidation struct{ s *hosting.Store }

// HookInvalidate returns once it is sure that no later change is missed.
func (b invalidation) HookInvalidate(hook physical.InvalidateFunc) { b.s.Follow(hook) }
