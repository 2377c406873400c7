package register

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChangeApply(t *testing.T) {
	w := Past{Write: Ballot{20, 2}, Op: OpID{15, 3}}
	old := Past{Write: Ballot{10, 1}, Op: OpID{9, 1}}
	none := Value{}
	live := Value{Live: true, Data: []byte("a"), Flags: 1, Create: 5, Lineage: []Past{old, origin}}
	dead := Value{Lineage: []Past{old, origin}}
	buried := Value{Lineage: []Past{w, old, origin}}
	put := Change{Kind: Put, Data: []byte("b"), Flags: 2}
	over := func(create uint64, lineage ...Past) Value {
		return Value{Live: true, Data: []byte("b"), Flags: 2, Create: create, Lineage: lineage}
	}
	done := func(index uint64, v Value) Result { return Result{Outcome: Done, Index: index, Value: v} }
	refused := func(index uint64) Result { return Result{Outcome: Refused, Index: index} }
	for _, tt := range []struct {
		name    string
		change  Change
		cur     Value
		next    Value
		changed bool
		res     Result
	}{
		{"put on nothing", put, none, over(20, w, origin), true, done(20, none)},
		{"put on a value keeps when it was created", put, live, over(5, w, old, origin), true, done(20, none)},
		{"put on a tombstone creates anew", put, dead, over(20, w, old, origin), true, done(20, none)},
		{"delete nothing", Change{Kind: Delete}, none, none, false, done(0, none)},
		{"delete a value", Change{Kind: Delete}, live, buried, true, done(20, none)},
		{"delete a tombstone", Change{Kind: Delete}, dead, dead, false, done(0, none)},
		{"pop nothing", Change{Kind: Pop}, none, none, false, done(0, none)},
		{"pop a value", Change{Kind: Pop}, live, buried, true, done(20, live)},
		{"pop a tombstone", Change{Kind: Pop}, dead, dead, false, done(0, dead)},
		{"identity of nothing", Change{Kind: Identity}, none, none, false, done(0, none)},
		{"identity of a value", Change{Kind: Identity}, live, live, false, done(10, live)},
		{"put if there is nothing", Change{Kind: Put, If: true}, none, Value{Live: true, Create: 20, Lineage: []Past{w, origin}}, true, done(20, none)},
		{"put if there is nothing, on a tombstone", Change{Kind: Put, If: true}, dead, Value{Live: true, Create: 20, Lineage: []Past{w, old, origin}}, true, done(20, none)},
		{"put if there is nothing, on a value", Change{Kind: Put, If: true}, live, live, false, refused(10)},
		{"put if the index is right", Change{Kind: Put, Data: []byte("b"), Flags: 2, If: true, Index: 10}, live, over(5, w, old, origin), true, done(20, none)},
		{"put if the index is wrong", Change{Kind: Put, If: true, Index: 9}, live, live, false, refused(10)},
		{"delete if the index is right", Change{Kind: Delete, If: true, Index: 10}, live, buried, true, done(20, none)},
		{"delete if the index is that of a tombstone", Change{Kind: Delete, If: true, Index: 10}, dead, dead, false, refused(0)},
		{"pop if the index is wrong", Change{Kind: Pop, If: true, Index: 11}, live, live, false, refused(10)},
	} {
		next, changed, res := tt.change.Apply(tt.cur, w)
		if changed != tt.changed {
			t.Errorf("%s: changed %v", tt.name, changed)
		}
		if diff := cmp.Diff(tt.next, next) + cmp.Diff(tt.res, res); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
		if tt.change.writes() != (tt.change.Kind != Identity) {
			t.Errorf("%s: writes %v", tt.name, tt.change.writes())
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a change without a kind was applied")
		}
	}()
	(&Change{}).Apply(none, w)
}
