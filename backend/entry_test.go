package backend

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestClone(t *testing.T) {
	require.Nil(t, (*Entry)(nil).Clone())

	e := &Entry{Key: "k", Value: []byte("value"), Flags: 1, Session: "s", CreateIndex: 2, ModifyIndex: 3, LockIndex: 4}
	want := *e
	c := e.Clone()
	require.Equal(t, &want, c)
	c.Value[0], c.Flags = 'x', 9
	require.Equal(t, "value", string(e.Value))
	require.Equal(t, uint64(1), e.Flags)

	require.Nil(t, (&Entry{}).Clone().Value)
	require.Equal(t, []byte{}, (&Entry{Value: []byte{}}).Clone().Value)
}

func TestCondition(t *testing.T) {
	for _, tc := range []struct {
		name  string
		cond  Condition
		index uint64
		set   bool
		holds map[uint64]bool
	}{
		{"none", Condition{}, 0, false, map[uint64]bool{0: true, 1: true, 7: true}},
		{"IfAbsent", IfAbsent(), 0, true, map[uint64]bool{0: true, 1: false, 7: false}},
		{"IfIndex(0)", IfIndex(0), 0, true, map[uint64]bool{0: true, 1: false, 7: false}},
		{"IfIndex(7)", IfIndex(7), 7, true, map[uint64]bool{0: false, 1: false, 7: true, 8: false}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n, ok := tc.cond.Index()
			require.Equal(t, tc.index, n)
			require.Equal(t, tc.set, ok)
			for index, want := range tc.holds {
				require.Equal(t, want, tc.cond.Holds(index), "index %d", index)
			}
		})
	}
}
