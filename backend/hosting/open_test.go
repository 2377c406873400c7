package hosting

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
	"github.com/chord-plugin/chord-plugin/plugin"
)

// A plugin that is killed is started again: its locks are lost at once, and operations
// wait until it runs.
func TestPluginDies(t *testing.T) {
	s, err := Open(map[string]string{"plugin_path": memoryPlugin, "memory": "true"}, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, s.Put(ctx, "k", []byte("v"), false))
	lock := s.NewLock("lock", "me")
	lost, err := lock.Lock(nil)
	require.NoError(t, err)
	tx, blind := s.Begin(false), s.Begin(false)
	_, err = tx.Get(ctx, "k")
	require.NoError(t, err)
	require.NoError(t, blind.Put("blind", nil, false))

	old := clientOf(t, s)
	require.NoError(t, syscall.Kill(old.PID(), syscall.SIGKILL))
	<-lost
	require.NoError(t, lock.Unlock(), "it is not held any more")
	<-old.Done()
	_, err = tx.Get(ctx, "k")
	require.ErrorIs(t, err, backend.ErrTxnConflict)
	require.ErrorContains(t, err, "begin it anew")
	require.NoError(t, tx.Rollback(ctx))
	e, err := s.Get(ctx, "k")
	require.NoError(t, err)
	require.Nil(t, e, "another process")
	require.NotEqual(t, old.PID(), clientOf(t, s).PID())
	_, err = lock.Lock(nil)
	require.NoError(t, err)
	require.NoError(t, s.Put(ctx, "k", nil, false))
	require.NoError(t, blind.Commit(ctx), "it has begun nothing in the plugin that died")
	require.NoError(t, lock.Unlock())
}

// A plugin that is in another ring when it runs again has none of the host's data: it is
// not used, and every call says so.
func TestPluginIsInAnotherRing(t *testing.T) {
	for name, lose := range map[string]func(*testing.T, map[string]string){
		"memory": func(_ *testing.T, stanza map[string]string) { stanza["memory"] = "true" },
		"disk":   func(t *testing.T, stanza map[string]string) { stanza["data_dir"] = t.TempDir() + "/data" },
	} {
		t.Run(name, func(t *testing.T) {
			stanza := map[string]string{"plugin_path": ringPlugin}
			lose(t, stanza)
			s, err := Open(stanza, nil)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, s.Close()) })
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			require.NoError(t, s.Put(ctx, "k", []byte("v"), false))
			if dir := stanza["data_dir"]; dir != "" { // it goes on after the first death
				require.NoError(t, syscall.Kill(clientOf(t, s).PID(), syscall.SIGKILL))
				e, err := s.Get(ctx, "k")
				require.NoError(t, err)
				require.Equal(t, "v", string(e.Value))
				require.NoError(t, os.RemoveAll(dir)) // as a disk that is not mounted any more
			}
			old := clientOf(t, s)
			require.NoError(t, syscall.Kill(old.PID(), syscall.SIGKILL))
			<-old.Done()
			e, err := s.Get(ctx, "k")
			require.ErrorIs(t, err, backend.ErrClosed, "%v", e)
			require.ErrorContains(t, err, "start the host again")
			require.ErrorIs(t, s.Put(ctx, "k", nil, false), backend.ErrClosed)
			_, err = s.NewLock("lock", "me").Lock(nil)
			require.ErrorContains(t, err, "start the host again")
		})
	}
}

// slowStatus is a backend that counts who asks for its status, and answers when it is let.
type slowStatus struct {
	*memory.Store
	backend.Admin
	asked atomic.Int64
	let   chan struct{}
}

func (s *slowStatus) Status(ctx context.Context) (*backend.Status, error) {
	s.asked.Add(1)
	select {
	case <-s.let:
		return &backend.Status{RingID: "r"}, nil
	case <-ctx.Done():
		return nil, backend.Errorf(backend.NoQuorum, "", "%w", ctx.Err())
	}
}

// The first operations are over once it is known in which ring they were; one of them
// asks.
func TestRingIsLearnedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &slowStatus{Store: newMemory(), let: make(chan struct{})}
		s := over(t, b)
		s.sure.Store(false) // as that of a plugin
		put := func(timeout time.Duration) <-chan error {
			ended := make(chan error, 1)
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), timeout)
				defer cancel()
				ended <- s.Put(ctx, "k", nil, false)
			}()
			synctest.Wait()
			return ended
		}
		late := []<-chan error{put(time.Second), put(time.Second)}
		for _, ended := range late {
			require.ErrorIs(t, <-ended, backend.ErrUnknownOutcome)
		}
		asked := b.asked.Load()
		first, second := put(time.Minute), put(time.Minute)
		require.Empty(t, first)
		require.Empty(t, second)
		close(b.let)
		require.NoError(t, <-first)
		require.NoError(t, <-second)
		require.Equal(t, asked+1, b.asked.Load())
		require.Equal(t, "r", s.ring)
	})
}

// clientOf returns the plugin that a store uses.
func clientOf(t *testing.T, s *Store) *plugin.Client {
	t.Helper()
	b, err := s.backend(t.Context(), "", nil)
	require.NoError(t, err)
	return b.(*plugin.Client)
}

// A plugin whose binary has gone is waited for, as long as the caller likes.
func TestPluginDoesNotStartAgain(t *testing.T) {
	path := t.TempDir() + "/plugin"
	require.NoError(t, os.Link(memoryPlugin, path))
	s, err := Open(map[string]string{"plugin_path": path, "memory": "true"}, nil)
	require.NoError(t, err)
	require.NoError(t, os.Remove(path))
	client := clientOf(t, s)
	require.NoError(t, syscall.Kill(client.PID(), syscall.SIGKILL))
	<-client.Done()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err = s.Put(ctx, "k", nil, false)
	require.ErrorIs(t, err, backend.ErrNotReady, "nothing happened")
	require.ErrorContains(t, err, "the storage plugin has died")
	require.NoError(t, s.Close())
	require.NoError(t, s.Close(), "again")
	require.ErrorIs(t, s.Put(t.Context(), "k", nil, false), backend.ErrClosed)
	require.ErrorIs(t, s.Delete(t.Context(), "k", false), backend.ErrClosed)
	_, err = s.List(t.Context(), "", "", 0)
	require.ErrorIs(t, err, backend.ErrClosed)
}

// A plugin that never runs for long is not started over and over without a pause.
func TestPluginKeepsDying(t *testing.T) {
	s, err := Open(map[string]string{"plugin_path": memoryPlugin, "memory": "true"}, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	var took []time.Duration
	var dead backend.Backend
	for range 3 {
		begun := time.Now()
		b, err := s.backend(t.Context(), "", dead)
		require.NoError(t, err)
		took = append(took, time.Since(begun))
		require.NoError(t, syscall.Kill(b.(*plugin.Client).PID(), syscall.SIGKILL))
		dead = b
	}
	require.Less(t, took[1], took[2])
	require.GreaterOrEqual(t, took[2], firstPause)
}

// A plugin that can not be opened is an error that says what to do.
func TestOpenErrorsSayWhatToDo(t *testing.T) {
	script := func(mode os.FileMode, line string) string {
		path := t.TempDir() + "/plugin"
		require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+line+"\n"), mode))
		return path
	}
	for _, test := range []struct{ path, sum, want string }{
		{"/does/not/exist", "", "give the path of the binary"},
		{t.TempDir(), "", "give the path of the binary in it"},
		{script(0o600, "exit 0"), "", "use chmod +x"},
		{memoryPlugin, strings.Repeat("0f", 32), "install the right binary, or give the checksum of this one"},
		{script(0o700, "echo '1|2|unix|/nowhere|grpc'; exec cat"), "", "upgrade the host, or use an older plugin"},
		{script(0o700, "echo no such library >&2; exit 1"), "", "it says: no such library"},
	} {
		stanza := map[string]string{"plugin_path": test.path, "memory": "true"}
		if test.sum != "" {
			stanza["plugin_sha256"] = test.sum
		}
		_, err := Open(stanza, nil)
		require.ErrorIs(t, err, backend.ErrInvalid)
		require.ErrorContains(t, err, test.want)
		require.ErrorContains(t, err, test.path)
	}
}

// slow is a backend that answers no reads.
type slow struct{ *memory.Store }

func (slow) Get(ctx context.Context, key string, _ backend.GetOptions) (*backend.Entry, error) {
	<-ctx.Done()
	return nil, backend.Errorf(backend.NoQuorum, key, "too slow: %w", ctx.Err())
}

func TestEveryOperationEnds(t *testing.T) {
	s, err := New(slow{newMemory()}, map[string]string{"timeout": "1s"}, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	_, err = s.Get(context.Background(), "k")
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// at is a backend that says where it is, and the members of its ring.
type at struct {
	*memory.Store
	backend.Admin
	mesh, gossip string
	members      []string
}

func (a at) Status(context.Context) (*backend.Status, error) {
	return &backend.Status{MeshAddr: a.mesh, GossipAddr: a.gossip}, nil
}

func (a at) Ring(ctx context.Context) (*backend.Ring, error) {
	if a.members == nil {
		<-ctx.Done()
		return nil, backend.Errorf(backend.NotReady, "", "this node does not serve yet: %w", ctx.Err())
	}
	r := &backend.Ring{}
	for i, addr := range a.members {
		r.Members = append(r.Members, backend.RingMember{Name: fmt.Sprint("m", i), Addr: addr})
	}
	return r, nil
}

func TestHostAddr(t *testing.T) {
	for _, test := range []struct {
		mesh, gossip string
		members      []string
		want, err    string
	}{
		{mesh: "10.0.0.1:7947", gossip: "10.0.0.2:7946", want: "10.0.0.1"},
		{mesh: "", gossip: "[fd00::1]:7946", want: "fd00::1"},
		{mesh: "0.0.0.0:7947", gossip: "a.example:7946", want: "a.example"},
		{mesh: "127.0.0.1:7947", gossip: "10.0.0.2:7946", want: "10.0.0.2"},
		{mesh: "0.0.0.0:7947", gossip: "[::]:7946", err: "listens at every address"},
		{mesh: "127.0.0.1:7947", gossip: "127.0.0.1:7946", members: []string{"127.0.0.1:7947", "127.0.0.2:7947", "[::1]:1", "localhost:2"}, want: "127.0.0.1"},
		{mesh: "localhost:7947", gossip: "127.0.0.1:7946", members: []string{"127.0.0.2:7947"}, want: "localhost"},
		{mesh: "", gossip: "[::1]:7946", members: []string{"127.0.0.1:7947"}, want: "::1"},
		{mesh: "127.0.0.1:7947", gossip: "127.0.0.1:7946", members: []string{"127.0.0.1:1", "10.0.0.3:7947"}, err: `member "m1" of the ring at 10.0.0.3:7947; set the host's own address (api_addr)`},
		{mesh: "[::1]:7947", gossip: "127.0.0.1:7946", members: []string{"a.example:7947"}, err: "api_addr"},
		{mesh: "127.0.0.1:7947", gossip: "127.0.0.1:7946", err: "is not known; set the host's own address (api_addr)"},
	} {
		s, err := New(at{Store: newMemory(), mesh: test.mesh, gossip: test.gossip, members: test.members}, map[string]string{"timeout": "1s"}, nil)
		require.NoError(t, err)
		addr, err := s.HostAddr()
		require.Equal(t, test.want, addr, "%+v", test)
		if test.err == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, test.err)
		}
		require.NoError(t, s.Close())
	}
	_, err := over(t, newMemory()).HostAddr()
	require.ErrorContains(t, err, "set the host's own address")
}
