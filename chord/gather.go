package chord

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

const (
	// stragglers is how long a listing waits for the last members once enough have
	// answered.
	stragglers = 25 * time.Millisecond
	// participantTimeout bounds one answer: a member that freezes after its first
	// is left out of the next try. It doubles, up to maxParticipantTimeout, while
	// too few members answer.
	participantTimeout    = time.Second
	maxParticipantTimeout = 30 * time.Second
	// missingPause is how long it waits before it asks again when too few did.
	missingPause = 100 * time.Millisecond
	// sideBySide is how many keys of a listing are read at a time, where they are
	// read one by one.
	sideBySide = 32
)

// gather asks members at the same time and returns the answers once all have
// answered, or all but the faults that a quorum bears and the others are late.
func gather[R any](ctx context.Context, l *listing, ask []ring.Node, call func(ctx context.Context, m ring.Node) (R, error)) (map[ring.Node]R, error) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	type answer struct {
		from  ring.Node
		reply R
		err   error
	}
	answers := make(chan answer, len(ask))
	for _, m := range ask {
		wg.Go(func() {
			one, cancel := context.WithTimeout(ctx, l.patience)
			defer cancel()
			reply, err := call(one, m)
			answers <- answer{m, reply, err}
		})
	}
	replies := map[ring.Node]R{}
	enough := len(l.members) - l.faults
	if len(l.answers) > 0 {
		enough = len(ask)
	}
	var late <-chan time.Time
	for range ask {
		select {
		case a := <-answers:
			if a.err == nil {
				replies[a.from] = a.reply
			}
		case <-late:
			return replies, nil
		case <-ctx.Done():
			return nil, l.noAnswer(ctx, len(replies))
		case <-l.node.done:
			return nil, l.stopped()
		}
		if late == nil && len(replies) >= enough && len(replies) < len(ask) {
			t := time.NewTimer(stragglers)
			defer t.Stop()
			late = t.C
		}
	}
	if len(replies) >= enough {
		return replies, nil
	}
	// Not enough, and nobody is left to wait for. Members may be on their way back.
	l.heard = len(replies)
	pause := time.NewTimer(missingPause)
	defer pause.Stop()
	select {
	case <-pause.C:
		return nil, errMissing
	case <-ctx.Done():
		return nil, l.noAnswer(ctx, len(replies))
	case <-l.node.done:
		return nil, l.stopped()
	}
}

// noAnswer is the error of a listing that too few members answered in time.
// Those that were asked last may not have had the time.
func (l *listing) noAnswer(ctx context.Context, answered int) error {
	return &backend.Error{
		Code: backend.NoQuorum, Key: l.q.Prefix, Cause: ctx.Err(),
		Message: fmt.Sprintf("too few members answered the listing in time (%d of %d); see which are down", max(answered, l.heard), len(l.members)),
	}
}

// stopped is the error of a listing whose node was closed or has failed.
func (l *listing) stopped() error { return l.node.usable(context.Background(), l.q.Prefix) }

// eachOf calls f for 0 to n-1, sideBySide at a time, and returns the first error
// by number. No call begins after one has failed.
func eachOf(n int, f func(i int) error) error {
	errs := make([]error, n)
	var mu sync.Mutex
	next, failed := 0, false
	var wg sync.WaitGroup
	for range min(n, sideBySide) {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				stop := failed || i >= n
				mu.Unlock()
				if stop {
					return
				}
				if errs[i] = f(i); errs[i] != nil {
					mu.Lock()
					failed = true
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// withDeadline gives ctx the deadline that a call over the mesh needs.
func withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Hour)
}
