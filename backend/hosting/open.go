package hosting

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/internal/agent"
	"github.com/chord-plugin/chord-plugin/plugin"
)

const (
	// openTimeout bounds the start of a plugin on top of plugin_start_timeout: its
	// configuring, which opens the data directory.
	openTimeout = 2 * time.Minute
	// firstPause and lastPause bound the time between two attempts to start a plugin
	// again that died. Each is twice the one before.
	firstPause = time.Second
	lastPause  = 30 * time.Second
	// ringPause is the time between two questions whether a plugin knows its ring.
	ringPause = 100 * time.Millisecond
)

// opened counts the stores in this process that Open has opened and nobody has closed.
var opened atomic.Int64

// A Store is a backend as a host uses it: every operation has an end, and a plugin
// that dies is started again. One that is in another ring then is not used: the host's
// data is not there. It is safe for use by many goroutines.
type Store struct {
	stanza *stanza
	log    hclog.Logger
	can    backend.Capability
	limits backend.Limits
	// restarts tells that a plugin is started again when it dies.
	restarts bool
	// opened tells that the store is among those that opened counts; siblings is for the
	// first lock, which looks for others.
	opened   bool
	siblings sync.Once
	// sure tells that ring is known, or that the backend is never asked for it.
	sure atomic.Bool
	// learning holds one thing while somebody asks for the ring.
	learning chan struct{}
	// life ends with Close.
	life context.Context
	end  context.CancelFunc
	// running are the goroutines of the store.
	running sync.WaitGroup

	mu sync.Mutex
	// now is nil while the plugin is being started again; changed is closed when it
	// changes.
	now     backend.Backend
	changed chan struct{}
	// ring is the ID of the ring that the host's data is in, and other that of the one
	// in which a plugin was that was started again, for good; both are empty at first.
	ring, other string
	// fence is what every write carries; registered tells that the host chose it.
	fence      backend.Fence
	registered bool
	// asked are the listings that will begin, asking those that go on.
	asked, asking map[backend.ListQuery]*answer
}

// Open opens the backend that a storage stanza describes. Its keys are those of Keys
// and all settings of the node. It returns once the node listens; operations wait
// until there is a ring. A stanza that cannot be is backend.Invalid, and says all that
// is wrong with it; an unknown key is answered with the nearest one.
//
// The plugin gets nothing of the host's environment. The logger may be nil.
func Open(config map[string]string, logger hclog.Logger) (*Store, error) {
	st, err := parse(config, false)
	if err != nil {
		return nil, err
	}
	if logger == nil {
		logger = hclog.NewNullLogger()
	}
	if st.inMemory() {
		logger.Warn("memory is true: the node keeps nothing on disk, and what no other member has is gone with its process")
	}
	if st.mode == ModeEmbedded {
		node, err := agent.OpenForHost(st.plugin.Configuration, nil, agent.Embedded, logger, "embedded")
		if err != nil {
			return nil, err
		}
		return newStore(st, node, logger).count(), nil
	}
	st.plugin.Logger = logger
	client, err := st.start(context.Background())
	if err != nil {
		return nil, err
	}
	s := newStore(st, client, logger).count()
	s.restarts = true
	s.sure.Store(!slices.Contains(client.Info().Capabilities, "admin"))
	s.running.Go(func() { s.keep(client) })
	return s, nil
}

// New returns a store over a backend that is open already, configured by the keys of
// Keys that do not concern how a backend is opened. Closing the store closes it.
func New(b backend.Backend, config map[string]string, logger hclog.Logger) (*Store, error) {
	embedded := map[string]string{"mode": string(ModeEmbedded)}
	for name, value := range config {
		embedded[name] = value
	}
	st, err := parse(embedded, true)
	if err != nil {
		return nil, err
	}
	for name := range st.plugin.Configuration {
		return nil, backend.Errorf(backend.Invalid, "", "%s: the backend is open already; leave out the settings of the node", name)
	}
	if logger == nil {
		logger = hclog.NewNullLogger()
	}
	return newStore(st, b, logger), nil
}

func newStore(st *stanza, b backend.Backend, logger hclog.Logger) *Store {
	s := &Store{stanza: st, log: logger, can: backend.CapabilitiesOf(b), limits: b.Limits(), now: b, changed: make(chan struct{}), learning: make(chan struct{}, 1),
		asked: map[backend.ListQuery]*answer{}, asking: map[backend.ListQuery]*answer{}}
	if !st.given["lock_delay"] && !s.can.Has(backend.CanFence) {
		st.lockDelay = backend.DefaultLockDelay
	}
	s.sure.Store(true)
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

// count counts a new store among those that are open.
func (s *Store) count() *Store {
	s.opened = true
	opened.Add(1)
	return s
}

// start starts the plugin.
func (st *stanza) start(ctx context.Context) (*plugin.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, st.plugin.StartTimeout+openTimeout)
	defer cancel()
	return plugin.Open(ctx, st.plugin)
}

// keep starts the plugin again whenever it dies. One that does not run for long is
// started less and less often.
func (s *Store) keep(c *plugin.Client) {
	pause := time.Duration(0)
	for {
		began := time.Now()
		select {
		case <-c.Done():
		case <-s.life.Done():
			return
		}
		if !s.replace(nil) {
			return // Close has ended it
		}
		s.log.Error("the storage plugin has died and is started again; its locks are lost", "pid", c.PID())
		if time.Since(began) > lastPause {
			pause = 0
		}
		if c, pause = s.restart(pause); c == nil {
			return
		}
		if !s.replace(c) {
			_ = c.Close() // the store was closed meanwhile
			return
		}
		s.log.Info("the storage plugin runs again", "pid", c.PID())
	}
}

// restart starts the plugin after a pause, as often as it takes, and returns the pause
// before the next time. It returns no plugin when the store is closed, or the plugin is
// in another ring.
func (s *Store) restart(pause time.Duration) (*plugin.Client, time.Duration) {
	for {
		again := time.NewTimer(pause)
		select {
		case <-again.C:
		case <-s.life.Done():
		}
		again.Stop()
		pause = min(max(2*pause, firstPause), lastPause)
		c, err := s.stanza.start(s.life)
		if err == nil {
			if err = s.rejoined(c); err == nil {
				return c, pause
			}
			_ = c.Close() // the first error counts
		}
		s.mu.Lock()
		ended := s.life.Err() != nil || s.other != ""
		s.mu.Unlock()
		if ended {
			return nil, 0
		}
		s.log.Error("the storage plugin does not start", "error", err, "next_attempt_in", pause)
	}
}

// replace makes b what operations use, nil for nothing yet. It returns false when the
// store is closed.
func (s *Store) replace(b *plugin.Client) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life.Err() != nil {
		return false
	}
	s.now = nil
	if b != nil {
		s.now = b
	}
	close(s.changed)
	s.changed = make(chan struct{})
	return true
}

// on calls f with what to use, which has an end then. A plugin that dies before it has
// answered a read, or was told of a write, says that it is closed: then f is called
// with the next one.
func on[T any](ctx context.Context, s *Store, key string, f func(context.Context, backend.Backend) (T, error)) (T, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	return onEach(ctx, s, key, f)
}

// onEach is on for calls that may take for ever.
func onEach[T any](ctx context.Context, s *Store, key string, f func(context.Context, backend.Backend) (T, error)) (T, error) {
	var dead backend.Backend
	for {
		b, err := s.backend(ctx, key, dead)
		if err != nil {
			var none T
			return none, err
		}
		v, err := f(ctx, b)
		if err == nil {
			err = s.learn(ctx, key, b)
		}
		if !s.restarts || backend.CodeOf(err) != backend.Closed {
			return v, err
		}
		dead = b
	}
}

// backend returns what to use and is not dead, which may be nil. It waits while a
// plugin is started again.
func (s *Store) backend(ctx context.Context, key string, dead backend.Backend) (backend.Backend, error) {
	for {
		s.mu.Lock()
		b, changed := s.now, s.changed
		var other error
		if s.other != "" {
			other = s.isOther(key)
		}
		s.mu.Unlock()
		switch {
		case s.life.Err() != nil:
			return nil, backend.Errorf(backend.Closed, key, "the storage was closed; open it again")
		case other != nil:
			return nil, other
		case b != nil && b != dead:
			return b, nil
		}
		select {
		case <-changed:
		case <-s.life.Done():
		case <-ctx.Done():
			return nil, backend.Errorf(backend.NotReady, key, "the storage plugin has died, and the next one does not run yet or has not found its ring: %w", ctx.Err())
		}
	}
}

// bounded returns a context that has an end.
func (s *Store) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.stanza.timeout)
}

// Capabilities are what the backend can do.
func (s *Store) Capabilities() backend.Capability { return s.can }

// HAEnabled is the key ha_enabled.
func (s *Store) HAEnabled() bool { return s.stanza.haEnabled }

// StandbyReads is the key standby_reads.
func (s *Store) StandbyReads() bool { return s.stanza.standbyReads }

// Close closes the backend and ends the plugin's process. Closing twice is no error, nor
// is it one that the plugin has died.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.opened && s.life.Err() == nil {
		opened.Add(-1)
	}
	s.end()
	b := s.now
	s.now = nil
	s.mu.Unlock()
	var err error
	if b != nil {
		if err = b.Close(); s.restarts && backend.CodeOf(err) == backend.Closed {
			err = nil
		}
	}
	s.running.Wait()
	return err
}
