package store

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// slowCommit is how long a batch may take before the log says so.
const slowCommit = time.Second

// maxScratch bounds the encoding buffer that is kept from batch to batch.
const maxScratch = 1 << 20

// request is what one Commit gave.
type request struct {
	shard  int
	writes []register.Write
	stale  [][]byte // rows of the indexes, to be removed; then there are no writes
	bytes  int
	done   func(upTo uint64, err error)
}

// answer calls done with the number of the last write.
func (r *request) answer(err error) {
	var upTo uint64
	if n := len(r.writes); n > 0 {
		upTo = r.writes[n-1].Seq
	}
	r.done(upTo, err)
}

// queue is what waits for the committer.
type queue struct {
	mu       sync.Mutex
	wake     sync.Cond // the committer waits on it
	requests []request
	barriers []func(error)
	bytes    int           // of requests, and of the batch under way
	underway chan struct{} // closed when the batch under way is durable or has failed; nil when there is none
	closed   bool
	late     sync.WaitGroup // answers to what came after close
}

func (q *queue) init() { q.wake.L = &q.mu }

func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.wake.Signal()
	q.late.Wait()
}

// refused answers ErrClosed from another goroutine and reports true where the
// queue is closed. It is called with the lock held.
func (q *queue) refused(answer func(error)) bool {
	if !q.closed {
		return false
	}
	q.late.Add(1)
	go func() {
		defer q.late.Done()
		answer(ErrClosed)
	}()
	return true
}

// Commit queues the writes of a shard and returns. They become durable in the
// order of the calls; then done is called, once, with the Seq of the last one. An
// error means that they are not known to be durable and never will be
// acknowledged: it is ErrClosed, or one with ErrFailed.
//
// done runs on the committer, in the order of the shard's Commits, or for a
// closed store on a goroutine of its own; never inside Commit, so that the caller
// may hold a lock that done takes. It must not block, for every shard waits for
// it. The writes and the data of their cells must not be changed until then.
//
// Commit takes writes also when Overloaded, since a shard cannot take them back.
// A mark below the durable one is not written.
func (s *Store) Commit(shard int, writes []register.Write, done func(upTo uint64, err error)) {
	if shard < 0 || shard >= s.Shards() {
		panic(fmt.Sprintf("store: shard %d of %d", shard, s.Shards()))
	}
	r := request{shard: shard, writes: writes, done: done}
	for i := range writes {
		w := &writes[i]
		r.bytes += 64 + len(w.Key) + w.Cell.Value.Size() + 40*len(w.Cell.Value.Lineage)
	}
	q := &s.commits
	q.mu.Lock()
	if !q.refused(r.answer) {
		q.requests = append(q.requests, r)
		q.bytes += r.bytes
	}
	q.mu.Unlock()
	q.wake.Signal()
}

// Overloaded reports whether more than MaxQueueBytes wait for a sync. The caller
// then refuses new work.
func (s *Store) Overloaded() bool {
	s.commits.mu.Lock()
	defer s.commits.mu.Unlock()
	return s.commits.bytes > s.opts.MaxQueueBytes
}

// Barrier calls done when everything that Load could have returned before this
// call is durable, or will never be. done runs as that of Commit.
func (s *Store) Barrier(done func(err error)) {
	q := &s.commits
	q.mu.Lock()
	if !q.refused(done) {
		q.barriers = append(q.barriers, done)
	}
	q.mu.Unlock()
	q.wake.Signal()
}

// commitAll is the committer.
func (s *Store) commitAll() {
	defer s.wg.Done()
	var batch []request
	var barriers []func(error)
	var scratch []byte
	for {
		var ok bool
		if batch, barriers, ok = s.commits.take(batch[:0], barriers[:0], s.opts.MaxBatchBytes); !ok {
			return
		}
		for _, done := range barriers { // no batch is under way here
			done(s.disk.err())
		}
		if len(batch) > 0 {
			scratch = s.commitBatch(batch, scratch)
		}
		clear(batch)
		clear(barriers)
	}
}

// take waits for something to do and moves it to batch and barriers: requests of
// at most limit bytes, but at least one. It reports false when the queue is
// closed and empty.
func (q *queue) take(batch []request, barriers []func(error), limit int) ([]request, []func(error), bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.requests) == 0 && len(q.barriers) == 0 {
		if q.closed {
			return nil, nil, false
		}
		q.wake.Wait()
	}
	n, bytes := 0, 0
	for n < len(q.requests) && (n == 0 || bytes+q.requests[n].bytes <= limit) {
		bytes += q.requests[n].bytes
		n++
	}
	batch = append(batch, q.requests[:n]...)
	q.requests = slices.Delete(q.requests, 0, n)
	barriers = append(barriers, q.barriers...)
	clear(q.barriers)
	q.barriers = q.barriers[:0]
	if n > 0 {
		q.underway = make(chan struct{})
	}
	return batch, barriers, true
}

// finish says that the batch under way is durable or has failed.
func (q *queue) finish(bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bytes -= bytes
	close(q.underway)
	q.underway = nil
}

// wait returns a channel that is closed once nothing that Pebble shows now is
// without its sync; nil means at once.
func (q *queue) wait() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.underway
}

// commitBatch makes a batch durable and answers its requests. It returns the
// encoding buffer for the next one.
func (s *Store) commitBatch(batch []request, scratch []byte) []byte {
	start := time.Now()
	scratch, err := s.writeBatch(batch, scratch[:0])
	took := time.Since(start)
	bytes, writes := 0, 0
	for i := range batch {
		bytes += batch[i].bytes
		writes += len(batch[i].writes)
	}
	if err == nil {
		s.marks.publish()
		s.recent.wrote(batch)
		s.changes.add(batch, func(*register.Write) bool { return true })
		s.expiring.add(batch, isExpiring)
	}
	s.commits.finish(bytes)
	s.measure(took, writes, bytes)
	for i := range batch {
		batch[i].answer(err)
	}
	if took > slowCommit && err == nil {
		s.log.Warn("the disk is slow", "took", took, "bytes", bytes)
	}
	if cap(scratch) > maxScratch {
		return nil
	}
	return scratch
}

// writeBatch writes the requests as one batch of Pebble's and waits for its sync.
func (s *Store) writeBatch(batch []request, scratch []byte) ([]byte, error) {
	if err := s.disk.err(); err != nil {
		return scratch, err
	}
	b := s.db.NewBatch()
	cells := 0
	for i := range batch {
		if err := s.prune(b, batch[i].stale); err != nil {
			s.disk.fail(fmt.Errorf("remove what is stale: %w", err))
		}
	}
	for i := range batch {
		for j := range batch[i].writes {
			w := &batch[i].writes[j]
			var err error
			if w.Mark != nil {
				if mark, ok := s.marks.raise(batch[i].shard, *w.Mark); ok {
					err = b.Set(markKey(batch[i].shard), encodeMark(mark), nil)
				}
			} else if scratch = appendCellKey(scratch[:0], w.Key); w.Drop {
				err = b.Delete(scratch, nil)
			} else {
				cells++
				n := len(scratch)
				scratch = register.AppendCell(scratch, &w.Cell)
				if err = b.Set(scratch[:n], scratch[n:], nil); err == nil {
					err = index(b, w.Key, &w.Cell.Value)
				}
			}
			if err != nil {
				s.disk.fail(fmt.Errorf("write %q: %w", w.Key, err))
			}
		}
	}
	s.unflushed.Add(uint64(cells))
	return scratch, s.apply(b)
}
