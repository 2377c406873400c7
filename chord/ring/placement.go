package ring

import (
	"crypto/sha512"
	"encoding/binary"
	"slices"
	"sync"
)

// Token is one of the places at which a member stands on the ring (Dynamo,
// section 6.2, strategy 1: tokens at random, derived from the member's ID).
type Token struct {
	Point ID
	// Member is the index of the member in Side.Members.
	Member int
}

// Tokens returns the n tokens of a member: the SHA-384 of its ID and a number.
func Tokens(id ID, n int) []ID {
	points := make([]ID, n)
	var buf [idBytes + 4]byte
	copy(buf[:], id.b[:])
	for i := range points {
		binary.BigEndian.PutUint32(buf[idBytes:], uint32(i))
		points[i] = ID{sha512.Sum384(buf[:])}
	}
	return points
}

// Placement answers who owns a key in one configuration. It is immutable and
// safe for concurrent use.
type Placement struct {
	config *Configuration
	sides  []circle // Old (if any), New

	sharesOnce sync.Once
	shares     []float64
}

// circle is one side with its tokens in the order of the ring.
type circle struct {
	side   *Side
	nodes  []Node // of side.Members
	tokens []Token
	// heads are the first 64 bits of the tokens' points, on which nearly every
	// comparison ends: a search touches an eighth of the memory.
	heads []uint64
}

// NewPlacement lays out the tokens of c, which must be valid and must not be
// changed afterwards.
func NewPlacement(c *Configuration) *Placement {
	p := &Placement{config: c}
	for _, s := range c.Sides() {
		p.sides = append(p.sides, newCircle(s))
	}
	return p
}

func newCircle(s *Side) circle {
	c := circle{side: s, nodes: make([]Node, len(s.Members))}
	n := 0
	for i, m := range s.Members {
		c.nodes[i] = m.ID.Node()
		n += m.Tokens
	}
	c.tokens = make([]Token, 0, n)
	for i, m := range s.Members {
		for _, point := range Tokens(m.ID, m.Tokens) {
			c.tokens = append(c.tokens, Token{point, i})
		}
	}
	slices.SortFunc(c.tokens, func(a, b Token) int {
		if o := a.Point.Compare(b.Point); o != 0 {
			return o
		}
		return s.Members[a.Member].ID.Compare(s.Members[b.Member].ID)
	})
	c.heads = make([]uint64, n)
	for i := range c.tokens {
		c.heads[i] = c.tokens[i].Point.head()
	}
	return c
}

// Configuration returns the configuration that p lays out.
func (p *Placement) Configuration() *Configuration { return p.config }

// current returns the circle of New.
func (p *Placement) current() *circle { return &p.sides[len(p.sides)-1] }

// Owners returns the owners of key by New, primary first.
func (p *Placement) Owners(key string) []Member {
	cir := p.current()
	var points [MaxReplicas]ID
	hashes(key, cir.side.Copies(), &points)
	var idx [MaxReplicas]int
	n := cir.owners(&points, &idx)
	owners := make([]Member, n)
	for i := range owners {
		owners[i] = cir.side.Members[idx[i]]
	}
	return owners
}

// Group returns the owner set of key with its quorums.
func (p *Placement) Group(key string) Group {
	copies := 0
	for i := range p.sides {
		copies = max(copies, p.sides[i].side.Copies())
	}
	var points [MaxReplicas]ID
	hashes(key, copies, &points)
	g := Group{suspended: p.config.Forced && p.config.Joint()}
	var idx [MaxReplicas]int
	// New first, so that the first owner is the primary by New.
	for s := len(p.sides) - 1; s >= 0; s-- {
		cir := &p.sides[s]
		n := cir.owners(&points, &idx)
		var mask uint16
		for _, m := range idx[:n] {
			mask |= 1 << g.add(cir.nodes[m])
		}
		if s == len(p.sides)-1 {
			g.new = mask
		} else {
			g.old = mask
		}
	}
	return g
}

// owners walks clockwise from each of the first r points to the successor,
// skipping members that are already owners, and puts their indices into idx.
func (c *circle) owners(points *[MaxReplicas]ID, idx *[MaxReplicas]int) int {
	r := c.side.Copies()
	for i := range r {
		j := c.successor(&points[i])
		for slices.Contains(idx[:i], c.tokens[j].Member) {
			if j++; j == len(c.tokens) {
				j = 0
			}
		}
		idx[i] = c.tokens[j].Member
	}
	return r
}

// successor returns the index of the first token at or after point, clockwise.
func (c *circle) successor(point *ID) int {
	head := point.head()
	j, end := 0, len(c.heads)
	for j < end {
		mid := int(uint(j+end) / 2)
		if c.heads[mid] < head {
			j = mid + 1
		} else {
			end = mid
		}
	}
	for j < len(c.heads) && c.heads[j] == head && c.tokens[j].Point.Compare(*point) < 0 {
		j++
	}
	if j == len(c.heads) {
		return 0
	}
	return j
}
