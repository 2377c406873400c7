package ring

import (
	"math/bits"
	"testing"

	"pgregory.net/rapid"
)

func TestZeroVoteIsInvalid(t *testing.T) {
	for v, want := range map[Vote]string{0: "invalid", VotePending: "pending", VoteLost: "lost", VoteWon: "won", 4: "invalid"} {
		if v.String() != want {
			t.Errorf("Vote(%d) prints %q, want %q", v, v, want)
		}
	}
}

func TestTally(t *testing.T) {
	// The owners of Old are 1 2 3, those of New are 3 4 5 6 7; New is numbered first.
	joint := NewJointGroup([]Node{1, 2, 3}, []Node{3, 4, 5, 6, 7})
	one, two, three, five := NewGroup(1), NewGroup(1, 2), NewGroup(1, 2, 3), NewGroup(1, 2, 3, 4, 5)
	tests := []struct {
		name    string
		group   Group
		yes, no []Node
		want    Vote
	}{
		{"nobody owns it", Group{}, nil, nil, VoteLost},
		{"1 of 1: silence", one, nil, nil, VotePending},
		{"1 of 1: yes", one, []Node{1}, nil, VoteWon},
		{"1 of 1: no", one, nil, []Node{1}, VoteLost},
		{"2 of 2: one yes", two, []Node{1}, nil, VotePending},
		{"2 of 2: both", two, []Node{1, 2}, nil, VoteWon},
		{"2 of 2: one no", two, []Node{1}, []Node{2}, VoteLost},
		{"2 of 3: silence", three, nil, nil, VotePending},
		{"2 of 3: one yes", three, []Node{2}, nil, VotePending},
		{"2 of 3: one each", three, []Node{2}, []Node{3}, VotePending},
		{"2 of 3: two yes", three, []Node{1, 3}, nil, VoteWon},
		{"2 of 3: two no", three, []Node{1}, []Node{2, 3}, VoteLost},
		{"2 of 3: two yes beside a no", three, []Node{1, 3}, []Node{2}, VoteWon},
		{"3 of 5: two yes", five, []Node{1, 2}, nil, VotePending},
		{"3 of 5: two each", five, []Node{1, 2}, []Node{3, 4}, VotePending},
		{"3 of 5: three yes", five, []Node{1, 3, 5}, nil, VoteWon},
		{"3 of 5: three no", five, []Node{1}, []Node{2, 3, 5}, VoteLost},
		{"joint: silence", joint, nil, nil, VotePending},
		{"joint: Old alone", joint, []Node{1, 2, 3}, nil, VotePending},
		{"joint: New alone", joint, []Node{4, 5, 6, 7}, nil, VotePending},
		{"joint: both, the shared owner counts on both sides", joint, []Node{1, 3, 4, 5}, nil, VoteWon},
		{"joint: Old won, New short of one", joint, []Node{1, 2, 3, 4}, nil, VotePending},
		{"joint: Old lost", joint, []Node{3, 4, 5, 6, 7}, []Node{1, 2}, VoteLost},
		{"joint: New lost", joint, []Node{1, 2, 3}, []Node{4, 5, 6}, VoteLost},
		{"joint: both lost", joint, nil, []Node{1, 2, 3, 4, 5}, VoteLost},
		{"joint: everybody", joint, []Node{1, 2, 3, 4, 5, 6, 7}, nil, VoteWon},
	}
	for _, tt := range tests {
		yes, no := setOf(t, &tt.group, tt.yes), setOf(t, &tt.group, tt.no)
		if got := tt.group.Tally(yes, no); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
		if got := tt.group.Quorum(yes); got != (tt.want == VoteWon) {
			t.Errorf("%s: quorum %v, want %v", tt.name, got, tt.want == VoteWon)
		}
	}
}

func setOf(t *testing.T, g *Group, nodes []Node) uint16 {
	t.Helper()
	var set uint16
	for _, n := range nodes {
		i := g.Index(n)
		if i < 0 {
			t.Fatalf("%s is no owner", n)
		}
		set |= 1 << i
	}
	return set
}

// anyGroup draws final and joint groups whose sides share any number of owners.
func anyGroup() *rapid.Generator[Group] {
	return rapid.Custom(func(t *rapid.T) Group {
		side := rapid.SliceOfNDistinct(rapid.Uint64Range(1, 8), 1, MaxReplicas, rapid.ID[uint64])
		nodes := func(label string) []Node {
			var n []Node
			for _, x := range side.Draw(t, label) {
				n = append(n, Node(x))
			}
			return n
		}
		if rapid.Bool().Draw(t, "joint") {
			return NewJointGroup(nodes("old"), nodes("new"))
		}
		return NewGroup(nodes("new")...)
	})
}

// TestTallyForetells checks the three values against their meaning, by going
// through all ways in which the silent owners can still answer.
func TestTallyForetells(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := anyGroup().Draw(t, "group")
		yes := rapid.Uint16().Draw(t, "yes") & g.All()
		no := rapid.Uint16().Draw(t, "no") & g.All() &^ yes
		silent := g.All() &^ yes &^ no

		can := false
		for more := silent; ; more = (more - 1) & silent {
			can = can || wins(&g, yes|more)
			if more == 0 {
				break
			}
		}
		want := VotePending
		switch {
		case wins(&g, yes):
			want = VoteWon
		case !can:
			want = VoteLost
		}
		if got := g.Tally(yes, no); got != want {
			t.Fatalf("yes %b no %b of old %b new %b: %s, want %s", yes, no, g.old, g.new, got, want)
		}
	})
}

// wins says by the definition whether set is more than half of each side.
func wins(g *Group, set uint16) bool {
	for _, side := range []uint16{g.old, g.new} {
		if side != 0 && 2*bits.OnesCount16(set&side) <= bits.OnesCount16(side) {
			return false
		}
	}
	return true
}

// TestQuorumsIntersect goes through all pairs of quorums: they share an owner on
// each side, so a joint quorum meets every quorum of Old alone and of New alone.
func TestQuorumsIntersect(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := anyGroup().Draw(t, "group")
		for _, side := range []uint16{g.old, g.new} {
			if side == 0 {
				continue
			}
			alone := Group{n: g.n, owners: g.owners, new: side}
			for a := range uint16(1 << g.n) {
				for b := range a + 1 {
					if (g.Quorum(a) || alone.Quorum(a)) && alone.Quorum(b) && a&b&side == 0 {
						t.Fatalf("the quorums %b and %b of side %b do not meet", a, b, side)
					}
				}
			}
		}
	})
}

func TestGroupNumbersOwners(t *testing.T) {
	g := NewJointGroup([]Node{30, 10, 20}, []Node{20, 40})
	want := []Node{20, 40, 30, 10}
	if g.Len() != 4 || g.new != 0b0011 || g.old != 0b1101 || g.All() != 0b1111 {
		t.Fatalf("%d owners, new %b, old %b", g.Len(), g.new, g.old)
	}
	for i, n := range want {
		if g.Owner(i) != n || g.Owners()[i] != n || g.Index(n) != i {
			t.Errorf("owner %d is %s with index %d, want %s", i, g.Owner(i), g.Index(n), n)
		}
	}
	if g.Index(50) != -1 {
		t.Error("a stranger has an index")
	}
	same := NewJointGroup([]Node{1, 2, 3, 4, 5}, []Node{6, 7, 8, 9, 10})
	if same.Len() != MaxGroup || same.All() != 1<<MaxGroup-1 {
		t.Errorf("two sides without a common owner: %d owners, %b", same.Len(), same.All())
	}
}
