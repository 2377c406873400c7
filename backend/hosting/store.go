package hosting

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/chord-plugin/chord-plugin/backend"
)

// What hosts look for in the text of an error.
const (
	textKeyTooLarge = "put failed due to key being too large"
	textFenced      = "lock has changed ownership before attempting write"
)

// separator folds names into folders.
const separator = "/"

// hostError puts the words into an error of a write that hosts look for. Those about
// a value that is too large are in backend's own error.
func (s *Store) hostError(key string, err error) error {
	switch code := backend.CodeOf(err); {
	case code == backend.TooLarge && len(key) > s.limits.MaxKeySize:
		return fmt.Errorf("%s: %w", textKeyTooLarge, err)
	case code == backend.Fenced:
		return fmt.Errorf("%s: %w", textFenced, err)
	}
	return err
}

// Get returns the entry of key, or nil.
func (s *Store) Get(ctx context.Context, key string) (*backend.Entry, error) {
	return on(ctx, s, key, func(ctx context.Context, b backend.Backend) (*backend.Entry, error) {
		return b.Get(ctx, key, backend.GetOptions{})
	})
}

// Put stores value at key. Unless unfenced it fails with backend.Fenced when somebody
// else has taken the lock since that this host has, or has registered.
func (s *Store) Put(ctx context.Context, key string, value []byte, unfenced bool) error {
	fence := s.fenceOf(unfenced)
	_, err := on(ctx, s, key, func(ctx context.Context, b backend.Backend) (uint64, error) {
		return b.Put(ctx, key, value, backend.PutOptions{Fence: fence})
	})
	return s.hostError(key, err)
}

// Delete removes key. It is no error if there is none. Fences are as in Put.
func (s *Store) Delete(ctx context.Context, key string, unfenced bool) error {
	fence := s.fenceOf(unfenced)
	_, err := on(ctx, s, key, func(ctx context.Context, b backend.Backend) (struct{}, error) {
		return struct{}{}, b.Delete(ctx, key, backend.DeleteOptions{Fence: fence})
	})
	return s.hostError(key, err)
}

// List returns what lies directly under prefix, without it: keys, and folders, which
// end with a slash. They are sorted by bytes and strictly after after, if that is
// not empty; at most limit if that is positive.
func (s *Store) List(ctx context.Context, prefix, after string, limit int) ([]string, error) {
	r, err := s.Snapshot(ctx, Query(prefix, after, limit))
	if err != nil {
		return nil, err
	}
	return Names(r, prefix), nil
}

// Query is the question for what lies directly under a prefix.
func Query(prefix, after string, limit int) backend.ListQuery {
	q := backend.ListQuery{Prefix: prefix, Separator: separator, Limit: max(limit, 0)}
	if after != "" {
		q.After = prefix + after
	}
	return q
}

// Names returns what answers a Query as hosts have it: without the prefix.
func Names(r *backend.ListResult, prefix string) []string {
	names := r.Names()
	for i := range names {
		names[i] = names[i][len(prefix):]
	}
	return names
}

// HostAddr returns the host name or address at which others reach the node, from which
// a host makes the address to redirect clients to. Loopback is one only if all members
// of the ring are there, for which HostAddr waits until the ring is known.
func (s *Store) HostAddr() (string, error) {
	return on(context.Background(), s, "", func(ctx context.Context, b backend.Backend) (string, error) {
		admin, ok := b.(backend.Admin)
		if !ok {
			return "", errors.New("the storage does not say where it is; set the host's own address (api_addr)")
		}
		status, err := admin.Status(ctx)
		if err != nil {
			return "", err
		}
		local := ""
		for _, addr := range []string{status.MeshAddr, status.GossipAddr} {
			host, loopback := hostOf(addr)
			if host != "" && !loopback {
				return host, nil
			}
			local = cmp.Or(local, host)
		}
		if local == "" {
			return "", errors.New("the storage listens at every address; set the host's own (api_addr), or mesh_advertise")
		}
		ring, err := admin.Ring(ctx)
		if err != nil {
			return "", fmt.Errorf("the storage listens at loopback, and whether the ring does is not known; set the host's own address (api_addr), or mesh_advertise: %w", err)
		}
		for _, m := range ring.Members {
			if _, loopback := hostOf(m.Addr); !loopback {
				return "", fmt.Errorf("the storage listens at loopback, but member %q of the ring at %s; set the host's own address (api_addr), or mesh_advertise", m.Name, m.Addr)
			}
		}
		return local, nil
	})
}

// hostOf returns the host of an address, or "" if that is every one, and whether only
// the own machine reaches it.
func hostOf(addr string) (host string, loopback bool) {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	if err != nil || ip != nil && ip.IsUnspecified() {
		return "", false
	}
	return host, host == "localhost" || ip != nil && ip.IsLoopback()
}
