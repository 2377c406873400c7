package plugin

import (
	"context"
	"os"
	"time"

	"google.golang.org/grpc/connectivity"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/plugin/proto"
)

const (
	// callsTimeout is how long Close waits for calls whose backend was closed.
	callsTimeout = time.Second
	// exitTimeout is how long a plugin may take to exit when its backend is
	// closed. Then the process is killed.
	exitTimeout = closeBound + time.Second
	// maxCloseTimeout bounds what a plugin may ask for to close its backend.
	maxCloseTimeout = time.Hour
)

// patience is how long the host waits for a plugin to close that says it takes so
// many milliseconds, or nothing: a little longer.
func patience(ms uint64) time.Duration {
	asked := time.Duration(min(ms, uint64(maxCloseTimeout.Milliseconds()))) * time.Millisecond
	return max(asked, closeBound) + time.Second
}

// killNow, as the patience of end, kills at once.
const killNow = 0

// watch owns the process from now on, until it is gone.
func (c *Client) watch(l *link) {
	// Done when the process has exited or when Close says so.
	watching, closing := context.WithCancel(l.exited)
	c.closing = closing
	go func() {
		defer close(c.done)
		// gRPC notices a socket that breaks at once, and no plugin ever comes back
		// on it.
		for l.conn.GetState() == connectivity.Ready && l.conn.WaitForStateChange(watching, connectivity.Ready) {
		}
		if c.lost("the plugin's process is gone") {
			c.keeper.Close()
			c.end(killNow)
		} else {
			c.end(exitTimeout)
		}
		closing()
	}()
}

// lost notes that the plugin can not be used any more, and why. It returns false
// when that is known already.
func (c *Client) lost(why string) bool {
	return c.gone.CompareAndSwap(nil, &why)
}

// end ends the process, kills it when it takes longer than patience, and cleans
// up. It returns when the process was waited for.
func (c *Client) end(patience time.Duration) {
	if patience == killNow {
		c.kill()
	}
	late := time.AfterFunc(patience, c.kill)
	c.process.Kill()
	late.Stop()
	c.kill() // The context has to end in any case.
	_ = os.RemoveAll(c.socketDir)
}

// Done is closed when the plugin can not be used any more and its process is
// gone: it died, or Close has ended it. Calls fail with backend.Closed then, and
// Open starts another plugin.
func (c *Client) Done() <-chan struct{} { return c.done }

// PID is the process ID of the plugin.
func (c *Client) PID() int { return c.pid }

// Close closes the plugin's backend and ends its process. It waits until the
// process is gone, which takes at most some seconds: a plugin that does not end
// by itself is killed. Only one that is configured to do something first, such as
// to leave its ring, may take the time that it has announced, an hour at most.
// Closing twice is no error. The error is the one that the
// plugin's backend closed with.
func (c *Client) Close() error {
	var err error
	if c.lost("the client was closed") {
		answered := make(chan struct{})
		defer func() { <-answered }() // when the process is gone they all are
		c.keeper.Close()
		ctx, cancel := context.WithTimeout(context.Background(), c.closeTimeout)
		_, err = c.rpc.Close(ctx, &proto.CloseRequest{})
		cancel()
		if err != nil {
			err = c.failed(context.Background(), err, "", reads)
			if over(ctx) != nil || backend.CodeOf(err) == backend.Closed {
				// It hangs or died; there is nothing to wait for.
				c.kill()
			}
		}
		go func() {
			c.calling.Lock() // when no call is under way
			close(answered)
			c.calling.Unlock()
		}()
		// A backend that was closed answers the calls that waited for it.
		late := time.NewTimer(callsTimeout)
		select {
		case <-answered:
		case <-late.C:
		}
		late.Stop()
		c.closing()
	}
	<-c.done
	return err
}
