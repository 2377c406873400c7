package ring

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// TestMovement: when a member joins n others, no more is copied than consistent
// hashing has to: the newcomer's part of the copies, which is r/(n+1) of a copy a
// key on average (Karger et al. 1997, section 4: only the newcomer's arcs change
// hands). Nothing moves between the others: owner by owner, the newcomer either
// changes nothing or takes the place of one.
//
// A single newcomer's 64 tokens cover that part give or take an eighth, so each
// size is averaged over several joins, of other members to other rings.
func TestMovement(t *testing.T) {
	const (
		joins    = 16
		keys     = 1000
		replicas = 5
		within   = 0.15
	)
	t.Logf("%9s %12s %15s %8s %9s %7s", "members", "to newcomer", "between others", "in all", "r/(n+1)", "ratio")
	for n := 5; n <= 40; n++ {
		var toNewcomer, toOthers int
		for join := range joins {
			before := testConfiguration(0, replicas)
			for i := range n {
				before.New.Members = append(before.New.Members, testMember(1000*join+100*i+n, DefaultTokens))
			}
			newcomer := testMember(1_000_000+100*join+n, DefaultTokens)
			after := &Configuration{RingID: before.RingID, Epoch: 2, Level: Level, New: Side{Replicas: replicas}}
			after.New.Members = append(slices.Clone(before.New.Members), newcomer)
			before.Sort()
			after.Sort()
			old, now := NewPlacement(before), NewPlacement(after)
			for k := range keys {
				key := fmt.Sprintf("movement/%d/%d", join, k)
				had := ownerIDs(old, key)
				for _, id := range ownerIDs(now, key) {
					switch {
					case id == newcomer.ID:
						toNewcomer++
					case !slices.Contains(had, id):
						toOthers++
					}
				}
			}
		}
		each := float64(joins * keys)
		moved, bound := float64(toNewcomer+toOthers)/each, float64(replicas)/float64(n+1)
		t.Logf("%3d -> %2d %12.4f %15.4f %8.4f %9.4f %7.3f", n, n+1, float64(toNewcomer)/each, float64(toOthers)/each, moved, bound, moved/bound)
		if toOthers > 0 {
			t.Errorf("from %d to %d members %d copies move between members that were there", n, n+1, toOthers)
		}
		if math.Abs(moved/bound-1) > within {
			t.Errorf("from %d to %d members %.4f copies a key move, which is not within %.0f%% of %.4f", n, n+1, moved, 100*within, bound)
		}
	}
}
