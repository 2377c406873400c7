package plugin

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/chord-plugin/chord-plugin/backend"
)

const (
	// closeBound is how long a plugin that is told to stop, or whose host died,
	// waits for its backend to close. What is not closed by then is left to the
	// crash safety of the backend.
	closeBound = 5 * time.Second
	// hostGrace is how long a plugin that gets SIGTERM waits for its host to end first:
	// service managers send it to all processes of a service at once, and the host
	// still has to give back what it holds.
	hostGrace = 10 * time.Second
	// parentPoll is how often a plugin looks whether its host is alive.
	parentPoll = 500 * time.Millisecond
)

// Stopper is a backend that has something to do before it is closed on purpose,
// such as to give away what it keeps. ServeConfig.Open may return one.
type Stopper interface {
	backend.Backend
	// StopTimeout is how long Stop may take; with 0 it is not called. The host is
	// told after the opening, so that it waits as long.
	StopTimeout() time.Duration
	// Stop is called before Close, when the host closes the plugin or SIGTERM
	// ends it, and not when the host has died by itself. Its context ends after
	// StopTimeout, or with another SIGTERM. Close follows in any case.
	Stop(ctx context.Context) error
}

// closeTimeoutOf is what the host is told of how long closing b takes, in
// milliseconds.
func closeTimeoutOf(b backend.Backend) uint64 {
	total := closeBound
	if s, ok := b.(Stopper); ok && s.StopTimeout() > 0 {
		total += s.StopTimeout() + closeBound // Stop may be as late as Close.
	}
	return uint64(total.Milliseconds())
}

// shut is service.close, once.
func (s *service) shut() error {
	s.mu.Lock()
	s.setClosed()
	opening, b := s.opening, s.backend
	s.mu.Unlock()
	var stopped error
	if st, ok := b.(Stopper); ok && st.StopTimeout() > 0 && s.hurrying.Err() == nil {
		ctx, cancel := context.WithTimeout(s.hurrying, st.StopTimeout())
		stopped = bounded(ctx.Done(), "stop", func() error { return st.Stop(ctx) })
		cancel()
	}
	return errors.Join(stopped, bounded(s.closing.Done(), "close", func() error {
		if opening != nil {
			<-opening
		}
		s.mu.RLock()
		b := s.backend
		s.mu.RUnlock()
		if b == nil {
			return nil
		}
		s.transactions.table.Close()
		return b.Close()
	}))
}

// bounded runs f and returns its error, or an error of its own when f takes
// longer than closeBound after the end: the process is about to end then, and f
// with it.
func bounded(end <-chan struct{}, what string, f func() error) error {
	result := make(chan error, 1)
	go func() { result <- f() }()
	select {
	case err := <-result:
		return err
	case <-end:
	}
	late := time.NewTimer(closeBound)
	defer late.Stop()
	select {
	case err := <-result:
		return err
	case <-late.C:
		return backend.Errorf(backend.Internal, "", "the backend did not %s within %v", what, closeBound)
	}
}

// watch closes the service after SIGTERM or when the host is gone, and returns
// true when that is done and serving is to end. It returns false when served is
// closed before. After SIGTERM it waits for the host to end, for hostGrace or until
// the next SIGTERM. With a further one a Stopper has to hurry, and when the host
// dies before it closed the plugin and without SIGTERM.
func (s *service) watch(served <-chan struct{}, logger hclog.Logger) bool {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	defer signal.Stop(terminated)
	poll := time.NewTicker(parentPoll)
	defer poll.Stop()

	var closed chan struct{} // made when closing begins, closed when it is done
	begin := func() {
		closed = make(chan struct{})
		go func() {
			_ = s.close() // Serve returns the same error.
			close(closed)
		}()
	}
	var late <-chan time.Time  // when the host must have its answer
	var grace <-chan time.Time // when a host must have ended that is waited for
	for {
		done := closed
		if late != nil {
			done = nil
		}
		select {
		case <-done:
			if !s.asked.Load() {
				return true
			}
			// The host closes the plugin too. It is to get its answer, and then ends
			// the serving itself.
			late = time.After(closeBound)
		case <-late:
			return true
		case <-served:
			if closed != nil {
				<-closed
			}
			return closed != nil
		case <-terminated:
			switch {
			case closed != nil:
				logger.Warn("terminated again: closing the backend at once")
				s.hurry()
			case grace == nil && !s.asked.Load() && os.Getppid() == parent:
				logger.Info("terminated: waiting for the host to end first; terminate again to close the backend now", "host_pid", parent, "at_most", hostGrace)
				grace = time.After(hostGrace)
			default:
				logger.Info("terminated: closing the backend")
				begin()
			}
		case <-grace:
			if closed == nil {
				logger.Info("terminated: the host goes on; closing the backend")
				begin()
			}
		case <-poll.C:
			if closed != nil || os.Getppid() == parent {
				continue
			}
			logger.Warn("the host is gone: closing the backend", "host_pid", parent)
			if s.closing.Err() == nil && grace == nil {
				s.hurry() // nobody has asked it to stop; it is to return
			}
			begin()
		}
	}
}
