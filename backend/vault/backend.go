// Package vault is chord-plugin's storage for Vault: a physical.Factory that opens the
// plugin, or runs the node in Vault's own process, as the storage stanza says. See
// docs/hosts/vault.md for the stanza and for how to build Vault with it.
package vault

import (
	"context"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/physical"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/hosting"
)

var _ physical.Factory = Factory

// Factory is a physical.Factory. The map is the storage stanza; see hosting.Open for
// its keys and errors. Vault has no way to close a storage: the plugin ends with the
// process. Others may call Close of what it returns.
func Factory(config map[string]string, logger hclog.Logger) (physical.Backend, error) {
	s, err := hosting.Open(config, logger)
	if err != nil {
		return nil, err
	}
	return New(s), nil
}

// New returns the storage over a store that is open. Its type has the methods of what
// the backend can do and no others, since that is how Vault finds out: physical.HABackend
// and physical.RedirectDetect for locks, physical.FencingHABackend for fences as well,
// physical.Transactional and physical.TransactionalLimits for transactions. It also is
// an io.Closer.
func New(s *hosting.Store) physical.Backend {
	can := s.Capabilities()
	locks, transacts := can.Has(backend.CanLock), can.Has(backend.CanTransact)
	fences := can.Has(backend.CanLock | backend.CanFence)
	switch b, h, f, t := (storage{s}), (ha{s}), (fencing{s}), (transactions{s}); {
	case fences && transacts:
		return struct {
			storage
			ha
			fencing
			transactions
		}{b, h, f, t}
	case fences:
		return struct {
			storage
			ha
			fencing
		}{b, h, f}
	case locks && transacts:
		return struct {
			storage
			ha
			transactions
		}{b, h, t}
	case locks:
		return struct {
			storage
			ha
		}{b, h}
	case transacts:
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
	return b.s.Put(ctx, e.Key, e.Value, unfenced(ctx))
}

func (b storage) Get(ctx context.Context, key string) (*physical.Entry, error) {
	e, err := b.s.Get(ctx, key)
	if e == nil {
		return nil, err
	}
	return &physical.Entry{Key: key, Value: e.Value}, nil
}

func (b storage) Delete(ctx context.Context, key string) error {
	return b.s.Delete(ctx, key, unfenced(ctx))
}

func (b storage) List(ctx context.Context, prefix string) ([]string, error) {
	return b.s.List(ctx, prefix, "", 0)
}

func (b storage) Close() error { return b.s.Close() }
