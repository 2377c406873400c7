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

// A poll asks all members of a configuration, of which only some need to answer:
// so many that they have a quorum of each key's owners on both sides.
type poll struct {
	node    *Node
	st      *ringState
	members []ring.Node
	faults  int // members that may be missing
	heard   int // members that answered when too few did
	// patience is how long to wait for one member's answer.
	patience time.Duration
	// about is the key or prefix that is asked about.
	about string
}

func newPoll(n *Node, st *ringState, about string) poll {
	p := poll{node: n, st: st, about: about, faults: ring.MaxReplicas, patience: participantTimeout}
	for _, m := range st.placement.Configuration().All() {
		p.members = append(p.members, m.ID.Node())
	}
	for _, side := range st.placement.Configuration().Sides() {
		p.faults = min(p.faults, side.Faults()) // so that both sides of every key have a quorum
	}
	return p
}

// enough is how many of the members must answer.
func (p *poll) enough() int { return len(p.members) - p.faults }

// gather asks members at the same time and returns the answers once all have
// answered, or enough and the others are late.
func gather[R any](ctx context.Context, p *poll, ask []ring.Node, enough int, call func(ctx context.Context, m ring.Node) (R, error)) (map[ring.Node]R, error) {
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
			one, cancel := context.WithTimeout(ctx, p.patience)
			defer cancel()
			reply, err := call(one, m)
			answers <- answer{m, reply, err}
		})
	}
	replies := map[ring.Node]R{}
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
			return nil, p.noAnswer(ctx, len(replies))
		case <-p.node.done:
			return nil, p.stopped()
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
	p.heard = len(replies)
	pause := time.NewTimer(missingPause)
	defer pause.Stop()
	select {
	case <-pause.C:
		return nil, errMissing
	case <-ctx.Done():
		return nil, p.noAnswer(ctx, len(replies))
	case <-p.node.done:
		return nil, p.stopped()
	}
}

// noAnswer is the error of a poll that too few members answered in time. Those
// that were asked last may not have had the time.
func (p *poll) noAnswer(ctx context.Context, answered int) error {
	return &backend.Error{
		Code: backend.NoQuorum, Key: p.about, Cause: ctx.Err(),
		Message: fmt.Sprintf("too few members answered the listing in time (%d of %d); see which are down", max(answered, p.heard), len(p.members)),
	}
}

// stopped is the error of a poll whose node was closed or has failed.
func (p *poll) stopped() error { return p.node.usable(context.Background(), p.about) }

// pause waits for d, or until ctx ends, whose error it returns then.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// eachOf calls f for 0 to n-1, sideBySide at a time, and returns the first error
// by number. No call begins after one has failed.
func eachOf(n int, f func(i int) error) error {
	return eachBy(func(work func()) { go work() }, n, f)
}

// eachBy is eachOf with who starts a goroutine.
func eachBy(start func(work func()), n int, f func(i int) error) error {
	errs := make([]error, n)
	var mu sync.Mutex
	next, failed := 0, false
	var wg sync.WaitGroup
	for range min(n, sideBySide) {
		wg.Add(1)
		start(func() {
			defer wg.Done()
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
