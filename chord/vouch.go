package chord

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
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
// So a member that returns asks them before it answers anything. Before that it looks
// whether another process with its identity still answers, here or to one of them:
// then this one's directory is the copy, whatever their numbers. It can not be told
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
	// vouchFor is how long it goes on asking, beside its work, those that it meets,
	// and at least until so many have answered as let it in.
	vouchFor = time.Minute
	// tellInterval is how often a member tells the others of its marks.
	tellInterval = 2 * time.Second
)

// life is one run of a member. The later of two has the higher Boot.
type life struct {
	Boot    uint64
	Started uint64 // in milliseconds since 1970, to tell two with one Boot
}

// livesRequest is what a member says of itself: its Node.reserved, and while it
// returns and is not yet let in who it is and where it gossips.
type livesRequest struct {
	Reserved   uint64
	Returning  bool
	Self       life
	GossipAddr string
}

// livesReply tells what is known of the asker's lives: the latest, whether there
// were two with that number, the highest Node.reserved of any, and where another one
// gossips that still answers, if it is not let in.
type livesReply struct {
	Last     life
	Twice    bool
	Reserved uint64
	Living   string
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
		"What the member promised since is not in it. Empty the directory (move it away, if a copy of it was started by mistake) and start again: "+
		"the member returns as a new one and copies everything", e.Dir, why)
}

// comeBack activates the configuration of a member that returns once the others
// have not seen a later life of it, or more of one: those of that configuration, and
// who else is in the ring by now. Done is closed when all were asked who ever will be.
func (n *Node) comeBack(conf *ring.Configuration, boot uint64, done chan<- struct{}) {
	defer close(done)
	reserved := n.reserved()
	self := life{Boot: boot, Started: n.gossip.Self().Started}
	others := map[ring.ID]string{}
	for _, m := range conf.All() {
		if m.ID != n.id {
			others[m.ID] = m.Name
		}
	}
	majority := ring.Majority(len(others))
	quorum := ring.Majority(len(others)+1) - 1 // with this one
	n.setReason("looking whether another process has this data directory, or a copy")
	select {
	case <-n.gossip.Called():
	case <-time.After(vouchPatience):
	case <-n.ctx.Done():
		return
	}
	// Those of the last life, of whose end the others do not know yet, are silent. If
	// one answers watchConflict ends the node.
	if n.gossip.FaceRivals() != nil {
		return
	}
	// Not before: its connections take the place of those of its last life.
	if err := n.mesh.Start(); err != nil {
		n.fail(err)
		return
	}
	n.setReason("asking the other members whether this data directory is the newest")
	serving, letIn := false, false
	asked := map[ring.ID]bool{}
	for began := time.Now(); ; {
		for _, g := range n.gossip.Members() {
			if g.ID != n.id && g.Role == gossip.RoleMember && g.RingID == conf.RingID && g.State == gossip.Alive && !asked[g.ID] {
				others[g.ID] = g.Name
			}
		}
		at := n.gossip.Self()
		for id, seen := range n.askAllLives(others, &livesRequest{Returning: at.Returning, Self: self, GossipAddr: at.GossipAddr}) {
			name := others[id]
			delete(others, id)
			asked[id] = true
			later := seen.Last.Boot > self.Boot || seen.Last.Boot == self.Boot && (seen.Twice || seen.Last.Started != self.Started)
			switch {
			case seen.Living != "":
				n.refuse(&gossip.ConflictError{Node: gossip.Node{ID: n.id, Name: n.cfg.Name, GossipAddr: seen.Living, State: gossip.Alive}, SameID: true})
				return
			case later, seen.Reserved > reserved:
				n.refuse(&RestoredError{Dir: n.cfg.DataDir, By: name, Seen: seen.Last.Boot, Have: self.Boot, Less: !later})
				return
			}
		}
		waited := time.Since(began)
		soon := len(asked) >= majority && !n.anyAlive(others) || waited > vouchPatience || waited > vouchSoon && len(asked) > 0 && !n.anyAlive(others)
		if !letIn && (serving || soon) && len(asked) >= quorum {
			if n.gossip.FaceRivals() != nil {
				return
			}
			if err := n.gossip.LetIn(); err != nil {
				n.fail(err)
				return
			}
			letIn = true
		}
		if !serving && soon {
			serving = true
			if err := n.activate(conf); err != nil {
				n.fail(err)
				return
			}
		}
		if waited > vouchFor && letIn {
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

// conflicted ends the node, as another one has its name or its identity. Where that
// one was there first the data directory is a copy, and misses what it does.
func (n *Node) conflicted(err error) {
	var c *gossip.ConflictError
	if errors.As(err, &c) && c.SameID && !c.Node.Returning && n.gossip.Self().Returning {
		n.refuse(err)
		return
	}
	n.fail(err)
}

// refuse ends the node. Its data directory is refused at later starts too: each
// counts, and the number would soon be higher than what was seen.
func (n *Node) refuse(why error) {
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

// askAllLives asks several members at a time and returns what they answer.
func (n *Node) askAllLives(members map[ring.ID]string, req *livesRequest) map[ring.ID]*livesReply {
	var mu sync.Mutex
	var wg sync.WaitGroup
	answers := map[ring.ID]*livesReply{}
	for id := range members {
		wg.Go(func() {
			if reply, err := n.askLives(id, req); err == nil {
				mu.Lock()
				answers[id] = reply
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return answers
}

// askLives asks a member for what it has seen of this one. It does not wait for
// one that is not connected.
func (n *Node) askLives(id ring.ID, req *livesRequest) (*livesReply, error) {
	if !n.mesh.Connected(id.Node()) {
		return nil, fmt.Errorf("not connected")
	}
	ctx, cancel := context.WithTimeout(n.ctx, vouchPatience/3)
	defer cancel()
	var reply livesReply
	if err := n.mesh.Call(ctx, id.Node(), callLives, req, &reply); err != nil {
		return nil, err
	}
	n.peers.mu.Lock()
	n.peers.state(id).answered = true
	n.peers.mu.Unlock()
	return &reply, nil
}

// onLives answers a member what is known of its lives, and notes its marks. It looks
// itself whether another one is there: the asker may not reach it.
func (n *Node) onLives(from ring.Node, req *livesRequest) *livesReply {
	n.peers.mu.Lock()
	s := n.peers.all[from]
	if s == nil {
		n.peers.mu.Unlock()
		return &livesReply{}
	}
	reply := &livesReply{Last: s.last, Twice: s.twice, Reserved: s.reserved}
	s.reserved = max(s.reserved, req.Reserved)
	asker := gossip.Node{ID: s.id, Boot: req.Self.Boot, Started: req.Self.Started, GossipAddr: req.GossipAddr}
	n.peers.mu.Unlock()
	if req.Returning {
		if other, answers := n.gossip.OtherLife(&asker); answers {
			reply.Living = other.GossipAddr
		}
	}
	return reply
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
// the node stops: those whose connection is new, and all when the marks rose. Until
// cameBack is closed it tells only those that have answered what they were told
// before. The answers tell a process that stood still for long, and so lost its
// connections, whether the others have let a later life in meanwhile.
func (n *Node) tellReserved(cameBack <-chan struct{}) {
	boot := n.store.Identity().Boot
	told := map[ring.ID]tale{}
	for pause(n.ctx, tellInterval) == nil {
		all := false
		select {
		case <-cameBack:
			all = true
		default:
		}
		reserved, conns, news := n.reserved(), n.mesh.RoutingTable(), map[ring.ID]string{}
		for id, conn := range conns {
			if peer := conn.Peer(); peer.Role == mesh.RoleMember && told[id] != (tale{conn, reserved}) && (all || n.peers.hasAnswered(id)) {
				news[id] = peer.Name
			}
		}
		maps.DeleteFunc(told, func(id ring.ID, _ tale) bool { return conns[id] == nil })
		for id, seen := range n.askAllLives(news, &livesRequest{Reserved: reserved}) { // others are told again
			told[id] = tale{conns[id], reserved}
			if seen.Last.Boot > boot {
				n.fail(fmt.Errorf("this is start number %d of member %q, and while it did not answer %q has let number %d in: "+
					"another process, which goes on", boot, n.cfg.Name, news[id], seen.Last.Boot))
			}
		}
	}
}

// tale is what was told over a connection.
type tale struct {
	conn     *mesh.Conn
	reserved uint64
}

// hasAnswered reports whether a node said what it knows of this one's lives.
func (p *peers) hasAnswered(id ring.ID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.all[id.Node()]
	return s != nil && s.answered
}
