package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
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
	// Founders is how many of them, the first ones, found the ring. The others
	// join it when they are started. Default: all.
	Founders int
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
	// Members are those that are or may become the ring's members, in the order of
	// their names.
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
	if cfg.Founders == 0 {
		cfg.Founders = cfg.Members
	}
	if cfg.Founders < 0 || cfg.Founders > cfg.Members {
		return nil, fmt.Errorf("cluster: %d founders of %d members", cfg.Founders, cfg.Members)
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
		m := &Member{Name: string(rune('a' + i)), cluster: c, founder: i < cfg.Founders}
		m.DataDir = filepath.Join(cfg.Dir, m.Name)
		m.LogFile = filepath.Join(cfg.Dir, m.Name+".log")
		for _, addr := range []*string{&m.HTTPAddr, &m.GossipAddr, &m.MeshAddr} {
			if *addr, err = FreeAddr(); err != nil {
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

// Founders returns the members that found the ring.
func (c *Cluster) Founders() []*Member { return c.Members[:c.cfg.Founders] }

// Start starts those of the founders that do not run and waits until each of them
// serves and sees all of them alive.
func (c *Cluster) Start(ctx context.Context) error {
	for _, m := range c.Founders() {
		if !m.Running() {
			if err := m.Start(); err != nil {
				return err
			}
		}
	}
	return c.WaitAlive(ctx)
}

// WaitAlive waits until each founder serves and sees all of them alive.
func (c *Cluster) WaitAlive(ctx context.Context) error {
	for _, m := range c.Founders() {
		if err := m.WaitAlive(ctx, c.cfg.Founders); err != nil {
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
