package backend

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCheckSession(t *testing.T) {
	for _, tc := range []struct {
		name string
		opts SessionOptions
		want Code
	}{
		{"zero", SessionOptions{}, 0},
		{"shortest", SessionOptions{TTL: MinTTL, LockDelay: 1, Behavior: BehaviorDelete}, 0},
		{"longest", SessionOptions{TTL: MaxTTL, LockDelay: MaxLockDelay, Behavior: BehaviorRelease}, 0},
		{"largest", SessionOptions{Name: strings.Repeat("n", MaxSessionName), Data: make([]byte, MaxSessionData), LockDelay: NoLockDelay}, 0},
		{"TTL too short", SessionOptions{TTL: MinTTL - 1}, Invalid},
		{"TTL too long", SessionOptions{TTL: MaxTTL + 1}, Invalid},
		{"TTL below 0", SessionOptions{TTL: -MinTTL}, Invalid},
		{"lock delay too long", SessionOptions{LockDelay: MaxLockDelay + 1}, Invalid},
		{"lock delay below 0", SessionOptions{LockDelay: -time.Second}, Invalid},
		{"behavior", SessionOptions{Behavior: "Release"}, Invalid},
		{"name too long", SessionOptions{Name: strings.Repeat("n", MaxSessionName+1)}, TooLarge},
		{"name no text", SessionOptions{Name: "\xff"}, Invalid},
		{"data too large", SessionOptions{Data: make([]byte, MaxSessionData+1)}, TooLarge},
	} {
		require.Equal(t, tc.want, CodeOf(CheckSession(tc.opts)), tc.name)
	}
	require.ErrorIs(t, CheckSessionID(""), ErrInvalid)
	require.NoError(t, CheckSessionID("any"))
}

func TestNewSessionFillsIn(t *testing.T) {
	data := []byte("data")
	s := NewSession(SessionOptions{Name: "n", TTL: MinTTL, Data: data})
	require.Equal(t, &Session{Name: "n", TTL: MinTTL, Behavior: BehaviorRelease, LockDelay: DefaultLockDelay, Data: []byte("data")}, s)
	data[0] = 'x'
	c := s.Clone()
	c.Data[0] = 'y'
	require.Equal(t, "data", string(s.Data))
	require.Nil(t, (*Session)(nil).Clone())
	s = NewSession(SessionOptions{LockDelay: NoLockDelay, Behavior: BehaviorDelete})
	require.Equal(t, &Session{Behavior: BehaviorDelete}, s)
	require.Equal(t, time.Second, NewSession(SessionOptions{LockDelay: time.Second}).LockDelay)
}

func TestCheckLock(t *testing.T) {
	l := Limits{MaxKeySize: 8, MaxValueSize: 8}
	for _, tc := range []struct {
		name string
		opts LockOptions
		want Code
	}{
		{"own session", LockOptions{Key: "k", Own: SessionOptions{TTL: MinTTL}}, 0},
		{"given session", LockOptions{Key: "k", Session: "s"}, 0},
		{"no key", LockOptions{}, Invalid},
		{"value", LockOptions{Key: "k", Value: make([]byte, 9)}, TooLarge},
		{"own session that can not be", LockOptions{Key: "k", Own: SessionOptions{TTL: 1}}, Invalid},
		{"both name", LockOptions{Key: "k", Session: "s", Own: SessionOptions{Name: "n"}}, Invalid},
		{"both TTL", LockOptions{Key: "k", Session: "s", Own: SessionOptions{TTL: MinTTL}}, Invalid},
		{"both behavior", LockOptions{Key: "k", Session: "s", Own: SessionOptions{Behavior: BehaviorRelease}}, Invalid},
		{"both lock delay", LockOptions{Key: "k", Session: "s", Own: SessionOptions{LockDelay: NoLockDelay}}, Invalid},
		{"both data", LockOptions{Key: "k", Session: "s", Own: SessionOptions{Data: []byte{}}}, Invalid},
	} {
		require.Equal(t, tc.want, CodeOf(l.CheckLock(tc.opts)), tc.name)
	}
}

func TestCheckFence(t *testing.T) {
	l := Limits{MaxKeySize: 8, MaxValueSize: 8}
	require.NoError(t, l.CheckFence("k", Fence{}))
	require.NoError(t, l.CheckFence("k", Fence{Key: "lock", Token: 1}))
	require.ErrorIs(t, l.CheckFence("k", Fence{Key: "lock"}), ErrInvalid)
	require.ErrorIs(t, l.CheckFence("k", Fence{Token: 1}), ErrInvalid)
	require.ErrorIs(t, l.CheckFence("k", Fence{Key: "long lock", Token: 1}), ErrTooLarge)
	require.ErrorIs(t, l.CheckDelete("k", DeleteOptions{Fence: Fence{Token: 1}}), ErrInvalid)
	require.ErrorIs(t, l.CheckPut("k", nil, PutOptions{Fence: Fence{Token: 1}}), ErrInvalid)
	require.ErrorIs(t, l.CheckPut("k", nil, PutOptions{ExpiresAfter: MaxTTL + 1}), ErrInvalid)
}

func TestCheckWatch(t *testing.T) {
	l := Limits{MaxKeySize: 8, MaxValueSize: 8}
	require.NoError(t, l.CheckWatch(WatchQuery{}))
	require.NoError(t, l.CheckWatch(WatchQuery{Key: "k", After: 1}))
	require.NoError(t, l.CheckWatch(WatchQuery{Prefix: "k/"}))
	require.ErrorIs(t, l.CheckWatch(WatchQuery{Key: "k", Prefix: "k"}), ErrInvalid)
	require.ErrorIs(t, l.CheckWatch(WatchQuery{Key: "/k"}), ErrInvalid)
	require.ErrorIs(t, l.CheckWatch(WatchQuery{Prefix: "123456789"}), ErrTooLarge)
}
