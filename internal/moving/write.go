package moving

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/chord-plugin/chord-plugin/backend"
)

// writers is how many keys are written or deleted at once. Each holds one value, and the
// reader of the source one more.
const writers = 16

// job is a key to write.
type job struct {
	*Entry
	index uint64
}

// errChanged says that the second reading of a source was not like the first.
func (m *Import) errChanged() error {
	return fmt.Errorf("%s changed while it was imported; stop what writes there, and run it again", m.Path)
}

// write reads the source for the second time and writes what is missing. It stops at
// the first error, when all that it began is done.
func (m *Import) write(ctx context.Context) error {
	todo := m.moved.Written
	if m.DryRun || todo == 0 {
		return nil
	}
	m.moved.LeftOut = Problems{} // they come again
	done, err := crew(ctx, todo, m.put, func(ctx context.Context, jobs chan<- job, done func() int) error {
		return m.feed(ctx, jobs, todo, done)
	})
	if m.moved.Written = done; err != nil {
		m.moved.Deleted = 0
		return fmt.Errorf("after %s of %d: %w; run it again to go on", keys(done), todo, err)
	}
	return nil
}

// crew does the jobs that feed hands out, several at once and at most todo, and
// returns how many are done. It stops at the first error, when all that it began is
// done.
func crew[J any](ctx context.Context, todo int, do func(context.Context, J) error, feed func(ctx context.Context, jobs chan<- J, done func() int) error) (int, error) {
	var done atomic.Int64
	count := func() int { return int(done.Load()) }
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	jobs := make(chan J)
	var wg sync.WaitGroup
	for range min(writers, todo) {
		wg.Go(func() {
			for j := range jobs {
				if err := do(ctx, j); err != nil {
					stop(err)
					continue
				}
				done.Add(1)
			}
		})
	}
	err := feed(ctx, jobs, count)
	close(jobs)
	wg.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return count(), err
}

// feed hands out what is to be written.
func (m *Import) feed(ctx context.Context, jobs chan<- job, todo int, written func() int) error {
	seen, bytes := 0, int64(0)
	err := m.from.each(ctx, func(e *Entry) error {
		i, ok := slices.BinarySearchFunc(m.items, e.Key, func(it item, key string) int { return strings.Compare(it.key, key) })
		if !ok || m.items[i].sum != e.sum() {
			return m.errChanged()
		}
		if seen++; m.items[i].equal {
			return nil
		}
		select {
		case jobs <- job{e, m.items[i].index}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		bytes += int64(len(e.Value))
		m.Show(Progress{Doing: "written", Keys: written(), Of: todo, Bytes: bytes})
		return nil
	})
	if err == nil && seen != len(m.items) {
		err = m.errChanged()
	}
	return err
}

// put writes a key that must be as it was when it was compared. One whose write was
// in doubt may be there already.
func (m *Import) put(ctx context.Context, j job) error {
	for try := 0; ; try++ {
		_, err := patiently(ctx, m.Timeout, func(ctx context.Context) (uint64, error) {
			return m.Backend.Put(ctx, j.Key, j.Value, backend.PutOptions{If: backend.IfIndex(j.index), Flags: j.Flags, ExpiresAfter: j.Expires})
		})
		if backend.CodeOf(err) != backend.Conflict {
			return err
		}
		there, got := m.get(ctx, j.Key)
		index := uint64(0)
		if there != nil {
			index = there.ModifyIndex
		}
		switch {
		case got != nil:
			return got
		case there != nil && fromBackend(there).sum() == j.sum():
			return nil
		case index != j.index:
			return fmt.Errorf("somebody else wrote it meanwhile: %w", err)
		case try == retries:
			return err
		}
	}
}
