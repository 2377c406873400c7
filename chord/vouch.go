package chord

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/gossip"
	"github.com/chord-plugin/chord-plugin/mesh"
)

// A member whose data directory was restored from a backup, or copied, has
// forgotten what it promised and accepted since, and must not come back as the one
// that it was. Its boot counter tells: the others have seen a later life of it, or
// another life with the same number. And its high-water marks tell, which rise with
// what it promises and issues: each member tells the others of them now and then.
// So a member that returns asks them before it answers anything. It can not be told
// when nobody is there who remembers, nor whether anything is missing from the last
// tellInterval of its last life, nor what it did below marks that were in the copy:
// they are a register.Config.MarkStep ahead of its clock.

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
	// tellInterval is how often a member tells the others of its marks.
	tellInterval = 2 * time.Second
)

// life is one run of a member. The later of two has the higher Boot.
type life struct {
	Boot    uint64
	Started uint64 // in milliseconds since 1970, to tell two with one Boot
}

// livesReply tells what is known of the asker's lives: the latest, whether there
// were two with that number, and the highest Node.reserved of any.
type livesReply struct {
	Last     life
	Twice    bool
	Reserved uint64
}

// RestoredError says that a data directory is not the newest of its member.
type RestoredError struct {
	Dir, By    string
	Seen, Have uint64 // boots
	Less       bool   // the marks are lower than By was told
}

func (e *RestoredError) Error() string {
	why := fmt.Sprintf("this is start number %d of its member, and %q has seen number %d", e.Have, e.By, e.Seen)
	if e.Less {
		why = fmt.Sprintf("the member told %q of more than is in it", e.By)
	}
	return fmt.Sprintf("data directory %s: it was restored from a backup or copied: %s. "+
		"What the member promised since is not in it. Empty the directory and start again: the member returns as a new one and copies everything", e.Dir, why)
}

// comeBack activates the configuration of a member that returns once the others
// have not seen a later life of it, or more of one: those of that configuration, and
// who else is in the ring by now.
func (n *Node) comeBack(conf *ring.Configuration, boot uint64) {
	reserved := n.reserved()
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
			later := seen.Last.Boot > self.Boot || seen.Last.Boot == self.Boot && (seen.Twice || seen.Last.Started != self.Started)
			if later || seen.Reserved > reserved {
				n.refuse(&RestoredError{Dir: n.cfg.DataDir, By: name, Seen: seen.Last.Boot, Have: self.Boot, Less: !later})
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
	if err == nil {
		n.peers.mu.Lock()
		n.peers.state(id).answered = true
		n.peers.mu.Unlock()
	}
	return reply, err
}

// onLives answers a member what is known of its lives.
func (n *Node) onLives(from ring.Node) *livesReply {
	n.peers.mu.Lock()
	defer n.peers.mu.Unlock()
	if s := n.peers.all[from]; s != nil {
		return &livesReply{Last: s.last, Twice: s.twice, Reserved: s.reserved}
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

// reserved is the sum of the shards' durable high-water marks. It never falls, and
// of two states of one data directory the older one has the lower sum if any mark
// rose in between.
func (n *Node) reserved() (sum uint64) {
	for shard := range n.store.Shards() {
		sum += n.store.Mark(shard).HighWater // at most 2^53 each, and MaxShards of them
	}
	return sum
}

// tellReserved tells the members that this one is connected to of its marks, until
// the node stops. A member that returned tells only those that have answered it
// what they were told before.
func (n *Node) tellReserved(returned bool) {
	for pause(n.ctx, tellInterval) == nil {
		body := binary.BigEndian.AppendUint64(nil, n.reserved())
		for id, conn := range n.mesh.RoutingTable() {
			if conn.Peer().Role == mesh.RoleMember && (!returned || n.mono() > 2*vouchFor || n.peers.hasAnswered(id)) {
				_ = n.mesh.Send(id.Node(), sendReserved, body) // or the next one arrives
			}
		}
	}
}

// onReserved notes what a member tells of its marks.
func (n *Node) onReserved(from ring.Node, body []byte) {
	n.peers.mu.Lock()
	defer n.peers.mu.Unlock()
	if s := n.peers.all[from]; s != nil && len(body) == 8 {
		s.reserved = max(s.reserved, binary.BigEndian.Uint64(body))
	}
}

// hasAnswered reports whether a node said what it knows of this one's lives.
func (p *peers) hasAnswered(id ring.ID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.all[id.Node()]
	return s != nil && s.answered
}
