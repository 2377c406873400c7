package gossip

import (
	"fmt"
	"time"

	"github.com/hashicorp/memberlist"
)

// profile is a set of times that fit a kind of network.
type profile struct {
	list   *memberlist.Config
	rejoin time.Duration
	// grace is how long others may go on naming a rival that does not answer
	// before it counts as alive.
	grace time.Duration
	// sever is how long packets to a node that went to another ring are dropped.
	sever time.Duration
}

// newProfile returns the profile of that name.
//
// With memberlist's formula, a node that stopped is dead SuspicionMult *
// max(1, log10 N) * ProbeInterval after it was first suspected if enough others
// agree, SuspicionMaxTimeoutMult times that if none does: local 1 s and 4 s up
// to ten nodes.
//
// Nothing is compressed: IDs do not compress, and memberlist sets up a new
// compressor for each packet, which costs more than all the rest.
func newProfile(name string, loopback bool) (profile, error) {
	if name == "" {
		name = "lan"
		if loopback {
			name = "local"
		}
	}
	switch name {
	case "local":
		c := uncompressed(memberlist.DefaultLocalConfig())
		c.TCPTimeout = 2 * time.Second
		c.IndirectChecks = 2
		c.RetransmitMult = 4
		c.SuspicionMult = 5
		c.SuspicionMaxTimeoutMult = 4
		c.AwarenessMaxMultiplier = 4
		c.PushPullInterval = 3 * time.Second
		c.ProbeInterval = 200 * time.Millisecond
		c.ProbeTimeout = 100 * time.Millisecond
		c.GossipInterval = 50 * time.Millisecond
		return profile{list: c, rejoin: time.Second, grace: 15 * time.Second, sever: 30 * time.Second}, nil
	case "lan":
		c := uncompressed(memberlist.DefaultLANConfig())
		// When thirty start at once, now and then somebody misses the news of
		// another, and hears it only when two compare all they know.
		c.PushPullInterval = 10 * time.Second
		return profile{list: c, rejoin: 15 * time.Second, grace: 3 * time.Minute, sever: 3 * time.Minute}, nil
	case "wan":
		return profile{list: uncompressed(memberlist.DefaultWANConfig()), rejoin: 30 * time.Second, grace: 15 * time.Minute, sever: 10 * time.Minute}, nil
	}
	return profile{}, fmt.Errorf(`gossip profile %q; allowed are "local", "lan" and "wan"`, name)
}

func uncompressed(c *memberlist.Config) *memberlist.Config {
	c.EnableCompression = false
	return c
}
