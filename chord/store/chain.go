package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// The limits of the chain of configurations. The newest is always kept.
const (
	// MaxChain is how many configurations are kept.
	MaxChain = 4096
	// MaxChainBytes is how many bytes of them.
	MaxChainBytes = 256 << 20
)

// chain is the configurations that the member has installed, oldest first.
type chain struct {
	install sync.Mutex // held by Install throughout

	mu    sync.Mutex
	last  *ring.Configuration
	links []link
	bytes int
}

// link is a configuration in the database.
type link struct {
	epoch uint64
	bytes int
}

func (c *chain) newest() (*ring.Configuration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last, c.last != nil
}

// after returns the epochs above epoch, at most limit of them.
func (c *chain) after(epoch uint64, limit int) []uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	var epochs []uint64
	for _, l := range c.links {
		if l.epoch > epoch && len(epochs) < limit {
			epochs = append(epochs, l.epoch)
		}
	}
	return epochs
}

// excess returns how many of the oldest links must go when one of n bytes comes.
func (c *chain) excess(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	drop, bytes := 0, c.bytes+n
	for len(c.links)-drop+1 > MaxChain || bytes > MaxChainBytes && drop < len(c.links) {
		bytes -= c.links[drop].bytes
		drop++
	}
	return drop
}

// extend takes the newest configuration and forgets the oldest.
func (c *chain) extend(conf *ring.Configuration, n, drop int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.links[:drop] {
		c.bytes -= l.bytes
	}
	c.links = append(slices.Delete(c.links, 0, drop), link{conf.Epoch, n})
	c.bytes += n
	c.last = conf
}

// loadChain reads the chain.
func (s *Store) loadChain() error {
	var last []byte
	err := s.rows(tableConfiguration, func(key, value []byte) error {
		if len(key) != 8 {
			return fmt.Errorf("a configuration's epoch of %d bytes", len(key))
		}
		last = append(last[:0], value...)
		s.chain.links = append(s.chain.links, link{binary.BigEndian.Uint64(key), len(value)})
		s.chain.bytes += len(value)
		return nil
	})
	if err != nil || len(s.chain.links) == 0 {
		return err
	}
	s.chain.last, err = decodeConfiguration(last, s.chain.links[len(s.chain.links)-1].epoch)
	return err
}

// decodeConfiguration reads the row of an epoch.
func decodeConfiguration(b []byte, epoch uint64) (*ring.Configuration, error) {
	c, err := ring.DecodeConfiguration(b)
	if err == nil && c.Epoch != epoch {
		err = fmt.Errorf("it is of epoch %d", c.Epoch)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the configuration of epoch %d: %w", errDamaged, epoch, err)
	}
	return c, nil
}

// Install makes a configuration durable and the newest; it must not be changed
// afterwards. Installing the newest again does nothing. A configuration of
// another ring, of an older epoch, or another one of the same epoch is refused.
// Those before it stay in the chain, within MaxChain and MaxChainBytes.
func (s *Store) Install(conf *ring.Configuration) error {
	if err := s.install(conf); err != nil {
		return fmt.Errorf("store: install the configuration of epoch %d: %w", conf.Epoch, err)
	}
	return nil
}

func (s *Store) install(conf *ring.Configuration) error {
	if err := conf.Validate(); err != nil {
		return err
	}
	s.chain.install.Lock()
	defer s.chain.install.Unlock()
	if err := s.use(); err != nil {
		return err
	}
	defer s.release()
	b := conf.Encode()
	if last, ok := s.chain.newest(); ok {
		switch {
		case last.RingID != conf.RingID:
			return fmt.Errorf("it is of ring %s, and this data directory belongs to ring %s; a member of another ring needs an empty directory", conf.RingID, last.RingID)
		case conf.Epoch < last.Epoch:
			return fmt.Errorf("it is older than epoch %d, which is installed", last.Epoch)
		case conf.Epoch == last.Epoch && bytes.Equal(b, last.Encode()):
			return nil
		case conf.Epoch == last.Epoch:
			return fmt.Errorf("another configuration of that epoch is installed; an epoch is chosen once")
		}
	}
	drop := s.chain.excess(len(b))
	batch := s.db.NewBatch()
	for _, e := range s.chain.after(0, drop) {
		if err := batch.Delete(configurationKey(e), nil); err != nil {
			return err
		}
	}
	if err := batch.Set(configurationKey(conf.Epoch), b, nil); err != nil {
		return err
	}
	if err := s.apply(batch); err != nil {
		return err
	}
	s.chain.extend(conf, len(b), drop)
	return nil
}

// Chain returns the installed configurations with an epoch above after, oldest
// first, at most limit of them. Where the first of them is not the next epoch,
// those between were never installed here or have left the chain.
func (s *Store) Chain(after uint64, limit int) ([]*ring.Configuration, error) {
	epochs := s.chain.after(after, limit)
	confs := make([]*ring.Configuration, 0, len(epochs))
	for _, e := range epochs {
		b, err := s.get(configurationKey(e))
		if err != nil {
			return nil, fmt.Errorf("store: read the configuration of epoch %d: %w", e, err)
		}
		if b == nil {
			continue // it has left the chain since
		}
		c, err := decodeConfiguration(b, e)
		if err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
		confs = append(confs, c)
	}
	return confs, nil
}

// get returns a copy of a row; nil where there is none.
func (s *Store) get(key []byte) ([]byte, error) {
	if err := s.use(); err != nil {
		return nil, err
	}
	defer s.release()
	var b []byte
	_, err := s.lookup(key, func(v []byte) error { b = bytes.Clone(v); return nil })
	return b, err
}
