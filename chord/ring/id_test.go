package ring

import (
	"bytes"
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// circumference is 2^384.
var circumference = new(big.Int).Lsh(big.NewInt(1), Bits)

func (id ID) number() *big.Int { return new(big.Int).SetBytes(id.b[:]) }

// anyID draws IDs at random, and the awkward ones more often than chance would.
func anyID() *rapid.Generator[ID] {
	return rapid.Custom(func(t *rapid.T) ID {
		var id ID
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 0: // few bits, so many leading zeros and many equal neighbours
			id.b[idBytes-1] = rapid.Byte().Draw(t, "low")
		case 1: // long carries
			for i := range id.b {
				id.b[i] = 0xff
			}
			id.b[rapid.IntRange(0, idBytes-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
		case 2: // one bit
			id = id.AddPowerOfTwo(rapid.IntRange(0, Bits-1).Draw(t, "bit"))
		default:
			copy(id.b[:], rapid.SliceOfN(rapid.Byte(), idBytes, idBytes).Draw(t, "bytes"))
		}
		return id
	})
}

// numbered returns the ID with that number.
func numbered(n int64) ID {
	id, err := IDFromBytes(big.NewInt(n).FillBytes(make([]byte, idBytes)))
	if err != nil {
		panic(err)
	}
	return id
}

func TestBetween(t *testing.T) {
	tests := []struct {
		id, a, b int64
		want     bool
	}{
		{5, 3, 8, true},
		{3, 3, 8, false}, // a is excluded
		{8, 3, 8, true},  // b is included
		{9, 3, 8, false},
		{2, 3, 8, false},
		{9, 8, 3, true}, // across zero
		{0, 8, 3, true},
		{3, 8, 3, true},
		{8, 8, 3, false},
		{5, 8, 3, false},
		{5, 4, 4, true}, // (a, a] is the whole circle
		{3, 4, 4, true},
		{4, 4, 4, true}, // with a itself, for it is b
		{0, 0, 0, true},
	}
	for _, tt := range tests {
		if got := numbered(tt.id).Between(numbered(tt.a), numbered(tt.b)); got != tt.want {
			t.Errorf("%d in (%d, %d]: %v, want %v", tt.id, tt.a, tt.b, got, tt.want)
		}
	}
}

func TestBetweenIsAComparisonOfDistances(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id, a, b := anyID().Draw(t, "id"), anyID().Draw(t, "a"), anyID().Draw(t, "b")
		want := a == b || id != a && a.Distance(id).Compare(a.Distance(b)) <= 0
		if got := id.Between(a, b); got != want {
			t.Fatalf("%s in (%s, %s]: %v, want %v", id, a, b, got, want)
		}
	})
}

func TestArithmeticAgainstBig(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id, o := anyID().Draw(t, "id"), anyID().Draw(t, "o")
		k := rapid.IntRange(0, Bits-1).Draw(t, "k")

		sum := new(big.Int).Lsh(big.NewInt(1), uint(k))
		sum.Add(sum, id.number()).Mod(sum, circumference)
		if got := id.AddPowerOfTwo(k).number(); got.Cmp(sum) != 0 {
			t.Fatalf("%s + 2^%d = %x, want %x", id, k, got, sum)
		}

		way := new(big.Int).Sub(o.number(), id.number())
		way.Mod(way, circumference)
		if got := id.Distance(o).number(); got.Cmp(way) != 0 {
			t.Fatalf("from %s to %s: %x, want %x", id, o, got, way)
		}

		if got, want := id.Compare(o), id.number().Cmp(o.number()); got != want {
			t.Fatalf("compare %s with %s: %d, want %d", id, o, got, want)
		}
		if got, want := id.bitLen(), id.number().BitLen(); got != want {
			t.Fatalf("bits of %s: %d, want %d", id, got, want)
		}
		head := new(big.Int).Rsh(id.number(), Bits-64)
		if got := uint64(id.Node()); got != head.Uint64() {
			t.Fatalf("node of %s: %x, want %x", id, got, head)
		}
	})
}

func TestAddPowerOfTwoRefusesOtherPowers(t *testing.T) {
	for _, k := range []int{-1, Bits} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("AddPowerOfTwo(%d) did not panic", k)
				}
			}()
			ID{}.AddPowerOfTwo(k)
		}()
	}
}

func TestIDRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := anyID().Draw(t, "id")
		if got, err := ParseID(id.String()); err != nil || got != id {
			t.Fatalf("ParseID(%s): %s, %v", id, got, err)
		}
		if got, err := ParseID("n" + strings.ToUpper(id.Hex())); err != nil || got != id {
			t.Fatalf("ParseID of upper case %s: %s, %v", id, got, err)
		}
		if got, err := IDFromBytes(id.Bytes()); err != nil || got != id {
			t.Fatalf("IDFromBytes(%s): %s, %v", id, got, err)
		}
		b, err := id.MarshalBinary()
		if err != nil || len(b) != idBytes {
			t.Fatalf("MarshalBinary(%s): %d bytes, %v", id, len(b), err)
		}
		got := NodeID([]byte("something else"))
		if err := got.UnmarshalBinary(b); err != nil || got != id {
			t.Fatalf("UnmarshalBinary(%s): %s, %v", id, got, err)
		}
		j, err := json.Marshal(id)
		if err != nil {
			t.Fatal(err)
		}
		got = NodeID([]byte("something else"))
		if err := json.Unmarshal(j, &got); err != nil || got != id {
			t.Fatalf("JSON of %s is %s, comes back as %s, %v", id, j, got, err)
		}
		// Leading zeros are printed: 96 digits whatever the number.
		if len(id.Hex()) != 96 || len(id.String()) != 97 || !strings.HasPrefix(id.String(), id.Short()) || !strings.HasPrefix(id.String(), id.Node().String()) {
			t.Fatalf("the forms of one ID differ: %s %s %s %s", id, id.Hex(), id.Short(), id.Node())
		}
	})
}

func TestLeadingZerosStay(t *testing.T) {
	id := numbered(0xbeef)
	want := "n" + strings.Repeat("0", 92) + "beef"
	if id.String() != want {
		t.Errorf("got %s, want %s", id, want)
	}
	if got, err := ParseID(want); err != nil || got != id || len(got.Bytes()) != idBytes {
		t.Errorf("ParseID: %s, %v", got, err)
	}
	if id.Short() != "n00000000" || id.Node() != 0 || id.IsZero() {
		t.Errorf("short %s, node %s, zero %v", id.Short(), id.Node(), id.IsZero())
	}
}

func TestZeroIDIsEmptyInText(t *testing.T) {
	b, err := json.Marshal(ID{})
	if err != nil || string(b) != `""` {
		t.Errorf("got %s, %v", b, err)
	}
}

func TestBytesAreACopy(t *testing.T) {
	id := NodeID([]byte("x"))
	id.Bytes()[0] ^= 0xff
	if id != NodeID([]byte("x")) {
		t.Error("writing to Bytes changed the ID")
	}
}

func TestMalformedIDs(t *testing.T) {
	digits := strings.Repeat("0", 96)
	for _, s := range []string{"", "n", digits, "n" + digits[1:], "n0" + digits, "N" + digits, "m" + digits, "n" + digits[:95] + "g", "n" + digits[:94] + "é"} {
		if id, err := ParseID(s); err == nil || !id.IsZero() {
			t.Errorf("ParseID(%q): %s, %v; want an error and no ID", s, id, err)
		}
	}
	for _, n := range []int{0, 1, 47, 49, 96} {
		if id, err := IDFromBytes(make([]byte, n)); err == nil || !id.IsZero() {
			t.Errorf("IDFromBytes of %d bytes: %s, %v; want an error and no ID", n, id, err)
		}
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("")
	f.Add("n")
	f.Add("n" + strings.Repeat("0", 96))
	f.Add("n" + strings.Repeat("fF", 48))
	f.Add(NodeID([]byte("seed")).String())
	f.Add(NodeID([]byte("seed")).Hex())
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseID(s)
		if err != nil {
			if !id.IsZero() {
				t.Errorf("ParseID(%q) failed with %v and returned %s", s, err, id)
			}
			return
		}
		if !strings.EqualFold(id.String(), s) {
			t.Errorf("ParseID(%q) prints as %s", s, id)
		}
		text, err := id.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back ID
		if err := back.UnmarshalText(text); err != nil || back != id {
			t.Errorf("%s came back from text as %s, %v", id, back, err)
		}
	})
}

func FuzzIDUnmarshalBinary(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, 47))
	f.Add(make([]byte, 48))
	f.Add(make([]byte, 49))
	f.Add(NodeID([]byte("seed")).Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		var id ID
		err := id.UnmarshalBinary(b)
		if (err == nil) != (len(b) == idBytes) {
			t.Fatalf("%d bytes: %v", len(b), err)
		}
		if err == nil && !bytes.Equal(id.Bytes(), b) {
			t.Errorf("%x came back as %x", b, id.Bytes())
		}
	})
}
