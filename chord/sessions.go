package chord

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/session"
	"github.com/chord-plugin/chord-plugin/mesh"
)

var _ backend.Sessions = (*Node)(nil)

// maxSessions is how many sessions a member may have a copy of, those included
// whose lock delay is running. With up to five members it bounds those of the ring.
const maxSessions = 100_000

// sessionIDBytes is the length of a session's ID.
const sessionIDBytes = 36

// sessionID is an ID as others are asked about it: one that is too long to be that
// of a session is cut, but not to the length of one.
func sessionID(id string) string { return id[:min(len(id), sessionIDBytes+1)] }

// newSessionID returns a random UUID of version 4 (RFC 9562, section 5.4).
func newSessionID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// CreateSession implements backend.Sessions. It fails with TooLarge where there
// are too many.
func (n *Node) CreateSession(ctx context.Context, opts backend.SessionOptions) (*backend.Session, error) {
	if err := backend.CheckSession(opts); err != nil {
		return nil, err
	}
	st, err := n.serving(ctx, "")
	if err != nil {
		return nil, err
	}
	made := backend.NewSession(opts)
	made.ID = newSessionID()
	if err := n.roomForSession(ctx, st, made.ID); err != nil {
		return nil, err
	}
	info, err := session.Create(registers{n, ctx}, made.ID, register.Session{
		TTL: made.TTL, Delay: made.LockDelay, Delete: made.Behavior == backend.BehaviorDelete, Name: made.Name, Data: made.Data,
	})
	if err != nil {
		return nil, sessionFailure(made.ID, err)
	}
	return sessionOf(made.ID, &info), nil
}

// roomForSession returns an error if the first owner that answers, of those of a
// new session, has too many already.
func (n *Node) roomForSession(ctx context.Context, st *ringState, id string) error {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	g := st.placement.Group(register.SessionKey(id))
	for _, o := range g.Owners() {
		if !n.peers.usable(o) && o != n.id.Node() {
			continue
		}
		var reply sessionsReply
		if o == n.id.Node() {
			reply.Sessions = n.expirer.sessions()
		} else {
			one, cancel := context.WithTimeout(ctx, participantTimeout)
			err := n.mesh.Call(one, o, callSessions, struct{}{}, &reply)
			cancel()
			if err != nil {
				continue
			}
		}
		if reply.Sessions >= n.cfg.maxSessions {
			return backend.Errorf(backend.TooLarge, "", "there are too many sessions: a member has %d, and may have %d; destroy some, or let them have a TTL", reply.Sessions, n.cfg.maxSessions)
		}
		return nil
	}
	return nil // whether there is a quorum will be seen
}

// sessionsReply says how many sessions a member has a copy of.
type sessionsReply struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`

	Sessions int
}

func (n *Node) onSessions() (*sessionsReply, error) {
	if n.store == nil {
		return nil, &mesh.RemoteError{Code: codeNotReady, Message: "owns no keys"}
	}
	return &sessionsReply{Sessions: n.expirer.sessions()}, nil
}

// RenewSession implements backend.Sessions.
func (n *Node) RenewSession(ctx context.Context, id string) (*backend.Session, error) {
	if err := backend.CheckSessionID(id); err != nil {
		return nil, err
	}
	info, err := session.Renew(registers{n, ctx}, sessionID(id))
	if err != nil {
		return nil, sessionFailure(id, err)
	}
	return sessionOf(id, &info), nil
}

// DestroySession implements backend.Sessions. The keys that the session held are
// free when it returns; those that nobody looks at are released a little later.
func (n *Node) DestroySession(ctx context.Context, id string) error {
	if err := backend.CheckSessionID(id); err != nil {
		return err
	}
	err := session.Destroy(n.txns, sweeping{registers{n, ctx}}, sessionID(id), n.heldBy(n.ctx))
	if err != nil {
		return sessionFailure(id, err)
	}
	return nil
}

// Session implements backend.Sessions.
func (n *Node) Session(ctx context.Context, id string) (*backend.Session, error) {
	if err := backend.CheckSessionID(id); err != nil {
		return nil, err
	}
	info, err := session.Get(registers{n, ctx}, sessionID(id))
	if err != nil {
		return nil, sessionFailure(id, err)
	}
	return sessionOf(id, &info), nil
}

// Sessions implements backend.Sessions. It is one atomic listing; renewals do not
// count as changes.
func (n *Node) Sessions(ctx context.Context) ([]*backend.Session, error) {
	page, err := n.list(ctx, backend.ListQuery{Prefix: register.SessionPrefix, Values: true}, false, alikeSessions)
	if err != nil {
		return nil, sessionFailure("", err)
	}
	var all []*backend.Session
	for i := range page.Items {
		e := page.Items[i].Entry
		info, err := session.Live(&register.Value{Live: true, Data: e.Value, Create: e.CreateIndex})
		if err != nil {
			return nil, sessionFailure("", err)
		}
		id, _ := register.ParseSessionKey(e.Key)
		if s := sessionOf(id, &info); s != nil {
			all = append(all, s)
		}
	}
	return all, nil
}

// alikeSessions reports whether two values of a session's register are known to
// differ by renewals at most. Values without their data are not.
func alikeSessions(a, b *register.Value) bool {
	x, errX := register.SessionOf(a)
	y, errY := register.SessionOf(b)
	return errX == nil && errY == nil && a.Live && b.Live && x.State == y.State && a.Create == b.Create
}

// sessionOf is a session as hosts see it; nil for one that does not live. Its data
// is its own.
func sessionOf(id string, info *session.Info) *backend.Session {
	if info.State != register.SessionLive {
		return nil
	}
	s := &backend.Session{ID: id, Name: info.Name, TTL: info.TTL, Behavior: backend.BehaviorRelease, LockDelay: info.Delay, Data: bytes.Clone(info.Data), CreateIndex: info.Create}
	if info.Delete {
		s.Behavior = backend.BehaviorDelete
	}
	return s
}

// sessionFailure is failure for what concerns a session: hosts do not know of the
// key of its register.
func sessionFailure(id string, err error) error {
	if errors.Is(err, session.ErrEnded) {
		return backend.Errorf(backend.SessionInvalid, "", "the session %q has ended or never was; create a new one", id)
	}
	err = failure(err, backend.Conflict)
	var e *backend.Error
	if errors.As(err, &e) && strings.HasPrefix(e.Key, internalPrefix) {
		hidden := *e
		hidden.Key = ""
		return &hidden
	}
	return err
}
