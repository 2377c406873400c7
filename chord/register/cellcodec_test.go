package register

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestCellCodec(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := anyCell(t)
		got, err := DecodeCell(AppendCell([]byte("before"), &c)[len("before"):])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestDecodeCellRefuses(t *testing.T) {
	c := Cell{Accepted: Ballot{4, 1}, Value: Value{Live: true, Lineage: []Past{{Ballot{3, 1}, Ballot{2, 1}}, {}}}}
	good := AppendCell(nil, &c)
	if _, err := DecodeCell(good); err != nil {
		t.Fatal(err)
	}
	for n := range good {
		if _, err := DecodeCell(good[:n]); err == nil {
			t.Errorf("the first %d of %d bytes are taken for a cell", n, len(good))
		}
	}
	long, twice := c, c
	long.Value.Lineage = nil
	for i := range uint64(maxEncodedLineage + 1) {
		long.Value.Lineage = append(long.Value.Lineage, Past{Write: Ballot{Time: 1000 - i}})
	}
	twice.Value.Lineage = []Past{{Write: Ballot{3, 1}}, {Write: Ballot{3, 1}}}
	flags := AppendCell(nil, &c)
	flags[1+1+8] = 0x81
	for _, tt := range []struct {
		name string
		b    []byte
		want string
	}{
		{"a version to come", append([]byte{2}, good[1:]...), "encoding version 2; this build reads version 1"},
		{"flags to come", flags, "unknown flags 0x81; a newer build wrote this"},
		{"a lineage over the limit", AppendCell(nil, &long), "lineage of 83 writes; at most 82 are kept"},
		{"a lineage out of order", AppendCell(nil, &twice), "its lineage is out of order"},
	} {
		if _, err := DecodeCell(tt.b); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "register: cell of ") {
			t.Errorf("%s: %v; want %q", tt.name, err, tt.want)
		}
	}
}

func FuzzDecodeCell(f *testing.F) {
	f.Add([]byte{})
	for _, c := range []Cell{
		{},
		{Accepted: Ballot{4, 1}, Value: Value{Live: true, Data: []byte("v"), Flags: 7, Create: 3, Lineage: []Past{{Ballot{3, 1}, Ballot{2, 1}}, {}}}},
		{Accepted: Ballot{MaxTime, 1 << 63}, Value: Value{Lineage: []Past{{Ballot{MaxTime, 1}, Ballot{MaxTime, 1}}}}},
	} {
		f.Add(AppendCell(nil, &c))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeCell(b)
		if err != nil {
			return
		}
		again, err := DecodeCell(AppendCell(nil, &c))
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		if diff := cmp.Diff(c, again); diff != "" {
			t.Fatal(diff)
		}
	})
}

// TestDataOfACell: a decoded cell borrows what it was decoded from; a clone does not,
// and one without data has none, while the cell that it was copied from keeps its.
func TestDataOfACell(t *testing.T) {
	c := Cell{Accepted: Ballot{4, 1}, Value: Value{Live: true, Data: []byte("data"), Intent: &Intent{Txn: TxnID{Start: Ballot{2, 1}}, New: Content{Live: true, Data: []byte("new")}}}}
	b := AppendCell(nil, &c)
	borrowed, err := DecodeCell(b)
	if err != nil {
		t.Fatal(err)
	}
	own, bare := borrowed, borrowed
	own.Value.CloneData()
	bare.Value.DropData()
	clear(b)
	if diff := cmp.Diff(c, own); diff != "" {
		t.Errorf("the clone was changed: %s", diff)
	}
	if n := bare.Value.Size(); n != 0 {
		t.Errorf("without data it has %d bytes", n)
	}
	if n := borrowed.Value.Size(); n != c.Value.Size() {
		t.Errorf("the cell that the bare one was copied from has %d bytes", n)
	}
}
