package chord

import (
	"context"
	"fmt"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/gossip"
)

// A member whose data directory was restored from a backup, or copied, has
// forgotten what it promised and accepted since, and must not come back as the one
// that it was. Its boot counter tells: the others have seen a later life of it, or
// another life with the same number. So a member that returns asks them before it
// answers anything. It can not be told when nobody is there who remembers.

const (
	// vouchInterval is how often a returning member asks those that have not
	// answered.
	vouchInterval = 50 * time.Millisecond
	// vouchPatience is how long it waits for a majority of them. After vouchSoon all
	// that gossip believes alive are enough, if anybody is.
	vouchPatience = 3 * time.Second
	vouchSoon     = time.Second
	// vouchFor is how long it goes on asking, beside its work, those that it meets.
	vouchFor = time.Minute
)

// life is one run of a member. The later of two has the higher Boot.
type life struct {
	Boot    uint64
	Started uint64 // in milliseconds since 1970, to tell two with one Boot
}

// livesReply tells what is known of the asker's lives: the latest, and whether
// there were two with that number.
type livesReply struct {
	Last  life
	Twice bool
}

// RestoredError says that a data directory is not the newest of its member.
type RestoredError struct {
	Dir, By    string
	Seen, Have uint64 // boots
}

func (e *RestoredError) Error() string {
	return fmt.Sprintf("data directory %s: it was restored from a backup or copied: this is start number %d of its member, and %q has seen number %d. "+
		"What the member promised since is not in it. Empty the directory and start again: the member returns as a new one and copies everything", e.Dir, e.Have, e.By, e.Seen)
}

// comeBack activates the configuration of a member that returns once the others
// have not seen a later life of it: those of that configuration, and who else is in
// the ring by now.
func (n *Node) comeBack(conf *ring.Configuration, boot uint64) {
	self := life{Boot: boot, Started: n.gossip.Self().Started}
	others := map[ring.ID]string{}
	for _, m := range conf.All() {
		if m.ID != n.id {
			others[m.ID] = m.Name
		}
	}
	majority := ring.Majority(len(others))
	n.setReason("asking the other members whether this data directory is the newest")
	serving := false
	asked := map[ring.ID]bool{}
	for began := time.Now(); ; {
		for _, g := range n.gossip.Members() {
			if g.ID != n.id && g.Role == gossip.RoleMember && g.RingID == conf.RingID && g.State == gossip.Alive && !asked[g.ID] {
				others[g.ID] = g.Name
			}
		}
		for id, name := range others {
			seen, err := n.askLives(id)
			if err != nil {
				continue
			}
			delete(others, id)
			asked[id] = true
			if seen.Last.Boot > self.Boot || seen.Twice && seen.Last.Boot == self.Boot || seen.Last.Boot == self.Boot && seen.Last.Started != self.Started {
				n.refuse(&RestoredError{Dir: n.cfg.DataDir, By: name, Seen: seen.Last.Boot, Have: self.Boot})
				return
			}
		}
		waited := time.Since(began)
		if !serving && (len(asked) >= majority && !n.anyAlive(others) || waited > vouchPatience || waited > vouchSoon && len(asked) > 0 && !n.anyAlive(others)) {
			serving = true
			if err := n.activate(conf); err != nil {
				n.fail(err)
				return
			}
		}
		if waited > vouchFor {
			return
		}
		interval := vouchInterval
		if serving {
			interval = time.Second
		}
		if pause(n.ctx, interval) != nil {
			return
		}
	}
}

// refuse ends the node. Its data directory is refused at later starts too: each
// counts, and the number would soon be higher than what was seen.
func (n *Node) refuse(why *RestoredError) {
	if err := n.store.Refuse(); err != nil {
		n.fail(fmt.Errorf("%w (and this could not be noted in it: %w)", why, err))
		return
	}
	n.fail(why)
}

// anyAlive reports whether gossip believes any of the members alive.
func (n *Node) anyAlive(members map[ring.ID]string) bool {
	for _, g := range n.gossip.Members() {
		if _, ok := members[g.ID]; ok && g.State == gossip.Alive {
			return true
		}
	}
	return false
}

// askLives asks a member for what it has seen of this one. It does not wait for
// one that is not connected.
func (n *Node) askLives(id ring.ID) (reply livesReply, err error) {
	if !n.mesh.Connected(id.Node()) {
		return reply, fmt.Errorf("not connected")
	}
	ctx, cancel := context.WithTimeout(n.ctx, vouchPatience/3)
	defer cancel()
	err = n.mesh.Call(ctx, id.Node(), callLives, []byte{}, &reply)
	return reply, err
}

// onLives answers a member what is known of its lives.
func (n *Node) onLives(from ring.Node) *livesReply {
	n.peers.mu.Lock()
	defer n.peers.mu.Unlock()
	if s := n.peers.all[from]; s != nil {
		return &livesReply{Last: s.last, Twice: s.twice}
	}
	return &livesReply{}
}

// lived notes a life that gossip tells of.
func (s *peerState) lived(g *gossip.Node) {
	switch now := (life{g.Boot, g.Started}); {
	case now.Boot > s.last.Boot:
		s.last, s.twice = now, false
	case now.Boot == s.last.Boot && now.Started != s.last.Started:
		s.twice = true
	}
}
