package hosting

import (
	"context"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

// firstListPause and lastListPause bound the time between two attempts at a listing.
// Each is twice the one before.
const (
	firstListPause = 10 * time.Millisecond
	lastListPause  = time.Second
)

// FirstPage is how many entries with their values are asked for at once while nothing is
// known of how large they are. It is more than backend.FirstPage, since what a listing
// does not hold whole has to be asked for anew, to be one snapshot.
const FirstPage = 64

// Snapshot answers a listing as of one instant after the call began. Where others write
// so much that there is none to be had, it tries until the end of ctx. Callers with the
// same question share an answer, so many of them are not more work than a few; nobody
// may change it.
func (s *Store) Snapshot(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	for pause := firstListPause; ; pause = min(2*pause, lastListPause) {
		a, err := s.ask(q)
		if err != nil {
			return nil, err
		}
		select {
		case <-a.done:
		case <-ctx.Done():
			return nil, backend.Errorf(backend.NoQuorum, q.Prefix, "the listing did not end in time: %w", ctx.Err())
		}
		switch backend.CodeOf(a.err) {
		case backend.Conflict, backend.NoQuorum, backend.UnknownOutcome: // of mending copies on the way
		default:
			return a.result, a.err
		}
		again := time.NewTimer(pause)
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return nil, a.err
		}
	}
}

// An answer is a listing that is to begin, goes on or is done.
type answer struct {
	done   chan struct{}
	result *backend.ListResult
	err    error
}

// ask returns the answer to q that begins next.
func (s *Store) ask(q backend.ListQuery) (*answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life.Err() != nil {
		return nil, backend.Errorf(backend.Closed, q.Prefix, "the storage was closed; open it again")
	}
	a := s.asked[q]
	if a == nil {
		a = &answer{done: make(chan struct{})}
		s.asked[q] = a
		before := s.asking[q]
		s.running.Go(func() { s.answer(q, a, before) })
	}
	return a, nil
}

// answer carries out the listing a once the one before it is done.
func (s *Store) answer(q backend.ListQuery, a, before *answer) {
	if before != nil {
		<-before.done
	}
	s.mu.Lock()
	delete(s.asked, q) // whoever asks from now on gets a later one
	s.asking[q] = a
	s.mu.Unlock()

	a.result, a.err = on(s.life, s, q.Prefix, func(ctx context.Context, b backend.Backend) (*backend.ListResult, error) {
		return b.List(ctx, q)
	})
	s.mu.Lock()
	if s.asking[q] == a {
		delete(s.asking, q)
	}
	s.mu.Unlock()
	close(a.done)
}
