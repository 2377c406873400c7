package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

// DefaultPatience is how long a member may take until it serves.
const DefaultPatience = 20 * time.Second

// Config says what ring to run.
type Config struct {
	// Binary is the chord-plugin binary. Required.
	Binary string
	// Dir is where data directories and logs go, one of each a member. It must
	// exist, and stays the caller's to remove. Required.
	Dir string
	// Members is how many there are, named a, b, c and so on: 1 to 26.
	Members int
	// Proxied puts a Network between the members, so that it can be cut. It needs
	// Linux.
	Proxied bool
	// Args are further arguments of every agent. Default: none.
	Args []string
	// Patience is how long a member may take to come to a state that is waited
	// for. Default: DefaultPatience.
	Patience time.Duration
}

// Cluster is a ring of agents.
type Cluster struct {
	// Members are the ring's members, in the order of their names.
	Members []*Member
	// Network is what lies between the members; nil unless Config.Proxied.
	Network *Network

	cfg   Config
	close func() error
}

// New prepares a ring; nothing runs yet. The caller must close it.
func New(cfg Config) (_ *Cluster, err error) {
	if cfg.Members < 1 || cfg.Members > 26 {
		return nil, fmt.Errorf("cluster: %d members; allowed are 1 to 26", cfg.Members)
	}
	if cfg.Patience == 0 {
		cfg.Patience = DefaultPatience
	}
	c := &Cluster{cfg: cfg}
	c.close = sync.OnceValue(c.closeAll)
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	for i := range cfg.Members {
		m := &Member{Name: string(rune('a' + i)), cluster: c}
		m.DataDir = filepath.Join(cfg.Dir, m.Name)
		m.LogFile = filepath.Join(cfg.Dir, m.Name+".log")
		for _, addr := range []*string{&m.HTTPAddr, &m.GossipAddr, &m.MeshAddr} {
			if *addr, err = freeAddr(); err != nil {
				return nil, fmt.Errorf("cluster: %w", err)
			}
		}
		if m.out, err = newOutput(m.LogFile); err != nil {
			return nil, fmt.Errorf("cluster: %w", err)
		}
		c.Members = append(c.Members, m)
	}
	if cfg.Proxied {
		if c.Network, err = newNetwork(c.Members); err != nil {
			return nil, fmt.Errorf("cluster: %w", err)
		}
	}
	return c, nil
}

// env is the environment of the agents: none of this process's settings of
// chord-plugin, which would be taken for theirs.
func (c *Cluster) env() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.cfg.Dir, "TMPDIR=" + os.TempDir()}
}

// Start starts those of the members that do not run and waits until each of the
// ring's members serves and sees all of them alive.
func (c *Cluster) Start(ctx context.Context) error {
	for _, m := range c.Members {
		if !m.Running() {
			if err := m.Start(); err != nil {
				return err
			}
		}
	}
	return c.WaitAlive(ctx)
}

// WaitAlive waits until each member serves and sees all of them alive.
func (c *Cluster) WaitAlive(ctx context.Context) error {
	for _, m := range c.Members {
		if err := m.WaitAlive(ctx, len(c.Members)); err != nil {
			return err
		}
	}
	return nil
}

// Seeds returns the gossip addresses at which a newcomer meets the ring.
func (c *Cluster) Seeds() []string {
	var seeds []string
	for _, m := range c.Members {
		seeds = append(seeds, m.reach())
	}
	return seeds
}

// FreeAddr returns a loopback address for somebody else who listens.
func (c *Cluster) FreeAddr() (string, error) { return freeAddr() }

// Locate asks a member where a key lives and what its owners hold.
func (m *Member) Locate(ctx context.Context, key string) (*backend.Location, error) {
	if len(m.clients) == 0 {
		if _, err := m.Client(); err != nil {
			return nil, err
		}
	}
	return m.clients[0].Locate(ctx, key)
}

// Close ends all members, each with SIGTERM, at the same time. It fails when one
// did not end cleanly, or had ended before without a signal. Closing twice is no error.
func (c *Cluster) Close() error { return c.close() }

func (c *Cluster) closeAll() error {
	errs := make([]error, len(c.Members))
	var wg sync.WaitGroup
	for i, m := range c.Members {
		wg.Go(func() { errs[i] = m.end() })
	}
	wg.Wait()
	if c.Network != nil {
		c.Network.close()
	}
	return errors.Join(errs...)
}
