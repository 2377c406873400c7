package ring

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// idWithNode returns an ID whose first 64 bits are node and whose last byte is low.
func idWithNode(node Node, low byte) ID {
	var id ID
	binary.BigEndian.PutUint64(id.b[:], uint64(node))
	id.b[idBytes-1] = low
	return id
}

func TestValidate(t *testing.T) {
	tests := []struct {
		name string
		edit func(*Configuration)
		want string // "" if it is valid
	}{
		{"as it is", func(*Configuration) {}, ""},
		{"a joint one", func(c *Configuration) { old := testConfiguration(4, 5).New; c.Old = &old }, ""},
		{"no address yet", func(c *Configuration) { c.New.Members[0].Addr = "" }, ""},
		{"the longest name and address", func(c *Configuration) {
			c.New.Members[0].Name, c.New.Members[0].Addr = strings.Repeat("n", MaxName), strings.Repeat("a", MaxAddr)
		}, ""},
		{"no ring", func(c *Configuration) { c.RingID = "" }, `ring ID "" is not 32 lower-case hex digits`},
		{"ring ID too short", func(c *Configuration) { c.RingID = c.RingID[1:] }, "is not 32 lower-case hex digits"},
		{"ring ID too long", func(c *Configuration) { c.RingID += "0" }, "is not 32 lower-case hex digits"},
		{"ring ID not hex", func(c *Configuration) { c.RingID = c.RingID[:31] + "g" }, "is not 32 lower-case hex digits"},
		{"ring ID in capitals", func(c *Configuration) { c.RingID = c.RingID[:31] + "A" }, "is not 32 lower-case hex digits"},
		{"epoch 0", func(c *Configuration) { c.Epoch = 0 }, "epoch 0; epochs begin at 1"},
		{"level 0", func(c *Configuration) { c.Level = 0 }, "protocol level 0; levels begin at 1"},
		{"no copies", func(c *Configuration) { c.New.Replicas = 0 }, "replicas 0; allowed are 1 to 5"},
		{"six copies", func(c *Configuration) { c.New.Replicas = 6 }, "replicas 6; allowed are 1 to 5"},
		{"wrong in Old", func(c *Configuration) { c.Old = &Side{Replicas: -1, Members: c.New.Members} }, "replicas -1; allowed are 1 to 5"},
		{"no members", func(c *Configuration) { c.New.Members = nil }, "0 members; allowed are 1 to 1024"},
		{"too many members", func(c *Configuration) { c.New = testConfiguration(MaxMembers+1, 3).New }, "1025 members; allowed are 1 to 1024"},
		{"zero ID", func(c *Configuration) { c.New.Members[0].ID = ID{} }, "has no usable ID"},
		{"ID whose node is 0", func(c *Configuration) { c.New.Members[0].ID = idWithNode(0, 1) }, "has no usable ID"},
		{"no name", func(c *Configuration) { c.New.Members[1].Name = "" }, `the name "" is empty or used twice; give each member a name of its own`},
		{"a name twice", func(c *Configuration) { c.New.Members[1].Name = c.New.Members[0].Name }, "is empty or used twice; give each member a name of its own"},
		{"name too long", func(c *Configuration) { c.New.Members[1].Name = strings.Repeat("n", MaxName+1) }, "is over 128 bytes or not printable UTF-8"},
		{"name with a newline", func(c *Configuration) { c.New.Members[1].Name = "a\nb" }, `the name "a\nb" is over 128 bytes or not printable UTF-8`},
		{"name not UTF-8", func(c *Configuration) { c.New.Members[1].Name = "a\xff" }, "is over 128 bytes or not printable UTF-8"},
		{"address too long", func(c *Configuration) { c.New.Members[1].Addr = strings.Repeat("a", MaxAddr+1) }, "is over 259 bytes or not printable UTF-8"},
		{"address with a control character", func(c *Configuration) { c.New.Members[1].Addr = "h\x1b:1" }, `the address "h\x1b:1" is over 259 bytes or not printable UTF-8`},
		{"no tokens", func(c *Configuration) { c.New.Members[1].Tokens = 0 }, "has 0 tokens; allowed are 1 to 1024"},
		{"too many tokens", func(c *Configuration) { c.New.Members[1].Tokens = MaxTokens + 1 }, "has 1025 tokens; allowed are 1 to 1024"},
		{"not sorted", func(c *Configuration) { slices.Reverse(c.New.Members) }, "members are not sorted by ID, or an ID is there twice"},
		{"an ID twice", func(c *Configuration) { c.New.Members[1].ID = c.New.Members[0].ID }, "members are not sorted by ID, or an ID is there twice"},
		{"two IDs of one node", func(c *Configuration) {
			node := c.New.Members[0].ID.Node()
			c.New.Members[0].ID, c.New.Members[1].ID = idWithNode(node, 1), idWithNode(node, 2)
		}, "shares the first 64 bits of its ID with another; start it with an empty data directory"},
		{"two IDs of one node, one in Old", func(c *Configuration) {
			node := c.New.Members[0].ID.Node()
			c.Old = &Side{Replicas: 1, Members: []Member{{ID: idWithNode(node, 1), Name: "old", Tokens: 1}}}
		}, "shares the first 64 bits of its ID with another; start it with an empty data directory"},
		{"one name for a member of Old and its successor in New", func(c *Configuration) {
			old := testConfiguration(4, 3).New
			old.Members[3].Name = "same"
			c.New.Members[0].Name = "same"
			c.Old = &old
		}, ""},
	}
	for _, tt := range tests {
		c := testConfiguration(3, 3)
		tt.edit(c)
		err := c.Validate()
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "configuration: ")):
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestMajorityAndFaults(t *testing.T) {
	for _, tt := range []struct{ members, replicas, copies, majority, faults int }{
		{1, 1, 1, 1, 0}, {1, 5, 1, 1, 0}, {2, 5, 2, 2, 0}, {3, 5, 3, 2, 1}, {4, 5, 4, 3, 1}, {5, 5, 5, 3, 2},
		{9, 1, 1, 1, 0}, {9, 2, 2, 2, 0}, {9, 3, 3, 2, 1}, {9, 4, 4, 3, 1}, {9, 5, 5, 3, 2},
	} {
		s := Side{Replicas: tt.replicas, Members: make([]Member, tt.members)}
		if s.Copies() != tt.copies || Majority(s.Copies()) != tt.majority || s.Faults() != tt.faults {
			t.Errorf("%d members, %d replicas: copies %d, majority %d, faults %d; want %d, %d, %d", tt.members, tt.replicas,
				s.Copies(), Majority(s.Copies()), s.Faults(), tt.copies, tt.majority, tt.faults)
		}
	}
	if Level < 1 {
		t.Errorf("level %d; levels begin at 1", Level)
	}
}

func TestMemberLooksAtNewFirst(t *testing.T) {
	c := testConfiguration(3, 3)
	old := testConfiguration(4, 3).New
	for i := range old.Members {
		old.Members[i].Addr = "old:1"
	}
	c.Old = &old
	if !c.Joint() || len(c.Sides()) != 2 || c.Sides()[0] != c.Old || c.Sides()[1] != &c.New {
		t.Fatal("a joint configuration has the sides Old and New, in this order")
	}
	if m, ok := c.Member(testMember(0, 0).ID); !ok || m.Addr == "old:1" {
		t.Errorf("member of both sides: %v %v", m, ok)
	}
	if m, ok := c.Member(testMember(3, 0).ID); !ok || m.Addr != "old:1" {
		t.Errorf("member of Old: %v %v", m, ok)
	}
	if m, ok := c.Member(testMember(4, 0).ID); ok {
		t.Errorf("a stranger is a member: %v", m)
	}
	if got := c.Names(); !slices.Equal(got, []string{"m0", "m1", "m2"}) {
		t.Errorf("names %q", got)
	}
}

func TestConfigurationJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := anyConfiguration(rapid.Bool().Draw(t, "joint")).Draw(t, "configuration")
		c.Epoch = rapid.Uint64Min(1).Draw(t, "epoch") // over 2^53 too
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		got := new(Configuration)
		if err := json.Unmarshal(b, got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, got, cmp.AllowUnexported(ID{})); diff != "" {
			t.Fatal(diff)
		}
		got, err = DecodeConfiguration(c.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, got, cmp.AllowUnexported(ID{})); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestDecodeConfigurationRefuses(t *testing.T) {
	c := testConfiguration(2, 3)
	c.New.Members[0].Name = `<"a"&\b>é`
	good := c.Encode()
	if got, err := DecodeConfiguration(good); err != nil || got.New.Members[0].Name != c.New.Members[0].Name {
		t.Fatalf("%v, %v", got, err)
	}
	replace := func(old, new string) []byte {
		if !bytes.Contains(good, []byte(old)) {
			t.Fatalf("%s is not in %s", old, good)
		}
		return bytes.Replace(bytes.Clone(good), []byte(old), []byte(new), 1)
	}
	tests := []struct {
		name string
		b    []byte
		want string
	}{
		{"nothing", nil, "no bytes"},
		{"a format to come", append([]byte{2}, good[1:]...), "format 2; this build reads format 1"},
		{"JSON without a format", good[1:], "format 123; this build reads format 1"},
		{"the format alone", good[:1], "EOF"},
		{"cut short", good[:len(good)-1], "unexpected EOF"},
		{"over the limit", append(bytes.Clone(good), make([]byte, MaxEncodedConfiguration)...), "allowed are 2097152"},
		{"bytes behind it", append(bytes.Clone(good), "{}"...), "not written as Encode writes it"},
		{"an unknown field", replace(`"epoch":1`, `"epoch":1,"color":2`), "color"},
		{"a field twice", replace(`"epoch":1`, `"epoch":2,"epoch":1`), "not written as Encode writes it"},
		{"a field in capitals", replace(`"epoch":1`, `"EPOCH":1`), "not written as Encode writes it"},
		{"spaces", replace(`"epoch":1`, `"epoch": 1`), "not written as Encode writes it"},
		{"a broken ID", replace(`"id":"n`, `"id":"m`), "an ID is written as 'n'"},
		{"invalid", replace(`"epoch":1`, `"epoch":0`), "epoch 0; epochs begin at 1"},
		{"null", append(good[:1:1], "null"...), "ring ID"},
	}
	for _, tt := range tests {
		got, err := DecodeConfiguration(tt.b)
		if got != nil || err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "decode configuration: ") {
			t.Errorf("%s: %v, %v; want %q", tt.name, got, err, tt.want)
		}
	}
}

// TestLargestConfigurationFits encodes a joint configuration with everything at
// its limit, every byte of the names one that JSON writes as two.
func TestLargestConfigurationFits(t *testing.T) {
	side := func(from int) Side {
		s := Side{Replicas: MaxReplicas}
		for i := range MaxMembers {
			m := testMember(from+i, MaxTokens)
			m.Name = fmt.Sprintf("%06d", from+i) + strings.Repeat(`"`, MaxName-6)
			m.Addr = strings.Repeat(`\`, MaxAddr)
			s.Members = append(s.Members, m)
		}
		return s
	}
	old := side(0)
	c := &Configuration{RingID: RingID(strings.Repeat("f", 32)), Epoch: 1<<64 - 1, Level: Level, Old: &old, New: side(MaxMembers)}
	c.Sort()
	b := c.Encode()
	t.Logf("%d bytes of %d", len(b), MaxEncodedConfiguration)
	if _, err := DecodeConfiguration(b); err != nil {
		t.Error(err)
	}
}

func FuzzDecodeConfiguration(f *testing.F) {
	joint := testConfiguration(3, 3)
	old := testConfiguration(2, 5).New
	joint.Old = &old
	f.Add(testConfiguration(1, 1).Encode())
	f.Add(joint.Encode())
	f.Add([]byte{})
	f.Add([]byte{configurationFormat})
	f.Add([]byte("\x01{}"))
	f.Add([]byte("\x01null"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeConfiguration(b)
		if err != nil {
			return
		}
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
		if !bytes.Equal(c.Encode(), b) {
			t.Errorf("%q comes back as %q", b, c.Encode())
		}
	})
}
