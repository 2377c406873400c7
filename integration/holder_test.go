package integration

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/httpapi"
	"github.com/chord-plugin/chord-plugin/integration/cluster"
	"github.com/chord-plugin/chord-plugin/integration/crew"
	"github.com/chord-plugin/chord-plugin/integration/process"
)

// holderEnv makes this program the holder of a lock: it is the address of an agent
// and the key of the lock.
const holderEnv = "INTEGRATION_HOLDER"

// holderPause is between two writes of a holder.
const holderPause = 50 * time.Millisecond

// hold takes a lock, fences off who held it before, and writes the lock's ledger
// until its standard input ends, without looking whether the lock is lost. It says
// what happens, a word and a detail a line.
func hold(what string) error {
	addr, key, _ := strings.Cut(what, " ")
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until whoever started us ends it, or is gone
		stop()
	}()
	c, err := httpapi.NewClient(httpapi.ClientConfig{Addr: addr})
	if err != nil {
		return err
	}
	defer c.Close()
	var b backend.Backend = c
	l, err := b.(backend.Locker).Lock(ctx, backend.LockOptions{Key: key, Own: backend.SessionOptions{TTL: backend.MinTTL, LockDelay: backend.NoLockDelay}})
	if err != nil {
		return err
	}
	if err := b.(backend.Fencer).Fence(ctx, backend.FenceOf(l)); err != nil {
		return err
	}
	fmt.Println("holds", l.Token())
	lost := l.Lost()
	for n := 1; ctx.Err() == nil; n++ {
		once, cancel := context.WithTimeout(ctx, backend.MinTTL)
		_, err := c.Put(once, ledgerOf(key), fmt.Appendf(nil, "%d.%d", l.Token(), n), backend.PutOptions{Fence: backend.FenceOf(l)})
		cancel()
		if err == nil {
			fmt.Println("wrote", n)
		} else {
			fmt.Println(strings.ReplaceAll(backend.CodeOf(err).String(), " ", "-"), err)
		}
		select {
		case <-lost:
			fmt.Println("lost", n)
			lost = nil
		case <-ctx.Done():
		case <-time.After(holderPause):
		}
	}
	return nil
}

func ledgerOf(lock string) string { return "ledger of " + lock }

// holder is a process that holds a lock.
type holder struct {
	r     *ring
	pid   int
	lines chan string
}

// holds starts a process that takes a lock at a member.
func (r *ring) holds(lock string, at *cluster.Member) *holder {
	r.t.Helper()
	self, err := os.Executable()
	r.must(err)
	command := exec.Command(self)
	command.Env = []string{holderEnv + "=" + at.HTTPAddr + " " + lock}
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	r.must(err)
	out, err := command.StdoutPipe()
	r.must(err)
	r.must(command.Start())
	h := &holder{r: r, pid: command.Process.Pid, lines: make(chan string, 1<<16)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(h.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			h.lines <- s.Text()
		}
	}()
	r.t.Cleanup(func() {
		h.thaw()
		r.must(in.Close())
		<-read
		r.must(command.Wait())
	})
	return h
}

func (h *holder) thaw() {
	h.r.t.Helper()
	h.r.must(syscall.Kill(h.pid, syscall.SIGCONT))
}

// next returns what the holder says next.
func (h *holder) next() (word, detail string) {
	h.r.t.Helper()
	select {
	case line, ok := <-h.lines:
		require.True(h.r.t, ok, "the holder has ended")
		word, detail, _ = strings.Cut(line, " ")
		return word, detail
	case <-h.r.ctx.Done():
		h.r.t.Fatal("the holder says nothing")
	}
	return "", ""
}

// until returns the detail of the first line that begins with a word; those before
// may begin with others.
func (h *holder) until(word string, others ...string) string {
	h.r.t.Helper()
	for {
		said, detail := h.next()
		if said == word {
			return detail
		}
		require.Contains(h.r.t, others, said, detail)
	}
}

// TestFreezeHolder stops the holder of a lock with SIGSTOP for longer than the TTL
// of its session, alone and together with the member that it works at. Somebody else
// takes the lock meanwhile. On waking, the holder learns that it has lost it, and
// what it writes, or had under way, does no harm.
func TestFreezeHolder(t *testing.T) {
	t.Parallel()
	r := startRing(t)
	var all []*freezing
	for i, together := range []bool{false, true} {
		f := &freezing{r: r, lock: fmt.Sprint("lock ", i), at: r.Members[i], together: together}
		f.holder = r.holds(f.lock, f.at)
		f.holder.until("holds")
		all = append(all, f)
	}
	for _, f := range all {
		for range 5 {
			f.holder.until("wrote")
		}
		f.freeze()
	}
	next := r.targets(r.Members[2])[0]
	for _, f := range all {
		f.takeOver(next)
	}
	for _, f := range all {
		f.wake()
	}
	for _, f := range all {
		for _, at := range r.targets() {
			require.Equal(t, f.value, f.read(at), "the ledger at %s", at.Name)
		}
	}
}

// freezing is one holder that is frozen.
type freezing struct {
	r        *ring
	lock     string
	at       *cluster.Member
	together bool // its member is frozen too
	holder   *holder
	value    string // what the next holder wrote
}

func (f *freezing) freeze() {
	if f.together {
		f.r.must(f.at.Freeze()) // with a write under way
		time.Sleep(2 * holderPause)
	}
	f.r.must(process.Freeze(f.holder.pid))
}

// takeOver takes the lock and writes its ledger.
func (f *freezing) takeOver(at crew.Target) {
	r, begun := f.r, time.Now()
	l, err := at.Backend.(backend.Locker).Lock(r.ctx, backend.LockOptions{Key: f.lock})
	r.must(err)
	r.t.Logf("%q is taken over %v after it was asked for", f.lock, time.Since(begun).Round(time.Millisecond))
	r.must(at.Backend.(backend.Fencer).Fence(r.ctx, backend.FenceOf(l)))
	f.value = fmt.Sprint(l.Token(), " is mine")
	_, err = at.Backend.Put(r.ctx, ledgerOf(f.lock), []byte(f.value), backend.PutOptions{Fence: backend.FenceOf(l)})
	r.must(err)
}

// wake lets the holder go on and sees that nothing it writes is done. A write that
// was done before it stopped may be answered now.
func (f *freezing) wake() {
	if f.together {
		f.r.must(f.at.Thaw())
		f.r.must(f.at.WaitServing(f.r.ctx))
	}
	f.holder.thaw()
	f.holder.until("lost", "wrote", "fenced", "unknown-outcome", "no-quorum", "not-ready")
	for range 5 {
		f.r.t.Log(f.holder.until("fenced", "unknown-outcome", "no-quorum", "not-ready"))
	}
}

func (f *freezing) read(at crew.Target) string {
	e, err := at.Backend.Get(f.r.ctx, ledgerOf(f.lock), backend.GetOptions{})
	f.r.must(err)
	return string(e.Value)
}
