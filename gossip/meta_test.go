package gossip

import (
	"bytes"
	"strings"
	"testing"

	"github.com/hashicorp/memberlist"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// biggest has every field at its limit.
func biggest() Node {
	return Node{
		ID: testID("big"), Name: strings.Repeat("n", MaxName), Role: RoleClient,
		MeshAddr: strings.Repeat("m", MaxAddr), HTTPAddr: strings.Repeat("h", MaxAddr), Version: strings.Repeat("v", MaxVersion),
		RingID: ringA, Epoch: 1<<64 - 1, Expect: ring.MaxMembers, Boot: 1<<64 - 1, Started: 1<<64 - 1,
	}
}

func TestMetaFits(t *testing.T) {
	n := biggest()
	b, err := encodeMeta(&n)
	require.NoError(t, err)
	require.LessOrEqual(t, len(b), memberlist.MetaMaxSize)
	back, err := decodeMeta(b)
	require.NoError(t, err)
	require.Equal(t, n, back)
	back, err = decodeMeta(append(b, "a field of a later release"...))
	require.NoError(t, err)
	require.Equal(t, n, back)
	n.Returning = true
	more, err := encodeMeta(&n)
	require.NoError(t, err)
	require.LessOrEqual(t, len(more), memberlist.MetaMaxSize)
	back, err = decodeMeta(more)
	require.NoError(t, err)
	require.Equal(t, n, back)
	for i := range b {
		_, err := decodeMeta(b[:i])
		require.ErrorIs(t, err, errShortMeta)
	}
}

func TestMetaRefuses(t *testing.T) {
	for want, f := range map[string]func(*Node){
		"the name has 65 bytes and may have 64":           func(n *Node) { n.Name += "n" },
		"the mesh address has 151 bytes and may have 150": func(n *Node) { n.MeshAddr += "m" },
		"the HTTP address has 151 bytes and may have 150": func(n *Node) { n.HTTPAddr += "h" },
		"the version has 33 bytes and may have 32":        func(n *Node) { n.Version += "v" },
		"the name holds U+000A":                           func(n *Node) { n.Name = "a\nb" },
		"the name holds U+0020":                           func(n *Node) { n.Name = "a b" },
		"the name is not valid UTF-8":                     func(n *Node) { n.Name = "\xff" },
		"lower-case hex digits":                           func(n *Node) { n.RingID = ring.RingID(strings.Repeat("A", 32)) },
		"all of them are 0":                               func(n *Node) { n.RingID = ring.RingID(strings.Repeat("0", 32)) },
		"boots begin at 1":                                func(n *Node) { n.Boot = 0 },
	} {
		n := biggest()
		f(&n)
		_, err := encodeMeta(&n)
		require.ErrorContains(t, err, want)
	}
	n := biggest()
	b, err := encodeMeta(&n)
	require.NoError(t, err)
	for want, f := range map[string]func([]byte){
		"the meta has version 9":                    func(b []byte) { b[0] = 9 },
		"the meta has role 7":                       func(b []byte) { b[1] = 7 },
		"epoch 18446744073709551615 without a ring": func(b []byte) { clear(b[2 : 2+ringBytes]) },
	} {
		c := bytes.Clone(b)
		f(c)
		_, err := decodeMeta(c)
		require.ErrorContains(t, err, want)
	}
}

func FuzzDecodeMeta(f *testing.F) {
	for _, n := range []Node{biggest(), {ID: testID("a"), Name: "a", Role: RoleMember, Boot: 1}} {
		b, err := encodeMeta(&n)
		require.NoError(f, err)
		f.Add(b)
		f.Add(append(b, returning))
	}
	f.Add([]byte{})
	f.Add([]byte("garbage"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := decodeMeta(b)
		if err != nil {
			return
		}
		c, err := encodeMeta(&n)
		require.NoError(t, err, "what can be read can be told")
		require.True(t, bytes.HasPrefix(b, c), "and reads the same")
		require.LessOrEqual(t, len(c), memberlist.MetaMaxSize)
	})
}

func FuzzDecodeIntents(f *testing.F) {
	f.Add(encodeIntents())
	f.Add(encodeIntents(intent{testID("a"), 1}, intent{testID("b"), 1 << 40}))
	f.Add([]byte{})
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := decodeIntents(b)
		if err != nil {
			return
		}
		require.Equal(t, b, encodeIntents(list...))
	})
}

func TestIntentsAreBounded(t *testing.T) {
	_, err := decodeIntents(encodeIntents(make([]intent, MaxNodes+MaxGone)...))
	require.NoError(t, err)
	_, err = decodeIntents(encodeIntents(make([]intent, MaxNodes+MaxGone+1)...))
	require.ErrorContains(t, err, "may have")
}
