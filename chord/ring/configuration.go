package ring

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The limits of a configuration.
const (
	// DefaultTokens is how many tokens a member has unless it says otherwise.
	DefaultTokens = 64
	// MaxTokens bounds the tokens of a member.
	MaxTokens = 1024
	// MaxMembers bounds the members of a ring.
	MaxMembers = 1024
	// MaxName bounds a member's name in bytes.
	MaxName = 128
	// MaxAddr bounds a member's address in bytes: a DNS name of 253, a colon and
	// a port.
	MaxAddr = 259
	// Level is the protocol level of this build.
	Level = 1
)

// RingID names a ring for life: 32 lower-case hex digits minted at bootstrap.
// The empty RingID stands for "no ring yet".
type RingID string

// valid reports whether r names a ring.
func (r RingID) valid() bool {
	for i := range len(r) {
		if !strings.Contains("0123456789abcdef", string(r[i])) {
			return false
		}
	}
	return len(r) == 32
}

// Member is one owner of keys.
type Member struct {
	ID   ID     `json:"id"`
	Name string `json:"name"`
	// Addr is the host:port at which the member's mesh listens.
	Addr string `json:"addr"`
	// Tokens is the number of places at which it stands on the ring.
	Tokens int `json:"tokens"`
}

// Side is one of the two owner sets of a configuration.
type Side struct {
	// Replicas is the number of copies of a key, 1 to 5.
	Replicas int `json:"replicas"`
	// Members are sorted by ID.
	Members []Member `json:"members"`
}

// Copies returns how many owners a key has: Replicas, or all members if fewer.
func (s *Side) Copies() int { return min(s.Replicas, len(s.Members)) }

// everybody reports whether every member owns every key.
func (s *Side) everybody() bool { return s.Copies() == len(s.Members) }

// Faults returns f, the number of members that any owner set can lose and still
// have a majority: r - majority(r).
func (s *Side) Faults() int { return s.Copies() - Majority(s.Copies()) }

// Has reports whether a member is on this side.
func (s *Side) Has(id ID) bool {
	return slices.ContainsFunc(s.Members, func(m Member) bool { return m.ID == id })
}

// Majority returns the smallest number that is more than half of n.
func Majority(n int) int { return n/2 + 1 }

// Configuration is the ring as its members agreed on it. Epochs of one ring are
// totally ordered. With Old set it is joint: every quorum must be a majority of
// the owners by Old and a majority of the owners by New (Ongaro 2014, 4.3).
type Configuration struct {
	RingID RingID `json:"ring_id"`
	// Epoch begins at 1 at bootstrap.
	Epoch uint64 `json:"epoch"`
	// Level is the protocol level that all members speak.
	Level int `json:"level"`
	// Forced: an operator decided on it, as there was no quorum left that could.
	// While it is joint nothing is served: the survivors, who are both Old and New,
	// copy from each other what they are to own.
	Forced bool `json:"forced,omitempty"`
	// Old is nil in a final configuration.
	Old *Side `json:"old,omitempty"`
	New Side  `json:"new"`
}

// Joint reports whether a change of the ring is under way.
func (c *Configuration) Joint() bool { return c.Old != nil }

// Sides returns New, and Old before it when the configuration is joint.
func (c *Configuration) Sides() []*Side {
	if c.Old != nil {
		return []*Side{c.Old, &c.New}
	}
	return []*Side{&c.New}
}

// All returns the members of both sides, each once, those of Old first.
func (c *Configuration) All() []Member {
	if c.Old == nil {
		return slices.Clone(c.New.Members)
	}
	all := slices.Clone(c.Old.Members)
	for _, m := range c.New.Members {
		if !c.Old.Has(m.ID) {
			all = append(all, m)
		}
	}
	return all
}

// Member returns the member with that ID, looking at New first.
func (c *Configuration) Member(id ID) (Member, bool) {
	sides := c.Sides()
	for i := len(sides) - 1; i >= 0; i-- {
		for _, m := range sides[i].Members {
			if m.ID == id {
				return m, true
			}
		}
	}
	return Member{}, false
}

// Sort orders the members of both sides by ID, as Validate asks.
func (c *Configuration) Sort() {
	for _, s := range c.Sides() {
		slices.SortFunc(s.Members, func(a, b Member) int { return a.ID.Compare(b.ID) })
	}
}

// Validate says what is wrong with c, or nil.
func (c *Configuration) Validate() error {
	if !c.RingID.valid() {
		return fmt.Errorf("configuration: ring ID %q is not 32 lower-case hex digits", c.RingID)
	}
	if c.Epoch == 0 {
		return fmt.Errorf("configuration: epoch 0; epochs begin at 1")
	}
	if c.Level < 1 {
		return fmt.Errorf("configuration: protocol level %d; levels begin at 1", c.Level)
	}
	byNode := map[Node]ID{}
	for _, s := range c.Sides() {
		if err := s.validate(byNode); err != nil {
			return fmt.Errorf("configuration: %w", err)
		}
	}
	return nil
}

// validate says what is wrong with s, or nil. It adds the members to byNode,
// which holds those of the other side.
func (s *Side) validate(byNode map[Node]ID) error {
	if s.Replicas < 1 || s.Replicas > MaxReplicas {
		return fmt.Errorf("replicas %d; allowed are 1 to %d", s.Replicas, MaxReplicas)
	}
	if len(s.Members) == 0 || len(s.Members) > MaxMembers {
		return fmt.Errorf("%d members; allowed are 1 to %d", len(s.Members), MaxMembers)
	}
	names := map[string]bool{}
	for i, m := range s.Members {
		switch {
		case m.ID.Node() == 0: // the zero ID too
			return fmt.Errorf("member %q has no usable ID", m.Name)
		case m.Name == "" || names[m.Name]:
			return fmt.Errorf("the name %q is empty or used twice; give each member a name of its own", m.Name)
		case len(m.Name) > MaxName || !printable(m.Name):
			return fmt.Errorf("the name %q is over %d bytes or not printable UTF-8", m.Name, MaxName)
		case len(m.Addr) > MaxAddr || !printable(m.Addr):
			return fmt.Errorf("member %q: the address %q is over %d bytes or not printable UTF-8", m.Name, m.Addr, MaxAddr)
		case m.Tokens < 1 || m.Tokens > MaxTokens:
			return fmt.Errorf("member %q has %d tokens; allowed are 1 to %d", m.Name, m.Tokens, MaxTokens)
		case i > 0 && s.Members[i-1].ID.Compare(m.ID) >= 0:
			return fmt.Errorf("members are not sorted by ID, or an ID is there twice (%q)", m.Name)
		}
		if other, ok := byNode[m.ID.Node()]; ok && other != m.ID {
			return fmt.Errorf("member %q shares the first 64 bits of its ID with another; start it with an empty data directory", m.Name)
		}
		names[m.Name] = true
		byNode[m.ID.Node()] = m.ID
	}
	return nil
}

// printable reports whether s is UTF-8 without control characters, so that it
// comes back from JSON unchanged and is fit for a terminal.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// Names returns the names of the members of New, sorted.
func (c *Configuration) Names() []string {
	names := make([]string, len(c.New.Members))
	for i, m := range c.New.Members {
		names[i] = m.Name
	}
	slices.SortFunc(names, cmp.Compare[string])
	return names
}
