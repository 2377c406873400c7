package backendtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/chord-plugin/chord-plugin/backend"
)

// maxSteps is the largest number of calls in one random sequence.
const maxSteps = 16

var (
	randomNames    = []string{"a", "a/", "a//b", "a/b", "a/b/c", "ab", "b", "b/c", "é", "é/日", "日 本"}
	randomPrefixes = []string{"", "a", "a/", "a/b", "b", "c", "é"}
	randomAfters   = []string{"", "a", "a/", "a//", "a/b/", "a/bb", "b/", "é/"}
)

// agreesWithMap draws sequences of calls and compares each answer with a map's.
// A failure is shrunk to the shortest sequence that shows it.
func agreesWithMap(c *check) {
	check := 0
	rapid.Check(c.TB, func(t *rapid.T) {
		check++ // a prefix of its own for every sequence, also while shrinking
		m := &mapModel{c: c, t: t, prefix: c.key(fmt.Sprintf("%d/", check)), entries: map[string]*backend.Entry{}, newest: map[string]uint64{}}
		actions := []func(){m.put, m.put, m.put, m.delete, m.pop, m.get, m.list}
		for range rapid.IntRange(1, maxSteps).Draw(t, "steps") {
			actions[rapid.IntRange(0, len(actions)-1).Draw(t, "action")]()
		}
		m.compare(backend.ListQuery{Values: true})
	})
}

// A mapModel is a backend and the map that it should agree with.
type mapModel struct {
	c       *check
	t       *rapid.T
	prefix  string
	entries map[string]*backend.Entry
	// newest is the newest index that each key is known to have had.
	newest map[string]uint64
}

func (m *mapModel) drawKey() string {
	return m.prefix + rapid.SampledFrom(randomNames).Draw(m.t, "name")
}

// drawCondition draws a condition on key and tells whether it holds.
func (m *mapModel) drawCondition(key string) (cond backend.Condition, holds bool) {
	var index uint64
	if e := m.entries[key]; e != nil {
		index = e.ModifyIndex
	}
	switch rapid.SampledFrom([]string{"none", "current", "absent", "newest"}).Draw(m.t, "condition") {
	case "current":
		return backend.IfIndex(index), true
	case "absent":
		return backend.IfAbsent(), index == 0
	case "newest":
		return backend.IfIndex(m.newest[key]), m.newest[key] == index
	}
	return backend.Condition{}, true
}

func (m *mapModel) put() {
	key := m.drawKey()
	value := rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(m.t, "value")
	flags := rapid.Uint64().Draw(m.t, "flags")
	cond, holds := m.drawCondition(key)
	index, err := m.c.b.Put(m.c.ctx, key, value, backend.PutOptions{If: cond, Flags: flags})
	if !holds {
		require.ErrorIs(m.t, err, backend.ErrConflict)
		return
	}
	require.NoError(m.t, err)
	require.Greater(m.t, index, m.newest[key])
	e := &backend.Entry{Key: key, Value: value, Flags: flags, CreateIndex: index, ModifyIndex: index}
	if old := m.entries[key]; old != nil {
		e.CreateIndex = old.CreateIndex
	}
	m.entries[key], m.newest[key] = e, index
}

func (m *mapModel) delete() {
	key := m.drawKey()
	cond, holds := m.drawCondition(key)
	err := m.c.b.Delete(m.c.ctx, key, backend.DeleteOptions{If: cond})
	if !holds {
		require.ErrorIs(m.t, err, backend.ErrConflict)
		return
	}
	require.NoError(m.t, err)
	delete(m.entries, key)
}

func (m *mapModel) pop() {
	key := m.drawKey()
	got, err := m.c.b.Pop(m.c.ctx, key)
	require.NoError(m.t, err)
	m.same(m.entries[key], got)
	delete(m.entries, key)
}

func (m *mapModel) get() {
	key := m.drawKey()
	got, err := m.c.b.Get(m.c.ctx, key, backend.GetOptions{})
	require.NoError(m.t, err)
	m.same(m.entries[key], got)
}

func (m *mapModel) list() {
	m.compare(backend.ListQuery{
		Prefix:    rapid.SampledFrom(randomPrefixes).Draw(m.t, "prefix"),
		Separator: rapid.SampledFrom([]string{"", "/", "//", "b"}).Draw(m.t, "separator"),
		After:     rapid.SampledFrom(randomAfters).Draw(m.t, "after"),
		Limit:     rapid.IntRange(-1, 4).Draw(m.t, "limit"),
		Values:    rapid.Bool().Draw(m.t, "values"),
	})
}

// compare lists q, below the model's prefix, and works it out from the map in
// the plainest way: every name, sorted, then cut.
func (m *mapModel) compare(q backend.ListQuery) {
	q.Prefix = m.prefix + q.Prefix
	if q.After != "" {
		q.After = m.prefix + q.After
	}
	names := map[string]bool{} // folded or not
	for key := range m.entries {
		rest, ok := strings.CutPrefix(key, q.Prefix)
		if !ok {
			continue
		}
		name, folded := key, false
		if q.Separator != "" {
			var head string
			if head, _, folded = strings.Cut(rest, q.Separator); folded {
				name = q.Prefix + head + q.Separator
			}
		}
		if name > q.After {
			names[name] = folded
		}
	}
	want := slices.Sorted(maps.Keys(names))
	more := q.Limit > 0 && len(want) > q.Limit
	if more {
		want = want[:q.Limit]
	}

	got, err := m.c.b.List(m.c.ctx, q)
	require.NoError(m.t, err)
	require.Equal(m.t, want, append([]string(nil), got.Names()...), "query %+v", q)
	require.Equal(m.t, more, got.More, "query %+v", q)
	for _, it := range got.Items {
		require.Equal(m.t, names[it.Name], it.Folded, "query %+v", q)
		if !q.Values || it.Folded {
			require.Nil(m.t, it.Entry)
			continue
		}
		m.same(m.entries[it.Name], it.Entry)
	}
}

// same compares entries; an empty value may come back nil or not.
func (m *mapModel) same(want, got *backend.Entry) {
	if want == nil || got == nil {
		require.Equal(m.t, want == nil, got == nil, "want %+v, got %+v", want, got)
		return
	}
	w, g := *want, *got
	require.Equal(m.t, string(w.Value), string(g.Value))
	w.Value, g.Value = nil, nil
	require.Equal(m.t, w, g)
}
