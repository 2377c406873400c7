package register

import (
	"cmp"
	"testing"

	"pgregory.net/rapid"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

func TestBallotOrder(t *testing.T) {
	small := func(t *rapid.T) Ballot {
		return Ballot{rapid.Uint64Range(0, 2).Draw(t, "time"), ring.Node(rapid.Uint64Range(0, 2).Draw(t, "node"))}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := small(t), small(t)
		// Two digits in base three order the same way.
		want := cmp.Compare(a.Time*3+uint64(a.Node), b.Time*3+uint64(b.Node))
		if a.Compare(b) != want || b.Compare(a) != -want || a.Less(b) != (want < 0) {
			t.Fatalf("%v and %v: %d, want %d", a, b, a.Compare(b), want)
		}
		if m := maxBallot(a, b); m.Less(a) || m.Less(b) || m != a && m != b {
			t.Fatalf("the greater of %v and %v is %v", a, b, m)
		}
		if a.IsZero() != (a == Ballot{}) || ceiling(a.Time).Less(a) || !ceiling(a.Time).Less(Ballot{a.Time + 1, 0}) {
			t.Fatalf("ceiling of %v", a)
		}
	})
}

func TestBallotString(t *testing.T) {
	if got := (Ballot{}).String(); got != "none" {
		t.Error(got)
	}
	if got := (Ballot{12, 0xabcd << 48}).String(); got != "12.abcd" {
		t.Error(got)
	}
}

func TestNames(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{MsgPrepare.String(), "prepare"}, {MsgDrift.String(), "drift"}, {MessageKind(0).String(), "message 0"}, {MessageKind(99).String(), "message 99"},
		{Identity.String(), "identity"}, {Put.String(), "put"}, {Delete.String(), "delete"}, {Pop.String(), "pop"}, {Place.String(), "place"}, {Resolve.String(), "resolve"},
		{Nudge.String(), "nudge"}, {Commit.String(), "commit"}, {Abort.String(), "abort"}, {Kind(0).String(), "kind 0"}, {Release.String(), "release"}, {Renew.String(), "renew"}, {End.String(), "end"}, {Kind(13).String(), "kind 13"},
		{Done.String(), "done"}, {Refused.String(), "refused"}, {NoQuorum.String(), "no quorum"}, {Unknown.String(), "unknown"},
		{Overloaded.String(), "overloaded"}, {Drifted.String(), "drifted"}, {Held.String(), "held"}, {Oversized.String(), "oversized"}, {Fenced.String(), "fenced"},
		{Absent.String(), "absent"}, {Pending.String(), "pending"}, {Committed.String(), "committed"}, {Aborted.String(), "aborted"}, {State(9).String(), "state 9"}, {Outcome(0).String(), "outcome 0"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}
