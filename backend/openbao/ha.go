package openbao

import (
	"fmt"

	"github.com/openbao/openbao/sdk/v2/physical"

	"github.com/chord-plugin/chord-plugin/backend/hosting"
)

var (
	_ physical.FencingHABackend = struct {
		ha
		fencing
	}{}
	_ physical.RedirectDetect = ha{}
	_ physical.RemoteLock     = (*hosting.Lock)(nil)
)

// ha is what a backend with locks can do.
type ha struct{ s *hosting.Store }

func (b ha) LockWith(key, value string) (physical.Lock, error) {
	return b.s.NewLock(key, value), nil
}

func (b ha) HAEnabled() bool { return b.s.HAEnabled() }

func (b ha) DetectHostAddr() (string, error) { return b.s.HostAddr() }

// fencing is what one with fences can do as well.
type fencing struct{ s *hosting.Store }

func (b fencing) RegisterActiveNodeLock(l physical.Lock) error {
	lock, ok := l.(*hosting.Lock)
	if !ok {
		return fmt.Errorf("the lock is a %T; register one of this storage", l)
	}
	return b.s.Register(lock)
}
