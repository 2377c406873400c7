package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// allHeld returns what Held does, page by page.
func allHeld(t require.TestingT, s *Store, session string, limit int) []Held {
	var all []Held
	opts := HeldOptions{Session: session, Limit: limit}
	for {
		page, err := s.Held(context.Background(), opts)
		require.NoError(t, err)
		require.LessOrEqual(t, len(page.Held), limit)
		all = append(all, page.Held...)
		if opts.After = page.Next; !page.More {
			return all
		}
	}
}

func allExpiring(t require.TestingT, s *Store, limit int) []string {
	var all []string
	for after := ""; ; {
		page, err := s.Expiring(context.Background(), after, limit)
		require.NoError(t, err)
		require.LessOrEqual(t, len(page.Keys), limit)
		all = append(all, page.Keys...)
		if after = page.Next; !page.More {
			return all
		}
	}
}

// indexRows returns how many rows the indexes have, once the committer has done
// what it was asked for.
func indexRows(t require.TestingT, s *Store) (n int) {
	done := make(chan error, 1)
	s.Commit(0, nil, func(_ uint64, err error) { done <- err })
	require.NoError(t, <-done)
	for _, table := range []byte{tableHeld, tableExpiring} {
		require.NoError(t, s.rows(table, func(_, _ []byte) error { n++; return nil }))
	}
	return n
}

// TestIndexesAgainstAModel writes cells of all kinds, drops them, reopens the
// store, also after a build that knew of no indexes wrote to it, and asks.
func TestIndexesAgainstAModel(t *testing.T) {
	key := rapid.SampledFrom([]string{"a", "b", "a\x00", "\x00session/x", "\xff\xff"})
	session := rapid.SampledFrom([]string{"", "s", "t", "s\x01", "ss", "\xff"})
	holding := rapid.Custom(func(rt *rapid.T) register.Holding {
		return register.Holding{Session: session.Draw(rt, "session"), Over: rapid.Bool().Draw(rt, "over")}
	})
	value := rapid.Custom(func(rt *rapid.T) register.Value {
		v := register.Value{Live: rapid.Bool().Draw(rt, "live"), Holding: holding.Draw(rt, "holding")}
		if rapid.Bool().Draw(rt, "expires") {
			v.Expires = time.Second
		}
		if rapid.Bool().Draw(rt, "intent") {
			v.Intent = &register.Intent{New: register.Content{Live: true, Holding: holding.Draw(rt, "new holding")}}
		}
		return v
	})
	rapid.Check(t, func(rt *rapid.T) {
		fs := vfs.NewMem()
		s, err := Open(small(fs))
		require.NoError(rt, err)
		defer func() { _ = s.Close() }()
		cells := map[string]register.Value{}
		var expired []string // since the last reopening
		since := s.ExpiringCounter()
		n := uint64(0)
		ask := func(rt *rapid.T) {
			var held []Held
			var expiring []string
			limit := rapid.IntRange(1, 4).Draw(rt, "limit")
			for k, v := range cells {
				of := map[string]bool{}
				if v.Session != "" && !v.Over {
					of[v.Session] = true
				}
				if v.Intent != nil && v.Intent.New.Session != "" && !v.Intent.New.Over {
					of[v.Intent.New.Session] = true
				}
				for session := range of {
					held = append(held, Held{session, k})
				}
				if v.Expires > 0 {
					expiring = append(expiring, k)
				}
			}
			slices.Sort(expiring)
			require.Equal(rt, expiring, allExpiring(rt, s, limit))
			require.ElementsMatch(rt, held, allHeld(rt, s, "", limit))
			require.Equal(rt, len(held)+len(expiring), indexRows(rt, s), "what is stale is left")
			one := session.Filter(func(s string) bool { return s != "" }).Draw(rt, "of")
			want := slices.DeleteFunc(held, func(h Held) bool { return h.Session != one })
			require.ElementsMatch(rt, want, allHeld(rt, s, one, limit))
			keys, _, ok := s.ExpiringChanges(since)
			require.True(rt, ok)
			slices.Sort(expired)
			require.Equal(rt, slices.Compact(slices.Clone(expired)), keys)
		}
		reopen := func(rt *rapid.T) {
			require.NoError(rt, s.Close())
			s, err = Open(small(fs))
			require.NoError(rt, err)
			_, _, ok := s.ExpiringChanges(since)
			require.False(rt, ok, "a counter of an earlier boot")
			since, expired = s.ExpiringCounter(), nil
		}
		rt.Repeat(map[string]func(*rapid.T){
			"write": func(rt *rapid.T) {
				var writes []register.Write
				for _, k := range rapid.SliceOfN(key, 1, 4).Draw(rt, "keys") {
					n++
					if rapid.IntRange(0, 4).Draw(rt, "drop") == 0 {
						writes = append(writes, register.Write{Seq: n, Key: k, Drop: true})
						if delete(cells, k); strings.HasPrefix(k, register.SessionPrefix) {
							expired = append(expired, k)
						}
						continue
					}
					v := value.Draw(rt, "value")
					writes = append(writes, register.Write{Seq: n, Key: k, Cell: register.Cell{Accepted: register.Ballot{Time: n}, Value: v}})
					if cells[k] = v; v.Expires > 0 || strings.HasPrefix(k, register.SessionPrefix) {
						expired = append(expired, k)
					}
				}
				require.NoError(rt, commit(t, s, 0, writes...))
			},
			"ask":    ask,
			"reopen": reopen,
			"an older build writes": func(rt *rapid.T) {
				var rows [][]byte
				for _, table := range []byte{tableHeld, tableExpiring} {
					require.NoError(rt, s.rows(table, func(k, _ []byte) error {
						rows = append(rows, append([]byte{table}, k...))
						return nil
					}))
				}
				for _, row := range rows {
					require.NoError(rt, s.db.Delete(row, nil))
				}
				s.identity.Boot++ // it counted its boot, and knew nothing of the indexes
				require.NoError(rt, s.db.Set(identityKey, encodeIdentity(s.identity), pebble.Sync))
				reopen(rt)
				ask(rt)
			},
		})
	})
}

// TestIndexesAreMadeAnew opens a data directory that an older build wrote.
func TestIndexesAreMadeAnew(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, small(fs))
	const keys = 3000
	var writes []register.Write
	for i := range keys {
		c := cellOf(uint64(i), 100)
		if c.Value.Expires = time.Minute; i%3 == 0 {
			c.Value.Holding = register.Holding{Session: "s"}
		}
		writes = append(writes, register.Write{Seq: uint64(i), Key: fmt.Sprintf("%05d", i), Cell: c})
	}
	require.NoError(t, commit(t, s, 0, writes...))
	require.NoError(t, s.db.DeleteRange([]byte{tableExpiring}, []byte{tableExpiring + 1}, nil))
	require.NoError(t, s.db.DeleteRange([]byte{tableHeld}, []byte{tableHeld + 1}, nil))
	require.NoError(t, s.db.Delete(indexKey, pebble.Sync))
	require.NoError(t, s.Close())
	s = mustOpen(t, small(fs))
	require.Len(t, allExpiring(t, s, 700), keys)
	require.Len(t, allHeld(t, s, "s", 700), keys/3)

	// Not a second time: what is not there stays away.
	require.NoError(t, s.db.DeleteRange([]byte{tableExpiring}, []byte{tableExpiring + 1}, pebble.Sync))
	require.NoError(t, s.Close())
	require.Empty(t, allExpiring(t, mustOpen(t, small(fs)), 700))
}

// TestIndexesAfterACrash: what is acknowledged is in the indexes.
func TestIndexesAfterACrash(t *testing.T) {
	mem := vfs.NewCrashableMem()
	s := mustOpen(t, small(mem))
	c := cellOf(1, 0)
	c.Value.Expires, c.Value.Holding = time.Minute, register.Holding{Session: "s"}
	put(t, s, "k", c)
	s = mustOpen(t, small(mem.CrashClone(vfs.CrashCloneCfg{})))
	require.Equal(t, []string{"k"}, allExpiring(t, s, 10))
	require.Equal(t, []Held{{"s", "k"}}, allHeld(t, s, "s", 10))
}

// TestAStaleRowThatIsTrueAgain: a row that is found stale, and is true again by the
// time that it would be removed, stays.
func TestAStaleRowThatIsTrueAgain(t *testing.T) {
	s := mustOpen(t, small(vfs.NewMem()))
	held, free := cellOf(1, 0), cellOf(2, 0)
	held.Value.Holding = register.Holding{Session: "s"}
	row := append(appendHeldPrefix(nil, "s"), "k"...)
	put(t, s, "k", held)
	s.pruneLater([][]byte{row})
	require.Len(t, allHeld(t, s, "s", 1), 1, "before")
	put(t, s, "k", free)
	s.pruneLater([][]byte{row})
	put(t, s, "k", held)
	require.Len(t, allHeld(t, s, "s", 1), 1, "after")
	require.Equal(t, 1, indexRows(t, s))
}

// BenchmarkIndex compares commits of cells that are in no index with others.
func BenchmarkIndex(b *testing.B) {
	for name, v := range map[string]register.Value{
		"none":     {},
		"held":     {Holding: register.Holding{Session: "4b0d5bb4-5bd8-4c0e-a2f5-4a2b9c8d7e6f"}},
		"expiring": {Expires: time.Minute},
	} {
		b.Run(name, func(b *testing.B) {
			s := mustOpen(b, Options{Memory: true})
			cell := cellOf(1, 248)
			cell.Value.Holding, cell.Value.Expires = v.Holding, v.Expires
			b.ReportAllocs()
			const batch = 64
			writes := make([]register.Write, batch)
			for i := 0; b.Loop(); i++ {
				for j := range writes {
					writes[j] = register.Write{Key: fmt.Sprintf("%064d", i*batch+j), Cell: cell}
				}
				if err := commit(b, s, 0, writes...); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/cell")
		})
	}
}
