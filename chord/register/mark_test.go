package register

import "testing"

// TestNewID: IDs grow and stay below what is durable, so that they are never issued
// again after a restart.
func TestNewID(t *testing.T) {
	a := newAlone(t, Config{})
	var last uint64
	for token := uint64(1); token <= 5000; token++ {
		a.got = nil
		a.do(func() { a.NewID(a.now, token) })
		if len(a.got) != 1 || a.got[0].Token != token || a.got[0].Outcome != Done || a.got[0].Index <= last {
			t.Fatalf("after %d: %+v", last, a.got)
		}
		last = a.got[0].Index
		if last > a.reserved {
			t.Fatalf("ID %d is above the durable mark %d", last, a.reserved)
		}
	}
}
