package register

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestMessageCodec(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := anyMessage(t)
		got, err := DecodeMessage(AppendMessage([]byte("before"), &m)[len("before"):])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestDecodeMessageRefuses(t *testing.T) {
	prepare := Message{Kind: MsgPrepare, Key: "k", Epoch: 1, Round: 2, Time: 3, Ballot: Ballot{4, 5}}
	good := AppendMessage(nil, &prepare)
	for n := range good {
		if _, err := DecodeMessage(good[:n]); err == nil {
			t.Errorf("the first %d of %d bytes are taken for a message", n, len(good))
		}
	}
	last := func(m Message, b byte) []byte {
		enc := AppendMessage(nil, &m)
		enc[len(enc)-1] = b
		return enc
	}
	forward := AppendMessage(nil, &Message{Kind: MsgForward, Change: &Change{Kind: End}})
	forward[bytes.LastIndexByte(forward, byte(End))] = byte(End) + 1
	result := AppendMessage(nil, &Message{Kind: MsgResult, Result: &Result{Outcome: Fenced}})
	result[bytes.LastIndexByte(result, byte(Fenced))] = byte(Fenced) + 1
	tests := []struct {
		name string
		b    []byte
		want string
	}{
		{"a version to come", append([]byte{2}, good[1:]...), "encoding version 2; this build reads version 1"},
		{"an unknown kind", []byte{1, 77, 0, 0, 0, 0}, "unknown kind 77; a newer build sent this"},
		{"a key longer than the message", []byte{1, 1, 200, 1}, "it ends too early"},
		{"a time of 54 bits", AppendMessage(nil, &Message{Kind: MsgStale, Time: MaxTime + 1}), "has more than 53 bits"},
		{"a truth value of 2", last(Message{Kind: MsgExpired}, 2), "2 is no truth value"},
		{"an unknown change", forward, "unknown change 13; a newer build sent this"},
		{"an unknown outcome", result, "unknown outcome 10; a newer build sent this"},
	}
	for _, tt := range tests {
		if _, err := DecodeMessage(tt.b); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "register: message of ") {
			t.Errorf("%s: %v; want %q", tt.name, err, tt.want)
		}
	}
}

func TestEncodeUnknownKindPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a message without a kind was encoded")
		}
	}()
	AppendMessage(nil, &Message{})
}

func FuzzDecodeMessage(f *testing.F) {
	for kind := MsgPrepare; kind <= MsgDrift; kind++ {
		m := Message{Kind: kind, Key: "k", Epoch: 1, Round: 1 << 60, Time: 5, Ballot: Ballot{4, 1}, Next: Ballot{5, 1}}
		m.Cell = Cell{Accepted: Ballot{4, 1}, Value: Value{Live: true, Data: []byte("v"), Lineage: []Past{{Ballot{3, 1}, Ballot{2, 1}}, {}}}}
		m.Op, m.Until, m.Timeout, m.Change = Ballot{2, 1}, 9, 1e9, &Change{Kind: Put, Data: []byte("v"), If: true, Index: 3}
		m.Result = &Result{Outcome: Done, Index: 3, Value: m.Cell.Value, Answered: 2, Owners: 3}
		f.Add(AppendMessage(nil, &m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeMessage(b)
		if err != nil {
			return
		}
		again, err := DecodeMessage(AppendMessage(nil, &m))
		if err != nil {
			t.Fatalf("%+v: %v", m, err)
		}
		if diff := cmp.Diff(m, again); diff != "" {
			t.Fatal(diff)
		}
	})
}
