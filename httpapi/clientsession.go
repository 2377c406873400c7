package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/locking"
)

// direct is a client whose sessions are the agent's, without the keeper of the
// client's locks, which is made of it.
type direct struct{ *Client }

var _ locking.Store = direct{}

// lookAtSession is how to settle the doubt about a session.
const lookAtSession = "look at the sessions to see what holds"

// newSession is the request of CreateSession.
type newSession struct {
	Name      string
	TTL       string
	Behavior  backend.Behavior
	LockDelay string
	Data      []byte
}

// CreateSession begins a session with PUT /v1/session/create.
func (d direct) CreateSession(ctx context.Context, opts backend.SessionOptions) (*backend.Session, error) {
	if err := backend.CheckSession(opts); err != nil {
		return nil, err
	}
	made := backend.NewSession(opts)
	question := newSession{Name: made.Name, Behavior: made.Behavior, LockDelay: made.LockDelay.String(), TTL: made.TTL.String(), Data: made.Data}
	if made.Data == nil {
		question.Data = []byte{} // and not null, which would be none
	}
	what := call{method: http.MethodPut, path: "/v1/session/create", doubt: lookAtSession}
	got, err := d.post(ctx, &what, question)
	if err != nil {
		return nil, err
	}
	var created wireCreated
	if err := d.decode(what, got, &created); err != nil {
		return nil, err
	}
	made.ID = created.ID
	if made.CreateIndex, err = strconv.ParseUint(got.header.Get(headerIndex), 10, 64); err != nil {
		return nil, backend.Errorf(backend.Internal, "", "%s made the session %q and did not say at which index, so it is no chord-plugin agent; check -http-addr or CHORD_HTTP_ADDR", d.base.Host, made.ID)
	}
	return made, nil
}

// RenewSession renews a session with PUT /v1/session/renew/ID.
func (d direct) RenewSession(ctx context.Context, id string) (*backend.Session, error) {
	found, err := d.found(ctx, id, call{method: http.MethodPut, path: "/v1/session/renew/" + id, again: true, doubt: "renew the session again"})
	if err == nil && found == nil {
		return nil, backend.Errorf(backend.Internal, "", "%s renewed no session", d.base.Host)
	}
	return found, err
}

// DestroySession ends a session with PUT /v1/session/destroy/ID.
func (d direct) DestroySession(ctx context.Context, id string) error {
	if err := backend.CheckSessionID(id); err != nil {
		return err
	}
	_, err := d.change(ctx, call{method: http.MethodPut, path: "/v1/session/destroy/" + id, again: true, doubt: "destroy the session again"})
	return err
}

// Session returns a session with GET /v1/session/info/ID.
func (d direct) Session(ctx context.Context, id string) (*backend.Session, error) {
	return d.found(ctx, id, call{method: http.MethodGet, path: "/v1/session/info/" + id})
}

// Sessions lists the sessions with GET /v1/session/list.
func (d direct) Sessions(ctx context.Context) ([]*backend.Session, error) {
	return d.several(ctx, call{method: http.MethodGet, path: "/v1/session/list"})
}

// found makes a call that answers with one session or none.
func (d direct) found(ctx context.Context, id string, what call) (*backend.Session, error) {
	if err := backend.CheckSessionID(id); err != nil {
		return nil, err
	}
	all, err := d.several(ctx, what)
	switch {
	case err != nil || len(all) == 0:
		return nil, err
	case len(all) > 1 || all[0].ID != id:
		return nil, backend.Errorf(backend.Internal, "", "%s answered with %d sessions, not with the session %q", d.base.Host, len(all), id)
	}
	return all[0], nil
}

// several makes a call that answers with sessions.
func (d direct) several(ctx context.Context, what call) ([]*backend.Session, error) {
	got, err := d.do(ctx, what)
	if err != nil {
		return nil, err
	}
	var wire []wireSession
	if err := d.decode(what, got, &wire); err != nil {
		return nil, err
	}
	all := make([]*backend.Session, len(wire))
	for i, w := range wire {
		all[i] = &backend.Session{ID: w.ID, Name: w.Name, Behavior: w.Behavior, LockDelay: w.LockDelay, Data: w.Data, CreateIndex: w.CreateIndex}
		if w.TTL != "" {
			if all[i].TTL, err = time.ParseDuration(w.TTL); err != nil {
				return nil, backend.Errorf(backend.Internal, "", "%s answered with a session whose TTL is %q: %w", d.base.Host, w.TTL, err)
			}
		}
	}
	return all, nil
}
