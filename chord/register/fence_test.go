package register

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

func TestFenceEntryCodec(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := anyEntry(t)
		enc := AppendFenceEntry(nil, &e)
		got, err := DecodeFenceEntry(enc)
		if err != nil || !cmp.Equal(got, e) {
			t.Fatalf("%v, %s", err, cmp.Diff(e, got))
		}
		for n := range enc {
			if _, err := DecodeFenceEntry(enc[:n]); err == nil {
				t.Fatalf("the first %d of %d bytes are taken for a fence", n, len(enc))
			}
		}
	})
}

func TestDecodersRefuseFences(t *testing.T) {
	tag := Tag{Fence: Fence{"l", 3}}
	cell := func(change func(v *Value)) []byte {
		v := Value{Live: true, Tags: []Tag{tag}, Undo: &Cell{}, Lineage: []Past{{Write: Ballot{3, 1}}}}
		change(&v)
		return AppendCell(nil, &Cell{Accepted: Ballot{4, 1}, Value: v})
	}
	decodeCell := func(b []byte) error { _, err := DecodeCell(b); return err }
	decodePromise := func(undo Ballot) error {
		m := Message{Kind: MsgPromise, Ballot: Ballot{9, 1}, Cell: Cell{Accepted: Ballot{4, 1}, Value: Value{Tags: []Tag{tag}, Undo: &Cell{Accepted: undo}, Lineage: []Past{{Write: Ballot{3, 1}}}}}}
		_, err := DecodeMessage(AppendMessage(nil, &m))
		return err
	}
	require.NoError(t, decodePromise(Ballot{4, 0}))
	require.NoError(t, decodeCell(cell(func(v *Value) { v.Undo.Value.Lineage = []Past{{Write: Ballot{2, 9}}} })))
	decodeEntry := func(b []byte) error { _, err := DecodeFenceEntry(b); return err }
	entry := AppendFenceEntry(nil, &FenceEntry{Key: "l", Try: Attempt{1, 1}})
	for _, tt := range []struct {
		name, want string
		err        error
	}{
		{"a fence without a token", "a fence without a lock or a token", decodeCell(cell(func(v *Value) { v.Tags[0].Token = 0 }))},
		{"a fence without a lock", "a fence without a lock or a token", decodeCell(cell(func(v *Value) { v.Tags = []Tag{{Fence: Fence{"", 3}}} }))},
		{"too many tags", "9 tags; at most 8 are sent", decodeCell(cell(func(v *Value) { v.Tags = slices.Repeat([]Tag{tag}, MaxTags+1) }))},
		{"tags underneath", "was made on top of has tags itself", decodeCell(cell(func(v *Value) { v.Undo.Value = Value{Tags: []Tag{tag}, Undo: &Cell{}} }))},
		{"a base accepted as late", "on top of is newer", decodeCell(cell(func(v *Value) { v.Undo.Accepted = Ballot{4, 1} }))},
		{"a base written as late", "on top of is newer", decodeCell(cell(func(v *Value) { v.Undo.Value.Lineage = []Past{{Write: Ballot{3, 0}}} }))},
		{"a promise of a base that was accepted later", "on top of is newer", decodePromise(Ballot{MaxTime, 1})},
		{"an entry without an attempt", "a fence without a lock or an attempt", decodeEntry(AppendFenceEntry(nil, &FenceEntry{Key: "l"}))},
		{"more after an entry", "1 bytes too many", decodeEntry(append(slices.Clone(entry), 0))},
		{"an entry of a version to come", "fence of encoding version 2", decodeEntry(append([]byte{2}, entry[1:]...))},
	} {
		if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%s: %v; want %q", tt.name, tt.err, tt.want)
		}
	}
}

// TestVerdicts goes through what a tag with token 3 is worth.
func TestVerdicts(t *testing.T) {
	sealed, open := Attempt{5, 2}, Attempt{7, 1}
	for _, tt := range []struct {
		name    string
		e       FenceEntry
		pass    Attempt
		holder  ring.Node
		want    verdict
		refused bool
	}{
		{"an older fence", FenceEntry{Try: Attempt{2, 1}, Sealed: Attempt{2, 1}}, Attempt{}, 1, tagFine, false},
		{"its own", FenceEntry{Try: Attempt{3, 9}, Sealed: Attempt{3, 9}}, Attempt{}, 1, tagFine, false},
		{"installed", FenceEntry{Try: open}, Attempt{}, 1, tagOpen, true},
		{"installed, settled by it", FenceEntry{Try: open}, open, 1, tagOpen, false},
		{"installed, settled by the one before", FenceEntry{Try: open}, sealed, 1, tagOpen, true},
		{"sealed, a stranger's", FenceEntry{Try: sealed, Sealed: sealed, By: []ring.Node{1}}, Attempt{}, 2, tagDead, true},
		{"sealed, of one that installed it", FenceEntry{Try: sealed, Sealed: sealed, By: []ring.Node{1}}, Attempt{}, 1, tagKept, true},
		{"sealed, settled by it", FenceEntry{Try: sealed, Sealed: sealed}, sealed, 2, tagKept, false},
		{"sealed, settled in vain", FenceEntry{Try: sealed, Sealed: sealed}, Attempt{5, 1}, 2, tagDead, true},
		{"sealed, and another is installed", FenceEntry{Try: open, Sealed: sealed}, Attempt{}, 2, tagDead, true},
	} {
		tt.e.Key = "l"
		f := Fences{"l": tt.e}
		v := Value{Live: true, Tags: []Tag{{Fence{"l", 3}, tt.pass}}, Undo: &Cell{}}
		if got := f.of(&v.Tags[0], tt.holder); got != tt.want {
			t.Errorf("%s: %d; want %d", tt.name, got, tt.want)
		}
		if _, _, refused := f.refuses(&v, 1); refused != tt.refused {
			t.Errorf("%s: refused %v", tt.name, refused)
		}
		f.Clean(tt.holder, &v)
		if clean := len(v.Tags) == 0 && v.Undo == nil && v.WasTagged; clean != (tt.want == tagKept) {
			t.Errorf("%s: cleaned %v", tt.name, clean)
		}
		if fence, _, old := f.outdated([]Fence{{"other", 1}, {"l", 3}}); old != (tt.want != tagFine) || old && fence != (Fence{"l", 3}) {
			t.Errorf("%s: outdated %v", tt.name, old)
		}
	}
}

func TestTableOfFencesIsBounded(t *testing.T) {
	f := Fences{}
	for i := range MaxFences {
		if !f.Learn(&FenceEntry{Key: fmt.Sprint(i), Try: Attempt{1, 1}}) {
			t.Fatalf("entry %d is not learnt", i)
		}
	}
	if f.Learn(&FenceEntry{Key: "one more", Try: Attempt{1, 1}}) || !f.Learn(&FenceEntry{Key: "7", Try: Attempt{2, 1}}) || f.Learn(&FenceEntry{Key: "7", Try: Attempt{1, 9}}) {
		t.Error("a full table takes news of what is in it, and nothing else")
	}
}

// TestBatchesEndWhereTheFenceChanges: else a change could be dead with another.
func TestBatchesEndWhereTheFenceChanges(t *testing.T) {
	q := &queue{}
	for _, c := range []Change{
		{Kind: Put}, {Kind: Identity}, {Kind: Put},
		{Kind: Put, Fences: []Fence{{"l", 1}}}, {Kind: Identity}, {Kind: Delete, Fences: []Fence{{"l", 1}}},
		{Kind: Put, Fences: []Fence{{"l", 2}}}, {Kind: Put},
	} {
		q.ops = append(q.ops, &op{change: c})
	}
	var sizes []int
	for len(q.ops) > 0 {
		sizes = append(sizes, len(q.batch()))
	}
	if !slices.Equal(sizes, []int{3, 3, 1, 1}) {
		t.Errorf("batches of %v", sizes)
	}
}

// TestFencedAtOnce: a change whose fence is known to be old is answered without a
// message.
func TestFencedAtOnce(t *testing.T) {
	a := newAlone(t, Config{Fences: []FenceEntry{{Key: "l", Try: Attempt{5, 1}}}})
	a.submit(1, Change{Kind: Put, Fences: []Fence{{"l", 4}}})
	if len(a.sent) != 0 || len(a.got) != 1 || a.got[0].Outcome != Fenced {
		t.Errorf("%v, %v", a.sent, a.got)
	}
}
