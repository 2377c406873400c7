package ring

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// testMember returns member i, with an ID made from i alone.
func testMember(i, tokens int) Member {
	return Member{ID: NodeID(fmt.Appendf(nil, "member %d", i)), Name: fmt.Sprintf("m%d", i), Addr: fmt.Sprintf("127.0.0.1:%d", 10000+i), Tokens: tokens}
}

// testConfiguration returns a final configuration of members 0 to n-1.
func testConfiguration(n, replicas int) *Configuration {
	c := &Configuration{RingID: RingID(strings.Repeat("0a", 16)), Epoch: 1, Level: Level, New: Side{Replicas: replicas}}
	for i := range n {
		c.New.Members = append(c.New.Members, testMember(i, DefaultTokens))
	}
	c.Sort()
	return c
}

// anySide draws 1 to 12 members, with few tokens so that their arcs differ much.
func anySide(t *rapid.T, label string) Side {
	members := rapid.SliceOfNDistinct(rapid.IntRange(0, 30), 1, 12, rapid.ID[int]).Draw(t, label)
	s := Side{Replicas: rapid.IntRange(1, MaxReplicas).Draw(t, label+" replicas")}
	for _, i := range members {
		s.Members = append(s.Members, testMember(i, rapid.IntRange(1, 6).Draw(t, fmt.Sprintf("%s tokens of %d", label, i))))
	}
	return s
}

func anyConfiguration(joint bool) *rapid.Generator[*Configuration] {
	return rapid.Custom(func(t *rapid.T) *Configuration {
		c := &Configuration{RingID: RingID(strings.Repeat("0a", 16)), Epoch: 1, Level: Level, New: anySide(t, "new")}
		if joint {
			old := anySide(t, "old")
			c.Old = &old
		}
		c.Sort()
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		return c
	})
}

var anyKey = rapid.String()

func ownerIDs(p *Placement, key string) []ID {
	var ids []ID
	for _, m := range p.Owners(key) {
		ids = append(ids, m.ID)
	}
	return ids
}

func setOfIDs(ids []ID) map[ID]bool {
	set := map[ID]bool{}
	for _, id := range ids {
		set[id] = true
	}
	return set
}

// ownersByDefinition follows register.md's sentence, with no search and no
// order: from each of the first r points the nearest token clockwise of a member
// that is no owner yet.
func ownersByDefinition(s *Side, key string) []ID {
	var owners []ID
	points := Hashes(key)
	for _, p := range points[:min(s.Replicas, len(s.Members))] {
		var nearest, owner ID
		for _, m := range s.Members {
			for _, token := range Tokens(m.ID, m.Tokens) {
				if d := p.Distance(token); !slices.Contains(owners, m.ID) && (owner.IsZero() || d.Compare(nearest) < 0) {
					nearest, owner = d, m.ID
				}
			}
		}
		owners = append(owners, owner)
	}
	return owners
}

func TestOwners(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := anyConfiguration(false).Draw(t, "configuration")
		key := anyKey.Draw(t, "key")
		p := NewPlacement(c)
		owners := ownerIDs(p, key)
		if want := min(c.New.Replicas, len(c.New.Members)); len(owners) != want || len(setOfIDs(owners)) != want {
			t.Fatalf("%d owners, %d distinct; want %d", len(owners), len(setOfIDs(owners)), want)
		}
		if want := ownersByDefinition(&c.New, key); !slices.Equal(owners, want) {
			t.Fatalf("owners %s, want %s", owners, want)
		}
		if again := ownerIDs(NewPlacement(c), key); !slices.Equal(owners, again) {
			t.Fatalf("owners %s, another time %s", owners, again)
		}
		if g := p.Group(key); g.old != 0 || g.All() != 1<<len(owners)-1 || g.Len() != len(owners) {
			t.Fatalf("the group of a final configuration has old %b, new %b, %d owners", g.old, g.new, g.Len())
		} else {
			for i, id := range owners {
				if g.Owner(i) != id.Node() {
					t.Fatalf("owner %d of the group is %s, want %s", i, g.Owner(i), id.Node())
				}
			}
		}
	})
}

// TestOneMemberOneOwner: when a member leaves, each key loses at most that owner
// and gets at most one other; read backwards, the same for one that joins.
func TestOneMemberOneOwner(t *testing.T) {
	changed := 0
	rapid.Check(t, func(t *rapid.T) {
		all := anyConfiguration(false).Filter(func(c *Configuration) bool { return len(c.New.Members) > 1 }).Draw(t, "configuration")
		less := *all
		gone := rapid.SampledFrom(all.New.Members).Draw(t, "leaver").ID
		less.New.Members = slices.DeleteFunc(slices.Clone(all.New.Members), func(m Member) bool { return m.ID == gone })
		with, without := NewPlacement(all), NewPlacement(&less)
		for range 20 {
			key := anyKey.Draw(t, "key")
			before, after := setOfIDs(ownerIDs(with, key)), setOfIDs(ownerIDs(without, key))
			if !before[gone] && !maps.Equal(before, after) {
				t.Fatalf("%q: %s did not own it, but the owners changed from %v to %v", key, gone, before, after)
			}
			for id := range before {
				if id != gone && !after[id] {
					t.Fatalf("%q: %s left, and %s lost its copy", key, gone, id)
				}
			}
			more := 0
			for id := range after {
				if !before[id] {
					more++
				}
			}
			if more > 1 {
				t.Fatalf("%q: one member left and %d got a copy", key, more)
			}
			if before[gone] {
				changed++
			}
		}
	})
	if changed == 0 {
		t.Error("no key changed its owners: the test shows nothing")
	}
}

// TestPlacementKnowsIDsOnly: the order of the members, their names and addresses
// have no part in it.
func TestPlacementKnowsIDsOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := anyConfiguration(false).Draw(t, "configuration")
		other := *c
		other.New.Members = rapid.Permutation(c.New.Members).Draw(t, "order")
		for i := range other.New.Members {
			other.New.Members[i].Name = fmt.Sprintf("renamed %d", i)
			other.New.Members[i].Addr = fmt.Sprintf("elsewhere:%d", i+1)
		}
		key := anyKey.Draw(t, "key")
		if a, b := ownerIDs(NewPlacement(c), key), ownerIDs(NewPlacement(&other), key); !slices.Equal(a, b) {
			t.Fatalf("owners %s, want %s", b, a)
		}
		if a, b := NewPlacement(c).Group(key), NewPlacement(&other).Group(key); a != b {
			t.Fatalf("group %v, want %v", b, a)
		}
	})
}

func TestJointGroups(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := anyConfiguration(true).Draw(t, "configuration")
		key := anyKey.Draw(t, "key")
		p := NewPlacement(c)
		g := p.Group(key)
		old, current := ownersByDefinition(c.Old, key), ownersByDefinition(&c.New, key)
		if !slices.Equal(ownerIDs(p, key), current) {
			t.Fatalf("owners %s, want those of New, %s", ownerIDs(p, key), current)
		}
		if g.Owner(0) != current[0].Node() {
			t.Fatalf("primary %s, want that of New, %s", g.Owner(0), current[0])
		}
		both := setOfIDs(slices.Concat(old, current))
		if g.Len() != len(both) || g.All() != 1<<len(both)-1 {
			t.Fatalf("%d owners, all %b; want %d", g.Len(), g.All(), len(both))
		}
		for _, side := range []struct {
			mask uint16
			want []ID
		}{{g.old, old}, {g.new, current}} {
			set := map[Node]bool{}
			for i, n := range g.Owners() {
				if side.mask>>i&1 == 1 {
					set[n] = true
				}
			}
			for _, id := range side.want {
				if !set[id.Node()] {
					t.Fatalf("mask %b misses %s", side.mask, id)
				}
			}
			if len(set) != len(side.want) {
				t.Fatalf("mask %b has %d owners, want %d", side.mask, len(set), len(side.want))
			}
		}
	})
}

// TestSuccessorByScan looks at the edges of the search: points at, just before
// and just after tokens, across zero, and tokens that share their first 64 bits.
func TestSuccessorByScan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		points := sortedNodes(1, 20).Draw(t, "tokens") // many of these have head 0 or all ones
		c := circle{side: &Side{}}
		for i, p := range points {
			c.tokens = append(c.tokens, Token{Point: p, Member: i})
			c.heads = append(c.heads, p.head())
		}
		point := anyID().Draw(t, "point")
		if rapid.Bool().Draw(t, "near") {
			point = rapid.SampledFrom(points).Draw(t, "token")
			if rapid.Bool().Draw(t, "after") {
				point = point.AddPowerOfTwo(0)
			}
		}
		if got, want := points[c.successor(&point)], successorByScan(points, point); got != want {
			t.Fatalf("successor of %s: %s, want %s", point, got, want)
		}
	})
}

func TestTokensAreThePrefixOfMore(t *testing.T) {
	id := NodeID([]byte("x"))
	few, many := Tokens(id, 8), Tokens(id, 64)
	if !slices.Equal(few, many[:8]) || len(setOfIDs(many)) != 64 {
		t.Error("tokens must be distinct, and a member that gets more must keep those it has")
	}
	if len(Tokens(id, 0)) != 0 {
		t.Error("a member without tokens has some")
	}
}

// shareByKeys counts the copies of n keys.
func shareByKeys(p *Placement, n int) []float64 {
	members := p.Configuration().New.Members
	index := map[Node]int{}
	for i, m := range members {
		index[m.ID.Node()] = i
	}
	counts := make([]float64, len(members))
	for k := range n {
		g := p.Group(fmt.Sprintf("sample/%d", k))
		for _, o := range g.Owners() {
			counts[index[o]]++
		}
	}
	total := float64(n * p.current().side.Copies())
	for i := range counts {
		counts[i] /= total
	}
	return counts
}

// percentile returns the smallest x with at least that part of xs at or below it.
func percentile(xs []float64, part float64) float64 {
	s := slices.Sorted(slices.Values(xs))
	return s[max(0, int(math.Ceil(part*float64(len(s))))-1)]
}

// TestBalance: 200 members of 64 tokens; the 99th percentile of the members'
// shares is within 1.4 of the mean. An arc between random tokens is exponential,
// so a member's 64 arcs together stray by 1/sqrt(64) = 12.5% of the mean, and the
// 99th percentile is near 1.3.
func TestBalance(t *testing.T) {
	const members, keys = 200, 100_000
	for _, replicas := range []int{3, 5} {
		p := NewPlacement(testConfiguration(members, replicas))
		shares := shareByKeys(p, keys)
		mean := 1.0 / members
		p99 := percentile(shares, 0.99) / mean
		t.Logf("%d members, %d tokens each, %d copies, %d keys: share / mean: min %.3f, p1 %.3f, p50 %.3f, p99 %.3f, max %.3f", members, DefaultTokens,
			replicas, keys, slices.Min(shares)/mean, percentile(shares, 0.01)/mean, percentile(shares, 0.5)/mean, p99, slices.Max(shares)/mean)
		if p99 > 1.4 {
			t.Errorf("%d copies: the 99th percentile of the shares is %.3f of the mean, want 1.4 at most", replicas, p99)
		}
	}
}

// TestBalanceOfOtherRings: the ring of TestBalance is no lucky one.
func TestBalanceOfOtherRings(t *testing.T) {
	const members, rings = 200, 10
	for _, replicas := range []int{1, 3, 5} {
		var p99s []float64
		for r := range rings {
			c := testConfiguration(1, replicas)
			c.New.Members = nil
			for i := range members {
				c.New.Members = append(c.New.Members, testMember(r*members+i, DefaultTokens))
			}
			c.Sort()
			p99s = append(p99s, percentile(NewPlacement(c).Shares(), 0.99)*members)
		}
		t.Logf("%d rings, %d copies: p99 of share / mean: %.3f to %.3f", rings, replicas, slices.Min(p99s), slices.Max(p99s))
		if slices.Max(p99s) > 1.4 {
			t.Errorf("%d copies: the 99th percentile of a ring's shares is %.3f of the mean, want 1.4 at most", replicas, slices.Max(p99s))
		}
	}
}

// TestSharesAgainstArcs: with one copy a share is the length of the member's arcs.
func TestSharesAgainstArcs(t *testing.T) {
	for _, members := range []int{2, 6, 200} {
		p := NewPlacement(testConfiguration(members, 1))
		want := make([]float64, members)
		tokens := p.current().tokens
		for i, token := range tokens {
			before := tokens[(i+len(tokens)-1)%len(tokens)].Point
			want[token.Member] += float64(before.Distance(token.Point).Node()) / math.Pow(2, 64)
		}
		checkShares(t, fmt.Sprintf("%d members, 1 copy, exact arcs", members), p.Shares(), want)
	}
}

// TestSharesAgainstKeys: with more copies the truth is many keys, with a random
// error of their own: a count of n strays by 1/sqrt(n).
func TestSharesAgainstKeys(t *testing.T) {
	for _, tt := range []struct{ members, replicas, keys int }{{6, 5, 50_000}, {4, 3, 50_000}, {20, 5, 100_000}, {200, 3, 400_000}} {
		p := NewPlacement(testConfiguration(tt.members, tt.replicas))
		checkShares(t, fmt.Sprintf("%d members, %d copies, %d keys", tt.members, tt.replicas, tt.keys), p.Shares(), shareByKeys(p, tt.keys))
	}
}

// checkShares holds the estimate to what Shares promises: a standard error under
// 2% of a share.
func checkShares(t *testing.T, name string, got, want []float64) {
	t.Helper()
	sum, squares, worst := 0.0, 0.0, 0.0
	for i := range got {
		sum += got[i]
		e := got[i]/want[i] - 1
		squares += e * e
		worst = max(worst, math.Abs(e))
	}
	standard := math.Sqrt(squares / float64(len(got)))
	t.Logf("%s: standard error %.2f%% of a share, worst %.2f%%", name, 100*standard, 100*worst)
	if standard > 0.02 || worst > 0.08 {
		t.Errorf("%s: the shares are off by %.2f%%, worst %.2f%%", name, 100*standard, 100*worst)
	}
	if math.Abs(sum-1) > 1e-9 {
		t.Errorf("%s: the shares sum to %v, want 1", name, sum)
	}
}

func TestSharesOfEverything(t *testing.T) {
	p := NewPlacement(testConfiguration(5, 5))
	for i, s := range p.Shares() {
		if s != 0.2 {
			t.Errorf("member %d has %v, want 0.2 exactly", i, s)
		}
	}
	p.Shares()[0] = 7
	if p.Shares()[0] != 0.2 {
		t.Error("the caller changed the shares for others")
	}
}

func TestSharesFollowTokensAndNew(t *testing.T) {
	c := testConfiguration(8, 1)
	c.New.Members[3].Tokens = 4 * DefaultTokens
	old := testConfiguration(3, 3).New
	c.Old = &old
	shares := NewPlacement(c).Shares()
	if len(shares) != 8 {
		t.Fatalf("%d shares, want those of New's 8 members", len(shares))
	}
	if want := 4.0 / 11; math.Abs(shares[3]/want-1) > 0.2 {
		t.Errorf("a member with 4 of 11 parts of the tokens has %.3f of the keys", shares[3])
	}
}

// TestPlacementIsSafeForConcurrentUse is for the race detector.
func TestPlacementIsSafeForConcurrentUse(t *testing.T) {
	p := NewPlacement(testConfiguration(6, 3))
	done := make(chan []float64)
	const users = 8
	for i := range users {
		go func() {
			p.Group(fmt.Sprint(i))
			p.Owners(fmt.Sprint(i))
			done <- p.Shares()
		}()
	}
	first := <-done
	for range users - 1 {
		if other := <-done; !slices.Equal(first, other) {
			t.Error("two users see different shares")
		}
	}
}

// TestLargestRing lays out the largest ring that Validate allows at the default
// number of tokens.
func TestLargestRing(t *testing.T) {
	c := testConfiguration(MaxMembers, MaxReplicas)
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	p := NewPlacement(c)
	laid := time.Since(begin)
	shares := p.Shares()
	t.Logf("%d members: laid out in %v, shares in %v", MaxMembers, laid, time.Since(begin)-laid)
	if slices.Min(shares) <= 0 {
		t.Error("a member has no share")
	}
	random := rand.New(rand.NewPCG(5, 6))
	for range 50 {
		key := fmt.Sprint(random.Uint64())
		if got := ownerIDs(p, key); len(setOfIDs(got)) != MaxReplicas {
			t.Errorf("%q: owners %s", key, got)
		}
	}
}

func BenchmarkGroup(b *testing.B) {
	for _, replicas := range []int{1, 3, 5} {
		for _, members := range []int{5, 200} {
			p := NewPlacement(testConfiguration(members, replicas))
			for _, size := range []int{24, 512} {
				keys := benchKeys(size)
				b.Run(fmt.Sprintf("replicas=%d/members=%d/key=%d", replicas, members, size), func(b *testing.B) {
					b.ReportAllocs()
					for i := 0; b.Loop(); i++ {
						p.Group(keys[i%len(keys)])
					}
				})
			}
		}
	}
}

func BenchmarkNewPlacement(b *testing.B) {
	for _, members := range []int{5, 200} {
		c := testConfiguration(members, 5)
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			for b.Loop() {
				NewPlacement(c)
			}
		})
	}
}

func BenchmarkShares(b *testing.B) {
	for _, members := range []int{5, 6, 200} {
		p := NewPlacement(testConfiguration(members, 5))
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			for b.Loop() {
				p.current().shares()
			}
		})
	}
}

// TestOwnsIsTheGroup: who owns a key is who is in its group, also where everybody does.
func TestOwnsIsTheGroup(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := anyConfiguration(rapid.Bool().Draw(t, "joint")).Draw(t, "configuration")
		p := NewPlacement(c)
		key := rapid.String().Draw(t, "key")
		g := p.Group(key)
		current := p.Owners(key)
		for i := range 32 {
			id := testMember(i, 1).ID
			if got, want := p.Owns(id, key), g.Index(id.Node()) >= 0; got != want {
				t.Errorf("Owns of member %d: %v, want %v", i, got, want)
			}
			if got, want := p.OwnsNew(id, key), slices.ContainsFunc(current, func(m Member) bool { return m.ID == id }); got != want {
				t.Errorf("OwnsNew of member %d: %v, want %v", i, got, want)
			}
		}
	})
}
