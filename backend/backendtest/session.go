package backendtest

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

const (
	// ttl is the TTL and the lifetime of the cases that need time.
	ttl = backend.MinTTL
	// early is a time in which what has ttl has not ended yet.
	early = ttl * 3 / 4
)

// stranger is the ID of no session.
const stranger = "5d1f6e9c-9a0b-4c1e-8a57-0c6f3a1b2c3d"

var uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

var sessionCases = []testCase{
	{"a session is what was asked for", func(c *check) {
		for _, tc := range []struct {
			opts backend.SessionOptions
			want backend.Session
		}{
			{backend.SessionOptions{}, backend.Session{Behavior: backend.BehaviorRelease, LockDelay: backend.DefaultLockDelay}},
			{
				backend.SessionOptions{Name: "日 本", TTL: backend.MinTTL, Behavior: backend.BehaviorDelete, LockDelay: time.Millisecond, Data: []byte{0, 255}},
				backend.Session{Name: "日 本", TTL: backend.MinTTL, Behavior: backend.BehaviorDelete, LockDelay: time.Millisecond, Data: []byte{0, 255}},
			},
			{
				backend.SessionOptions{TTL: backend.MaxTTL, Behavior: backend.BehaviorRelease, LockDelay: backend.NoLockDelay},
				backend.Session{TTL: backend.MaxTTL, Behavior: backend.BehaviorRelease},
			},
			{backend.SessionOptions{LockDelay: backend.MaxLockDelay}, backend.Session{Behavior: backend.BehaviorRelease, LockDelay: backend.MaxLockDelay}},
		} {
			made := c.session(tc.opts)
			require.Regexp(c, uuid, made.ID)
			require.Positive(c, made.CreateIndex)
			tc.want.ID, tc.want.CreateIndex = made.ID, made.CreateIndex
			require.Equal(c, string(tc.want.Data), string(made.Data))
			tc.want.Data = made.Data // nil or empty
			require.Equal(c, &tc.want, made)

			found, err := c.sessions().Session(c.ctx, made.ID)
			require.NoError(c, err)
			require.Equal(c, made, found)
			renewed, err := c.sessions().RenewSession(c.ctx, made.ID)
			require.NoError(c, err)
			require.Equal(c, made, renewed)
			require.Contains(c, c.liveSessions(), made)
		}
	}},
	{"a session can not be what the contract forbids", func(c *check) {
		before := c.liveSessions()
		for _, tc := range []struct {
			opts backend.SessionOptions
			code backend.Code
		}{
			{backend.SessionOptions{TTL: backend.MinTTL - 1}, backend.Invalid},
			{backend.SessionOptions{TTL: backend.MaxTTL + 1}, backend.Invalid},
			{backend.SessionOptions{TTL: -1}, backend.Invalid},
			{backend.SessionOptions{LockDelay: backend.MaxLockDelay + 1}, backend.Invalid},
			{backend.SessionOptions{LockDelay: -2}, backend.Invalid},
			{backend.SessionOptions{Behavior: "keep"}, backend.Invalid},
			{backend.SessionOptions{Name: "\xff"}, backend.Invalid},
			{backend.SessionOptions{Name: strings.Repeat("n", backend.MaxSessionName+1)}, backend.TooLarge},
			{backend.SessionOptions{Data: make([]byte, backend.MaxSessionData+1)}, backend.TooLarge},
		} {
			_, err := c.sessions().CreateSession(c.ctx, tc.opts)
			c.fails(err, tc.code, "")
		}
		_, err := c.sessions().Session(c.ctx, "")
		c.fails(err, backend.Invalid, "")
		_, err = c.sessions().RenewSession(c.ctx, "")
		c.fails(err, backend.Invalid, "")
		c.fails(c.sessions().DestroySession(c.ctx, ""), backend.Invalid, "")
		after := c.liveSessions()
		require.LessOrEqual(c, len(after), len(before), "a session was made")
		made := c.session(backend.SessionOptions{Name: strings.Repeat("n", backend.MaxSessionName), Data: make([]byte, backend.MaxSessionData)})
		c.destroy(made.ID)
	}},
	{"Sessions lists all sessions by ID", func(c *check) {
		var ids []string
		for range 20 {
			ids = append(ids, c.session(backend.SessionOptions{TTL: backend.MaxTTL}).ID)
		}
		listed := c.sessionIDs()
		require.Subset(c, listed, ids)
		require.True(c, slices.IsSorted(listed))
		for _, id := range ids[:10] {
			c.destroy(id)
		}
		listed = c.sessionIDs()
		require.Subset(c, listed, ids[10:])
		for _, id := range ids[:10] {
			require.NotContains(c, listed, id)
		}
	}},
	{"a session that never was is not there", func(c *check) {
		for _, id := range []string{stranger, "x", strings.Repeat("x", 300)} {
			require.False(c, c.alive(id))
			c.fails(c.renew(id), backend.SessionInvalid, "")
			require.NoError(c, c.sessions().DestroySession(c.ctx, id))
		}
	}},
	{"a session that was destroyed does not come back", func(c *check) {
		made := c.session(backend.SessionOptions{TTL: backend.MaxTTL})
		require.NoError(c, c.renew(made.ID))
		c.destroy(made.ID)
		for range 2 {
			require.False(c, c.alive(made.ID))
			require.NotContains(c, c.sessionIDs(), made.ID)
			c.fails(c.renew(made.ID), backend.SessionInvalid, "")
			c.destroy(made.ID)
		}
	}},
	{"what a session returns is the caller's", func(c *check) {
		data := []byte("data")
		made := c.session(backend.SessionOptions{Data: data})
		copy(data, "xxxx")
		copy(made.Data, "xxxx")
		found, err := c.sessions().Session(c.ctx, made.ID)
		require.NoError(c, err)
		require.Equal(c, "data", string(found.Data))
		copy(found.Data, "xxxx")
		found, err = c.sessions().RenewSession(c.ctx, made.ID)
		require.NoError(c, err)
		require.Equal(c, "data", string(found.Data))
		c.destroy(made.ID)
	}},
}

var sessionTimeCases = []testCase{
	{"a session lives for its TTL, and nothing brings it back", func(c *check) {
		since := c.start()
		made := c.session(backend.SessionOptions{TTL: ttl})
		c.pass(early)
		alive := c.alive(made.ID)
		require.True(c, alive || !since.before(ttl), "the session ended within %v", early)
		c.pass(ttl - early)
		c.due("the session ends", func() bool { return !c.alive(made.ID) })
		c.fails(c.renew(made.ID), backend.SessionInvalid, "")
		require.False(c, c.alive(made.ID))
		require.NotContains(c, c.sessionIDs(), made.ID)
	}},
	{"a session that is renewed lives on", func(c *check) {
		made := c.session(backend.SessionOptions{TTL: ttl})
		since := c.start()
		for range 3 {
			c.pass(ttl / 2)
			last := since
			since = c.start()
			err := c.renew(made.ID)
			require.True(c, err == nil || !last.before(ttl), "a renewal after half the TTL: %v", err)
		}
		c.pass(ttl)
		c.due("the session ends", func() bool { return !c.alive(made.ID) })
	}},
	{"a session without TTL ends only when it is destroyed", func(c *check) {
		made := c.session(backend.SessionOptions{})
		c.pass(2 * ttl)
		require.True(c, c.alive(made.ID))
		require.NoError(c, c.renew(made.ID))
		c.destroy(made.ID)
		require.False(c, c.alive(made.ID))
	}},
	{"a session ends for all at once", func(c *check) {
		made := c.session(backend.SessionOptions{TTL: ttl})
		c.pass(early)
		c.vanishes(ttl-early, func() (bool, error) {
			found, err := c.sessions().Session(c.ctx, made.ID)
			return found != nil, err
		}, func() (bool, error) {
			all, err := c.sessions().Sessions(c.ctx)
			return slices.ContainsFunc(all, func(s *backend.Session) bool { return s.ID == made.ID }), err
		})
	}},
}

func (c *check) sessions() backend.Sessions { return c.b.(backend.Sessions) }

// session makes a session.
func (c *check) session(opts backend.SessionOptions) *backend.Session {
	c.Helper()
	made, err := c.sessions().CreateSession(c.ctx, opts)
	require.NoError(c, err)
	require.NotNil(c, made)
	return made
}

func (c *check) alive(id string) bool {
	c.Helper()
	found, err := c.sessions().Session(c.ctx, id)
	require.NoError(c, err)
	return found != nil
}

func (c *check) renew(id string) error {
	_, err := c.sessions().RenewSession(c.ctx, id)
	return err
}

func (c *check) destroy(id string) {
	c.Helper()
	require.NoError(c, c.sessions().DestroySession(c.ctx, id))
}

func (c *check) liveSessions() []*backend.Session {
	c.Helper()
	all, err := c.sessions().Sessions(c.ctx)
	require.NoError(c, err)
	return all
}

func (c *check) sessionIDs() []string {
	c.Helper()
	var ids []string
	for _, s := range c.liveSessions() {
		ids = append(ids, s.ID)
	}
	return ids
}
