package hosting

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

const (
	// followPause is the least time between two readings of the whole storage.
	followPause = time.Second
	// followAlarm is how long following may fail until the log has errors and not
	// warnings.
	followAlarm = time.Minute
)

// Follow calls changed with the keys that were changed, created or deleted, by
// whomever, some time after; it misses none, and may name one for nothing. While it
// does not get to know which they are, it names all keys that it knows, once for every
// change that it hears of. It returns once it has read the storage for the first time,
// which it tries until the store is closed, and then goes on until that. It keeps the
// names of all keys in memory, and reads the whole storage after a change, since a
// watch does not say which key it was.
func (s *Store) Follow(changed func(keys ...string)) {
	f := &follower{s: s, changed: changed}
	f.next()
	s.running.Go(func() {
		for s.life.Err() == nil {
			f.next()
		}
	})
}

// A follower is a call of Follow.
type follower struct {
	s       *Store
	changed func(keys ...string)
	// after is the index before the last reading that succeeded, and seen are the
	// modify indexes of all keys that it found.
	after uint64
	seen  map[string]uint64
	// failing is since when nothing succeeds, zero when that is not so; named is the
	// index at which all keys were named since.
	failing time.Time
	named   uint64
}

// next looks until that succeeds or the store is closed, and says what changed. It takes
// followPause at least, the first time excepted.
func (f *follower) next() {
	for f.s.life.Err() == nil {
		pause := time.NewTimer(followPause)
		first := f.after == 0
		index, now, err := f.look()
		switch {
		case f.s.life.Err() != nil:
		case err != nil:
			f.failed(index, err)
		default:
			if keys := differences(f.seen, now); !first && len(keys) > 0 {
				f.changed(keys...)
			}
			f.after, f.seen, f.failing, f.named = index, now, time.Time{}, 0
		}
		if !first || err != nil {
			select {
			case <-pause.C:
			case <-f.s.life.Done():
			}
		}
		pause.Stop()
		if err == nil {
			return
		}
	}
}

// failed says that a look has failed, after which something changed if the index is not
// 0: the host can trust nothing that it has.
func (f *follower) failed(index uint64, err error) {
	if f.failing.IsZero() || index > 0 && index != f.named {
		if keys := slices.Sorted(maps.Keys(f.seen)); len(keys) > 0 {
			f.changed(keys...)
		}
		f.named = index
	}
	if f.failing.IsZero() {
		f.failing = time.Now()
	}
	log, since := f.s.log.Warn, time.Since(f.failing)
	if since >= followAlarm {
		log = f.s.log.Error
	}
	what := "standby_reads: the storage does not say what changed; asking again, and until then all known keys count as changed"
	if f.after == 0 {
		what = "standby_reads: the storage can not be read, and the host does not start before it was once; trying again"
	}
	log(what, "failing_for", since.Round(time.Second), "error", err)
}

// look waits for a change and returns its index, with the modify index of every key
// after it. When nothing changes for long it returns what is known. With an error the
// index is that of the change, or 0.
func (f *follower) look() (index uint64, now map[string]uint64, err error) {
	began := time.Now()
	index, err = on(f.s.life, f.s, "", func(ctx context.Context, b backend.Backend) (uint64, error) {
		watcher, ok := b.(backend.Watcher)
		if !ok {
			return 0, backend.Errorf(backend.Invalid, "", "the storage has no watches")
		}
		return watcher.Watch(ctx, backend.WatchQuery{After: f.after})
	})
	switch {
	case f.after > 0 && backend.CodeOf(err) == backend.NoQuorum && time.Since(began) > f.s.stanza.timeout/2: // its time was over
		return f.after, f.seen, nil
	case err != nil:
		return 0, nil, err
	}
	now, err = f.read()
	return index, now, err
}

// read returns the modify index of every key. Each listing has a time of its own, so
// that a reading may take as long as it needs.
func (f *follower) read() (map[string]uint64, error) {
	now := map[string]uint64{}
	for q := (backend.ListQuery{Values: true, Limit: FirstPage}); ; {
		r, err := f.s.Snapshot(f.s.life, q)
		if err != nil {
			return nil, err
		}
		for _, it := range r.Items {
			now[it.Name] = it.Entry.ModifyIndex
			q.After = it.Name
		}
		if !r.More || len(r.Items) == 0 {
			return now, nil
		}
		q.Limit = backend.NextPage(r, q)
	}
}

// differences are the keys that are not the same in both, sorted.
func differences(old, now map[string]uint64) []string {
	different := map[string]bool{}
	for key, index := range now {
		if old[key] != index {
			different[key] = true
		}
	}
	for key := range old {
		if _, ok := now[key]; !ok {
			different[key] = true
		}
	}
	return slices.Sorted(maps.Keys(different))
}
