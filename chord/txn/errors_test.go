package txn

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// TestOnlyUnknownIsUnknown: that a call below was in doubt says nothing of the
// transaction, unless it was the one that decides.
func TestOnlyUnknownIsUnknown(t *testing.T) {
	cause := fmt.Errorf("below: %w", ErrUnknown)
	if err := unavailable("k", cause); errors.Is(err, ErrUnknown) || KindOf(err) != Unavailable || !strings.Contains(err.Error(), `key "k"`) {
		t.Error(err)
	}
	if err := error(&Error{Kind: Unknown, Cause: cause}); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	lost := conflict("", "lost")
	if err := unavailable("k", lost); err != lost {
		t.Error(err)
	}
	if KindOf(cause) != 0 || KindOf(nil) != 0 {
		t.Error("a kind of what has none")
	}
}

func TestTexts(t *testing.T) {
	for v := Set; v <= Unlock; v++ {
		if strings.HasPrefix(v.String(), "verb ") {
			t.Errorf("%d has no name", uint8(v))
		}
	}
	for f := FaultMissing; f <= FaultTree; f++ {
		if strings.HasPrefix(f.String(), "fault ") {
			t.Errorf("%d has no text", uint8(f))
		}
	}
	if Verb(0).String() != "verb 0" || Fault(0).String() != "fault 0" {
		t.Error(Verb(0), Fault(0))
	}
	failed := &Failed{[]OpError{{Op: 1, Key: "a", Fault: FaultExists}, {Op: 3, Key: "b", Fault: FaultMissing}}}
	if want := `txn: nothing was changed, since operation 1, key "a": the key exists; operation 3, key "b": the key does not exist`; failed.Error() != want {
		t.Error(failed)
	}
}

func TestConfig(t *testing.T) {
	if _, err := New(Config{Moment: -1}); err == nil || !strings.Contains(err.Error(), "Moment") {
		t.Error(err)
	}
	c, err := New(Config{Timeout: time.Second})
	if err != nil || c.cfg != (Config{Timeout: time.Second, Life: time.Minute, Moment: 20 * time.Millisecond, Pause: time.Millisecond}) {
		t.Error(c.cfg, err)
	}
	var total time.Duration
	for d, n := c.pause(0), 0; n < 10; d, n = c.pause(d), n+1 {
		total += d
	}
	if want := (1 + 2 + 4 + 8 + 16 + 5*20) * time.Millisecond; total != want {
		t.Errorf("ten pauses take %v, want %v", total, want)
	}
}

// TestSightingsAreBounded: what is known stays known until somebody could act on it,
// and then leaves its place to others.
func TestSightingsAreBounded(t *testing.T) {
	c, err := New(Config{Timeout: 2 * maxSightings})
	if err != nil {
		t.Fatal(err)
	}
	id := func(n int) ID { return ID{Start: register.Ballot{Time: uint64(n)}} }
	for n := range maxSightings + 10 {
		if d := c.known(id(n), time.Duration(n)); d != 0 {
			t.Fatalf("%d is known for %v", n, d)
		}
	}
	if d := c.known(id(0), 2*maxSightings-1); d != 2*maxSightings-1 {
		t.Errorf("known for %d", d)
	}
	if d := c.known(id(maxSightings), 2*maxSightings-1); d != 0 {
		t.Errorf("what found no place is known for %d", d)
	}
	c.known(id(maxSightings), 2*maxSightings)
	if d := c.known(id(maxSightings), 2*maxSightings+5); d != 5 {
		t.Errorf("known for %d", d)
	}
	if len(c.sightings) != maxSightings || len(c.order) != maxSightings {
		t.Errorf("%d, in the order %d", len(c.sightings), len(c.order))
	}
	if d := c.known(id(1), 2*maxSightings); d != 2*maxSightings-1 {
		t.Errorf("known for %d", d)
	}
}
