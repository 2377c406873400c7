package moving

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/chord-plugin/chord-plugin/backend"
)

// MaxKeys bounds the keys of one import. Each takes its length and 64 bytes of
// memory.
const MaxKeys = 1 << 24

// Import brings the keys of a source into a backend. Backend, Format, Path and
// Timeout are required.
type Import struct {
	Backend backend.Backend
	// Format is one of Readable, and Path the file or directory.
	Format, Path string
	// Strip is taken off every key, which must begin with it; Prefix is put before.
	Strip, Prefix string
	// Vault says that the keys are those of a Vault once Strip is taken off, as those
	// of Vault's own formats are: the whole storage of one, of which some stay behind.
	Vault bool
	// Overwrite replaces keys that exist and differ; else they are refused, all of
	// them, before anything is written.
	Overwrite bool
	// Others is what becomes of keys under Prefix that the source does not have.
	// Empty is RefuseOthers for the keys of a Vault, else KeepOthers.
	Others Others
	// DryRun writes nothing.
	DryRun bool
	// Timeout is how long the backend may take for one write or one page.
	Timeout time.Duration
	// Show, when not nil, is told how far it is, in one goroutine.
	Show func(Progress)

	from  *source
	items []item
	moved *Moved
	// strange are the keys to delete.
	strange []stranger
	// limit is MaxKeys, but for tests.
	limit int
}

// item is a key of the source.
type item struct {
	key string
	sum sum
	// index is the modify index of the key in the backend, 0 where it has none.
	index uint64
	// equal says that the backend has it as it is in the source.
	equal bool
}

// Run imports. Problems with keys are in the report, which is never nil, and then
// the error says how many there are. It may be run again after any error.
func (m *Import) Run(ctx context.Context) (*Moved, error) {
	m.items, m.strange = nil, nil
	m.moved = &Moved{Format: m.Format, Path: m.Path, DryRun: m.DryRun}
	if m.Show == nil {
		m.Show = func(Progress) {}
	}
	if m.limit == 0 {
		m.limit = MaxKeys
	}
	f, err := formatOf(m.Format)
	if err != nil {
		return m.moved, err
	}
	f.vault = f.vault || m.Vault
	m.from = &source{format: f, path: m.Path, strip: m.Strip, prefix: m.Prefix, leftOut: func(key, why string) {
		m.moved.LeftOut.add(key, why)
	}}
	if m.Others == "" {
		m.Others = KeepOthers
		if f.vault {
			m.Others = RefuseOthers
		}
	}
	if err := reach(ctx, m.Backend, m.Timeout); err != nil {
		return m.moved, err
	}
	for _, step := range []func(context.Context) error{m.read, m.plan, m.write, m.deleteOthers, m.verify} {
		if err := step(ctx); err != nil {
			return m.moved, interrupted(ctx, err)
		}
	}
	return m.moved, nil
}

// interrupted says so of an error that is only due to that.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted: %w", err)
	}
	return err
}

// read reads the source for the first time and checks what can be checked without
// asking.
func (m *Import) read(ctx context.Context) error {
	limits := m.Backend.Limits()
	mortal := backend.CapabilitiesOf(m.Backend).Has(backend.CanExpire)
	err := m.from.each(ctx, func(e *Entry) error {
		if len(m.items) == m.limit {
			return fmt.Errorf("%s has more than %d keys; import it in parts", m.Path, m.limit)
		}
		if err := limits.CheckPut(e.Key, e.Value, backend.PutOptions{ExpiresAfter: e.Expires}); err != nil {
			m.refuse(e.Key, err)
		} else if e.Expires > 0 && !mortal {
			m.moved.Refused.add(e.Key, fmt.Sprintf("it expires after %v, and here keys cannot expire", e.Expires))
		}
		if e.doubt != "" {
			m.moved.Doubtful.add(e.Key, e.doubt)
		}
		m.items = append(m.items, item{key: e.Key, sum: e.sum()})
		m.moved.Keys++
		m.moved.Bytes += int64(len(e.Value))
		m.Show(Progress{Doing: "read", Keys: m.moved.Keys, Bytes: m.moved.Bytes})
		return nil
	})
	if err != nil {
		return err
	}
	if len(m.items) == 0 && m.Format == ConsulExport {
		return fmt.Errorf("%s holds no keys; consul kv export leaves out what its token may not read", m.Path)
	}
	slices.SortFunc(m.items, func(a, b item) int { return strings.Compare(a.key, b.key) })
	for i := 1; i < len(m.items); i++ {
		if m.items[i].key == m.items[i-1].key {
			m.moved.Refused.add(m.items[i].key, "it is in the source more than once")
		}
	}
	if n := m.moved.Refused.Count; n > 0 {
		return fmt.Errorf("of %s %d cannot be stored; nothing was written", keys(m.moved.Keys), n)
	}
	return nil
}

// refuse notes an error about a key without naming it twice.
func (m *Import) refuse(key string, err error) {
	what := err.Error()
	if e := (*backend.Error)(nil); errors.As(err, &e) {
		what = e.Message
	}
	m.moved.Refused.add(key, what)
}

// plan compares the source with the backend.
func (m *Import) plan(ctx context.Context) error {
	there, err := m.compare(ctx, "compared")
	if err != nil {
		return err
	}
	differ := 0
	for i := range m.items {
		switch it := &m.items[i]; {
		case it.equal:
			m.moved.Present++
		case it.index == 0:
			m.moved.Written++
		case m.Overwrite:
			m.moved.Written++
			m.moved.Overwritten++
		default:
			differ++
			m.moved.Refused.add(it.key, "it exists and differs")
		}
	}
	if err := m.planOthers(ctx); err != nil {
		return err
	}
	if n := m.moved.Refused.Count; n > 0 {
		m.moved.Written, m.moved.Deleted = 0, 0
		return refused(len(m.items), differ, n-differ)
	}
	if m.moved.Present == len(m.items) && m.moved.Deleted == 0 {
		m.moved.Verified, m.moved.SHA256 = true, there.text()
	}
	return nil
}

// refused is the error of an import of all keys, some of which differ, or beside
// which there are others.
func refused(all, differ, others int) error {
	var why []string
	if differ > 0 {
		why = append(why, fmt.Sprintf("of %s %d exist and differ", keys(all), differ))
	}
	if others > 0 {
		why = append(why, fmt.Sprintf("the source lacks %s found here (see -others)", keys(others)))
	}
	return fmt.Errorf("%s; nothing was written", strings.Join(why, ", and "))
}

// compare reads what the backend has of the items, and returns the digest of it.
func (m *Import) compare(ctx context.Context, doing string) (*digest, error) {
	there := newDigest()
	if len(m.items) == 0 {
		return there, nil
	}
	for i := range m.items {
		m.items[i].index, m.items[i].equal = 0, false
	}
	next := 0
	q := backend.ListQuery{Prefix: common(m.items[0].key, m.items[len(m.items)-1].key), Values: true}
	_, err := pages(ctx, m.Backend, m.Timeout, q, func(of *backend.ListItem) error {
		for next < len(m.items) && m.items[next].key < of.Name {
			next++
		}
		if next == len(m.items) {
			return errEnough
		}
		if it := &m.items[next]; it.key == of.Name {
			got := fromBackend(of.Entry).sum()
			there.add(got)
			it.index, it.equal = of.Entry.ModifyIndex, got == it.sum
		}
		m.Show(Progress{Doing: doing, Keys: next, Of: len(m.items)})
		return nil
	})
	return there, err
}

// common returns what two keys begin with, in whole characters.
func common(a, b string) string {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	for n > 0 && n < len(a) && !utf8.RuneStart(a[n]) {
		n--
	}
	return a[:n]
}

// verify reads back what was written.
func (m *Import) verify(ctx context.Context) error {
	if m.DryRun || m.moved.Verified {
		return nil
	}
	want := newDigest()
	for i := range m.items {
		want.add(m.items[i].sum)
	}
	got, err := m.compare(ctx, "verified")
	if err != nil {
		return fmt.Errorf("all was written, and then could not be read back: %w", err)
	}
	for i := range m.items {
		switch it := &m.items[i]; {
		case it.equal:
		case it.index == 0:
			m.moved.Refused.add(it.key, "it was written and is not there")
		default:
			m.moved.Refused.add(it.key, "it was written and differs now")
		}
	}
	m.moved.SHA256 = got.text()
	if got.keys != want.keys || got.text() != want.text() {
		return fmt.Errorf("read back, %s of %d with SHA-256 %s; the source has %s: somebody else writes here, or keys expired", keys(got.keys), want.keys, got.text(), want.text())
	}
	if err := m.verifyOthers(ctx); err != nil {
		return err
	}
	m.moved.Verified = true
	return nil
}

// keys is a number of them in words.
func keys(n int) string {
	if n == 1 {
		return "1 key"
	}
	return fmt.Sprintf("%d keys", n)
}
