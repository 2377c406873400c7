package register

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// maxEncodedNodes bounds what a decoder believes of FenceEntry.By.
const maxEncodedNodes = 1 << 16

const entryVersion = 1

// AppendFenceEntry appends the encoding of e to dst: version 1, key (length,
// bytes), token and number of Try and of Sealed, then the number of nodes of By and
// each of them.
func AppendFenceEntry(dst []byte, e *FenceEntry) []byte {
	dst = appendString(append(dst, entryVersion), e.Key)
	dst = appendAttempt(dst, e.Try)
	dst = appendAttempt(dst, e.Sealed)
	dst = binary.AppendUvarint(dst, uint64(len(e.By)))
	for _, node := range e.By {
		dst = binary.BigEndian.AppendUint64(dst, uint64(node))
	}
	return dst
}

// DecodeFenceEntry reads what AppendFenceEntry wrote.
func DecodeFenceEntry(b []byte) (FenceEntry, error) {
	d := decoder{b: b}
	e := d.entry()
	if d.err == nil && len(d.b) > 0 {
		d.fail(fmt.Errorf("%d bytes too many", len(d.b)))
	}
	if d.err != nil {
		return FenceEntry{}, fmt.Errorf("register: fence of %d bytes: %w", len(b), d.err)
	}
	return e, nil
}

func (d *decoder) entry() FenceEntry {
	if v := d.byte(); d.err == nil && v != entryVersion {
		d.fail(fmt.Errorf("fence of encoding version %d; this build reads version %d", v, entryVersion))
	}
	e := FenceEntry{Key: d.string(), Try: d.attempt(), Sealed: d.attempt()}
	n := d.uvarint()
	if n > maxEncodedNodes || n > uint64(len(d.b))/8 {
		d.fail(errShort)
		n = 0
	}
	for range n {
		e.By = append(e.By, ring.Node(d.node()))
	}
	if d.err == nil && (e.Key == "" || e.Try == (Attempt{}) && e.Sealed == (Attempt{})) {
		d.fail(errors.New("a fence without a lock or an attempt"))
	}
	return e
}

func appendAttempt(dst []byte, a Attempt) []byte {
	dst = binary.AppendUvarint(dst, a.Token)
	return binary.AppendUvarint(dst, a.Number)
}

func (d *decoder) attempt() Attempt { return Attempt{Token: d.time(), Number: d.uvarint()} }

func appendEntries(dst []byte, entries []FenceEntry) []byte {
	dst = append(dst, byte(len(entries)))
	for i := range entries {
		dst = AppendFenceEntry(dst, &entries[i])
	}
	return dst
}

// count reads how many of something there are that has a limit of MaxTags.
func (d *decoder) count(what string) int {
	n := d.byte()
	if n > MaxTags {
		d.fail(fmt.Errorf("%d %s; at most %d are sent", n, what, MaxTags))
		return 0
	}
	return int(n)
}

func (d *decoder) entries() (entries []FenceEntry) {
	for range d.count("entries of fences") {
		entries = append(entries, d.entry())
	}
	return entries
}

func appendFence(dst []byte, f Fence) []byte {
	return binary.AppendUvarint(appendString(dst, f.Key), f.Token)
}

func (d *decoder) fence() Fence {
	f := Fence{Key: d.string(), Token: d.time()}
	if d.err == nil && (f.Key == "" || f.Token == 0) {
		d.fail(errors.New("a fence without a lock or a token"))
	}
	return f
}

func (d *decoder) fences() (fences []Fence) {
	for range d.count("fences of a change") {
		fences = append(fences, d.fence())
	}
	return fences
}

// appendTags appends the tags of a value and what it stands on.
func appendTags(dst []byte, v *Value) []byte {
	dst = append(dst, byte(len(v.Tags)))
	for _, t := range v.Tags {
		dst = appendAttempt(appendFence(dst, t.Fence), t.Pass)
	}
	undo := appendValue(appendBallot(nil, v.Undo.Accepted), &v.Undo.Value)
	dst = binary.AppendUvarint(dst, uint64(len(undo)))
	return append(dst, undo...)
}

func (d *decoder) tags(v *Value) {
	n := d.count("tags")
	for range n {
		v.Tags = append(v.Tags, Tag{Fence: d.fence(), Pass: d.attempt()})
	}
	undo := decoder{b: d.bytes(d.uvarint()), plain: true}
	if d.err == nil {
		v.Undo = &Cell{Accepted: undo.ballot(), Value: undo.value()}
		if d.err = undo.err; d.err == nil && n == 0 {
			d.fail(errors.New("no tags where there should be some"))
		}
	}
}

// older refuses a cell that was made on top of something newer: a round that falls
// back on that would be below it.
func (d *decoder) older(c *Cell) {
	undo := c.Value.Undo
	if d.err == nil && undo != nil && (!undo.Accepted.Less(c.Accepted) || undo.Value.Write().Time >= c.Value.Write().Time) {
		d.fail(errors.New("what a tagged value was made on top of is newer than it"))
	}
}
